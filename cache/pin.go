package cache

import "sync/atomic"

// A body lives as long as somebody reads it, whether or not it is stored. So that
// slow readers of many objects cannot hold any amount of memory unseen, readers of
// large bodies pin them. Bodies that are pinned without being stored are counted,
// once for all objects that share one.

// stored is what each stored object that has the body adds to its uses; below it,
// its readers are counted.
const stored = 1 << 32

// uses returns the count of the readers of o's body and of the stored objects that
// have it. Clones share it with their original.
func (o *Object) uses() *atomic.Int64 {
	if o.shared != nil {
		return o.shared
	}
	return &o.own
}

// Pin notes a reader of o's body, until Unpin.
func (c *Cache) Pin(o *Object) {
	if o.uses().Add(1) == 1 {
		c.pinned.Add(int64(len(o.Body)))
	}
}

// Unpin takes back a Pin.
func (c *Cache) Unpin(o *Object) {
	if o.uses().Add(-1) == 0 {
		c.pinned.Add(-int64(len(o.Body)))
	}
}

// Reserve is Pin for a new object whose body of size bytes is yet to be made. It
// does nothing and returns false if then more than limit were pinned, unless nothing
// else is.
func (c *Cache) Reserve(o *Object, size, limit int64) bool {
	if c.pinned.Add(size) > max(limit, size) {
		c.pinned.Add(-size)
		return false
	}
	o.uses().Add(1)
	return true
}

// Pinned returns the bytes of bodies that are being read, or filled, and are not
// stored. It may be off for a moment by an object that is just being stored or dropped.
func (c *Cache) Pinned() int64 { return c.pinned.Load() }

// enter marks o as stored.
func (c *Cache) enter(o *Object) {
	if n := o.uses().Add(stored); n > stored && n < 2*stored {
		c.pinned.Add(-int64(len(o.Body)))
	}
}

// leave marks o as no longer stored.
func (c *Cache) leave(o *Object) {
	if n := o.uses().Add(-stored); n > 0 && n < stored {
		c.pinned.Add(int64(len(o.Body)))
	}
}
