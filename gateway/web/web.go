// Package web has what makes a bucket a site: which pages of other sites may read it, the headers
// that clients get, listings of folders, and what is answered where a request names no object. It
// asks nobody and keeps nothing of a request.
package web

import "yatagarasu/gateway/config/site"

// Site is what a bucket adds to its answers. Get one by New; it never changes, and is safe for
// concurrent use.
type Site struct {
	CORS        *CORS        // nil: pages of other sites may not read
	Headers     *Headers     // nil: no rule
	Listing     *Listing     // nil: folders have none
	Website     *Website     // nil: objects alone are served
	Downloads   bool         // a query may ask for an answer to be saved
	Maintenance *Maintenance // nil: the bucket is served
}

// New returns the site of a bucket with a path prefix; nil if it adds nothing. objectHas says
// which headers an object can have.
func New(c *site.Site, prefix string, objectHas func(name []byte) bool) *Site {
	s := &Site{
		CORS: newCORS(&c.CORS), Headers: newHeaders(c.Headers, objectHas), Listing: newListing(&c.Listing),
		Website: newWebsite(c, prefix), Downloads: c.DownloadQuery, Maintenance: newMaintenance(c),
	}
	if *s == (Site{}) {
		return nil
	}
	return s
}
