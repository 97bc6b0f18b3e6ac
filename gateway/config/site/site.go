// Package site has the blocks of a bucket that make it a site: cors, content_types, listing, headers,
// compress, website and maintenance. The rooms above decode the file, and have blocks check
// themselves.
package site

// Site is what makes a bucket a site. The zero value: nothing does.
type Site struct {
	// CORS says which pages of other sites may read by script.
	CORS CORS

	// ContentTypes are the types that objects have by their keys.
	ContentTypes ContentTypes

	// Listing offers pages of what is in a folder.
	Listing Listing

	// Headers are the rules for the headers that clients get, in order.
	Headers []HeaderRule `form:"-"`

	// Compress says which objects in memory clients get compressed.
	Compress Compress

	// Website makes the bucket a site.
	Website Website

	// DownloadQuery has the parameter download of a query make browsers save the object. Default
	// false.
	DownloadQuery bool

	// Maintenance answers all requests with 503.
	Maintenance Maintenance
}
