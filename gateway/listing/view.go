package listing

import (
	"strings"
	"time"
	"unicode/utf8"

	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/web"
)

// view is what a client sees of a folder behind a key: as many entries as a page has.
//
// What it does not see must not show in it, neither by name nor by what is missing: a view goes on
// until it is full and it is known whether more follows, or until the folder ends.
type view struct {
	folder  []byte
	most    int // entries
	listing *web.Listing
	reads   func(key []byte) bool // nil: all may be read
	entries []origin.Entry
	more    bool                  // the client sees further ones
	bound   string                // key at which the search for them was given up; empty: it was not
	marked  bool                  // there is the folder, even if it is empty
	hides   bool                  // the client may not read all that it was made of
	pages   int                   // of the origin that it was made of
	splits  func(key string) bool // of keys at which views end, see maxViewSplits
	passed  int                   // of these
	first   *list                 // of them
	fresh   time.Duration         // how long it is so
}

// Bounds of what is looked at for one view. Where it is given up must not depend on how many entries
// there are before: who moves the beginning over one would see the end move, and so learn its name. So
// that is at certain keys, wherever the view begins, of which there are a few; see Room.splits.
const (
	maxViewSplits = 26 // some 6,500 entries; a page of a thousand that are seen has far less
	maxViewPages  = 10 // of the origin, which come first in a few of a hundred cases
)

// view returns what the client of q sees.
func (p *Pages) view(q *Query) (*view, error) {
	if p.Private && q.Reads == nil {
		panic("BUG: nobody says what the client may read")
	}
	v := &view{folder: q.Folder, listing: p.Listing, most: p.Listing.PageSize, fresh: freshFor, splits: p.Room.splits, reads: q.Reads}
	for after := q.After; ; {
		page, err := p.list(q.Folder, after, q.Client, func() (*origin.Folder, error) { return p.ask(q, after) })
		if err != nil {
			return nil, err
		}
		v.add(page)
		if !p.filters() {
			v.entries, v.more = page.Entries, page.More
			return v, nil
		}
		n, place := len(page.Entries), ""
		if page.More {
			n, place = goOn(page.Entries)
		}
		if err = p.Room.do(q.Client, 0, func() { v.look(page.Entries[:n]) }); err != nil {
			return nil, err
		}
		switch {
		case v.more || place == "":
			return v, nil
		case v.pages == maxViewPages:
			v.more, v.bound = true, place
			return v, nil
		}
		after = []byte(place)
	}
}

// add notes that v is made of a further page of the origin.
func (v *view) add(page *list) {
	if v.pages++; v.pages == 1 {
		v.first = page
	}
	v.marked = v.marked || page.Marked
	v.fresh = min(v.fresh, page.left())
}

// look takes those of the entries that the client sees, until it is known that there are more than
// fit, or too many have been looked at.
func (v *view) look(entries []origin.Entry) {
	for i := range entries {
		e := &entries[i]
		if v.sees(e) {
			if len(v.entries) == v.most {
				v.more = true
				return
			}
			v.entries = append(v.entries, *e)
		}
		if v.splits(e.Key) {
			if v.passed++; v.passed == maxViewSplits {
				v.more, v.bound = true, e.Key
				return
			}
		}
	}
}

// sees tells whether the client sees an entry.
func (v *view) sees(e *origin.Entry) bool {
	if v.listing.Hides(strings.TrimSuffix(e.Key[len(v.folder):], "/")) {
		return false
	}
	if v.reads != nil && !v.reads(request.StringBytes(e.Key)) {
		v.hides = true
		return false
	}
	return true
}

// alike tells whether all who may read what v was made of have the same view for the time of its
// first page.
func (v *view) alike() bool { return !v.hides && (v.pages == 1 || v.reads == nil) }

// end has v end where the next page can go on, and returns that place, and whether clients must
// not be told of it.
func (v *view) end() (place string, secret bool) {
	if !v.more || v.bound != "" {
		return v.bound, true
	}
	n, place := goOn(v.entries)
	v.entries, v.more = v.entries[:n], place != ""
	return place, n == 0 || place != v.entries[n-1].Key
}

// goOn returns the last place in a list, which is not empty, that the origin can be asked to go on
// behind, and how many of the entries are before that: behind a key that is UTF-8, or else behind as
// little of a name as makes sure that there is an end. Empty: there is no such place.
func goOn(entries []origin.Entry) (n int, place string) {
	for n = len(entries); n > 0; n-- {
		if key := entries[n-1].Key; utf8.ValidString(key) {
			return n, key
		}
	}
	begin, end := entries[0].Key, entries[len(entries)-1].Key
	for i := range end {
		if part := end[:i]; part > begin && utf8.ValidString(part) {
			for n < len(entries) && entries[n].Key <= part {
				n++
			}
			return n, part
		}
	}
	return len(entries), ""
}

// page returns v as it is written, without its entries.
func (v *view) page(prefix string, continued bool, place string) *web.Page {
	return &web.Page{Bucket: prefix, Folder: string(v.folder), Continued: continued, Next: place, More: v.more}
}

// fill gives a page of v its entries.
func (v *view) fill(p *web.Page, keys request.Keys) {
	p.Entries = make([]web.Entry, len(v.entries))
	for i := range v.entries {
		e := &v.entries[i]
		p.Entries[i] = web.Entry{Key: e.Key, Folder: e.Folder, Size: e.Size, Modified: e.Modified, Linked: request.IsTarget(e.Key, keys)}
	}
}

// keyBytes returns how many bytes the keys of v have together.
func (v *view) keyBytes() (n int) {
	for i := range v.entries {
		n += len(v.entries[i].Key)
	}
	return n
}
