package web

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"yatagarasu/gateway/config/site"
	"yatagarasu/sign"
)

// Listing says which folders of a bucket have listings, and in which form. Safe for concurrent
// use.
type Listing struct {
	PageSize int

	folders []string // keys of the folders that have listings, with all below; empty: all
	hidden  []pattern
	formats []Format
}

// Format is the form of a listing.
type Format uint8

const (
	HTML Format = iota
	JSON
	NumFormats
)

// ContentType returns the media type of a form.
func (f Format) ContentType() string {
	if f == JSON {
		return "application/json"
	}
	return "text/html; charset=utf-8"
}

func newListing(c *site.Listing) *Listing {
	if !c.Enabled {
		return nil
	}
	l := &Listing{PageSize: c.PageSize}
	for _, path := range c.Paths {
		if path == "/" {
			l.folders = nil
			break
		}
		l.folders = append(l.folders, path[1:]+"/")
	}
	for _, s := range c.Hide {
		l.hidden = append(l.hidden, newPattern(s))
	}
	for _, name := range c.Formats {
		format := HTML
		if name == site.FormatJSON {
			format = JSON
		}
		l.formats = append(l.formats, format)
	}
	return l
}

// Offers tells whether a folder, given by its key, has a listing: it is in folders, and neither its
// name nor that of a folder above it is hidden.
func (l *Listing) Offers(folder string) bool {
	if len(l.folders) > 0 && !slices.ContainsFunc(l.folders, func(one string) bool { return strings.HasPrefix(folder, one) }) {
		return false
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(folder, "/"), "/") {
		if l.Hides(name) {
			return false
		}
	}
	return true
}

// Hides tells whether listings leave out what has a name.
func (l *Listing) Hides(name string) bool {
	return slices.ContainsFunc(l.hidden, func(p pattern) bool { return p.matchesName(name) })
}

// HidesAny tells whether listings leave out anything.
func (l *Listing) HidesAny() bool { return len(l.hidden) > 0 }

// negotiates tells whether the form of a listing depends on the request.
func (l *Listing) negotiates() bool { return len(l.formats) > 1 }

// Format returns the form for a request. prefers tells whether it gives one media type a higher
// weight than another.
func (l *Listing) Format(prefers func(first, second string) bool) Format {
	if l.negotiates() {
		switch {
		case prefers("text/html", "application/json"):
			return HTML
		case prefers("application/json", "text/html"):
			return JSON
		}
	}
	return l.formats[0]
}

// Page is one page of a listing.
type Page struct {
	Bucket    string // path prefix of the bucket
	Folder    string // key; empty, or with a slash at its end
	Continued bool   // pages come before it
	Next      string // key behind which the next page begins
	Place     string // text that stands for it, where the key must not be told; empty: it may be
	More      bool   // there is a next page
	Entries   []Entry
}

// Entry is an object of a folder, or a folder, by the key that clients have for it.
type Entry struct {
	Key      string
	Folder   bool
	Size     int64     // of an object, in bytes
	Modified time.Time // of an object, in UTC; zero: not known
	Linked   bool      // clients can ask for it
}

// name returns what the key of an entry, given with its folder, has behind it.
func (e *Entry) name(folder string) string {
	name := e.Key[len(folder):]
	if e.Folder {
		name = strings.TrimSuffix(name, "/")
	}
	return name
}

// link returns the address of an entry, relative to the page; empty: it has none.
func (e *Entry) link(folder string) string {
	if !e.Linked {
		return ""
	}
	return "./" + string(sign.AppendPath(nil, e.Key[len(folder):]))
}

// next returns the address of the next page, relative to the page; empty: there is none.
func (p *Page) next() string {
	if !p.More {
		return ""
	}
	if p.Place != "" {
		return "?continue=" + string(sign.AppendQueryComponent(nil, p.Place))
	}
	return "?start-after=" + string(sign.AppendQueryComponent(nil, p.Next))
}

// jsonPage is a page in the form that programs get.
type jsonPage struct {
	Folder  string      `json:"folder"`
	Entries []jsonEntry `json:"entries"`
	Next    string      `json:"next,omitempty"`
}

type jsonEntry struct {
	Name     string `json:"name"`
	Key      string `json:"key"`
	Type     string `json:"type"`
	Size     *int64 `json:"size,omitempty"`
	Modified string `json:"last_modified,omitempty"`
	Link     string `json:"link,omitempty"`
}

// listingHeaders are the headers that a page has for itself, in lower case.
var listingHeaders = []string{"cache-control", "content-security-policy", "x-content-type-options", "x-robots-tag"}

// AppendLines makes of head, which has what rules say, that of a page: a rule for a site's pages
// would break this one, or give it to others. The page is fresh for a time, and what is private is
// kept by nobody.
func (l *Listing) AppendLines(head []byte, fresh time.Duration, private bool) []byte {
	for _, name := range listingHeaders {
		head = WithoutLines(head, name)
	}
	if private {
		head = append(head, "Cache-Control: no-store\r\n"...)
	} else {
		head = append(strconv.AppendInt(append(head, "Cache-Control: max-age="...), int64(fresh/time.Second), 10), "\r\n"...)
	}
	if l.negotiates() {
		head = append(head, "Vary: Accept\r\n"...)
	}
	return append(append(append(head, "Content-Security-Policy: "...), listingPolicy()...), "\r\nX-Content-Type-Options: nosniff\r\nX-Robots-Tag: noindex\r\n"...)
}

// Write returns a page in a form.
func (l *Listing) Write(f Format, p *Page) []byte {
	if f == JSON {
		return l.json(p)
	}
	return l.html(p)
}

// Size returns the most bytes that a page takes in a form, with so many entries, whose keys have so
// many bytes together. Most pages take a third of it.
func (l *Listing) Size(f Format, p *Page, entries, keys int) int {
	names := keys - entries*len(p.Folder)
	// A byte takes three in a link, as %22; six in JSON, as \u003c; five in HTML, as &#34;.
	if f == JSON {
		return 8<<10 + 6*len(p.Folder) + entries*200 + 6*keys + 9*names
	}
	depth := strings.Count(p.Folder, "/")
	return 16<<10 + 10*(len(p.Bucket)+len(p.Folder)) + depth*(2*depth+100) + entries*450 + 8*names
}

// json returns a page for programs.
func (l *Listing) json(p *Page) []byte {
	doc := jsonPage{Folder: p.Folder, Entries: make([]jsonEntry, len(p.Entries)), Next: p.next()}
	for i := range p.Entries {
		e := &p.Entries[i]
		row := jsonEntry{Name: e.name(p.Folder), Key: e.Key, Type: "folder", Link: e.link(p.Folder)}
		if !e.Folder {
			row.Type, row.Size = "file", &e.Size
			if !e.Modified.IsZero() {
				row.Modified = e.Modified.Format(time.RFC3339)
			}
		}
		doc.Entries[i] = row
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(doc); err != nil {
		panic("BUG: a listing cannot be encoded: " + err.Error())
	}
	return b.Bytes()
}

// readable returns a name as people can read it: what is no character, cannot be seen, or turns the
// direction of what follows, is shown as U+FFFD.
func readable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(name, string(unicode.ReplacementChar)))
}
