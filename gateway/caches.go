package gateway

import (
	"bytes"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"yatagarasu/cache"
	"yatagarasu/gateway/config"
)

// budget is one cache and what it was made for. A generation takes over the equal ones of
// the generation before it: objects are bound to their origin by their keys.
type budget struct {
	cache   *cache.Cache
	flights *cache.Flights
	options cache.Options
}

// reserve takes the memory for the body of o, which is to arrive, unless bodies that
// arrive, or are read though they are not stored, already take a quarter of what the
// cache may.
func (b *budget) reserve(o *cache.Object, size int64) bool {
	return b.cache.Reserve(o, size, b.options.MaxBytes/4)
}

// budgets are those of one generation, by owner: the name of the bucket that has a max_size
// of its own, empty for the one that the others share.
type budgets map[string]*budget

// of returns the budget that c names for a bucket: the one that is there, that of old if it
// has the same size and policy, else a new one, by the clock of now.
func (all budgets) of(old budgets, bucket string, c *config.Cache, now func() time.Time) *budget {
	if !c.OwnBudget {
		bucket = ""
	}
	if b := all[bucket]; b != nil {
		return b
	}
	o := cache.Options{MaxBytes: int64(c.MaxSize), MaxObjectBytes: int64(c.MaxSize) / 2, Policy: c.Policy, Now: now}
	b := old[bucket]
	if b == nil || b.options.MaxBytes != o.MaxBytes || b.options.Policy != o.Policy {
		b = &budget{cache: cache.New(o), flights: cache.NewFlights(), options: o}
	}
	all[bucket] = b
	return b
}

// sorted yields the budgets by their owners, the shared one first.
func (all budgets) sorted() iter.Seq2[string, *budget] {
	return func(yield func(string, *budget) bool) {
		for _, owner := range slices.Sorted(maps.Keys(all)) {
			if !yield(owner, all[owner]) {
				return
			}
		}
	}
}

// memory returns the bytes that the caches may take, and those of bodies that are not
// stored.
func (all budgets) memory() (most, pinned int64) {
	for _, b := range all {
		most += b.options.MaxBytes
		pinned += b.cache.Pinned()
	}
	return most, pinned
}

// bucketCache is how a bucket uses a cache.
type bucketCache struct {
	*budget
	bucket     *originBucket
	origin     []byte // part of every key: tells the objects of these origins from others
	policy     cache.Policy
	maxObject  int64
	directives bool         // the Cache-Control of requests counts
	fill       bool         // the whole object where a part is asked for
	fills      atomic.Int32 // under way
}

func newBucketCache(budget *budget, b *originBucket, c *config.Cache) *bucketCache {
	var origins [][]byte
	for _, r := range b.replicas {
		o := r.origin
		origins = append(origins, cache.AppendKey(nil, []byte(strconv.FormatBool(o.tls)), []byte(o.address), []byte(o.host), []byte(o.basePath), []byte(r.s3.Bucket)))
	}
	slices.SortFunc(origins, bytes.Compare) // their priorities do not matter
	return &bucketCache{
		budget: budget,
		bucket: b,
		origin: cache.AppendKey(cache.AppendKey(nil, []byte(b.name)), origins...),
		policy: cache.Policy{
			TTL: c.TTL, StaleWhileRevalidate: c.StaleWhileRevalidate, StaleIfError: c.StaleIfError, NegativeTTL: c.NegativeTTL,
		},
		maxObject:  int64(c.MaxObjectSize),
		directives: c.ClientDirectives,
		fill:       c.FillOnRange,
	}
}

// appendKey appends the key of an object to dst: the object's own first, by which
// purges find it.
func (c *bucketCache) appendKey(dst, key, query []byte) []byte {
	return cache.AppendKey(dst, key, c.origin, query)
}

// join joins the flight for a key, or begins one that the caller leads, and returns
// what is stored now. In this order: what a purge removes later is not stored again by
// this flight.
func (c *bucketCache) join(key []byte) (f *cache.Flight, leads bool, o *cache.Object) {
	return c.joinIf(key, func(*cache.Object) bool { return true })
}

// joinIf is join, except that a flight that does not serve is not joined.
func (c *bucketCache) joinIf(key []byte, serves func(o *cache.Object) bool) (f *cache.Flight, leads bool, o *cache.Object) {
	epoch := c.cache.Epoch(c.bucket.name, key)
	f, leads = c.flights.JoinIf(key, epoch, serves)
	if o = c.cache.Peek(key); o != nil && o.Status == statusPass && !leads {
		o = nil
	}
	return f, leads, o
}

// passFor is how long the cache remembers of an object that it cannot be stored, so
// that requests for it do not wait for each other in vain.
const passFor = 2 * time.Minute

// now returns the time that ages of objects are counted by.
func (b *budget) now() time.Time { return b.options.Now() }

// sees tells whether c, which may be nil, finds what before has stored.
func (c *bucketCache) sees(before *bucketCache) bool {
	return c != nil && c.cache == before.cache && bytes.Equal(c.origin, before.origin)
}
