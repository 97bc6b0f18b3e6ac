import {createApp} from 'vue';
import {createRouter, createWebHistory} from 'vue-router';
import App from './App.vue';
import Home from './views/Home.vue';
import './style.css';

const routes = [
	{path: '/', component: Home},
	{path: '/about', component: () => import('./views/About.vue')},
	{path: '/birds/:name', component: () => import('./views/Bird.vue'), props: true},
	{path: '/:rest(.*)*', component: () => import('./views/Missing.vue')},
];
createApp(App).use(createRouter({history: createWebHistory(import.meta.env.BASE_URL), routes})).mount('#app');
