package site

import (
	"slices"
	"strings"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// Website makes a bucket a site: what is answered where a request names no object. The zero
// value: the bucket is none.
type Website struct {
	// Index is the name of the object that stands for a folder, and for the bucket itself.
	// Empty: none does.
	Index string `form:"object name"`

	// TrailingSlash is what the path of a folder gets that lacks its slash: "redirect" to the
	// path with it, "serve" the index, or "off": nothing. Default "redirect", with an Index.
	TrailingSlash string `of:"redirect, serve, off"`

	// CleanURLs has a.html answer for a, where there is no a. Default false.
	CleanURLs bool `key:"clean_urls"`

	// SPA is that of an application that has its pages in the browser.
	SPA SPA `key:"spa"`

	// ErrorDocuments are the objects that are sent in the place of the gateway's own errors,
	// one for each status.
	ErrorDocuments []ErrorDocument `form:"-"`

	// ObjectRedirects has objects with x-amz-website-redirect-location answer with a redirect
	// to there. Default false.
	ObjectRedirects bool

	// Redirects are the rules for paths that have moved. The first one that matches counts.
	Redirects []Redirect `form:"-"`

	// Files are small texts by their paths below the bucket's prefix.
	Files file.Pairs `form:"-"`
}

// SPA is a single-page application.
type SPA struct {
	// Fallback is the key of the object that answers where there is none. Empty: no object.
	Fallback string `form:"object key"`

	// Assets are paths, in the form of config.Bucket.PathPrefix, below which what is missing is
	// missing. Empty: none.
	Assets []string `form:"-"`
}

// ErrorDocument is the object that is sent with a status.
type ErrorDocument struct {
	// Status is 401, 403 or 404.
	Status int `form:"-"`

	// Key is that of the object.
	Key string `form:"object key"`
}

// What a website may have, so that no request costs more than it should.
const (
	maxRedirects  = 1000
	maxFiles      = 100
	maxFileText   = 64 << 10  // bytes of one of files
	maxStatusPage = 256 << 10 // bytes of maintenance.page
)

// Check implements file.Checker.
func (w *Website) Check(d *file.Decoder, o file.Object) {
	if o.Node == nil {
		return
	}
	if !o.Has("trailing_slash") && w.Index != "" {
		w.TrailingSlash = "redirect"
	} else if at := o.Get("trailing_slash"); at != nil && !o.Has("index") && !o.Misspells("index") {
		d.Fail(at, "has no effect without index", `add index, such as "index.html", or remove it`)
	}
	if o.Node.IsEmpty() {
		d.Fail(o.Node, "has no effect", "add a key, such as index, or remove the block")
	}
	w.errorDocuments(d, o)
	w.redirects(d, o)
	w.files(d, o)
}

// Check implements file.Checker.
func (s *SPA) Check(d *file.Decoder, o file.Object) {
	if o.Node == nil {
		return
	}
	o.Need("fallback", `name the object that has the application, such as "index.html"`)
	o.StringOrList("assets", func(n *file.Node, text string, _ bool) {
		path, problem, fix := form.Path(text)
		if problem == "" && path == "/" {
			problem, fix = "is everything, for which the fallback would never answer", "name a folder, such as \"/assets\""
		}
		if problem != "" {
			d.Fail(n, problem, fix)
			return
		}
		s.Assets = append(s.Assets, path)
	})
}

func (w *Website) errorDocuments(d *file.Decoder, o file.Object) {
	for _, item := range o.List("error_documents") {
		var e ErrorDocument
		one := d.Fill(item, "buckets[].website.error_documents[]", &e)
		if one.Node == nil {
			continue
		}
		one.Need("key", "name the object that is sent")
		if at := one.Need("status", "write 401, 403 or 404"); at != nil {
			e.Status = one.Integer("status", 0, 100, 599)
			switch {
			case e.Status == 0: // reported
			case e.Status != 401 && e.Status != 403 && e.Status != 404:
				d.Fail(at, "has no document: only 401, 403 and 404 can", "write one of them")
			case slices.ContainsFunc(w.ErrorDocuments, func(other ErrorDocument) bool { return other.Status == e.Status }):
				d.Fail(at, "is there twice", "remove one of them")
			}
		}
		w.ErrorDocuments = append(w.ErrorDocuments, e)
	}
}

func (w *Website) files(d *file.Decoder, o file.Object) {
	o.Pairs("files", func(at *file.Node, path, text string) {
		canonical, problem, fix := form.Path(path)
		switch {
		case problem != "":
		case canonical != path:
			problem, fix = "is the text of a path that ends in \"/\"", "name a file, such as \"/robots.txt\""
		case len(text) > maxFileText:
			problem, fix = "is longer than 64 KiB", "store it as an object"
		case len(w.Files) == maxFiles:
			problem, fix = "is one text more than 100", "store texts as objects"
		default:
			w.Files = append(w.Files, file.Pair{Name: path, Value: text})
			return
		}
		d.Fail(at, problem, fix)
	})
}

// objectKey checks the key of an object.
func objectKey(s string) (_, problem, fix string) {
	if strings.HasPrefix(s, "/") {
		return "", "begins with \"/\"", "remove it: keys begin without one"
	}
	path, problem, fix := form.Path("/" + s)
	if problem == "" && path != "/"+s {
		problem, fix = "ends in \"/\"", "name an object, such as index.html"
	}
	return s, problem, fix
}

// objectName checks the last segment of an object's key.
func objectName(s string) (_, problem, fix string) {
	if strings.Contains(s, "/") {
		return "", "contains \"/\"", "write the name of an object in its folder, such as index.html"
	}
	return objectKey(s)
}
