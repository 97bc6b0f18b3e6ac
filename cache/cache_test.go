package cache

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// object returns an object of a body of n bytes that only its key and n
// determine.
func object(key string, n int) *Object {
	return &Object{Key: []byte(key), Group: "g", Header: []byte("Content-Type: text/plain\r\n"), Body: bytes.Repeat([]byte(key[:1]), n), Status: 200}
}

// bounded returns the check that is made after every step of a test.
func bounded(t *testing.T, c *Cache) func() {
	return func() {
		t.Helper()
		if n := c.Bytes(); n > c.opts.MaxBytes || n < 0 {
			t.Fatalf("%d bytes, bound %d", n, c.opts.MaxBytes)
		}
	}
}

// consistent compares all counters of c with what it holds.
func consistent(t *testing.T, c *Cache) {
	t.Helper()
	var entries, size int64
	groups := map[string]Stats{}
	for n := range c.shards {
		s := &c.shards[n]
		s.mu.Lock()
		listed := 0
		age := uint64(none)
		for slot := s.at(root).next; slot != root; slot = s.at(slot).next {
			e := s.at(slot)
			if got := s.findLocked(e.hash, e.obj.Key); got != slot {
				t.Errorf("slot %d is found as %d", slot, got)
			}
			if e.size != e.obj.Size() {
				t.Errorf("size %d, want %d", e.size, e.obj.Size())
			}
			if e.used > age {
				t.Error("not in the order of use")
			}
			age = e.used
			listed++
			size += e.size
			g := groups[e.obj.Group]
			g.Entries++
			g.Bytes += e.size
			groups[e.obj.Group] = g
		}
		if listed != s.index.used {
			t.Errorf("%d listed, %d in the index", listed, s.index.used)
		}
		if got := c.oldest[n].Load(); got != age {
			t.Errorf("published age %d, want %d", got, age)
		}
		if got, want := s.aliases, aliasesOf(c, s); !maps.Equal(got, want) {
			t.Errorf("aliases are counted as %v, want %v", got, want)
		}
		entries += int64(listed)
		s.mu.Unlock()
	}
	var s Stats
	c.UpdateStats(&s)
	if s.Entries != entries || s.Bytes != size || c.Len() != int(entries) || c.Bytes() != size || s.Gets < s.Hits {
		t.Errorf("%+v, want %d entries, %d bytes", s, entries, size)
	}
	for name, want := range groups {
		var got Stats
		if c.UpdateGroupStats(name, &got); got != want {
			t.Errorf("group %s: %+v, want %+v", name, got, want)
		}
	}
}

// model is a naive cache: what was used last comes last.
type model struct {
	max   int64
	used  int64
	order []string
	objs  map[string]*Object
}

func (m *model) remove(key string) bool {
	o := m.objs[key]
	if o == nil {
		return false
	}
	delete(m.objs, key)
	m.used -= o.Size()
	i := slices.Index(m.order, key)
	m.order = slices.Delete(m.order, i, i+1)
	return true
}

func (m *model) get(key string) *Object {
	o := m.objs[key]
	if o != nil {
		m.put(o)
	}
	return o
}

func (m *model) put(o *Object) {
	m.remove(string(o.Key))
	for m.used+o.Size() > m.max {
		m.remove(m.order[0])
	}
	m.order = append(m.order, string(o.Key))
	m.objs[string(o.Key)] = o
	m.used += o.Size()
}

// TestCacheMatchesModel runs random operations on a cache and on the model.
func TestCacheMatchesModel(t *testing.T) {
	steps := 100_000
	if testing.Short() {
		steps = 20_000
	}
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			const maxObject = 30_000
			c := New(Options{MaxBytes: minBytes, MaxObjectBytes: maxObject, Shards: 1})
			m := &model{max: minBytes, objs: map[string]*Object{}}
			check := bounded(t, c)
			size := func() int {
				if r.IntN(20) == 0 {
					return r.IntN(maxObject + maxObject/10)
				}
				return r.IntN(2000)
			}
			for step := range steps {
				key := fmt.Sprintf("%d", r.IntN(100))
				switch op := r.IntN(20); {
				case op < 9:
					if got, want := c.Get([]byte(key)), m.get(key); got != want {
						t.Fatalf("step %d: Get of %s: %p, want %p", step, key, got, want)
					}
				case op < 10:
					if got, want := c.Peek([]byte(key)), m.objs[key]; got != want {
						t.Fatalf("step %d: Peek of %s: %p, want %p", step, key, got, want)
					}
				case op < 17:
					o := object(key, size())
					fits := len(o.Body) <= maxObject
					if fits {
						m.put(o)
					} else {
						m.remove(key)
					}
					if c.Put(o) != fits {
						t.Fatalf("step %d: Put of %d bytes: %v", step, len(o.Body), !fits)
					}
				case op < 18:
					if got, want := c.Delete([]byte(key)), m.remove(key); got != want {
						t.Fatalf("step %d: Delete of %s: %v", step, key, got)
					}
				default:
					old := m.objs[key]
					if old == nil || op == 18 {
						old = object(key, 10)
					}
					updated := object(key, size())
					want := old == m.objs[key] && len(updated.Body) <= maxObject
					if want {
						m.put(updated)
					}
					if got := replaceNow(c, old, updated); got != want {
						t.Fatalf("step %d: Replace of %s: %v", step, key, got)
					}
				}
				check()
				if step%1000 == 0 {
					consistent(t, c)
				}
				if c.Bytes() != m.used || c.Len() != len(m.order) {
					t.Fatalf("step %d: %d bytes, %d entries; want %d, %d", step, c.Bytes(), c.Len(), m.used, len(m.order))
				}
			}
			consistent(t, c)
		})
	}
}

// TestEvictionOverShards keeps what was used last, in whatever shard it is.
func TestEvictionOverShards(t *testing.T) {
	c := New(Options{MaxBytes: 1 << 20, Shards: 64})
	const n = 5000
	for i := range n {
		c.Put(object(fmt.Sprintf("key%d", i), 1000))
	}
	consistent(t, c)
	kept := c.Len()
	for i := range n {
		if got, want := c.Peek(fmt.Appendf(nil, "key%d", i)) != nil, i >= n-kept; got != want {
			t.Errorf("key%d of %d is there: %v, want %v", i, n, got, want)
		}
	}
	if used := c.Bytes(); used < 1<<20-2000 {
		t.Errorf("%d bytes used", used)
	}
}

// TestLargestObjectFits whatever the number of shards.
func TestLargestObjectFits(t *testing.T) {
	for _, policy := range []string{PolicyLRU, PolicyTinyLFU} {
		for _, shards := range []int{1, 8, 1024} {
			t.Run(fmt.Sprintf("%s, %d shards", policy, shards), func(t *testing.T) {
				c := New(Options{MaxBytes: 1 << 20, Shards: shards, Policy: policy})
				check := bounded(t, c)
				for i := range 300 {
					c.Put(object(fmt.Sprintf("s%d", i), 2000))
					check()
				}
				for i := range 100 {
					key := fmt.Sprintf("large%d", i)
					for range 20 { // asked for often enough
						c.Get([]byte(key))
					}
					if !c.Put(object(key, 512<<10)) || c.Get([]byte(key)) == nil {
						t.Fatalf("%s was not stored", key)
					}
					check()
				}
				consistent(t, c)
			})
		}
	}
}

func TestPut(t *testing.T) {
	tests := map[string]struct {
		first, second int
		stored        bool
		want          int // the body that is there afterwards; -1: none
	}{
		"larger replaces smaller":                  {10, 1000, true, 1000},
		"smaller replaces larger":                  {1000, 10, true, 10},
		"one that fills all replaces":              {20 << 10, 32 << 10, true, 32 << 10},
		"too large is not stored and drops an old": {10, 32<<10 + 1, false, -1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := New(Options{MaxBytes: minBytes})
			c.Put(object("k", test.first))
			if got := c.Put(object("k", test.second)); got != test.stored {
				t.Errorf("stored: %v", got)
			}
			got := -1
			if o := c.Get([]byte("k")); o != nil {
				got = len(o.Body)
			}
			if got != test.want {
				t.Errorf("%d bytes, want %d", got, test.want)
			}
			consistent(t, c)
		})
	}
	t.Run("a head larger than the cache", func(t *testing.T) {
		c := New(Options{MaxBytes: minBytes})
		o := object("k", 0)
		o.Header = make([]byte, minBytes)
		if c.Put(o) || c.Len() != 0 {
			t.Error("stored")
		}
		small := object("k", 0)
		c.Put(small)
		if replaceNow(c, small, o) || c.Peek([]byte("k")) != small {
			t.Error("replaced")
		}
	})
}

// replaceNow replaces old for a validation that no purge came between.
func replaceNow(c *Cache, old, updated *Object) bool {
	return c.Replace(old, updated, c.Epoch(old.Group, old.Key))
}

func TestReplace(t *testing.T) {
	c := New(Options{MaxBytes: minBytes})
	old := object("k", 10)
	old.ETag, old.Status = `"e"`, 1
	c.Put(old)
	updated := old.Clone()
	updated.Status = 2
	if !replaceNow(c, old, updated) || c.Get([]byte("k")) != updated {
		t.Error("not replaced")
	}
	if replaceNow(c, old, old.Clone()) || c.Get([]byte("k")) != updated {
		t.Error("replaced what is no longer stored")
	}
	if &updated.Body[0] != &old.Body[0] || updated.ETag != old.ETag || old.Status != 1 {
		t.Error("a clone differs")
	}
	consistent(t, c)
	defer func() {
		if recover() == nil {
			t.Error("replaced by another key")
		}
	}()
	replaceNow(c, updated, object("other", 1))
}

// TestEqualHashes has keys that only a comparison of the whole keys tells apart.
func TestEqualHashes(t *testing.T) {
	var s shard
	s.init(false)
	for round := range 3 {
		for i := range 100 {
			s.insertLocked(newEntry(object(fmt.Sprintf("%d", i), 0), 7, 0, 0))
		}
		for i := range 100 {
			key := fmt.Sprintf("%d", i)
			slot := s.findLocked(7, []byte(key))
			if slot == 0 || string(s.at(slot).obj.Key) != key {
				t.Fatalf("round %d: %s is not found", round, key)
			}
			s.removeLocked(slot)
			if s.findLocked(7, []byte(key)) != 0 {
				t.Fatalf("round %d: %s is found after its removal", round, key)
			}
		}
	}
}

func TestReaderKeepsBody(t *testing.T) {
	c := New(Options{MaxBytes: minBytes})
	c.Put(object("held", 10_000))
	o := c.Get([]byte("held"))
	for i := range 1000 {
		c.Put(object(fmt.Sprintf("k%d", i), 1000))
	}
	if c.Peek([]byte("held")) != nil {
		t.Fatal("it was not evicted")
	}
	if string(o.Body) != strings.Repeat("h", 10_000) {
		t.Error("the bytes changed")
	}
}

func TestOptions(t *testing.T) {
	tests := map[string]struct {
		options Options
		want    string
	}{
		"no bound":            {Options{}, "MaxBytes is 0; use at least 65536"},
		"an object too large": {Options{MaxBytes: 1 << 20, MaxObjectBytes: 1<<19 + 1}, "MaxObjectBytes is 524289; use at most half of MaxBytes, 524288"},
		"unknown policy":      {Options{MaxBytes: 1 << 20, Policy: "fifo"}, `Policy is "fifo"; use "lru" or "tinylfu"`},
		"shards":              {Options{MaxBytes: 1 << 20, Shards: 3}, "Shards is 3; use a power of two up to 1024"},
		"two at once":         {Options{MaxBytes: 1, Shards: 2048}, "MaxBytes is 1; use at least 65536\nShards is 2048; use a power of two up to 1024"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); got != "BUG: cache.Options: "+test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			}()
			New(test.options)
		})
	}
	for max, want := range map[int64]int{64 << 10: 1, 1 << 20: 1, 2 << 20: 2, 10e6: 8, 256e6: 128, 1 << 40: 256} {
		if got := len(New(Options{MaxBytes: max}).shards); got != want {
			t.Errorf("%d bytes have %d shards, want %d", max, got, want)
		}
	}
}

// TestSize compares with what the runtime really hands out.
func TestSize(t *testing.T) {
	for n := 0; n < 100_000; n += 1 + n/64 {
		if got, want := allocated(int64(n)), int64(cap(append([]byte(nil), make([]byte, n)...))); got != want {
			t.Fatalf("%d bytes take %d, want %d", n, got, want)
		}
	}
	o := &Object{}
	empty := o.Size()
	o.Key, o.Header, o.Body = make([]byte, 100), make([]byte, 1000), make([]byte, 33_000)
	o.Tags, o.ETag, o.LastModified = []string{"tag"}, "123456789", "0"
	want := int64(112 + 1024 + 40960 + 16 + 8 + 16 + 8)
	want += want / runtimeShare
	if got := o.Size() - empty; got < want || got > want+1 {
		t.Errorf("%d bytes, want %d", got, want)
	}
}
