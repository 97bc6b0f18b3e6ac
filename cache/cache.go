// Package cache keeps whole responses in memory, bounded by the bytes they take, and
// says which may be stored and how long they may be served (RFC 9111, RFC 5861).
package cache

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync/atomic"
)

// Cache is a bounded set of objects that forgets those used longest ago.
//
// It is split into shards with a lock each, so that hits of different keys
// rarely meet. The bytes are bounded by one counter for all of them: a shard
// with a share of its own would turn away objects larger than the share, and
// waste what the others do not need. A Put takes its bytes from the counter
// before it stores anything; while there are too few left, it evicts the
// object that was used longest ago in any shard. For that, uses are stamped with a counter, and each shard publishes the stamp
// of its oldest entry, so that the oldest of all is found without a lock. No operation
// ever holds two locks.
//
// The order of use is exact within a shard; between shards it is exact but for
// a few dozen hits.
//
// A Cache is safe for concurrent use. Use New; the zero value is not usable.
// It starts no goroutine and needs no closing.
type Cache struct {
	opts   Options
	seed   maphash.Seed
	shift  int // of a hash, to the number of its shard
	shards []shard
	oldest []atomic.Uint64 // of each shard: the age of its oldest entry, or none
	groups groups

	// Apart from the read-only fields: each Put writes here.
	_       [64]byte
	bytes   atomic.Int64 // never more than opts.MaxBytes
	entries atomic.Int64
	tick    atomic.Uint64 // the stamp of the next use
	pinned  atomic.Int64
}

// hitsPerTick is how many hits of a shard share a stamp: a counter that each hit
// wrote would be contended by all cores.
const hitsPerTick = 64

// New returns an empty cache.
func New(o Options) *Cache {
	o.setDefaults()
	if err := o.validate(); err != nil {
		panic("BUG: cache.Options: " + err.Error())
	}
	c := &Cache{
		opts:   o,
		seed:   maphash.MakeSeed(),
		shift:  64 - bits.Len(uint(o.Shards-1)),
		shards: make([]shard, o.Shards),
		oldest: make([]atomic.Uint64, o.Shards),
	}
	c.groups.table.Store(&groupTable{places: make(map[string]uint32)})
	for i := range c.shards {
		c.shards[i].init(o.Policy == PolicyTinyLFU)
		c.oldest[i].Store(none)
	}
	return c
}

// Len returns the number of stored objects.
func (c *Cache) Len() int { return int(c.entries.Load()) }

// Bytes returns the sizes of the stored objects and of those that are being evicted to
// make room. It never exceeds Options.MaxBytes.
func (c *Cache) Bytes() int64 { return c.bytes.Load() }

// locate returns the hash of key and the number of its shard, which depends on
// the first part alone, so that all objects of one name are in one shard.
func (c *Cache) locate(key []byte) (uint64, int) {
	return maphash.Bytes(c.seed, key), c.shardOf(c.nameHash(key))
}

// nameHash returns the hash of the first part of key.
func (c *Cache) nameHash(key []byte) uint64 {
	name, ok := firstPart(key)
	if !ok {
		name = key
	}
	return maphash.Bytes(c.seed, name)
}

// shardOf returns the number of the shard for the hash of a first part.
func (c *Cache) shardOf(hash uint64) int { return int(hash >> c.shift) } // a shift by 64 is 0

// Get returns the object of key, or nil, and makes it the most recently used.
// The caller may keep it; see [Object]. key is not kept.
//
// Hot path: zero allocations, guarded by TestGetAllocs.
func (c *Cache) Get(key []byte) *Object {
	hash, n := c.locate(key)
	s := &c.shards[n]
	s.mu.Lock()
	s.gets++
	s.sketch.ask(hash)
	slot := s.findLocked(hash, key)
	if slot == 0 {
		s.mu.Unlock()
		return nil
	}
	s.hits++
	if s.hits%hitsPerTick == 0 {
		c.tick.Add(1)
	}
	e := s.at(slot)
	o := e.obj
	if e.hits < math.MaxUint32 {
		e.hits++
	}
	wasOldest := s.at(root).prev == slot
	s.touchLocked(slot, c.tick.Load())
	if wasOldest {
		c.publishLocked(n)
	}
	s.mu.Unlock()
	return o
}

// Peek returns the object of key, or nil, and leaves no trace of it.
func (c *Cache) Peek(key []byte) *Object {
	o, _ := c.Inspect(key)
	return o
}

// Inspect is Peek, and tells how often Get has returned an object of key since there has
// been one.
func (c *Cache) Inspect(key []byte) (o *Object, hits int) {
	hash, n := c.locate(key)
	s := &c.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot := s.findLocked(hash, key); slot != 0 {
		e := s.at(slot)
		return e.obj, int(e.hits)
	}
	return nil, 0
}

// Put stores o, in place of one with the same key, and takes ownership of it. It
// evicts what is needed to make room.
//
// It returns false when it did not store o: because the policy prefers objects that
// are asked for more, or because o is too large, its body for Options.MaxObjectBytes or
// all of it for the cache. If o is too large, an object of the same key is dropped, as o
// supersedes it.
func (c *Cache) Put(o *Object) bool {
	return c.put(o, func() bool { return true }, false)
}

// PutSince is Put, except that it does nothing and returns false if a purge that
// covers o may have begun since [Cache.Epoch] returned epoch. A fetch takes the epoch
// before it asks the origin: what it fetches may be older than a later purge,
// which did not find it in the cache.
func (c *Cache) PutSince(o *Object, epoch uint64) bool {
	return c.putSince(o, epoch, false)
}

// AdmitSince is PutSince, except that the policy has no say: o displaces what was used
// longest ago, however often that is asked for. It is for objects that are stored before
// anyone has asked for them.
func (c *Cache) AdmitSince(o *Object, epoch uint64) bool {
	return c.putSince(o, epoch, true)
}

func (c *Cache) putSince(o *Object, epoch uint64, overrule bool) bool {
	state, name := c.groups.at(c.groups.place(o.Group)), c.nameHash(o.Key)
	return c.put(o, func() bool { return state.epoch(name) == epoch }, overrule)
}

// put stores o if wanted holds, which it asks under the shard's lock, and if the policy
// admits o or is overruled.
func (c *Cache) put(o *Object, wanted func() bool, overrule bool) bool {
	hash, n := c.locate(o.Key)
	s := &c.shards[n]
	e := newEntry(o, hash, o.Size(), c.groups.place(o.Group))
	fits := c.fits(o, e.size)
	var r room
	defer c.release(&r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for wanted() {
		slot := s.findLocked(hash, o.Key)
		if !fits {
			c.dropLocked(n, slot)
			break
		}
		if c.storeLocked(n, slot, e, &r) {
			s.puts++
			return true
		}
		asked := maxFrequency // what is stored was admitted before
		if slot == 0 && !overrule {
			asked = s.sketch.frequency(hash)
		}
		s.mu.Unlock()
		evicted := c.evict(n, asked, &r)
		s.mu.Lock()
		if !evicted {
			break
		}
	}
	s.rejected++
	return false
}

// fits reports whether o, of a given size, may be stored at all.
func (c *Cache) fits(o *Object, size int64) bool {
	return int64(len(o.Body)) <= c.opts.MaxObjectBytes && size <= c.opts.MaxBytes
}

// Replace stores updated in place of old, and takes ownership of it, if old is
// still what is stored under its key, and no purge that covers it may have begun
// since [Cache.Epoch] returned epoch. Both must have the same key. Every look-up
// meanwhile finds one of the two.
func (c *Cache) Replace(old, updated *Object, epoch uint64) bool {
	hash, n := c.locate(old.Key)
	if string(old.Key) != string(updated.Key) {
		panic("BUG: cache: an object is replaced by one of another key")
	}
	s := &c.shards[n]
	e := newEntry(updated, hash, updated.Size(), c.groups.place(updated.Group))
	if !c.fits(updated, e.size) {
		return false
	}
	state, name := c.groups.at(e.group), c.nameHash(old.Key)
	var r room
	defer c.release(&r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		slot := s.findLocked(hash, old.Key)
		if slot == 0 || s.at(slot).obj != old || state.epoch(name) != epoch {
			return false
		}
		if c.storeLocked(n, slot, e, &r) {
			return true
		}
		s.mu.Unlock()
		c.evict(n, maxFrequency, &r)
		s.mu.Lock()
	}
}

// Delete drops the object of key, and reports whether there was one.
func (c *Cache) Delete(key []byte) bool {
	hash, n := c.locate(key)
	s := &c.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.dropLocked(n, s.findLocked(hash, key))
}

// storeLocked makes e the newest entry of shard n, in the given slot or, for 0,
// a new one, unless there is no room for it. An entry that is to be replaced
// then becomes the newest, so that it is not evicted to make room for itself.
func (c *Cache) storeLocked(n int, slot uint32, e entry, r *room) bool {
	s := &c.shards[n]
	e.used = c.tick.Add(1)
	if slot == 0 {
		if !c.reserve(e.size, r) {
			return false
		}
		s.insertLocked(e)
		c.enter(e.obj)
		c.entries.Add(1)
		c.groups.add(e.group, 1, e.size)
		c.publishLocked(n)
		return true
	}
	old := s.at(slot)
	s.touchLocked(slot, e.used)
	c.publishLocked(n)
	if !c.reserve(e.size-old.size, r) {
		return false
	}
	c.groups.add(old.group, -1, -old.size)
	c.groups.add(e.group, 1, e.size)
	c.leave(old.obj)
	old.obj, old.key, old.size, old.group = e.obj, e.key, e.size, e.group
	c.enter(e.obj)
	return true
}

// dropLocked drops an entry of shard n, and reports whether there is one: slot 0 is none.
func (c *Cache) dropLocked(n int, slot uint32) bool {
	if slot == 0 {
		return false
	}
	c.bytes.Add(-c.removeLocked(n, slot))
	return true
}

// removeLocked removes an entry of shard n and returns its bytes, which are still reserved.
func (c *Cache) removeLocked(n int, slot uint32) int64 {
	gone := c.shards[n].removeLocked(slot)
	c.leave(gone.obj)
	c.publishLocked(n)
	c.groups.add(gone.group, -1, -gone.size)
	c.entries.Add(-1)
	return gone.size
}

// publishLocked makes the age of the oldest entry of shard n known.
func (c *Cache) publishLocked(n int) {
	age := c.shards[n].oldestLocked()
	// A store takes the line from all other cores; most ages have not changed.
	if c.oldest[n].Load() != age {
		c.oldest[n].Store(age)
	}
}
