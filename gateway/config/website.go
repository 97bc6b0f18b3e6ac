package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

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

	// Assets are paths, in the form of Bucket.PathPrefix, below which what is missing is
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

// Redirect sends clients elsewhere.
type Redirect struct {
	// From is a path below the bucket's prefix, in which one "*" stands for anything.
	From string `form:"-"`

	// To is such a path, or an absolute http or https URL. Its "*", if there is one, becomes
	// what the one of From stood for.
	To string `form:"-"`

	// Status is 301, 302, 307 or 308. Default 301.
	Status int `form:"-"`
}

// Maintenance answers all requests for a bucket with 503.
type Maintenance struct {
	// Enabled closes the bucket. Default false.
	Enabled bool

	// Page is the path of the file that is sent, and Text its content, read only where
	// Enabled. Empty: the gateway's own error is sent.
	Page string `form:"-"`
	Text []byte `json:"-" key:"-"`

	// RetryAfter is when clients are told to come back. Default 5 min.
	RetryAfter time.Duration `least:"1s"`

	// Allow are the clients for whom all works, in the form of Server.TrustedProxies. Empty:
	// none.
	Allow []netip.Prefix `form:"-"`
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

// redirects decodes the rules. None may lead to where a rule applies again: clients would go in
// circles, or from one place to the next.
func (w *Website) redirects(d *file.Decoder, o file.Object) {
	list := o.List("redirects")
	if len(list) > maxRedirects {
		d.Fail(o.Get("redirects"), "has more than 1000 rules", "write fewer, with \"*\"")
		return
	}
	var targets []*file.Node // of the rules, in order
	for _, item := range list {
		r := Redirect{Status: 301}
		one := d.Fill(item, "buckets[].website.redirects[]", &r)
		if one.Node == nil {
			continue
		}
		from, to := one.Need("from", "write the path that has moved"), one.Need("to", "write where it is now")
		r.From = one.Checked("from", "", func(s string) (string, string, string) {
			problem, fix := redirectPathProblem(s)
			return s, problem, fix
		})
		r.To = one.Checked("to", "", func(s string) (string, string, string) {
			problem, fix := targetProblem(s)
			return s, problem, fix
		})
		if at := one.Get("status"); at != nil {
			if r.Status = one.Integer("status", 301, 300, 399); !slices.Contains([]int{301, 302, 307, 308}, r.Status) {
				d.Fail(at, "is no status of a redirect", "write 301 or 308 for good, or 302 or 307 for now")
			}
		}
		if from == nil || to == nil || r.From == "" || r.To == "" {
			continue
		}
		if strings.Contains(r.To, "*") && !strings.Contains(r.From, "*") {
			d.Fail(to, `has "*", which from has not`, "put one into from, or write the whole path")
			continue
		}
		if slices.ContainsFunc(w.Redirects, func(other Redirect) bool { return other.From == r.From }) {
			d.Fail(from, "is there twice", "remove one of them")
			continue
		}
		w.Redirects, targets = append(w.Redirects, r), append(targets, to)
	}
	for i, r := range w.Redirects {
		for k, other := range w.Redirects {
			if r.To[0] == '/' && patternsMeet(other.From, r.To) {
				what := "which this rule matches again"
				if k != i {
					what = "which the rule for " + strconv.Quote(other.From) + " matches"
				}
				d.Fail(targets[i], "leads to a path "+what+": clients would be sent on and on", "write where the path leads in the end, or make from narrower")
				break
			}
			if r.To[0] == '/' && w.TrailingSlash == "redirect" && patternsMeet(other.From, r.To+"/") {
				d.Warn(targets[i], "leads in circles where the path is a folder with an index: a rule takes the slash away that trailing_slash adds", "end it in \"/\", or set trailing_slash: serve")
				break
			}
		}
	}
}

func redirectPathProblem(s string) (problem, fix string) {
	if !strings.HasPrefix(s, "/") {
		return "does not begin with \"/\"", "write the path below path_prefix, such as \"/old/*\""
	}
	return patternProblem(s)
}

// targetProblem says what is wrong with the target of a redirect.
func targetProblem(s string) (problem, fix string) {
	const example = "write a path below path_prefix, such as \"/new/*\", or an http or https URL"
	if strings.HasPrefix(s, "/") {
		return patternProblem(s)
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || !form.IsVisible(s) {
		return "is neither a path nor an http or https URL", example
	}
	_, rest, _ := strings.Cut(s, "://")
	at := strings.IndexByte(rest, '*')
	if strings.Count(s, "*") > 1 {
		return "has more than one \"*\"", "use one, which becomes what that of from stood for"
	}
	if at >= 0 && (at < strings.IndexByte(rest, '/') || !strings.Contains(rest, "/") || strings.ContainsAny(rest[:at], "?#")) {
		return "has \"*\" elsewhere than in the path", "put it behind the host, such as https://example.com/*"
	}
	return "", ""
}

// patternsMeet reports whether there is a path that two patterns match.
func patternsMeet(a, b string) bool {
	before, after, wild := strings.Cut(a, "*")
	first, last, otherWild := strings.Cut(b, "*")
	switch {
	case !wild && !otherWild:
		return a == b
	case wild && otherWild:
		return (strings.HasPrefix(before, first) || strings.HasPrefix(first, before)) && (strings.HasSuffix(after, last) || strings.HasSuffix(last, after))
	case wild:
		return len(b) >= len(before)+len(after) && strings.HasPrefix(b, before) && strings.HasSuffix(b, after)
	}
	return patternsMeet(b, a)
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

// Check implements file.Checker.
func (m *Maintenance) Check(d *file.Decoder, o file.Object) {
	if o.Node == nil {
		return
	}
	d.NeedEnabled(o)
	if !o.Has("retry_after") {
		m.RetryAfter = 5 * time.Minute
	}
	m.Allow = o.Networks("allow", nil)
	at := o.Get("page")
	path, _, ok := d.Text(at)
	if !ok {
		return
	}
	if m.Page = path; !m.Enabled {
		return
	}
	text, ok := d.ReadFile(at, path)
	if ok && len(text) > maxStatusPage {
		d.Fail(at, d.ShowPath(at)+" is larger than 256 KiB", "make the page smaller")
		return
	}
	m.Text = text
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
