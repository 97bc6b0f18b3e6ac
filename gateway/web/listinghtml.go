package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"strconv"
	"strings"
	"sync"
	"time"
)

// listingHTML is the page of a listing, with its style.
//
//go:embed listing.html
var listingHTML string

var listingTemplate = template.Must(template.New("listing").Parse(listingHTML))

// ListingHeaders are the headers that a page of a listing has for itself, in lower case.
var ListingHeaders = []string{"cache-control", "content-security-policy", "x-content-type-options", "x-robots-tag"}

// ListingPolicy returns the Content-Security-Policy of the page: it has its own style, which the
// browser knows by its hash, and gets nothing else.
var ListingPolicy = sync.OnceValue(func() string {
	page := string((&Listing{}).html(new(Page)))
	_, rest, ok := strings.Cut(page, "<style>")
	style, _, ok2 := strings.Cut(rest, "</style>")
	if !ok || !ok2 {
		panic("BUG: the page of a listing has no style")
	}
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
})

// htmlPage is a page in the form that people get.
type htmlPage struct {
	Title   string
	Crumbs  []crumb // the way to the folder; the last is the folder itself
	Up      bool    // the folder that it is in has a listing
	First   bool    // there are pages before
	Next    string
	Entries []htmlEntry
	Count   string
}

// crumb is a folder on the way to another.
type crumb struct {
	Name, Link string
	Here       bool // it is the folder of the page
}

type htmlEntry struct {
	Name, Link  string
	Folder      bool
	Size, Exact string
	Modified    string
	ISO         string
}

// html returns a page for people: folders first.
func (l *Listing) html(p *Page) []byte {
	doc := htmlPage{Crumbs: l.crumbs(p), First: p.Continued, Next: p.next(), Count: counted(len(p.Entries))}
	doc.Title = readable(strings.TrimSuffix(p.Bucket, "/") + "/" + p.Folder)
	doc.Up = len(doc.Crumbs) > 1 && doc.Crumbs[len(doc.Crumbs)-2].Link != ""
	doc.Entries = make([]htmlEntry, 0, len(p.Entries))
	for _, folders := range [...]bool{true, false} {
		for i := range p.Entries {
			if e := &p.Entries[i]; e.Folder == folders {
				doc.Entries = append(doc.Entries, e.html(p.Folder))
			}
		}
	}
	var b bytes.Buffer
	if err := listingTemplate.Execute(&b, doc); err != nil {
		panic("BUG: the page of a listing cannot be written: " + err.Error())
	}
	return b.Bytes()
}

// html returns the row of an entry.
func (e *Entry) html(folder string) htmlEntry {
	row := htmlEntry{Name: readable(e.name(folder)), Link: e.link(folder), Folder: e.Folder}
	if e.Folder {
		return row
	}
	row.Size, row.Exact = humanSize(e.Size), strconv.FormatInt(e.Size, 10)+" bytes"
	if !e.Modified.IsZero() {
		row.Modified, row.ISO = e.Modified.Format(time.DateTime), e.Modified.Format(time.RFC3339)
	}
	return row
}

// crumbs returns the way to the folder of a page. Those that have no listing have no link.
func (l *Listing) crumbs(p *Page) []crumb {
	way := strings.SplitAfter(p.Folder, "/")
	way = way[:len(way)-1] // behind the last slash is nothing
	crumbs := make([]crumb, 0, len(way)+1)
	add := func(key, name string, above int) {
		link := "./"
		if above > 0 {
			link = strings.Repeat("../", above)
		}
		if !l.Offers(key) {
			link = ""
		}
		crumbs = append(crumbs, crumb{readable(name), link, above == 0})
	}
	root := strings.TrimPrefix(p.Bucket, "/")
	if root == "" {
		root = "Files"
	}
	add("", root, len(way))
	at := 0
	for i, segment := range way {
		at += len(segment)
		add(p.Folder[:at], strings.TrimSuffix(segment, "/"), len(way)-1-i)
	}
	return crumbs
}

// counted says how many entries a page has.
func counted(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return strconv.Itoa(n) + " entries"
}

// humanSize returns a number of bytes for people, in units of 1024.
func humanSize(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	const units = "KMGTPE"
	unit, v := 0, float64(n)/1024
	for v >= 1023.5 && unit < len(units)-1 {
		v, unit = v/1024, unit+1
	}
	decimals := 0
	if v < 9.95 {
		decimals = 1
	}
	return strconv.FormatFloat(v, 'f', decimals, 64) + " " + units[unit:unit+1] + "iB"
}
