package listing

import (
	"fmt"
	"strings"
	"testing"

	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/web"
)

// TestViewsEndAtTheSameKeys has views of a large folder, of which next to nothing is seen, begin at each
// of its keys: they end at the same key until the beginning moves over one at which views end.
func TestViewsEndAtTheSameKeys(t *testing.T) {
	var entries []origin.Entry
	for i := range 600 {
		entries = append(entries, origin.Entry{Key: fmt.Sprintf("f/hidden-%03d", i)})
	}
	splits := func(key string) bool { return strings.HasSuffix(key, "0") }
	site := new(web.Listing)
	before := ""
	for from := range 200 {
		v := &view{folder: []byte("f/"), most: 1000, listing: site, splits: splits}
		v.look(entries[from:])
		place, secret := v.end()
		if moved := place != before; !v.more || !secret || moved != (from == 0 || splits(entries[from-1].Key)) || place != v.entries[len(v.entries)-1].Key {
			t.Errorf("from %d on, a view ends at %q, before at %q; secret %t", from, place, before, secret)
		}
		before = place
	}
}

// TestGoOn finds places that the origin can be asked to go on behind.
func TestGoOn(t *testing.T) {
	for _, c := range []struct {
		keys  []string
		n     int
		place string
	}{
		{[]string{"a", "b"}, 2, "b"},
		{[]string{"a", "b\xff"}, 1, "a"},
		{[]string{"a\xff", "b\xff", "c\xff"}, 2, "c"},
		{[]string{"a\xfe", "a\xff"}, 2, ""},
		{[]string{"\xff"}, 1, ""},
	} {
		var entries []origin.Entry
		for _, key := range c.keys {
			entries = append(entries, origin.Entry{Key: key})
		}
		if n, place := goOn(entries); n != c.n || place != c.place {
			t.Errorf("%q: %d, %q; want %d, %q", c.keys, n, place, c.n, c.place)
		}
	}
}
