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

	pinned, arriving atomic.Int64 // see Pinned and Arriving
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

// hash returns the hash by which a shard knows key.
func (c *Cache) hash(key []byte) uint64 { return maphash.Bytes(c.seed, key) }

// nameHash returns the hash of the first part of key. The shard depends on it alone, so
// that all objects of one name, in all its spellings, are in one shard.
func (c *Cache) nameHash(key []byte) uint64 { return c.hashName(nameIn(key)) }

// shardOf returns the number of the shard for the hash of a first part.
func (c *Cache) shardOf(hash uint64) int { return int(hash >> c.shift) } // a shift by 64 is 0

// Get returns the object of key, or nil, and makes it the most recently used.
// The caller may keep it; see [Object]. key is not kept.
//
// Hot path: zero allocations, guarded by TestGetAllocs.
func (c *Cache) Get(key []byte) *Object {
	hash, name := c.hash(key), nameIn(key)
	n := c.shardOf(maphash.Bytes(c.seed, name)) // as if name had no empty segment: most hits need not look
	s := &c.shards[n]
	s.mu.Lock()
	slot := s.findLocked(hash, key)
	if slot == 0 && HasEmptySegment(name) { // then it lies with its other spellings
		s.mu.Unlock()
		n = c.shardOf(c.hashName(name))
		s = &c.shards[n]
		s.mu.Lock()
		slot = s.findLocked(hash, key)
	}
	s.gets++
	s.sketch.ask(hash)
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
	hash, n := c.hash(key), c.shardOf(c.nameHash(key))
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
// are asked for more, because maxAliases other spellings of its key are stored, or because o
// is too large, its body for Options.MaxObjectBytes or all of it for the cache. If o is too
// large, an object of the same key is dropped, as o
// supersedes it.
func (c *Cache) Put(o *Object) bool {
	return c.put(o, terms{})
}

// PutSince is Put, except that it does nothing and returns false if a purge that
// covers o may have begun since [Cache.Epoch] returned epoch. A fetch takes the epoch
// before it asks the origin: what it fetches may be older than a later purge,
// which did not find it in the cache.
func (c *Cache) PutSince(o *Object, epoch uint64) bool {
	return c.put(o, terms{since: true, epoch: epoch})
}

// AdmitSince is PutSince, except that the policy has no say: o displaces what was used
// longest ago, however often that is asked for. It is for objects that are stored before
// anyone has asked for them.
func (c *Cache) AdmitSince(o *Object, epoch uint64) bool {
	return c.put(o, terms{since: true, epoch: epoch, overrule: true})
}

// Replace stores updated in place of old, and takes ownership of it, if old is
// still what is stored under its key, and no purge that covers it may have begun
// since [Cache.Epoch] returned epoch. Both must have the same key. Every look-up
// meanwhile finds one of the two.
func (c *Cache) Replace(old, updated *Object, epoch uint64) bool {
	if string(old.Key) != string(updated.Key) {
		panic("BUG: cache: an object is replaced by one of another key")
	}
	return c.put(updated, terms{since: true, epoch: epoch, old: old})
}

// terms say when an object may be stored.
type terms struct {
	since    bool // unless a purge may have begun since epoch
	epoch    uint64
	old      *Object // only in place of this one; nil: whatever is there
	overrule bool    // the policy has no say
}

// put stores o on terms that it looks at under the shard's lock.
func (c *Cache) put(o *Object, t terms) bool {
	name := c.nameHash(o.Key)
	n := c.shardOf(name)
	s := &c.shards[n]
	e := newEntry(o, c.hash(o.Key), o.Size(), c.groups.place(o.Group))
	state := c.groups.at(e.group)
	alias, aliased := c.aliasHash(o.Key)
	fits := int64(len(o.Body)) <= c.opts.MaxObjectBytes && e.size <= c.opts.MaxBytes
	var r room
	defer c.release(&r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for !t.since || state.epoch(name) == t.epoch {
		slot := s.findLocked(e.hash, o.Key)
		if t.old != nil && (!fits || slot == 0 || s.at(slot).obj != t.old) {
			return false
		}
		if !fits {
			c.dropLocked(n, slot)
			break
		}
		if aliased && slot == 0 && s.aliases[alias] >= maxAliases {
			break
		}
		if o.original != nil {
			e.size = o.Size() // a form may have come since
		}
		if c.storeLocked(n, slot, e, &r) {
			if t.old == nil {
				s.puts++
			}
			return true
		}
		asked := maxFrequency // what is stored was admitted before
		if slot == 0 && !t.overrule {
			asked = s.sketch.frequency(e.hash)
		}
		s.mu.Unlock()
		evicted := c.evict(n, asked, &r)
		s.mu.Lock()
		if !evicted {
			break
		}
	}
	if t.old == nil {
		s.rejected++
	}
	return false
}

// Delete drops the object of key, and reports whether there was one.
func (c *Cache) Delete(key []byte) bool {
	hash, n := c.hash(key), c.shardOf(c.nameHash(key))
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
		if alias, ok := c.aliasHash(e.obj.Key); ok {
			s.countAliasLocked(alias, 1)
		}
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
	s := &c.shards[n]
	gone := s.removeLocked(slot)
	if alias, ok := c.aliasHash(gone.obj.Key); ok {
		s.countAliasLocked(alias, -1)
	}
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
