package cache

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// stock is how many objects the origin of a market has.
const stock = 120

// market is a cache before an origin whose objects change, and are purged then.
type market struct {
	t       *testing.T
	cache   *Cache
	flights *Flights

	versions [stock]atomic.Int64 // what the origin has now
	dropped  [stock]atomic.Int64 // the oldest version that a purge may have left
	marked   [stock]atomic.Int64 // the oldest version that a soft purge may have left unmarked

	hits, followed, purged, discarded, replaced atomic.Int64
}

func marketGroup(i int) string { return []string{"red", "blue"}[i%2] }

func marketKey(i int) []byte { return shopKey(marketGroup(i), i) }

// unit is what the body of an object repeats.
func unit(i int, version int64) []byte { return fmt.Appendf(nil, "%d is %d, ", i, version) }

// fetch returns what the origin has, without the body, which is returned too.
func (m *market) fetch(i int, r *rand.Rand) (*Object, []byte) {
	version := m.versions[i].Load()
	pause(r)
	o := &Object{Key: marketKey(i), Group: marketGroup(i), ETag: strconv.FormatInt(version, 10)}
	if i%3 == 0 {
		o.Tags = []string{"third"}
	}
	return o, bytes.Repeat(unit(i, version), 1+r.IntN(200))
}

// pause lets others go on, often until all of them wait.
func pause(r *rand.Rand) {
	if r.IntN(3) == 0 {
		time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond) // of the bubble: until all others wait
	} else {
		runtime.Gosched()
	}
}

// version returns that of o, which must be a whole object with the key of i.
func (m *market) version(i int, o *Object) int64 {
	version, err := strconv.ParseInt(o.ETag, 10, 64)
	if err != nil || !bytes.Equal(o.Key, marketKey(i)) || o.Group != marketGroup(i) {
		m.t.Errorf("%q of %s instead of %d: %v", o.Key, o.Group, i, err)
	}
	if u, n := unit(i, version), len(o.Body); !bytes.HasPrefix(o.Body, u) || n%len(u) != 0 || !bytes.Equal(o.Body[len(u):], o.Body[:n-len(u)]) {
		m.t.Errorf("%d has another body, %.40q", i, o.Body)
	}
	return version
}

// visit is a request.
func (m *market) visit(i int, r *rand.Rand) {
	key := marketKey(i)
	dropped, marked := m.dropped[i].Load(), m.marked[i].Load()
	old := m.cache.Get(key)
	if old != nil {
		version := m.version(i, old)
		if version < dropped {
			m.t.Errorf("%d: version %d is there, though one before %d was purged", i, version, dropped)
		}
		if version < marked && !old.Stale() {
			m.t.Errorf("%d: version %d is not marked, though one before %d was purged", i, version, marked)
		}
		m.hits.Add(1)
		if !old.Stale() && r.IntN(4) != 0 {
			return
		}
	}
	dropped, marked = m.dropped[i].Load(), m.marked[i].Load()
	f, leads := m.flights.Join(key, m.cache.Epoch(marketGroup(i), key))
	if leads {
		m.lead(f, i, old, r)
		return
	}
	switch state, o, err := f.Await(); state {
	case Orphaned:
		m.lead(f, i, old, r)
	case Streaming, Landed:
		m.followed.Add(1)
		n := 0
		for b, err := f.Read(0); len(b) > 0 || err != nil; b, err = f.Read(n) {
			if n += len(b); err != nil {
				return // some flights fail
			}
		}
		if n != len(o.Body) {
			m.t.Errorf("%d: %d bytes of %d", i, n, len(o.Body))
		}
		if version := m.version(i, o); version < max(dropped, marked) {
			m.t.Errorf("%d: a flight brought version %d after one before %d was purged", i, version, max(dropped, marked))
		}
	case Failed:
		if err == nil {
			m.t.Errorf("%d failed without an error", i)
		}
	}
}

// lead fetches an object, or validates old, and ends f.
func (m *market) lead(f *Flight, i int, old *Object, r *rand.Rand) {
	o, body := m.fetch(i, r)
	switch n := r.IntN(20); {
	case n == 0:
		f.Pass()
	case n == 1:
		f.Fail(errFlight)
	case n < 4:
		f.FailOnce(errFlight)
	case old != nil && old.ETag == o.ETag:
		o = old.Clone()
		if m.cache.Replace(old, o, f.Epoch()) {
			m.replaced.Add(1)
		} else if m.cache.Peek(o.Key) == nil {
			m.cache.PutSince(o, f.Epoch())
		}
		f.Land(o)
	default:
		o.Body = make([]byte, len(body))
		f.Stream(o)
		for n := 0; n < len(body); {
			n += copy(o.Body[n:min(n+1000, len(body))], body[n:])
			f.Filled(n)
			pause(r)
			if r.IntN(50) == 0 {
				f.Fail(errors.New("broken"))
				return
			}
		}
		if !m.cache.PutSince(o, f.Epoch()) {
			m.discarded.Add(1)
		}
		f.Land(o)
	}
}

// purge has objects change at the origin and purges them.
func (m *market) purge(r *rand.Rand) {
	i, soft := r.IntN(stock), r.IntN(2) == 0
	group, folder := marketGroup(i), fmt.Sprintf("%d/", i/30)
	var covers func(j int) bool
	var purge func() int
	switch r.IntN(6) {
	case 0:
		covers = func(int) bool { return true }
		purge = func() int { return m.cache.PurgeGroup(group, soft) }
	case 1:
		covers = func(j int) bool { return j/30 == i/30 }
		purge = func() int { return m.cache.PurgePrefix(group, []byte(folder), soft) }
	case 2:
		covers = func(j int) bool { return j%3 == 0 }
		purge = func() int { return m.cache.PurgeTag(group, "third", soft) }
	default:
		covers = func(j int) bool { return j == i }
		purge = func() int { return m.cache.PurgeKey(group, fmt.Appendf(nil, "%s%03d", folder, i), soft) }
	}
	changed := map[int]int64{}
	for j := range stock {
		if marketGroup(j) == group && covers(j) {
			changed[j] = m.versions[j].Add(1)
		}
	}
	m.purged.Add(int64(purge()))
	floors := &m.dropped
	if soft {
		floors = &m.marked
	}
	for j, version := range changed {
		for was := floors[j].Load(); was < version && !floors[j].CompareAndSwap(was, version); {
			was = floors[j].Load()
		}
	}
}

// TestFetchesAndPurges has requests, purges, evictions and flights at once. What is
// seen is never older than the last purge, whole, of the right key, and within the
// bound.
func TestFetchesAndPurges(t *testing.T) {
	steps := 600
	if testing.Short() {
		steps = 150
	}
	for _, policy := range []string{PolicyLRU, PolicyTinyLFU} {
		for _, shards := range []int{1, 8} {
			t.Run(fmt.Sprintf("%s, %d shards", policy, shards), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const bound = 128 << 10 // about half of what the origin has
					m := &market{t: t, cache: New(Options{MaxBytes: bound, Policy: policy, Shards: shards}), flights: NewFlights()}
					var all sync.WaitGroup
					for g := range 64 {
						all.Go(func() {
							r := rand.New(rand.NewPCG(uint64(g), 1))
							for range steps {
								switch i := r.IntN(stock); r.IntN(40) {
								case 0:
									m.purge(r)
								case 1:
									m.cache.Delete(marketKey(i))
								case 2:
									m.versions[i].Add(1) // nobody purges it yet
								default:
									m.visit(i, r)
								}
								if n := m.cache.Bytes(); n < 0 || n > bound {
									t.Errorf("%d bytes, bound %d", n, bound)
								}
							}
						})
					}
					all.Wait()
					if n := m.flights.Len(); n != 0 {
						t.Errorf("%d flights are left", n)
					}
					consistent(t, m.cache)
					var s Stats
					m.cache.UpdateStats(&s)
					for what, n := range map[string]int64{
						"evicted": int64(s.Evictions), "hit": m.hits.Load(), "followed": m.followed.Load(), "purged": m.purged.Load(),
						"discarded": m.discarded.Load(), "replaced": m.replaced.Load(),
					} {
						if n == 0 {
							t.Errorf("nothing was %s", what)
						}
					}
					if s.Purged != uint64(m.purged.Load()) {
						t.Errorf("%d purged, counted %d", m.purged.Load(), s.Purged)
					}
					m.cache.PurgeGroup("red", false)
					m.cache.PurgeGroup("blue", false)
					if m.cache.Len() != 0 || m.cache.Bytes() != 0 {
						t.Errorf("%d entries, %d bytes after purging all", m.cache.Len(), m.cache.Bytes())
					}
				})
			})
		}
	}
}
