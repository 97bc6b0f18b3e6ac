// Package fill brings objects into the cache: it fetches for the flights of package cache,
// decides what is stored, and bounds the memory for it.
package fill

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
	"yatagarasu/gateway/origin"
)

// Budget is one cache and what it was made for. A generation takes over the equal ones of
// the generation before it: objects are bound to their origin by their keys.
type Budget struct {
	Cache   *cache.Cache
	Flights *cache.Flights
	Options cache.Options
}

// Budgets are those of one generation, by owner: the name of the bucket that has a max_size
// of its own, empty for the one that the others share.
type Budgets map[string]*Budget

// For returns the budget that c names for a bucket: the one that is there, that of old if it
// has the same size and policy, else a new one, by the clock of now.
func (all Budgets) For(old Budgets, bucket string, c *config.Cache, now func() time.Time) *Budget {
	if !c.OwnBudget {
		bucket = ""
	}
	if b := all[bucket]; b != nil {
		return b
	}
	o := cache.Options{MaxBytes: int64(c.MaxSize), MaxObjectBytes: int64(c.MaxSize) / 2, Policy: c.Policy, Now: now}
	b := old[bucket]
	if b == nil || b.Options.MaxBytes != o.MaxBytes || b.Options.Policy != o.Policy {
		b = &Budget{Cache: cache.New(o), Flights: cache.NewFlights(), Options: o}
	}
	all[bucket] = b
	return b
}

// Sorted yields the budgets by their owners, the shared one first.
func (all Budgets) Sorted() iter.Seq2[string, *Budget] {
	return func(yield func(string, *Budget) bool) {
		for _, owner := range slices.Sorted(maps.Keys(all)) {
			if !yield(owner, all[owner]) {
				return
			}
		}
	}
}

// Memory returns the bytes that the caches may take, and those of bodies that are not
// stored.
func (all Budgets) Memory() (most, pinned int64) {
	for _, b := range all {
		most += b.Options.MaxBytes
		pinned += b.Cache.Pinned()
	}
	return most, pinned
}

// Cache is how a bucket uses a cache.
type Cache struct {
	*Budget
	bucket           *origin.Bucket
	origin           []byte // part of every key: tells the objects of these origins from others
	policy           cache.Policy
	MaxObjectSize    int64
	ClientDirectives bool         // the Cache-Control of requests counts
	FillOnRange      bool         // the whole object where a part is asked for
	fills            atomic.Int32 // under way
}

func NewCache(budget *Budget, b *origin.Bucket, c *config.Cache) *Cache {
	var origins [][]byte
	for _, r := range b.Replicas {
		o := r.Address
		origins = append(origins, cache.AppendKey(nil, []byte(strconv.FormatBool(o.TLS)), []byte(o.HostPort), []byte(o.Host), []byte(o.BasePath), []byte(r.S3.Bucket)))
	}
	slices.SortFunc(origins, bytes.Compare) // their priorities do not matter
	return &Cache{
		Budget: budget,
		bucket: b,
		origin: cache.AppendKey(cache.AppendKey(nil, []byte(b.Name)), origins...),
		policy: cache.Policy{
			TTL: c.TTL, StaleWhileRevalidate: c.StaleWhileRevalidate, StaleIfError: c.StaleIfError, NegativeTTL: c.NegativeTTL,
		},
		MaxObjectSize:    int64(c.MaxObjectSize),
		ClientDirectives: c.ClientDirectives,
		FillOnRange:      c.FillOnRange,
	}
}

// AppendKey appends the key of an object to dst: the object's own first, by which
// purges find it.
func (c *Cache) AppendKey(dst, key, query []byte) []byte {
	return cache.AppendKey(dst, key, c.origin, query)
}

// join joins the flight for a key, or begins one that the caller leads, and returns
// what is stored now. In this order: what a purge removes later is not stored again by
// this flight.
func (c *Cache) join(key []byte) (f *cache.Flight, leads bool, o *cache.Object) {
	return c.JoinIf(key, func(*cache.Object) bool { return true })
}

// JoinIf is join, except that a flight that does not serve is not joined.
func (c *Cache) JoinIf(key []byte, serves func(o *cache.Object) bool) (f *cache.Flight, leads bool, o *cache.Object) {
	epoch := c.Cache.Epoch(c.bucket.Name, key)
	f, leads = c.Flights.JoinIf(key, epoch, serves)
	if o = c.Cache.Peek(key); o != nil && o.Status == StatusPass && !leads {
		o = nil
	}
	return f, leads, o
}

// passFor is how long the cache remembers of an object that it cannot be stored, so
// that requests for it do not wait for each other in vain.
const passFor = 2 * time.Minute

// FindsObjectsOf tells whether c, which may be nil, finds what before has stored.
func (c *Cache) FindsObjectsOf(before *Cache) bool {
	return c != nil && c.Cache == before.Cache && bytes.Equal(c.origin, before.origin)
}
