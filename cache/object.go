package cache

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"
)

// Object is one cached response.
//
// Its creator fills the fields in and hands it to [Cache.Put], which takes
// ownership: from then on neither the fields nor the bytes they refer to may
// change, and any number of goroutines may read them for as long as they like,
// also after the object left the cache. Nothing recycles its memory: it is
// ordinary garbage once the cache and all readers let go.
//
// The cache keeps the freshness for its user and does not act on it.
type Object struct {
	// Key is the full key, built by [AppendKey]. Two requests share an object
	// if and only if their keys are equal.
	Key []byte
	// Group is the scope of purges and of statistics: the name of a route.
	Group string
	// Header is the serialised header block, which the cache does not look into.
	Header []byte
	// Body is the whole body.
	Body []byte
	// Tags are names that [Cache.PurgeTag] finds the object by.
	Tags []string

	ETag         string // as sent, with quotes; may share memory with Header, and is counted even so
	LastModified string // as sent; the same

	// Freshness says for how long the object may be served.
	Freshness Freshness

	Status   int
	Modified int64 // LastModified in Unix seconds; 0: none

	// Audience is what the object's Cache-Control says of who may keep it.
	Audience Audience

	// Marker says that the object stands for one that is not stored: purges drop it
	// without counting it.
	Marker bool

	purged   atomic.Pointer[time.Time] // time of the soft purge that marked it; nil: none
	body     body                      // what is known of the bytes of Body
	original *Object                   // whose body counts, in a clone; nil: the object itself
}

// body is what clones have in common, for they share their bytes.
type body struct {
	uses  atomic.Int64          // by readers and in the cache, see pin.go
	forms atomic.Pointer[forms] // nil: none was begun
}

// shared returns what is known of o's body.
func (o *Object) shared() *body {
	if o.original != nil {
		return &o.original.body
	}
	return &o.body
}

// Stale reports whether a soft purge marked o: it must be revalidated before
// use, whatever Freshness says. It may be called at any time.
func (o *Object) Stale() bool { return o.purged.Load() != nil }

// FreshnessAt returns the Freshness of o, which is stored or was, as it counts at now: that of
// [Object.FreshnessAt], and no longer than the cache's lease allows. It may be called at any time.
//
// Hot path: zero allocations while the lease holds, guarded by TestLeaseAllocs.
func (c *Cache) FreshnessAt(o *Object, now time.Time) *Freshness {
	if c.opts.Lease == nil && o.purged.Load() == nil {
		return &o.Freshness // as for nearly all
	}
	return c.limited(o, now)
}

func (c *Cache) limited(o *Object, now time.Time) *Freshness {
	f := o.FreshnessAt(now)
	if c.opts.Lease != nil {
		f = c.opts.Lease.limit(f, now)
	}
	return f
}

// Verified tells whether the cache's lease leaves o as fresh as it says itself. It may be called at any
// time.
func (c *Cache) Verified(o *Object, now time.Time) bool {
	return c.opts.Lease == nil || c.opts.Lease.limit(&o.Freshness, now) == &o.Freshness
}

// FreshnessAt returns o's Freshness as it counts at now: where a soft purge marked o, its
// lifetime ended then, and what may be served stale counts from there. A clock that was
// set back makes nothing fresh again. It may be called at any time.
func (o *Object) FreshnessAt(now time.Time) *Freshness {
	purged := o.purged.Load()
	if purged == nil {
		return &o.Freshness
	}
	return o.Freshness.ended(*purged).ended(now)
}

// Clone returns an object with the same fields, which share their bytes with o,
// and without o's mark of a soft purge. It is what [Cache.Replace] needs after a
// 304: clone, set what changed, replace.
func (o *Object) Clone() *Object {
	return &Object{
		Key: o.Key, Group: o.Group, Header: o.Header, Body: o.Body, Tags: o.Tags,
		ETag: o.ETag, LastModified: o.LastModified,
		Freshness: o.Freshness, Status: o.Status, Modified: o.Modified, Audience: o.Audience, Marker: o.Marker,
		original: cmp.Or(o.original, o),
	}
}

const (
	objectBytes = int64(unsafe.Sizeof(Object{}))
	stringBytes = int64(unsafe.Sizeof(""))
)

// Size returns the bytes of memory that o takes while cached: every allocation
// rounded up as the runtime does, what the runtime spends on it, and the cache's
// bookkeeping. It is an upper estimate where fields share memory or where Go packs
// small strings together; Group, which is shared by all objects of a route, is not
// counted. Slices count by their capacity, which is what they keep alive.
func (o *Object) Size() int64 {
	n := bookkeepingBytes + allocated(objectBytes) +
		allocated(int64(cap(o.Key))) + allocated(int64(cap(o.Header))) + allocated(int64(cap(o.Body))) +
		allocated(int64(len(o.ETag))) + allocated(int64(len(o.LastModified))) +
		allocated(int64(cap(o.Tags))*stringBytes)
	if o.original != nil {
		n += allocated(objectBytes) + allocated(int64(cap(o.Header))) // the original, which stays for its count
	}
	for _, tag := range o.Tags {
		n += allocated(int64(len(tag)))
	}
	n += o.formBytes()
	if IsAlias(o.Key) {
		n += aliasBytes
	}
	return n + n/runtimeShare
}

// runtimeShare is the part of the heap that the runtime spends on it beside: bitmaps,
// spans, what it marks with, free pages that it keeps. Half as much would do for a cache
// at rest; the other half is room for what a busy one evicts while the runtime collects.
const runtimeShare = 16

// sizeClasses are the sizes in bytes that the runtime allocates small objects
// in: runtime/sizeclasses.go. In another version of Go they may differ: that
// makes Size a little less exact.
var sizeClasses = [...]int64{
	0, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256,
	288, 320, 352, 384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280,
	1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144,
	6528, 6784, 6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336, 16384, 18432,
	19072, 20480, 21760, 24576, 27264, 28672, 32768,
}

const pageBytes = 8 << 10 // what the runtime rounds larger objects up to

// allocated returns the memory that an allocation of n bytes takes.
func allocated(n int64) int64 {
	if n > sizeClasses[len(sizeClasses)-1] {
		return (n + pageBytes - 1) / pageBytes * pageBytes
	}
	i, _ := slices.BinarySearch(sizeClasses[:], n)
	return sizeClasses[i]
}
