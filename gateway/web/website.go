package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"time"

	"yatagarasu/gateway/config/site"
	"yatagarasu/gateway/media"
)

// Website says what is answered where a request names no object. Safe for concurrent use.
type Website struct {
	Redirects       *Redirects // nil: none
	ObjectRedirects bool       // objects may redirect

	index         string // name of the object that stands for a folder; empty: none does
	trailingSlash string // as in the configuration
	cleanURLs     bool
	fallback      string   // key; empty: none
	assets        []string // keys of folders
	documents     []site.ErrorDocument
	files         map[string]*File // by key
}

func newWebsite(c *site.Site, prefix string) *Website {
	w := &c.Website
	site := &Website{
		Redirects: newRedirects(w.Redirects, prefix), ObjectRedirects: w.ObjectRedirects,
		index: w.Index, trailingSlash: w.TrailingSlash, cleanURLs: w.CleanURLs, fallback: w.SPA.Fallback, documents: w.ErrorDocuments,
	}
	for _, path := range w.SPA.Assets {
		site.assets = append(site.assets, path[1:])
	}
	types := typesOf(c)
	if len(w.Files) > 0 {
		site.files = make(map[string]*File)
	}
	for _, p := range w.Files {
		key := p.Name[1:]
		site.files[key] = newFile(types.Of([]byte(key), nil), []byte(p.Value))
	}
	if site.Redirects == nil && !site.ObjectRedirects && site.index == "" && !site.cleanURLs && site.fallback == "" && site.documents == nil && site.files == nil {
		return nil
	}
	return site
}

// typesOf returns the types of texts that the gateway has itself: those that the bucket's map
// has, and those of all extensions.
func typesOf(c *site.Site) *media.Types {
	return media.New(true, c.ContentTypes.Map)
}

// Step is a link in the chain of objects that stand in for the one that a request names. The
// zero value is that object itself.
type Step uint8

const (
	Itself   Step = iota
	Index         // of the folder that the key is
	Listed        // what is in the folder, for one without an index
	Clean         // the key and ".html"
	Folder        // the index of the folder that the key is without its slash
	Fallback      // of an application
	NoStep        // the end of the chain
)

// HasIndex tells whether folders have an index.
func (w *Website) HasIndex() bool { return w.index != "" }

// MeansFolder tells whether a key is that of a folder, with its slash, or of the bucket.
func MeansFolder(key []byte) bool { return len(key) == 0 || key[len(key)-1] == '/' }

// AnswersRoot tells whether an empty key has an answer.
func (w *Website) AnswersRoot() bool { return w.index != "" || w.fallback != "" }

// RedirectsFolders tells whether the path of a folder without its slash leads to the one with it.
func (w *Website) RedirectsFolders() bool { return w.trailingSlash == "redirect" }

// First returns the first link of the chain for a key, and appends its key to dst: the index for a
// folder, else the object itself, of which nothing is appended.
//
// Hot path: zero allocations if dst has room, guarded by TestWebHitAllocs.
func (w *Website) First(dst, key []byte) ([]byte, Step) {
	switch {
	case w.index != "" && MeansFolder(key):
		return append(append(dst, key...), w.index...), Index
	case len(key) == 0:
		return w.Next(dst, key, Index)
	}
	return dst, Itself
}

// Next returns the link behind another, whose object is missing, and appends its key to dst.
//
// Hot path: zero allocations if dst has room, guarded by TestWebHitAllocs.
func (w *Website) Next(dst, key []byte, behind Step) ([]byte, Step) {
	for step := max(behind, Index) + 1; step < NoStep; step++ {
		switch {
		case step == Clean && w.cleanURLs && !MeansFolder(key) && !media.Known(key):
			return append(append(dst, key...), ".html"...), step
		case step == Folder && w.index != "" && w.trailingSlash != "off" && !MeansFolder(key):
			return append(append(append(dst, key...), '/'), w.index...), step
		case step == Fallback && w.fallback != "" && !media.Known(key) && !w.isAsset(key) && string(key) != w.fallback && !w.isIndexed(key):
			return append(dst, w.fallback...), step
		}
	}
	return dst, NoStep
}

// isIndexed tells whether the index of a folder is the fallback, too: it has been looked for.
func (w *Website) isIndexed(key []byte) bool {
	n := len(key)
	return w.index != "" && MeansFolder(key) && len(w.fallback) == n+len(w.index) && w.fallback[:n] == string(key) && w.fallback[n:] == w.index
}

// isAsset tells whether a key is below one of the folders of assets.
func (w *Website) isAsset(key []byte) bool {
	for _, folder := range w.assets {
		if n := len(folder); len(key) >= n && string(key[:n]) == folder && (len(key) == n || key[n] == '/') {
			return true
		}
	}
	return false
}

// AppendDocument appends the key of the object that is sent with a status. It appends nothing if
// there is none.
func (w *Website) AppendDocument(dst []byte, status int) []byte {
	for i := range w.documents {
		if d := &w.documents[i]; d.Status == status {
			return append(dst, d.Key...)
		}
	}
	return dst
}

// File returns the text that the configuration has for a key; nil: it has none.
//
// Hot path: zero allocations, guarded by TestWebHitAllocs.
func (w *Website) File(key []byte) *File { return w.files[string(key)] }

// File is a text of the gateway's own. It does not change.
type File struct {
	Type []byte // media type; nil: unknown
	ETag []byte
	Text []byte
}

func newFile(kind, text []byte) *File {
	sum := sha256.Sum256(text)
	return &File{Type: kind, ETag: []byte(`"` + hex.EncodeToString(sum[:16]) + `"`), Text: text}
}

// Maintenance is the answer to all requests for a bucket. Safe for concurrent use.
type Maintenance struct {
	Page       *File // nil: the gateway's own error
	RetryAfter int   // seconds
	allow      []netip.Prefix
}

func newMaintenance(c *site.Site) *Maintenance {
	m := &c.Maintenance
	if !m.Enabled {
		return nil
	}
	site := &Maintenance{RetryAfter: int((m.RetryAfter + time.Second - 1) / time.Second), allow: m.Allow}
	if m.Page != "" {
		site.Page = newFile(typesOf(c).Of([]byte(m.Page), nil), m.Text)
	}
	return site
}

// Admits tells whether all works for a client.
func (m *Maintenance) Admits(client netip.Addr) bool {
	for _, p := range m.allow {
		if p.Contains(client) {
			return true
		}
	}
	return false
}

// DocumentHead returns the lines of an object's head that say what its bytes are, and the Date. It
// overwrites head.
func DocumentHead(head []byte) []byte {
	kept := 0
	for at := 0; at < len(head); {
		end := at + bytes.IndexByte(head[at:], '\n') + 1
		name, _, _ := bytes.Cut(head[at:end], []byte(":"))
		switch string(name) {
		case "Content-Type", "Content-Encoding", "Content-Language", "Date":
			kept += copy(head[kept:], head[at:end])
		}
		at = end
	}
	return head[:kept]
}
