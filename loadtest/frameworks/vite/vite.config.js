import vue from '@vitejs/plugin-vue';
import {defineConfig} from 'vite';

// Pictures stay files of their own, and so do maps: each has to come with its type.
export default defineConfig({base: '/app/', plugins: [vue()], build: {assetsInlineLimit: 0, sourcemap: true}, worker: {format: 'es'}});
