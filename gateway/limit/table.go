package limit

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Table holds a token bucket for each key: a client's address or the subject of
// its token. Create it with NewTable; a nil Table has no limit. It is safe for
// concurrent use.
//
// It is bounded by keys. A bucket that is full again need not be kept: its key makes
// room for a new one, and starts with a full bucket when it returns. In a table whose
// buckets are all in use, a new key takes the place of the key idle longest and inherits
// its bucket as it is. So a flood of keys creates no tokens: all keys of an attacker get
// no more than the keys that the table holds, and pushing his own bucket out gains him
// nothing. The price: while that many clients are active, a new one finds less than a
// full bucket.
type Table struct {
	bucket
	seed   maphash.Seed
	shards []shard
}

// shard is a part of a table with a lock of its own. The shard of a key depends on a
// secret seed, so that nobody can choose keys that fill one.
type shard struct {
	mu      sync.Mutex        // guards the following fields
	places  map[uint64]uint32 // by key
	clients []client          // a ring: the first is its root, the most recently used behind it
	most    int               // bound of len(clients), and of used
	used    map[uint64]int64  // tokens taken since Collect, by key; nil: the limit is not shared

	_ [8]byte // to a cache line, so that the locks do not slow each other down
}

// client is the bucket of one key.
type client struct {
	key        uint64
	spent      int64
	prev, next uint32
}

// NewTable returns a table for l that holds at most keys keys, at least 1, each in
// about 72 bytes; nil for no limit.
func NewTable(l Limit, keys int) *Table {
	if l == (Limit{}) {
		return nil
	}
	n := 1
	for n < 64 && keys/(2*n) >= 256 {
		n *= 2
	}
	t := &Table{bucket: newBucket(l), seed: maphash.MakeSeed(), shards: make([]shard, n)}
	for i := range t.shards {
		s := &t.shards[i]
		s.most = 1 + max(keys/n, 1)
	}
	return t
}

// Take takes a token from the bucket of key. Where there is none, it returns the wait
// for one; 0 means taken.
//
// Hot path: zero allocations for a known key, guarded by TestAllocs.
func (t *Table) Take(key uint64, now time.Duration) (wait time.Duration) {
	if t == nil {
		return 0
	}
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, known := s.places[key]
	if known {
		s.unlink(i)
	} else {
		i = s.place(key, t.full(now))
	}
	s.pushFront(i)
	c := &s.clients[i]
	if c.spent, wait = t.take(c.spent, now); wait == 0 && s.used != nil {
		s.note(key, 1)
	}
	return wait
}

// Wait returns the wait for a token from the bucket of key, 0 if there is one. It takes none.
// The bucket of a key without a place is full.
func (t *Table) Wait(key uint64, now time.Duration) (wait time.Duration) {
	if t == nil {
		return 0
	}
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, known := s.places[key]; known {
		_, wait = t.take(s.clients[i].spent, now)
	}
	return wait
}

// Return gives back a token that was not used. The token of a key that has lost its place
// meanwhile is lost.
func (t *Table) Return(key uint64) {
	if t == nil {
		return
	}
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, known := s.places[key]; known {
		s.clients[i].spent -= token
		s.note(key, -1)
	}
}

func (t *Table) shard(key uint64) *shard {
	return &t.shards[maphash.Comparable(t.seed, key)&uint64(len(t.shards)-1)]
}

// place returns a place for a new key, outside the ring. full is the state of a full
// bucket.
func (s *shard) place(key uint64, full int64) uint32 {
	if s.places == nil {
		s.places, s.clients = make(map[uint64]uint32), make([]client, 1)
	}
	i := s.clients[0].prev // the client idle longest; 0: there is none
	if i != 0 && (s.clients[i].spent <= full || len(s.clients) == s.most) {
		s.unlink(i)
		delete(s.places, s.clients[i].key)
	} else {
		i = uint32(len(s.clients))
		s.clients = append(s.clients, client{spent: full})
	}
	s.clients[i].key = key
	s.places[key] = i
	return i
}

func (s *shard) unlink(i uint32) {
	c := &s.clients[i]
	s.clients[c.prev].next, s.clients[c.next].prev = c.next, c.prev
}

func (s *shard) pushFront(i uint32) {
	first := s.clients[0].next
	s.clients[i].prev, s.clients[i].next = 0, first
	s.clients[first].prev, s.clients[0].next = i, i
}

// AddressKey returns the key of a client's address: an IPv4 address, also in its IPv6 form or
// carried in another one, or the /64 of an IPv6 address, which is the least that one host has.
// The hosts behind a translator share one /64, and the end of a tunnel has many. 0: a is no address.
func AddressKey(a netip.Addr) uint64 {
	if !a.IsValid() {
		return 0
	}
	if within, ok := carried(a); ok {
		a = within
	}
	b := a.As16()
	if a.Is4() || a.Is4In6() {
		return binary.BigEndian.Uint64(b[8:]) // ::ffff:0:0/96; as a /64 it belongs to nobody
	}
	return max(binary.BigEndian.Uint64(b[:8]), 1) // ::1 is in ::/64, and 0 is nobody
}
