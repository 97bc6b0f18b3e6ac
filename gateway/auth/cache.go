package auth

import (
	"container/list"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/token"
)

// TokenCache caches the results of verified tokens, so that a repeated token costs a
// look-up. It is bounded by entries and by bytes, and evicts the least recently used
// token. Refused tokens have lists of their own: a sixteenth of the room, and a short
// time.
//
// Create it with NewTokenCache. It is safe for concurrent use. The policies of a
// generation share one cache and see none of each other's entries.
type TokenCache struct {
	seed     maphash.Seed
	shards   []tokenShard
	policies atomic.Uint64 // the last id of a policy
}

// refusedFor is how long a refused token is cached.
const refusedFor = 5 * time.Second

// entryOverhead is the memory of an entry besides its token and claims, in bytes: the
// entry itself, and its share of a list and a map.
const entryOverhead = 352

// entry is the result of one token under one policy.
type entry struct {
	key  tokenKey
	hash uint64 // of the token
	size int

	// The result, not changed after insertion.
	reason    Reason
	subject   string
	subjectID uint64
	keys      uint64       // version of the keyring
	notBefore int64        // when the result begins to hold, in Unix nanoseconds
	expires   int64        // when it ends to hold
	sets      []setVerdict // by rule set of the policy; empty if refused

	// Guarded by the shard's mu.
	list *tokenList
	at   *list.Element // in list
}

// setVerdict is the result of a rule set for a token.
type setVerdict struct {
	refused bool  // a rule that does not depend on the request fails
	claims  []any // for each rule that does, the claim; nil if there is none
}

type tokenKey struct {
	policy uint64
	token  string
}

// tokenShard is a part of a TokenCache with a lock of its own.
type tokenShard struct {
	latest atomic.Pointer[entry] // the one used last, in front of its list; nil: unknown

	mu      sync.Mutex // guards the following fields and the entries' links
	entries map[tokenKey]*entry
	good    tokenList
	refused tokenList
}

// tokenList is a list of entries, the most recently used in front, and its bounds.
type tokenList struct {
	list.List
	bytes, maxLen, maxBytes int
}

// NewTokenCache returns a cache of at most tokens entries and bytes of memory. Where
// one of them is 0, it caches nothing.
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

// shard returns the shard for a token, and the token's hash.
func (c *TokenCache) shard(token []byte) (*tokenShard, uint64) {
	if len(token) > 32 {
		token = token[len(token)-32:] // the signature, which nobody can choose
	}
	hash := maphash.Bytes(c.seed, token)
	return &c.shards[hash&uint64(len(c.shards)-1)], hash
}

// get returns the entry of a token; nil if there is none that holds at now and was
// made with the keys of this version. The caller must not change it.
//
// Hot path: zero allocations, guarded by TestAuthorizeAllocs.
func (c *TokenCache) get(policy uint64, token []byte, now int64, keys uint64) *entry {
	s, hash := c.shard(token)
	// It is nearly always the one before where few tokens are in use: then without the lock, and
	// without a hash of the whole token.
	if e := s.latest.Load(); e != nil && e.hash == hash && e.key.policy == policy && e.key.token == string(token) && e.holds(now, keys) {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[tokenKey{policy, string(token)}]
	if e == nil {
		return nil
	}
	if !e.holds(now, keys) {
		s.remove(e)
		return nil
	}
	e.list.MoveToFront(e.at)
	s.latest.Store(e)
	return e
}

// holds tells whether the result holds at now, with the keys of this version.
func (e *entry) holds(now int64, keys uint64) bool {
	return now >= e.notBefore && now < e.expires && e.keys == keys
}

// put caches e for a copy of a token, unless e is larger than the cache.
func (c *TokenCache) put(policy uint64, raw []byte, e *entry) {
	size := entryOverhead + len(raw) + len(e.subject)
	for _, set := range e.sets {
		size += 32
		for _, claim := range set.claims {
			size += token.SizeOf(claim)
		}
	}
	s, hash := c.shard(raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	list := &s.good
	if e.reason != Allowed {
		list = &s.refused
	}
	if list.maxLen == 0 || size > list.maxBytes {
		return
	}
	e.key, e.hash, e.size, e.list = tokenKey{policy, string(raw)}, hash, size, list
	if old := s.entries[e.key]; old != nil {
		s.remove(old)
	}
	for list.Len() >= list.maxLen || list.bytes+size > list.maxBytes {
		s.remove(list.Back().Value.(*entry))
	}
	s.entries[e.key] = e
	e.at = list.PushFront(e)
	s.latest.Store(nil) // it is in front no more
	list.bytes += size
}

// remove drops e. The shard's mu is held.
func (s *tokenShard) remove(e *entry) {
	s.latest.CompareAndSwap(e, nil)
	delete(s.entries, e.key)
	e.list.Remove(e.at)
	e.list.bytes -= e.size
}

// Stats are counts of a TokenCache.
type Stats struct {
	Tokens  int // entries, refused ones among them
	Refused int // entries of refused tokens
	Bytes   int // memory of all entries, as counted against the bound
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
