package cache

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

func TestPinned(t *testing.T) {
	c := New(Options{MaxBytes: 1 << 20})
	expect := func(when string, want int64) {
		t.Helper()
		if got := c.Pinned(); got != want {
			t.Errorf("%s: %d bytes pinned, want %d", when, got, want)
		}
	}
	o := object("k", 1000)
	c.Pin(o)
	c.Pin(o)
	expect("two readers", 1000)
	c.Put(o)
	expect("stored", 0)
	c.Unpin(o)
	c.Pin(o)
	expect("read while it is stored", 0)
	c.PurgeGroup("g", true)
	expect("marked stale", 0)
	c.Delete(o.Key)
	expect("dropped", 1000)
	c.Unpin(o)
	expect("one reader left", 1000)
	c.Unpin(o)
	expect("none left", 0)

	c.Put(o)
	c.Pin(o)
	c.Put(object("k", 10))
	expect("replaced", 1000)
	c.Unpin(o)
	expect("replaced, and none left", 0)

	first := object("k", 1000)
	c.Put(first)
	second := first.Clone()
	c.Pin(first)
	if !c.Replace(first, second, c.Epoch("g", first.Key)) {
		t.Fatal("not replaced")
	}
	c.Pin(second)
	expect("two readers of a body that is stored", 0)
	c.Replace(second, second.Clone(), c.Epoch("g", first.Key))
	c.Delete(first.Key)
	expect("two readers of a body that was", 1000)
	c.Unpin(first)
	c.Unpin(second)
	expect("none of it", 0)

	a, b := &Object{}, &Object{}
	if !c.Reserve(a, 500, 400) || c.Reserve(b, 1, 400) {
		t.Error("the first may be of any size, the next not")
	}
	a.Body = make([]byte, 500)
	arriving := func(when string, want int64) {
		t.Helper()
		if got := c.Arriving(); got != want {
			t.Errorf("%s: %d bytes arriving, want %d", when, got, want)
		}
	}
	c.Pin(a)
	expect("reserved, and read", 0)
	arriving("reserved, and read", 500)
	c.Arrived(a)
	expect("arrived, and read", 500)
	arriving("arrived, and read", 0)
	if !c.Reserve(b, 400, 400) {
		t.Error("what is read takes the room of what arrives")
	}
	c.Unpin(a)
	b.Body = make([]byte, 400)
	c.Arrived(b)
	expect("arrived, and not read", 0)
	arriving("arrived, and not read", 0)

	d := object("d", 1000)
	if !c.Reserve(d, 1000, 1000) {
		t.Fatal("not reserved")
	}
	c.Pin(d)
	c.Put(d)
	c.Arrived(d)
	expect("arrived, read and stored", 0)
	c.Delete(d.Key)
	expect("no more stored", 1000)
	if n := d.Held(); n != 1000 {
		t.Errorf("its reader holds %d bytes", n)
	}
	c.Unpin(d)
	expect("given back", 0)
}

// TestPinnedRace has readers, evictions and purges at once; in the end nothing is
// pinned.
func TestPinnedRace(t *testing.T) {
	c := New(Options{MaxBytes: 256 << 10})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 20_000 {
				key := fmt.Sprint(r.IntN(200))
				o := c.Get([]byte(key))
				if o == nil {
					o = object(key, 1+r.IntN(8000))
					c.Pin(o)
					c.Put(o)
					c.Unpin(o)
					continue
				}
				c.Pin(o)
				if r.IntN(10) == 0 {
					c.Delete([]byte(key))
				}
				if r.IntN(500) == 0 {
					c.PurgeGroup("g", r.IntN(2) == 0)
				}
				c.Unpin(o)
			}
		})
	}
	wg.Wait()
	if c.Pinned() != 0 {
		t.Errorf("%d bytes stay pinned", c.Pinned())
	}
	consistent(t, c)
}
