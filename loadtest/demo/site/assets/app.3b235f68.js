// The demo's application: its views are addresses, so that each can be loaded by itself.
const root = document.querySelector('main');
const base = new URL(document.baseURI).pathname;

const element = (name, text, attributes = {}) => Object.assign(document.createElement(name), {textContent: text}, attributes);
const link = (to, text) => element('a', text, {href: to});

const views = {
	'': async () => [element('h1', 'Three legs, one sun'), element('p', 'This page comes out of a bucket. Each view has an address of its own: load it, and it is there.')],
	'feathers': async () => {
		const data = await (await fetch('data/feathers.json')).json();
		const list = document.createElement('ul');
		data.feathers.forEach((colour, i) => {
			const item = document.createElement('li');
			item.append(link(`feathers/${i + 1}`, colour));
			list.append(item);
		});
		return [element('h1', 'Feathers'), list];
	},
	'feathers/*': async n => {
		const data = await (await fetch('data/feathers.json')).json();
		const colour = data.feathers[n - 1];
		return [element('h1', `Feather ${n}`), element('p', colour ? `It is ${colour}.` : 'The bird has no such feather.')];
	},
};

// show shows the view of the address.
async function show() {
	const path = decodeURIComponent(location.pathname.slice(base.length)).replace(/\/$/, '');
	const [first, ...rest] = path.split('/');
	const view = views[path] ?? views[`${first}/*`];
	try {
		root.replaceChildren(...(view ? await view(...rest) : [element('h1', 'No such view'), element('p', path)]));
	} catch (e) {
		root.replaceChildren(element('h1', 'That failed'), element('p', String(e)));
	}
	document.body.dataset.view = path;
}

addEventListener('popstate', show);
document.addEventListener('click', e => {
	const a = e.target.closest('a');
	if (!a || a.origin !== location.origin || !a.pathname.startsWith(base) || a.dataset.plain !== undefined || e.metaKey || e.ctrlKey) return;
	e.preventDefault();
	history.pushState(null, '', a.href);
	show();
});
show();
