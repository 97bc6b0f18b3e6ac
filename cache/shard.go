package cache

import (
	"math"
	"sync"
	"unsafe"
)

// entry is the bookkeeping of one stored object, in one cache line and with two
// pointers, so that the garbage collector has little to follow.
type entry struct {
	obj        *Object // nil: the slot is free
	key        string  // obj.Key, where it is: a look-up is spared the way through obj
	hash       uint64
	size       int64
	used       uint64 // Cache.tick at the last use
	prev, next uint32 // neighbours in use order; next links free slots too
	group      uint32 // place in the group table
	hits       uint32 // since it was stored; stops at the largest number
}

// Entries live in pages that never move, so that growing copies nothing while
// the lock is held.
const (
	pageEntries = 63
	root        = 0 // the slot that heads the list: next is newest, prev oldest
)

// bookkeepingBytes is what the cache itself spends on one object: its entry, its
// places in the index, which is at worst three eighths full, and its counters in
// a sketch, which is at worst half used. A shard keeps this memory for later
// objects; if they are larger and so fewer, what it keeps is not counted.
const bookkeepingBytes = int64(unsafe.Sizeof(entry{})) + 1 + 8*8/3 + 2*int64(unsafe.Sizeof(block{}))/blockEntries

// none is the age of the oldest entry of an empty shard.
const none = math.MaxUint64

// shard is one independently locked part of a cache. Methods with names in
// Locked expect mu held.
type shard struct {
	mu     sync.Mutex // guards the following fields
	index  index
	sketch *sketch // nil: every new object is stored
	pages  []*[pageEntries]entry
	free   uint32 // first free slot; 0: none
	slots  uint32 // slots handed out ever, with root

	aliases map[uint64]int // entries with an empty segment in their names, by Cache.aliasHash; nil: none yet

	gets, hits, puts, rejected, evictions, evictedBytes, purged uint64

	_ [64]byte // the next shard's lock is on another cache line
}

// maxAliases is the most spellings of a key of which objects are stored, beside the one
// without empty segments. To an origin that drops those they are one object, and a client can
// invent any number. Where they are different objects, there are seldom two.
const maxAliases = 3

// aliasBytes is what an entry of aliases takes at worst: 16 bytes and one of control, in a map
// that is not yet half full.
const aliasBytes = 40

// countAliasLocked notes that there are by more entries of an alias.
func (s *shard) countAliasLocked(alias uint64, by int) {
	if s.aliases == nil {
		s.aliases = make(map[uint64]int)
	}
	if s.aliases[alias] += by; s.aliases[alias] == 0 {
		delete(s.aliases, alias)
	}
}

// newEntry returns the entry of o, which is not stored yet. Its key is valid as
// long as obj, whose bytes never change.
func newEntry(o *Object, hash uint64, size int64, group uint32) entry {
	return entry{obj: o, key: unsafe.String(unsafe.SliceData(o.Key), len(o.Key)), hash: hash, size: size, group: group}
}

func (s *shard) init(admission bool) {
	if admission {
		s.sketch = newSketch()
	}
	s.pages = append(s.pages, new([pageEntries]entry))
	s.slots = 1
}

func (s *shard) at(slot uint32) *entry {
	return &s.pages[slot/pageEntries][slot%pageEntries]
}

// findLocked returns the slot of key, or 0.
func (s *shard) findLocked(hash uint64, key []byte) uint32 {
	if s.index.used == 0 {
		return 0
	}
	places := s.index.places
	mask := uint64(len(places) - 1)
	for i := hash & mask & math.MaxUint32; ; i = (i + 1) & mask {
		p := places[i]
		if p == 0 {
			return 0
		}
		if uint32(p>>32) == uint32(hash) {
			if slot := uint32(p); s.at(slot).key == string(key) {
				return slot
			}
		}
	}
}

// insertLocked stores e as the newest entry. Its key must not be there.
func (s *shard) insertLocked(e entry) {
	slot := s.free
	if slot != 0 {
		s.free = s.at(slot).next
	} else {
		slot = s.slots
		s.slots++
		if int(slot/pageEntries) == len(s.pages) {
			s.pages = append(s.pages, new([pageEntries]entry))
		}
	}
	*s.at(slot) = e
	s.linkLocked(slot)
	s.index.add(e.hash, slot)
	s.sketch.grow(s.index.used)
}

// removeLocked forgets an entry and returns what it was.
func (s *shard) removeLocked(slot uint32) entry {
	e := s.at(slot)
	gone := *e
	s.index.remove(e.hash, slot)
	s.unlinkLocked(e)
	*e = entry{next: s.free}
	s.free = slot
	return gone
}

// touchLocked makes an entry the newest.
func (s *shard) touchLocked(slot uint32, tick uint64) {
	e := s.at(slot)
	e.used = tick
	if s.at(root).next != slot {
		s.unlinkLocked(e)
		s.linkLocked(slot)
	}
}

func (s *shard) linkLocked(slot uint32) {
	r, e := s.at(root), s.at(slot)
	e.prev, e.next = root, r.next
	s.at(r.next).prev = slot
	r.next = slot
}

func (s *shard) unlinkLocked(e *entry) {
	s.at(e.prev).next = e.next
	s.at(e.next).prev = e.prev
}

// oldestLocked returns the age of the entry to evict first.
func (s *shard) oldestLocked() uint64 {
	if slot := s.at(root).prev; slot != root {
		return s.at(slot).used
	}
	return none
}
