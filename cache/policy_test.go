package cache

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"testing"
)

func TestTinyLFU(t *testing.T) {
	ask := func(c *Cache, key string, times int) {
		for range times {
			c.Get([]byte(key))
		}
	}
	// full returns a cache that is full of objects that were asked for four times.
	full := func() (c *Cache, n int) {
		c = New(Options{MaxBytes: 1 << 20, Policy: PolicyTinyLFU, Shards: 8})
		for ; ; n++ {
			key := fmt.Sprintf("k%d", n)
			ask(c, key, 4)
			if !c.Put(object(key, 1000)) || c.Bytes()+1500 > c.opts.MaxBytes {
				return c, n + 1
			}
		}
	}
	t.Run("a scan displaces little", func(t *testing.T) {
		c, n := full()
		for i := range 4 * n {
			key := fmt.Sprintf("scan%d", i)
			ask(c, key, 1)
			c.Put(object(key, 1000))
			bounded(t, c)()
		}
		kept := 0
		for i := range n {
			if c.Peek(fmt.Appendf(nil, "k%d", i)) != nil {
				kept++
			}
		}
		if kept < n/2 {
			t.Errorf("%d of %d are left", kept, n)
		}
		consistent(t, c)
	})
	t.Run("what is asked for as often is stored", func(t *testing.T) {
		c, _ := full()
		stored := 0
		const keys = 100
		for i := range keys {
			key := fmt.Sprintf("new%d", i)
			ask(c, key, 6)
			if c.Put(object(key, 1000)) && c.Peek([]byte(key)) != nil {
				stored++
			}
		}
		if stored < keys/2 { // a few meet one whose counters others share
			t.Errorf("%d of %d are stored", stored, keys)
		}
		consistent(t, c)
	})
	t.Run("what nobody has asked for is stored where it is to be", func(t *testing.T) {
		c, _ := full()
		key, epoch, stored := "", uint64(0), 0
		for i := range 1000 { // some displace one that the sketch has halved
			key = fmt.Sprintf("new%d", i)
			epoch = c.Epoch("g", []byte(key))
			if !c.PutSince(object(key, 1000), epoch) {
				break
			}
			stored++
		}
		if stored == 1000 {
			t.Fatal("all are stored against the policy")
		}
		if !c.AdmitSince(object(key, 1000), epoch) || c.Peek([]byte(key)) == nil {
			t.Error("not stored")
		}
		c.PurgeGroup("g", false)
		if c.AdmitSince(object(key, 1000), epoch) || c.Peek([]byte(key)) != nil {
			t.Error("what was fetched before the purge is there")
		}
		consistent(t, c)
	})
	t.Run("what is stored can always be replaced", func(t *testing.T) {
		c, n := full()
		key := fmt.Sprintf("k%d", n-1)
		if !c.Put(object(key, 200_000)) || len(c.Peek([]byte(key)).Body) != 200_000 {
			t.Error("not replaced")
		}
		old := c.Peek([]byte(key))
		if !replaceNow(c, old, object(key, 400_000)) {
			t.Error("not replaced")
		}
		consistent(t, c)
	})
	t.Run("what is newly popular gets in", func(t *testing.T) {
		c, n := full()
		for i := range n {
			ask(c, fmt.Sprintf("k%d", i), 15)
		}
		hits := 0
		for range 20 {
			for i := range n / 2 {
				key := fmt.Sprintf("new%d", i)
				if c.Get([]byte(key)) != nil {
					hits++
				} else {
					c.Put(object(key, 1000))
				}
			}
		}
		if want := 20 * (n / 2) / 3; hits < want {
			t.Errorf("%d hits, want %d", hits, want)
		}
	})
}

// TestSketch compares estimates with exact counts.
func TestSketch(t *testing.T) {
	const keys = 1000
	seed := maphash.MakeSeed()
	hash := func(i int) uint64 { return maphash.Comparable(seed, i) }
	s := newSketch()
	if s.frequency(hash(1)) != 0 {
		t.Error("an empty sketch counts")
	}
	s.grow(keys)
	exact := map[int]int{}
	r := rand.New(rand.NewPCG(1, 2))
	for range 5 * keys { // no halving yet
		i := int(r.ExpFloat64() * keys / 10)
		exact[i]++
		s.ask(hash(i))
	}
	over := 0
	for i := range 2 * keys {
		got, want := s.frequency(hash(i)), min(exact[i], maxFrequency)
		if got < want {
			t.Fatalf("%d was asked for %d times, estimate %d", i, want, got)
		}
		if got > want {
			over++
		}
	}
	if over > keys/10 {
		t.Errorf("%d of %d estimates are too high", over, 2*keys)
	}
	before := make([]int, keys)
	for i := range before {
		before[i] = s.frequency(hash(i))
	}
	s.grow(10 * keys)
	for i, want := range before {
		if got := s.frequency(hash(i)); got != want {
			t.Fatalf("%d: %d after growing, want %d", i, got, want)
		}
	}
	s.halve()
	for i, want := range before {
		if got := s.frequency(hash(i)); got != want/2 {
			t.Fatalf("%d: %d after halving, want %d", i, got, want/2)
		}
	}
	for range 100 * len(s.blocks) * blockEntries {
		s.ask(r.Uint64())
	}
	if s.asked >= asksPerEntry*blockEntries*len(s.blocks) {
		t.Error("never halved")
	}
}

// TestAdmits compares what is foreseen with what Put does.
func TestAdmits(t *testing.T) {
	for _, policy := range []string{PolicyTinyLFU, PolicyLRU} {
		for name, c := range map[string]struct {
			stored, asked int // times that the stored objects and the new one are asked for
			full          bool
		}{
			"there is room":                   {3, 0, false},
			"less popular than what is there": {3, 1, true},
			"as popular":                      {3, 3, true},
			"more popular":                    {3, 5, true},
		} {
			t.Run(policy+"/"+name, func(t *testing.T) {
				c0 := New(Options{MaxBytes: 1 << 20, Policy: policy})
				objects := 10
				if c.full {
					objects = 200
				}
				for i := range objects {
					o := object(fmt.Sprint("stored", i), 10_000)
					for range c.stored {
						c0.Get(o.Key)
					}
					c0.Put(o)
				}
				o := object("new", 10_000)
				for range c.asked {
					c0.Get(o.Key)
				}
				admits := c0.Admits(o.Key, o.Size())
				if stored := c0.Put(o); admits != stored {
					t.Errorf("%t is foreseen, %t happens", admits, stored)
				}
				if !c0.Admits([]byte("new"), 10_000) && c0.Peek([]byte("new")) != nil {
					t.Error("what is stored would not be stored again")
				}
			})
		}
	}
}
