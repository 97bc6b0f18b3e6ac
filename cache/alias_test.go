package cache

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

func TestCollapsedNames(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "a": "a", "a/": "a/", "a/b": "a/b", "/": "", "//": "", "/a": "a", "//a": "a", "a//": "a/", "a//b": "a/b", "/a///b//": "a/b/", "a /b": "a /b", `\\a`: `\\a`,
	} {
		got := string(AppendCollapsed(nil, []byte(name)))
		if got != want || HasEmptySegment([]byte(name)) != (name != want) {
			t.Errorf("%q becomes %q, want %q; it has an empty segment: %t", name, got, want, HasEmptySegment([]byte(name)))
		}
	}
}

// TestGetAliases finds the objects of all spellings, each of which lies in the shard of its name,
// and counts each look-up once.
func TestGetAliases(t *testing.T) {
	for _, shards := range []int{1, 2, 64} {
		c := New(Options{MaxBytes: 64 << 20, Shards: shards})
		stored := make(map[string]*Object)
		for i := range 100 {
			for _, form := range []string{"d/%d", "/d/%d", "d//%d", "/%d"} {
				o := &Object{Key: AppendKey(nil, fmt.Appendf(nil, form, i), []byte("x")), Group: "g", Status: 200}
				if stored[string(o.Key)] = o; !c.Put(o) {
					t.Fatalf("%q is not stored", o.Key)
				}
			}
		}
		for key, o := range stored {
			if got := c.Get([]byte(key)); got != o {
				t.Fatalf("%d shards: %q is %p, want %p", shards, key, got, o)
			}
			if c.Get(append([]byte(key), 'y')) != nil {
				t.Fatalf("%d shards: something else than %q is found", shards, key)
			}
		}
		var s Stats
		if c.UpdateStats(&s); s.Hits != uint64(len(stored)) || s.Gets != 2*s.Hits {
			t.Errorf("%d shards: %d hits of %d look-ups, of %d objects", shards, s.Hits, s.Gets, len(stored))
		}
	}
}

func FuzzCollapse(f *testing.F) {
	for _, name := range []string{"", "/", "a//b/", "//a/b///c"} {
		f.Add(name)
	}
	c := New(Options{MaxBytes: minBytes})
	runs := regexp.MustCompile("/+")
	f.Fuzz(func(t *testing.T, name string) {
		want := strings.TrimPrefix(runs.ReplaceAllLiteralString(name, "/"), "/")
		got := AppendCollapsed(nil, []byte(name))
		if string(got) != want || HasEmptySegment(got) || HasEmptySegment([]byte(name)) != (name != want) {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
		if c.hashName([]byte(name)) != c.hashName(got) {
			t.Errorf("%q and %q have different hashes", name, got)
		}
	})
}

func TestPurgeAliases(t *testing.T) {
	names := []string{"d/a", "/d/a", "d//a", "//d///a", "d/a/", "d/a//", "d/ab", "/d/b", "da", "e/d/a", "e//d/a"}
	for _, test := range []struct {
		name  string
		purge func(c *Cache) int
		gone  []string
	}{
		{"a name", func(c *Cache) int { return c.PurgeKey("g", []byte("d/a"), false) }, names[:4]},
		{"a name with empty segments", func(c *Cache) int { return c.PurgeKey("g", []byte("/d//a"), false) }, names[:4]},
		{"a name that ends in a slash", func(c *Cache) int { return c.PurgeKey("g", []byte("d/a/"), false) }, names[4:6]},
		{"a prefix", func(c *Cache) int { return c.PurgePrefix("g", []byte("d/"), false) }, names[:8]},
		{"a prefix with empty segments", func(c *Cache) int { return c.PurgePrefix("g", []byte("//d//"), false) }, names[:8]},
		{"a prefix within a segment", func(c *Cache) int { return c.PurgePrefix("g", []byte("d//a"), false) }, names[:7]},
		{"the prefix of all names", func(c *Cache) int { return c.PurgePrefix("g", []byte("/"), false) }, names},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := New(Options{MaxBytes: 1 << 20})
			epochs := map[string]uint64{}
			for _, n := range names {
				key := AppendKey(nil, []byte(n), []byte("origin"))
				epochs[n] = c.Epoch("g", key)
				if !c.Put(&Object{Key: key, Group: "g"}) {
					t.Fatalf("%q is not stored", n)
				}
			}
			if n := test.purge(c); n != len(test.gone) {
				t.Errorf("%d purged, want %d", n, len(test.gone))
			}
			for _, n := range names {
				key := AppendKey(nil, []byte(n), []byte("origin"))
				gone := strings.Contains("|"+strings.Join(test.gone, "|")+"|", "|"+n+"|")
				if (c.Peek(key) == nil) != gone {
					t.Errorf("%q: gone: %t", n, !gone)
				}
				if gone && c.PutSince(&Object{Key: key, Group: "g"}, epochs[n]) {
					t.Errorf("%q is stored from before the purge", n)
				}
			}
			consistent(t, c)
		})
	}
}

func TestFewAliasesAreStored(t *testing.T) {
	c := New(Options{MaxBytes: 1 << 20})
	spelling := func(i int, query string) *Object {
		return &Object{Key: AppendKey(nil, []byte(strings.Repeat("/", i)+"a"), []byte(query)), Group: "g"}
	}
	stored := 0
	for i := range 50 {
		if o := spelling(i, ""); c.Put(o) {
			stored++
			if !c.Put(spelling(i, "")) || !c.Replace(c.Peek(o.Key), spelling(i, ""), c.Epoch("g", o.Key)) {
				t.Errorf("spelling %d is not replaced by itself", i)
			}
		}
	}
	if stored != 1+maxAliases || c.Len() != stored {
		t.Errorf("%d of 50 spellings are stored, %d objects", stored, c.Len())
	}
	if !c.Put(spelling(7, "versionId=1")) {
		t.Error("another version is not stored")
	}
	if c.AdmitSince(spelling(8, ""), c.Epoch("g", spelling(8, "").Key)) {
		t.Error("one more is admitted")
	}
	if !c.Delete(spelling(1, "").Key) || !c.Put(spelling(9, "")) || c.Put(spelling(1, "")) {
		t.Error("the place of a deleted one is not free for one")
	}
	consistent(t, c)
	c.PurgeGroup("g", false)
	consistent(t, c)
	if !c.Put(spelling(10, "")) {
		t.Error("none is stored after a purge")
	}
}

// TestAliasesAtRandom stores, drops and evicts spellings of a few names.
func TestAliasesAtRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(93, 1))
	for _, policy := range []string{PolicyLRU, PolicyTinyLFU} {
		c := New(Options{MaxBytes: minBytes, Policy: policy, Shards: 2})
		for range 20_000 {
			name := strings.Repeat("/", r.IntN(4)) + fmt.Sprint(r.IntN(4)) + strings.Repeat("/", r.IntN(4)) + "x"
			key := AppendKey(nil, []byte(name), []byte{byte(r.IntN(2))})
			switch r.IntN(20) {
			case 0:
				c.Delete(key)
			case 1:
				c.PurgeKey("g", []byte(name), r.IntN(2) == 0)
			case 2:
				c.PurgePrefix("g", []byte(name[:r.IntN(len(name))]), r.IntN(4) > 0)
			default:
				c.Get(key)
				c.Put(&Object{Key: key, Group: "g", Body: make([]byte, r.IntN(6000))})
			}
		}
		if c.Len() == 0 {
			t.Error("nothing is stored: the test does not test")
		}
		consistent(t, c)
	}
}

// aliasesOf counts the aliases that are listed in a shard.
func aliasesOf(c *Cache, s *shard) map[uint64]int {
	counts := map[uint64]int{}
	for slot := s.at(root).next; slot != root; slot = s.at(slot).next {
		if alias, ok := c.aliasHash(s.at(slot).obj.Key); ok {
			counts[alias]++
		}
	}
	return counts
}
