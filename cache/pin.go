package cache

import "sync/atomic"

// A body lives as long as somebody reads it, whether or not it is stored. So that
// slow readers of many objects cannot hold any amount of memory unseen, readers of
// large bodies pin them. Bodies that are pinned without being stored are counted,
// once for all objects that share one. Bodies that arrive count apart: what is read
// takes nothing of the room for them.

// What is counted in the uses of a body, from the low bits on: its readers, the stored
// objects that have it, and whether it is arriving.
const (
	stored   = 1 << 32
	arriving = 1 << 60
)

// uses returns the count of the readers of o's body and of the stored objects that
// have it. Clones share it with their original.
func (o *Object) uses() *atomic.Int64 { return &o.shared().uses }

// weight returns the bytes of o's body and of its forms. It changes only while o is stored.
func (o *Object) weight() int64 { return int64(len(o.Body)) + o.formBytes() }

// Held returns each reader's part of o's body, in bytes, if it is in memory for its readers
// alone; else 0. It may be called at any time.
func (o *Object) Held() int64 {
	if n := o.uses().Load(); 0 < n && n < stored {
		return max(o.weight()/n, 1)
	}
	return 0
}

// Pin notes a reader of o's body, until Unpin.
func (c *Cache) Pin(o *Object) {
	if o.uses().Add(1) == 1 {
		c.pinned.Add(o.weight())
	}
}

// Unpin takes back a Pin.
func (c *Cache) Unpin(o *Object) {
	if o.uses().Add(-1) == 0 {
		c.pinned.Add(-o.weight())
	}
}

// Reserve counts the body of a new object, of size bytes, as arriving, until Arrived; it is
// yet to be made. It does nothing and returns false if then more than limit were arriving,
// unless nothing else is.
func (c *Cache) Reserve(o *Object, size, limit int64) bool {
	if c.arriving.Add(size) > max(limit, size) {
		c.arriving.Add(-size)
		return false
	}
	o.uses().Add(arriving)
	return true
}

// Arrived ends what Reserve began, once o is stored, or is not to be: its body counts as
// pinned from then on if it has readers and is not stored.
func (c *Cache) Arrived(o *Object) {
	size := int64(len(o.Body))
	if n := o.uses().Add(-arriving); 0 < n && n < stored {
		c.pinned.Add(o.weight())
	}
	c.arriving.Add(-size)
}

// Pinned returns the bytes of bodies that are being read and are neither stored nor
// arriving. It may be off for a moment by an object that is just being stored or dropped.
func (c *Cache) Pinned() int64 { return c.pinned.Load() }

// Arriving returns the bytes of bodies that are being filled.
func (c *Cache) Arriving() int64 { return c.arriving.Load() }

// enter marks o as stored.
func (c *Cache) enter(o *Object) {
	if n := o.uses().Add(stored); n > stored && n < 2*stored {
		c.pinned.Add(-o.weight())
	}
}

// leave marks o as no longer stored.
func (c *Cache) leave(o *Object) {
	if n := o.uses().Add(-stored); n > 0 && n < stored {
		c.pinned.Add(o.weight())
	}
}
