package cache

import "runtime"

// room is what a Put has freed for itself: bytes of objects that it evicted,
// which stay counted, so that no other Put can take them while it frees more. A
// large object would otherwise make room for many small ones and never find
// enough for itself. The zero value is empty; release ends it. Not safe for
// concurrent use.
type room struct{ bytes int64 }

// reserve takes n bytes from r, and what r lacks from the budget. If that has too few
// left, it takes nothing and returns false. A negative n adds to r.
func (c *Cache) reserve(n int64, r *room) bool {
	for n > r.bytes {
		used := c.bytes.Load()
		if used+n-r.bytes > c.opts.MaxBytes {
			return false
		}
		if c.bytes.CompareAndSwap(used, used+n-r.bytes) {
			r.bytes = n
		}
	}
	r.bytes -= n
	return true
}

// release gives back what r holds.
func (c *Cache) release(r *room) {
	c.bytes.Add(-r.bytes)
	r.bytes = 0
}

// evict drops the object that was used longest ago, adds its bytes to r and
// returns true. If the key of that object was asked for more often than asked,
// evict makes it the newest instead and returns false. Equally old objects are
// taken from shard n on, so that no shard is emptied before the others.
func (c *Cache) evict(n, asked int, r *room) bool {
	n = c.oldestShard(n)
	if n < 0 {
		// All bytes belong to objects that are just being stored, or are room of
		// others, which may wait for ours.
		c.release(r)
		runtime.Gosched()
		return true
	}
	s := &c.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.at(root).prev
	if slot == root {
		return true
	}
	if s.sketch.frequency(s.at(slot).hash) > asked {
		// The next new object meets another old one. With the same one each time,
		// newly popular objects could not get past it until its count is halved.
		s.touchLocked(slot, c.tick.Load())
		c.publishLocked(n)
		return false
	}
	size := c.removeLocked(n, slot)
	s.evictions++
	s.evictedBytes += uint64(size)
	r.bytes += size
	return true
}

// Admits tells whether the policy would let an object of key into the cache now, as far as
// can be told by the one object that would have to go first. size is that of its body.
func (c *Cache) Admits(key []byte, size int64) bool {
	if c.Bytes()+size <= c.opts.MaxBytes {
		return true
	}
	hash, n := c.hash(key), c.shardOf(c.nameHash(key))
	s := &c.shards[n]
	s.mu.Lock()
	asked, known := s.sketch.frequency(hash), s.findLocked(hash, key) != 0
	s.mu.Unlock()
	return known || c.oldestYields(n, asked)
}

// oldestYields tells whether the object that was used longest ago, from shard n on, would go for
// one that was asked for so often.
func (c *Cache) oldestYields(n, asked int) bool {
	if n = c.oldestShard(n); n < 0 {
		return true
	}
	s := &c.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.at(root).prev
	return slot == root || s.sketch.frequency(s.at(slot).hash) <= asked
}

// oldestShard returns the number of the shard whose oldest entry is older than
// that of any other, the first from n on; -1: there are no entries.
func (c *Cache) oldestShard(n int) int {
	best, age := -1, uint64(none)
	for i := range c.oldest {
		i = (n + i) & (len(c.oldest) - 1)
		if a := c.oldest[i].Load(); a < age {
			best, age = i, a
		}
	}
	return best
}
