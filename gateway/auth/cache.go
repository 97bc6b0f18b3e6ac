package auth

import (
	"container/list"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// TokenCache remembers what became of tokens, so that a repeated one costs a
// look-up. It is bounded by entries and by bytes, and drops what was used longest
// ago. Tokens that were refused are kept apart: a sixteenth of the room, and for
// a short time.
//
// The policies of a generation share one and see none of each other's entries.
// It is safe for concurrent use; create it with NewTokenCache.
type TokenCache struct {
	seed     maphash.Seed
	shards   []tokenShard
	policies atomic.Uint64 // how many share it: each has its own id
}

// refusedFor is how long a refused token is remembered.
const refusedFor = 5 * time.Second

// entryOverhead is what an entry takes besides its token and claims: itself, and
// its share of a list and a map, in bytes.
const entryOverhead = 336

// entry is what became of one token under one policy.
type entry struct {
	key  tokenKey
	size int

	// What became of it, not changed after insertion.
	reason    Reason
	subject   string
	subjectID uint64
	keys      uint64 // version of the keyring
	notBefore int64  // Unix nanoseconds from and until when this holds
	expires   int64
	sets      []setVerdict // by rule set of the policy; empty if refused

	// Guarded by the shard's mu.
	list *tokenList
	at   *list.Element // in list
}

// setVerdict is what a rule set makes of a token.
type setVerdict struct {
	refused bool  // a rule that does not depend on the request fails
	claims  []any // for each rule that does, the claim; nil if there is none
}

type tokenKey struct {
	policy uint64
	token  string
}

// tokenShard is a part of the cache with a lock of its own.
type tokenShard struct {
	mu      sync.Mutex // guards the following fields and the entries' links
	entries map[tokenKey]*entry
	good    tokenList
	refused tokenList
}

// tokenList has entries, the one used last in front.
type tokenList struct {
	list.List
	bytes, maxLen, maxBytes int
}

// NewTokenCache returns a cache of at most tokens entries and bytes of memory,
// either of which may be 0: nothing is kept then.
func NewTokenCache(tokens int, bytes int64) *TokenCache {
	n := 1
	for n < 64 && tokens/(2*n) >= 256 && bytes/int64(2*n) >= 64<<10 {
		n *= 2
	}
	c := &TokenCache{seed: maphash.MakeSeed(), shards: make([]tokenShard, n)}
	perLen, perBytes := tokens/n, int(bytes/int64(n))
	for i := range c.shards {
		s := &c.shards[i]
		s.entries = make(map[tokenKey]*entry)
		s.refused.maxLen, s.refused.maxBytes = perLen/16, perBytes/16
		s.good.maxLen, s.good.maxBytes = perLen-perLen/16, perBytes-perBytes/16
	}
	return c
}

// shard returns the shard for a token.
func (c *TokenCache) shard(token []byte) *tokenShard {
	if len(token) > 32 {
		token = token[len(token)-32:] // the signature, which nobody can choose
	}
	return &c.shards[maphash.Bytes(c.seed, token)&uint64(len(c.shards)-1)]
}

// get returns the entry of a token that holds at now with the keys of this
// version; nil if there is none. The caller must not change it.
//
// Hot path: zero allocations, guarded by TestAuthorizeAllocs.
func (c *TokenCache) get(policy uint64, token []byte, now int64, keys uint64) *entry {
	s := c.shard(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[tokenKey{policy, string(token)}]
	if e == nil {
		return nil
	}
	if now < e.notBefore || now >= e.expires || e.keys != keys {
		s.remove(e)
		return nil
	}
	e.list.MoveToFront(e.at)
	return e
}

// put keeps e, whose token is copied, unless there is no room for it at all.
func (c *TokenCache) put(policy uint64, token []byte, e *entry) {
	size := entryOverhead + len(token) + len(e.subject)
	for _, set := range e.sets {
		size += 32
		for _, claim := range set.claims {
			size += sizeOf(claim)
		}
	}
	s := c.shard(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	list := &s.good
	if e.reason != Allowed {
		list = &s.refused
	}
	if list.maxLen == 0 || size > list.maxBytes {
		return
	}
	e.key, e.size, e.list = tokenKey{policy, string(token)}, size, list
	if old := s.entries[e.key]; old != nil {
		s.remove(old)
	}
	for list.Len() >= list.maxLen || list.bytes+size > list.maxBytes {
		s.remove(list.Back().Value.(*entry))
	}
	s.entries[e.key] = e
	e.at = list.PushFront(e)
	list.bytes += size
}

// remove drops e. The shard's mu is held.
func (s *tokenShard) remove(e *entry) {
	delete(s.entries, e.key)
	e.list.Remove(e.at)
	e.list.bytes -= e.size
}

// Stats are counts of a TokenCache.
type Stats struct {
	Tokens  int // entries, refused ones among them
	Refused int // entries of refused tokens
	Bytes   int // what all entries take, as counted against the bound
}

// UpdateStats adds the counts of c to s.
func (c *TokenCache) UpdateStats(s *Stats) {
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.Lock()
		s.Tokens += shard.good.Len() + shard.refused.Len()
		s.Refused += shard.refused.Len()
		s.Bytes += shard.good.bytes + shard.refused.bytes
		shard.mu.Unlock()
	}
}
