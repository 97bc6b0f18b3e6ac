package cache

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
)

// shop returns a cache of two groups with 300 objects each.
func shop() *Cache {
	c := New(Options{MaxBytes: 16 << 20})
	for _, group := range []string{"red", "blue"} {
		for i := range 300 {
			o := &Object{Key: shopKey(group, i), Group: group}
			if i%3 == 0 {
				o.Tags = []string{"other", "third"}
			}
			c.Put(o)
		}
	}
	return c
}

// shopKey is of folder/NNN, ten folders.
func shopKey(group string, i int) []byte {
	return AppendKey(nil, fmt.Appendf(nil, "%d/%03d", i/30, i), []byte(group))
}

func TestPurge(t *testing.T) {
	tests := map[string]struct {
		purge func(c *Cache, soft bool) int
		hit   func(group string, i int) bool
	}{
		"a group": {
			func(c *Cache, soft bool) int { return c.PurgeGroup("red", soft) },
			func(group string, _ int) bool { return group == "red" },
		},
		"a group that is not there": {
			func(c *Cache, soft bool) int { return c.PurgeGroup("green", soft) },
			func(string, int) bool { return false },
		},
		"a prefix": {
			func(c *Cache, soft bool) int { return c.PurgePrefix("red", []byte("4/"), soft) },
			func(group string, i int) bool { return group == "red" && i/30 == 4 },
		},
		"a whole name": {
			func(c *Cache, soft bool) int { return c.PurgePrefix("blue", []byte("4/121"), soft) },
			func(group string, i int) bool { return group == "blue" && i == 121 },
		},
		"the empty prefix": {
			func(c *Cache, soft bool) int { return c.PurgePrefix("blue", nil, soft) },
			func(group string, _ int) bool { return group == "blue" },
		},
		"a prefix beyond the first part": {
			func(c *Cache, soft bool) int { return c.PurgePrefix("red", []byte("4/121\x03red"), soft) },
			func(string, int) bool { return false },
		},
		"a name": {
			func(c *Cache, soft bool) int { return c.PurgeKey("blue", []byte("4/121"), soft) },
			func(group string, i int) bool { return group == "blue" && i == 121 },
		},
		"a name that begins one": {
			func(c *Cache, soft bool) int { return c.PurgeKey("blue", []byte("4/12"), soft) },
			func(string, int) bool { return false },
		},
		"a name of a group that is not there": {
			func(c *Cache, soft bool) int { return c.PurgeKey("green", []byte("4/121"), soft) },
			func(string, int) bool { return false },
		},
		"a tag": {
			func(c *Cache, soft bool) int { return c.PurgeTag("red", "third", soft) },
			func(group string, i int) bool { return group == "red" && i%3 == 0 },
		},
		"a tag that is not there": {
			func(c *Cache, soft bool) int { return c.PurgeTag("red", "thir", soft) },
			func(string, int) bool { return false },
		},
	}
	for name, test := range tests {
		for _, soft := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, soft %v", name, soft), func(t *testing.T) {
				c := shop()
				purged, want := test.purge(c, soft), 0
				for _, group := range []string{"red", "blue"} {
					for i := range 300 {
						o := c.Peek(shopKey(group, i))
						hit := test.hit(group, i)
						if hit {
							want++
						}
						switch {
						case soft && (o == nil || o.Stale() != hit):
							t.Errorf("%s %d: marked wrongly", group, i)
						case !soft && (o == nil) != hit:
							t.Errorf("%s %d: there: %v", group, i, o != nil)
						}
					}
				}
				var s Stats
				if c.UpdateStats(&s); purged != want || s.Purged != uint64(want) {
					t.Errorf("%d purged, counted %d, want %d", purged, s.Purged, want)
				}
				consistent(t, c)
			})
		}
	}
}

func TestSoftPurgeEndsWithNewObject(t *testing.T) {
	c := New(Options{MaxBytes: minBytes})
	old := object("k", 1)
	c.Put(old)
	c.PurgeGroup("g", true)
	if !c.Get([]byte("k")).Stale() {
		t.Fatal("not marked")
	}
	if !c.Replace(old, old.Clone(), c.Epoch("g", old.Key)) || c.Get([]byte("k")).Stale() {
		t.Error("still marked after its revalidation")
	}
	c.PurgeGroup("g", true)
	if c.Put(object("k", 1)); c.Get([]byte("k")).Stale() {
		t.Error("still marked after it was fetched")
	}
}

// TestPurgeOfMarkers has an object purged beside what stands for one that is not stored.
func TestPurgeOfMarkers(t *testing.T) {
	for _, soft := range []bool{true, false} {
		c := New(Options{MaxBytes: minBytes})
		marker := object("m", 0)
		marker.Marker = true
		c.Put(marker)
		c.Put(object("k", 1))
		if n := c.PurgeGroup("g", soft); n != 1 || marker.Stale() != soft {
			t.Errorf("soft %t: %d purged, want 1; the marker is stale: %t", soft, n, marker.Stale())
		}
		var s Stats
		if c.UpdateStats(&s); s.Purged != 1 {
			t.Errorf("soft %t: %d counted, want 1", soft, s.Purged)
		}
		c.PurgeGroup("g", false)
		var left Stats
		c.UpdateGroupStats("g", &left)
		if c.Len() != 0 || c.Bytes() != 0 || left.Entries != 0 {
			t.Errorf("soft %t: %d objects, %d bytes, %d of the group are left", soft, c.Len(), c.Bytes(), left.Entries)
		}
	}
}

// TestSoftPurgeEndsTheLifetime has time pass after a soft purge, a second one come, and
// the clock be set back.
func TestSoftPurgeEndsTheLifetime(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := New(Options{MaxBytes: minBytes, Now: func() time.Time { return now }})
	o := object("k", 1)
	o.Freshness = Freshness{Sent: now, Lifetime: time.Hour, StaleWhileRevalidate: 10 * time.Second, StaleIfError: 20 * time.Second}
	c.Put(o)
	if o.FreshnessAt(now) != &o.Freshness {
		t.Error("not the object's own before a purge")
	}
	now = now.Add(time.Minute)
	c.PurgeGroup("g", true)
	for _, step := range []struct {
		wait time.Duration
		want State
		ttl  int64
	}{
		{0, StaleRevalidate, 0}, {-2 * time.Second, StaleRevalidate, 0}, {8 * time.Second, StaleRevalidate, -6},
		{4 * time.Second, StaleError, -10}, {10 * time.Second, Expired, -20},
	} {
		now = now.Add(step.wait)
		f := o.FreshnessAt(now)
		if state, ttl := f.State(now), f.TTL(f.Age(now)); state != step.want || ttl != step.ttl {
			t.Errorf("at %v: %v, ttl %d; want %v, %d", now, state, ttl, step.want, step.ttl)
		}
		c.PurgeGroup("g", true) // begins no window anew
	}
	expired := object("k", 1)
	expired.Freshness = Freshness{Sent: now.Add(-time.Minute), Lifetime: 10 * time.Second}
	c.Put(expired)
	c.PurgeGroup("g", true)
	if f := expired.FreshnessAt(now); f.TTL(f.Age(now)) != -50 {
		t.Errorf("what had expired has the ttl %d", f.TTL(f.Age(now)))
	}
}

// TestPutSince has objects arrive that were asked for before a purge.
func TestPutSince(t *testing.T) {
	c := New(Options{MaxBytes: minBytes})
	epoch := c.Epoch("g", []byte("k"))
	c.PurgeGroup("other", false)
	if !c.PutSince(object("k", 1), epoch) {
		t.Error("not stored, though nothing was purged")
	}
	c.PurgePrefix("g", []byte("no such"), true)
	if c.PutSince(object("k", 2), epoch) || len(c.Peek([]byte("k")).Body) != 1 {
		t.Error("what was fetched before the purge is there")
	}
	newer := object("k", 1)
	if !c.PutSince(newer, c.Epoch("g", []byte("k"))) {
		t.Error("not stored after the purge")
	}
	if c.PutSince(object("k", 2), epoch) || c.Peek([]byte("k")) != newer {
		t.Error("what was fetched before the purge displaced what was fetched after")
	}
	consistent(t, c)
}

// TestPurgeKey has variants of a name, which go together, and fetches of them,
// which a purge of the name discards.
func TestPurgeKey(t *testing.T) {
	c := New(Options{MaxBytes: 64 << 20})
	key := func(name, version string) []byte { return AppendKey(nil, []byte(name), []byte(version)) }
	for v := range 100 {
		c.Put(&Object{Key: key("a", fmt.Sprint(v)), Group: "g"})
		c.Put(&Object{Key: key("a"+fmt.Sprint(v), ""), Group: "g"})
		c.Put(&Object{Key: key("a", fmt.Sprint(v, "other")), Group: "other"})
	}
	before, untouched := c.Epoch("g", key("a", "7")), c.Epoch("other", key("a", "7"))
	if n := c.PurgeKey("g", []byte("a"), false); n != 100 || c.Len() != 200 {
		t.Errorf("%d purged, %d left", n, c.Len())
	}
	o := &Object{Key: key("a", "7"), Group: "g"}
	if c.PutSince(o, before) {
		t.Error("what was fetched before the purge is stored")
	}
	now := c.Epoch("g", o.Key)
	if !c.PutSince(o, now) || c.Epoch("other", o.Key) != untouched {
		t.Error("what was fetched after the purge is not stored")
	}
	c.PurgeKey("g", []byte("a"), true)
	if c.Replace(o, o.Clone(), now) || !c.Peek(o.Key).Stale() {
		t.Error("a validation from before the purge took the mark away")
	}
	consistent(t, c)
}

// TestPurgeWhileReplaced covers what was there before, whatever else happens.
func TestPurgeWhileReplaced(t *testing.T) {
	c := New(Options{MaxBytes: 16 << 20, Shards: 1})
	var keys [][]byte
	for i := range 2000 {
		keys = append(keys, AppendKey(nil, fmt.Appendf(nil, "%d", i)))
		c.Put(&Object{Key: keys[i], Group: "g"})
	}
	begun := make(chan bool)
	done := make(chan bool)
	go func() { // ends with the purge
		defer close(done)
		close(begun)
		c.PurgeGroup("g", false)
	}()
	<-begun
	for i := range 2000 {
		c.Get(keys[2000-1-i])
		c.Delete(keys[i])
		c.Put(&Object{Key: keys[i], Group: "later"})
	}
	<-done
	for i := range keys {
		if o := c.Peek(keys[i]); o == nil || o.Group != "later" {
			t.Errorf("%d: %v", i, o)
		}
	}
	consistent(t, c)
}

func TestAppendKey(t *testing.T) {
	parts := func(s ...string) (list [][]byte) {
		for _, p := range s {
			list = append(list, []byte(p))
		}
		return list
	}
	keys := [][][]byte{
		nil, parts(""), parts("", ""), parts("a|b", "c"), parts("a", "b|c"), parts("a", "", "b|c"),
		parts("a\x03b|c"), parts("ab"), parts("a", "b"), parts(string(make([]byte, 200))),
	}
	var seen []string
	for _, key := range keys {
		got := string(AppendKey(nil, key...))
		if slices.Contains(seen, got) {
			t.Errorf("%q has the key of another", key)
		}
		seen = append(seen, got)
		if first, _, ok := cutFirstPart([]byte(got)); len(key) > 0 && (!ok || !bytes.Equal(first, key[0])) {
			t.Errorf("%q: the first part is %q", key, first)
		}
	}
	for _, key := range []string{"", "\x05abc", "\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a"} {
		if _, _, ok := cutFirstPart([]byte(key)); ok {
			t.Errorf("%q has a first part", key)
		}
	}
}

// FuzzAppendKey looks for different parts that make the same key.
func FuzzAppendKey(f *testing.F) {
	f.Add([]byte("a|b"), []byte("c"), []byte("a"), []byte("b|c"))
	f.Add([]byte(""), []byte("\x00"), []byte("\x00"), []byte(""))
	f.Add([]byte("\x01a"), []byte(""), []byte(""), []byte("\x01a"))
	f.Add(make([]byte, 127), make([]byte, 128), make([]byte, 128), make([]byte, 127))
	f.Fuzz(func(t *testing.T, a, b, c, d []byte) {
		same := string(a) == string(c) && string(b) == string(d)
		one, two := AppendKey([]byte("x"), a, b), AppendKey([]byte("x"), c, d)
		if (string(one) == string(two)) != same {
			t.Errorf("%q, %q and %q, %q: %q, %q", a, b, c, d, one, two)
		}
		joined := append(append([]byte(nil), a...), b...)
		for _, other := range [][]byte{AppendKey([]byte("x"), joined), AppendKey([]byte("x"), a, b, nil)} {
			if string(one) == string(other) {
				t.Errorf("%q, %q: %q is the key of other parts too", a, b, one)
			}
		}
		if first, rest, ok := cutFirstPart(one[1:]); !ok || !bytes.Equal(first, a) || !bytes.Equal(rest, AppendKey(nil, b)) {
			t.Errorf("%q begins with %q, then %q, want %q", one, first, rest, a)
		}
	})
}

// TestPurgeTogether compares purges that are made together with the same ones, one by one.
func TestPurgeTogether(t *testing.T) {
	many := make([][]byte, 0, 300)
	for i := range 300 {
		many = append(many, fmt.Appendf(nil, "%d//%03d", i/30, i))
	}
	for name, p := range map[string]*Purges{
		"nothing":             {},
		"all":                 {All: true, Keys: [][]byte{[]byte("4/121")}},
		"few keys":            {Keys: [][]byte{[]byte("4/121"), []byte("/4//122"), []byte("none")}},
		"many keys":           {Keys: many},
		"prefixes":            {Prefixes: [][]byte{[]byte("4/"), []byte("//5/15"), []byte("6/18"), []byte("none/of/them")}},
		"the empty prefix":    {Prefixes: [][]byte{nil, []byte("4/")}},
		"a tag":               {Tags: []string{"third", "fourth"}},
		"everything at once":  {Keys: [][]byte{[]byte("4/121")}, Prefixes: [][]byte{[]byte("7")}, Tags: []string{"third"}},
		"a key and no prefix": {Keys: [][]byte{[]byte("4/121"), []byte("4/12")}},
	} {
		for _, soft := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, soft %v", name, soft), func(t *testing.T) {
				together, single := shop(), shop()
				epoch := together.Epoch("red", shopKey("red", 121))
				got := together.Purge("red", p, soft)
				if p.All {
					single.PurgeGroup("red", soft)
				}
				for _, k := range p.Keys {
					single.PurgeKey("red", k, soft)
				}
				for _, k := range p.Prefixes {
					single.PurgePrefix("red", k, soft)
				}
				for _, tag := range p.Tags {
					single.PurgeTag("red", tag, soft)
				}
				n := 0
				for _, group := range []string{"red", "blue"} {
					for i := range 300 {
						a, b := together.Peek(shopKey(group, i)), single.Peek(shopKey(group, i))
						if (a == nil) != (b == nil) || a != nil && a.Stale() != b.Stale() {
							t.Errorf("%s %d: there: %t, %t", group, i, a != nil, b != nil)
						}
						if a == nil || a.Stale() {
							n++
						}
					}
				}
				if got != n {
					t.Errorf("%d purged, want %d", got, n)
				}
				o := single.Peek(shopKey("red", 121))
				late := &Object{Key: shopKey("red", 121), Group: "red"}
				if (o == nil || o.Stale()) && together.PutSince(late, epoch) {
					t.Error("what was asked for before the purge is stored after it")
				}
			})
		}
	}
}
