// Package fill brings objects into the cache: it fetches for the flights of package cache,
// decides what is stored, and bounds the memory for it. Begin with Task.Run.
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
	"yatagarasu/gateway/cluster"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/pool"
)

// Budget is one cache, its flights and the options it was made by. A generation takes over the
// equal budgets of the generation before: an object's key binds it to its origin. Get one by
// Budgets.For. Safe for concurrent use.
type Budget struct {
	Cache   *cache.Cache
	Flights *cache.Flights
	Options cache.Options
	Yielded atomic.Uint64 // answers that were cut because others needed their memory
}

// Budgets are the budgets of one generation by owner: the name of a bucket with a max_size of
// its own, or empty for the budget that the other buckets share. Read only once the generation
// is made.
type Budgets map[string]*Budget

// For returns the budget of a bucket with the configuration c: the one in all, or old's if it
// has the same size and policy, or a new one with the clock now. lease is that of the process; it
// may be nil.
func (all Budgets) For(old Budgets, bucket string, c *config.Cache, now func() time.Time, lease *cache.Lease) *Budget {
	if !c.OwnBudget {
		bucket = ""
	}
	if b := all[bucket]; b != nil {
		return b
	}
	o := cache.Options{MaxBytes: int64(c.MaxSize), MaxObjectBytes: int64(c.MaxSize) / 2, Policy: c.Policy, Now: now, Lease: lease}
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

// Memory returns the most bytes that the caches take, and the bytes of bodies that arrive, or
// are read and are not stored.
func (all Budgets) Memory() (most, beside int64) {
	for _, b := range all {
		most += b.Options.MaxBytes
		beside += b.Cache.Pinned() + b.Cache.Arriving()
	}
	return most, beside
}

// Purge makes purges of a bucket's objects in every budget, for the bucket may have been in another
// before a reload, and returns how many objects they were for.
func (all Budgets) Purge(bucket string, p *cache.Purges, soft bool) (purged int) {
	for _, b := range all {
		purged += b.Cache.Purge(bucket, p, soft)
	}
	return purged
}

// Outdate keeps what is being fetched for a bucket out of memory; what is stored stays. Requests from now
// on join none of these fetches.
func (all Budgets) Outdate(bucket string) {
	for _, b := range all {
		b.Cache.Outdate(bucket)
	}
}

// quarter is what bodies that arrive may take, and what those may take that are read though
// they are not stored.
func (b *Budget) quarter() int64 { return b.Options.MaxBytes / 4 }

// Claim is what an answer of length bytes to a client holds of o's memory.
func (b *Budget) Claim(o *cache.Object, client uint64, length int) pool.Claim {
	return pool.Claim{On: b, Client: client, Total: int64(length), Part: o}
}

// reserve counts the body of o, of size bytes, as arriving, for t; false: there is no memory
// for it now.
//
// Bodies that are read though they are not stored have no part in the room for those that
// arrive. But while they take more than theirs, nothing comes in that would only join them:
// what the policy would not store, and what a client asks for that holds much of it already.
// Beyond twice their room nothing comes in for who holds any of it, and beyond three times
// nothing at all, until slow readers have given way; see Relieve.
func (b *Budget) reserve(t *Task, o *cache.Object, size int64) bool {
	if over := b.Cache.Pinned() - b.quarter(); over > 0 {
		allowed := b.quarter() / 4
		if over > b.quarter() {
			allowed = 0
		}
		switch client := t.Fetch.Client; {
		case over > 2*b.quarter(),
			!t.wanted && !b.Cache.Admits(o.Key, size),
			client != 0 && t.Fetch.Bucket.Shared.Pace.Held(b, client) > allowed:
			return false
		}
	}
	return b.Cache.Reserve(o, size, b.quarter())
}

// slowReader is how long an answer would still take whose reader gives way when bodies that
// are not stored take too much memory.
const slowReader = 10 * time.Second

// Relieve has the slowest readers give way where bodies that are not stored take twice their
// room, and has them watched before. Call it a few times a second.
func (all Budgets) Relieve(pace *pool.Pace) {
	for _, b := range all {
		if pinned := b.Cache.Pinned(); pinned > b.quarter() {
			pace.Relieve(b, max(pinned-2*b.quarter(), 0), slowReader, &b.Yielded)
		}
	}
}

// Cache is a bucket's use of a budget. Get one by NewCache; it does not change, and is safe for
// concurrent use.
type Cache struct {
	*Budget
	bucket           *origin.Bucket
	origin           []byte // part of every key that stands for the bucket's replicas and the types that it gives
	policy           cache.Policy
	ignored          config.Ignored
	shelf            *cluster.Shelf // what gateways share of the bucket; nil: nothing
	MaxObjectSize    int64          // most bytes of a stored body
	ClientDirectives bool           // Cache-Control of requests counts
	FillOnRange      bool           // a request for a part has the whole object fetched, too
	fills            atomic.Int32   // fetches of whole objects under way for requests for parts
}

// NewCache returns the cache of b, configured by c, in a budget. node is that of the process, which may
// be nil.
func NewCache(budget *Budget, b *origin.Bucket, c *config.Cache, node *cluster.Node) *Cache {
	var origins [][]byte
	for _, r := range b.Replicas {
		o := r.Address
		origins = append(origins, cache.AppendKey(nil, []byte(strconv.FormatBool(o.TLS)), []byte(o.HostPort), []byte(o.Host), []byte(o.KeysPath), []byte(r.S3.Bucket)))
	}
	slices.SortFunc(origins, bytes.Compare) // their priorities do not matter
	id := cache.AppendKey(cache.AppendKey(nil, []byte(b.Name), []byte(b.Types.ID())), origins...)
	var shelf *cluster.Shelf
	if c.Shared && node != nil {
		shelf = node.Shelf(b.Name, id)
	}
	return &Cache{
		Budget: budget,
		bucket: b,
		origin: id,
		shelf:  shelf,
		policy: cache.Policy{
			TTL: c.TTL, StaleWhileRevalidate: c.StaleWhileRevalidate, StaleIfError: c.StaleIfError, NegativeTTL: c.NegativeTTL, MaxTTL: c.MaxTTL,
		},
		MaxObjectSize:    int64(c.MaxObjectSize),
		ignored:          c.Ignore,
		ClientDirectives: c.ClientDirectives,
		FillOnRange:      c.FillOnRange,
	}
}

// AppendKey appends the cache key of an object to dst. It begins with the object's own key,
// by which purges find it.
func (c *Cache) AppendKey(dst, key, query []byte) []byte {
	return cache.AppendKey(dst, key, c.origin, query)
}

// Join joins the flight for a key, if serves says so of its object, or begins one that the
// caller leads, and returns the object that is stored now. The epoch of purges is read first:
// the flight does not store again what a purge removes from then on.
func (c *Cache) Join(key []byte, serves func(o *cache.Object) bool) (f *cache.Flight, leads bool, o *cache.Object) {
	epoch := c.Cache.Epoch(c.bucket.Name, key)
	f, leads = c.Flights.JoinIf(key, epoch, serves)
	if o = c.Cache.Peek(key); o != nil && o.Status == StatusPass && !leads {
		o = nil
	}
	return f, leads, o
}

// passFor is the time for which a marker says that an object cannot be stored. Meanwhile,
// requests for it do not wait for each other in vain.
const passFor = 2 * time.Minute

// Shares tells whether other gateways store objects of the bucket for this one.
func (c *Cache) Shares() bool { return c.shelf != nil }

// FindsObjectsOf tells whether c, which may be nil, finds the objects that before stored.
func (c *Cache) FindsObjectsOf(before *Cache) bool {
	return c != nil && c.Cache == before.Cache && bytes.Equal(c.origin, before.origin)
}

// StateOf returns what o, which may be nil, is good for at a time, for a request with directives,
// which the cache may not heed.
func (c *Cache) StateOf(o *cache.Object, asked *cache.Control, now time.Time) cache.State {
	var f *cache.Freshness
	if o != nil {
		f = c.Cache.FreshnessAt(o, now)
	}
	switch {
	case c.ClientDirectives:
		return cache.Apply(asked, f, now)
	case f == nil:
		return cache.Expired
	}
	return f.State(now)
}

// ForwardOf returns the reason to ask the origin instead of serving o, which may be nil.
func (c *Cache) ForwardOf(o *cache.Object, now time.Time) Forward {
	switch {
	case o == nil:
		return ForwardedMiss
	case c.Cache.FreshnessAt(o, now).State(now) != cache.Fresh:
		return ForwardedStale
	}
	return ForwardedRequest
}

// Part is the cache's part in an answer. The zero value: nothing is known of it.
type Part struct {
	Forward Forward
	Stored  *cache.Object // stored object that the answer is made of; nil: none
	At      time.Time     // moment of the answer that is made of Stored; zero: another
}

// Forward is the reason to ask the origin, as Cache-Status has it (RFC 9211, section 2.2). The zero
// value is none.
type Forward uint8

const (
	forwardedNot     Forward = iota
	ForwardedMiss            // nothing is stored
	ForwardedStale           // the stored object is stale
	ForwardedRequest         // the stored object is fresh, but the request wants a fresher one
)

var forwardings = [...]string{ForwardedMiss: "miss", ForwardedStale: "stale", ForwardedRequest: "request"}

// AppendLines appends what an answer with an outcome says of the cache: Age, X-Cache and
// Cache-Status (RFC 9211). status is that of the origin's answer; 0: there is none.
//
// Hot path: zero allocations, guarded by TestHitAllocs.
func (p *Part) AppendLines(b []byte, outcome observe.Outcome, status int) []byte {
	var age int64 // of Stored
	if p.Stored != nil {
		age = p.Stored.Freshness.Age(p.At)
		if p.showsAge(outcome, age) {
			b = strconv.AppendInt(append(b, "Age: "...), age, 10)
			b = append(b, "\r\n"...)
		}
	}
	b = append(b, partLines[outcome]...)
	switch {
	case outcome == observe.Hit:
		b = strconv.AppendInt(append(b, "; hit; ttl="...), p.Stored.Freshness.TTL(age), 10)
	case outcome == observe.Stale && p.Forward == forwardedNot:
		b = strconv.AppendInt(append(b, "; hit; ttl="...), min(p.Stored.Freshness.TTL(age), 0), 10)
	case p.Forward == forwardedNot: // only-if-cached, and nothing is stored
	case outcome == observe.Bypass:
		b = append(b, "; fwd=bypass"...)
	case outcome == observe.Coalesced:
		b = append(append(append(b, "; fwd="...), forwardings[p.Forward]...), "; collapsed"...)
	default:
		b = append(append(b, "; fwd="...), forwardings[p.Forward]...)
		if status != 0 {
			b = strconv.AppendInt(append(b, "; fwd-status="...), int64(status), 10)
		}
	}
	return append(b, "\r\n"...)
}

// partLines are X-Cache and the beginning of Cache-Status, for each outcome: one append for five.
var partLines = func() (lines [observe.NumOutcomes]string) {
	for i, o := range observe.Outcomes {
		lines[i] = "X-Cache: " + o.Header + "\r\nCache-Status: yatagarasu"
	}
	lines[observe.Shared] = "X-Cache: SHARED\r\nCache-Status: yatagarasu-shared; hit, yatagarasu" // the one nearest to the client last
	return lines
}()

// showsAge tells whether an answer that is made of a stored object of age has an Age.
func (p *Part) showsAge(outcome observe.Outcome, age int64) bool {
	switch outcome {
	case observe.Miss:
		return p.Stored.Freshness.Received > 0
	case observe.Coalesced:
		return age > 0
	}
	return true
}
