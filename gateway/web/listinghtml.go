package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html"
	"strconv"
	"strings"
	"sync"
	"time"
)

// listingHTML is the page of a listing up to its header, without its title. The rest is written by
// document: html/template has the linker keep every method of the program, which makes that half
// as large again.
//
//go:embed listing.html
var listingHTML string

// listingPolicy returns the Content-Security-Policy of the page: it has its own style, which the
// browser knows by its hash, and gets nothing else.
var listingPolicy = sync.OnceValue(func() string {
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

// crumb is a folder on the way to another.
type crumb struct {
	Name, Link string
	Here       bool // it is the folder of the page
}

// document is an HTML document that is written. The zero value is empty.
type document struct{ bytes.Buffer }

// text writes what is text, or the value of an attribute in quotes, whatever is in it. Markup is
// written by WriteString, from constants alone.
func (d *document) text(s string) { d.WriteString(html.EscapeString(s)) }

// link writes an element a to an address of the gateway's own making; attributes are markup, with
// a space before each.
func (d *document) link(to, attributes string, content func()) {
	d.WriteString(`<a`)
	d.WriteString(attributes)
	d.WriteString(` href="`)
	d.text(to)
	d.WriteString(`">`)
	content()
	d.WriteString(`</a>`)
}

// name writes a name, which does not turn the direction of what is around it.
func (d *document) name(s string) {
	d.WriteString("<bdi>")
	d.text(s)
	d.WriteString("</bdi>")
}

// html returns a page for people: folders first.
func (l *Listing) html(p *Page) []byte {
	var d document
	head, rest, _ := strings.Cut(listingHTML, "</title>")
	d.WriteString(head)
	d.text(readable(strings.TrimSuffix(p.Bucket, "/") + "/" + p.Folder))
	d.WriteString("</title>" + rest + "<header>\n  <h1>")
	crumbs := l.crumbs(p)
	for i, c := range crumbs {
		d.crumb(c, i > 0)
	}
	d.WriteString(`</h1>
</header>
<main>
  <div class="card">
    <table>
      <thead><tr><th scope="col">Name</th><th scope="col" class="size">Size</th><th scope="col">Modified (UTC)</th></tr></thead>
      <tbody>`)
	if len(crumbs) > 1 && crumbs[len(crumbs)-2].Link != "" { // the folder that it is in has a listing
		d.WriteString(`
      <tr class="folder"><th scope="row"><span class="name"><svg aria-hidden="true"><use href="#up"/></svg><a href="../">Parent folder</a></span></th><td class="size"></td><td></td></tr>`)
	}
	for _, folders := range [...]bool{true, false} {
		for i := range p.Entries {
			if e := &p.Entries[i]; e.Folder == folders {
				d.entry(e, p.Folder)
			}
		}
	}
	d.WriteString("\n      </tbody>\n    </table>")
	d.foot(p)
	d.WriteString("\n  </div>\n</main>\n</body>\n</html>\n")
	return d.Bytes()
}

// crumb writes a folder on the way to that of the page; another is before it.
func (d *document) crumb(c crumb, another bool) {
	if another {
		d.WriteString("<span>/</span>")
	}
	name := func() { d.name(c.Name) }
	switch {
	case c.Link == "":
		name()
	case c.Here:
		d.link(c.Link, ` aria-current="page"`, name)
	default:
		d.link(c.Link, "", name)
	}
}

// entry writes the row of an entry.
func (d *document) entry(e *Entry, folder string) {
	open, symbol, slash := "\n      <tr>", "#file", ""
	if e.Folder {
		open, symbol, slash = "\n      <tr class=\"folder\">", "#folder", "/"
	}
	d.WriteString(open + `<th scope="row"><span class="name"><svg aria-hidden="true"><use href="` + symbol + `"/></svg>`)
	name := func() {
		d.name(readable(e.name(folder)))
		d.WriteString(slash)
	}
	if to := e.link(folder); to != "" {
		d.link(to, "", name)
	} else {
		d.WriteString("<span>")
		name()
		d.WriteString("</span>")
	}
	d.WriteString(`</span></th><td class="size"`)
	if !e.Folder {
		d.WriteString(` title="` + strconv.FormatInt(e.Size, 10) + ` bytes">` + humanSize(e.Size))
	} else {
		d.WriteString(">")
	}
	d.WriteString("</td><td>")
	if !e.Folder && !e.Modified.IsZero() {
		d.WriteString(`<time datetime="` + e.Modified.Format(time.RFC3339) + `">` + e.Modified.Format(time.DateTime) + "</time>")
	}
	d.WriteString("</td></tr>")
}

// foot writes what is below the entries.
func (d *document) foot(p *Page) {
	next := p.next()
	if len(p.Entries) == 0 {
		text := "This folder is empty."
		switch {
		case next != "":
			text = "Nothing on this page can be shown. The next may have more."
		case p.Continued:
			text = "There are no more entries."
		}
		d.WriteString("\n    <p class=\"none\">" + text + "</p>")
	}
	d.WriteString("\n    <div class=\"foot\"><span>" + counted(len(p.Entries)))
	if p.Continued || next != "" {
		d.WriteString(` on this page</span><span class="push"></span>`)
	} else {
		d.WriteString("</span>")
	}
	if p.Continued {
		d.link("./", ` class="button"`, func() { d.WriteString("First page") })
	}
	if next != "" {
		d.link(next, ` class="button next"`, func() { d.WriteString("Next page") })
	}
	d.WriteString("</div>")
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
