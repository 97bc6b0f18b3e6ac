import {HtmlBasePlugin} from '@11ty/eleventy';

export default config => {
	config.addPlugin(HtmlBasePlugin);
	config.addPassthroughCopy('assets');
	config.addPassthroughCopy('robots.txt');
	config.addCollection('posts', all => all.getFilteredByGlob('posts/*.md'));
	return {pathPrefix: '/docs/', dir: {output: 'dist'}};
};
