package cache

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// TestConcurrentUse has 64 goroutines do everything at once, on few keys, while
// one watches the bound.
func TestConcurrentUse(t *testing.T) {
	for _, policy := range []string{PolicyLRU, PolicyTinyLFU} {
		for _, shards := range []int{1, 16} {
			t.Run(fmt.Sprintf("%s, %d shards", policy, shards), func(t *testing.T) {
				const bound = 256 << 10
				c := New(Options{MaxBytes: bound, Policy: policy, Shards: shards})
				steps := 3000
				if testing.Short() {
					steps = 500
				}
				var stop atomic.Bool
				watched := make(chan int64)
				go func() { // ends with stop
					most := int64(0)
					for !stop.Load() {
						most = max(most, c.Bytes())
					}
					watched <- most
				}()
				var wg sync.WaitGroup
				for g := range 64 {
					wg.Go(func() { abuse(t, c, rand.New(rand.NewPCG(uint64(g), 1)), steps) })
				}
				wg.Wait()
				stop.Store(true)
				if most := <-watched; most > bound {
					t.Errorf("%d bytes, bound %d", most, bound)
				}
				consistent(t, c)
				c.PurgeGroup("a", false)
				c.PurgeGroup("b", false)
				if c.Len() != 0 || c.Bytes() != 0 {
					t.Errorf("%d entries, %d bytes after purging all", c.Len(), c.Bytes())
				}
				consistent(t, c)
			})
		}
	}
}

// abuse does what may come to mind with c. An object's body repeats the first
// byte of its key, so that another's is noticed.
func abuse(t *testing.T, c *Cache, r *rand.Rand, steps int) {
	for range steps {
		key := fmt.Appendf(nil, "%d", r.IntN(300))
		group := []string{"a", "b"}[key[0]%2]
		fresh := func() *Object {
			n := r.IntN(4000)
			if r.IntN(50) == 0 {
				n = 128 << 10
			}
			o := object(string(key), n)
			o.Group, o.Tags = group, []string{"tag"}
			return o
		}
		switch r.IntN(12) {
		case 0, 1, 2, 3, 4:
			if o := c.Get(key); o != nil {
				if string(o.Key) != string(key) || len(o.Body) > 0 && (o.Body[0] != key[0] || o.Body[len(o.Body)-1] != key[0]) {
					t.Errorf("%s got %s", key, o.Key)
				}
			}
		case 5, 6, 7:
			c.Put(fresh())
		case 8:
			c.Delete(key)
		case 9:
			if o := c.Peek(key); o != nil {
				replaceNow(c, o, fresh())
			}
		case 10:
			c.PutSince(fresh(), c.Epoch(group, key))
		default:
			switch r.IntN(40) {
			case 0:
				c.PurgeGroup(group, r.IntN(2) == 0)
			case 1:
				c.PurgePrefix(group, []byte("1"), r.IntN(2) == 0)
			case 2:
				c.PurgeTag(group, "tag", r.IntN(2) == 0)
			default:
				var s Stats
				c.UpdateStats(&s)
				c.UpdateGroupStats(group, &s)
			}
		}
	}
}

// TestLargeAmongSmall stores objects of half the cache while others store small
// ones as fast as they can.
func TestLargeAmongSmall(t *testing.T) {
	c := New(Options{MaxBytes: 1 << 20, Shards: 16})
	var stop atomic.Bool
	var small sync.WaitGroup
	for g := range 8 {
		small.Go(func() { // ends with stop
			for i := 0; !stop.Load(); i++ {
				c.Put(object(fmt.Sprintf("%d-%d", g, i%1000), 500))
			}
		})
	}
	var large sync.WaitGroup
	for g := range 4 {
		large.Go(func() {
			for i := range 20 {
				if !c.Put(object(fmt.Sprintf("large%d-%d", g, i), 512<<10)) {
					t.Error("not stored")
				}
			}
		})
	}
	large.Wait()
	stop.Store(true)
	small.Wait()
	consistent(t, c)
}
