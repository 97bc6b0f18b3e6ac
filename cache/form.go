package cache

import (
	"sync/atomic"
	"unsafe"
)

// NumForms is how many other forms of its body an object may have.
const NumForms = 3

// forms are a body in other codings. They are made after the object is stored, live and die
// with it, and count as bytes of it.
type forms struct {
	begun atomic.Uint32 // those that are made, or have been, by bit
	made  [NumForms]atomic.Pointer[[]byte]
}

// Form returns a form of o's body, by number; nil if there is none. It never changes. It may be
// called at any time.
//
// Hot path: zero allocations, guarded by TestFormAllocs.
func (o *Object) Form(n int) []byte {
	if f := o.shared().forms.Load(); f != nil {
		if form := f.made[n].Load(); form != nil {
			return *form
		}
	}
	return nil
}

// BeginForm reports whether the caller is the first to make a form of o's body, by number. It
// may be called at any time.
//
// Hot path: zero allocations but for the first of an object, guarded by TestFormAllocs.
func (o *Object) BeginForm(n int) bool {
	b := o.shared()
	f := b.forms.Load()
	if f == nil {
		b.forms.CompareAndSwap(nil, new(forms))
		f = b.forms.Load()
	}
	return f.begun.Load()&(1<<n) == 0 && f.begun.Or(1<<n)&(1<<n) == 0
}

// FormBegun reports whether BeginForm was called for a form of o's body, by number. It may be
// called at any time.
//
// Hot path: zero allocations, guarded by TestFormAllocs.
func (o *Object) FormBegun(n int) bool {
	f := o.shared().forms.Load()
	return f != nil && f.begun.Load()&(1<<n) != 0
}

// formBytes returns the memory of o's forms.
func (o *Object) formBytes() (n int64) {
	f := o.shared().forms.Load()
	if f == nil {
		return 0
	}
	for i := range f.made {
		if form := f.made[i].Load(); form != nil {
			n += formSize(*form)
		}
	}
	return n
}

// formSize returns the memory that a form takes.
func formSize(form []byte) int64 {
	return allocated(int64(cap(form))) + allocated(int64(unsafe.Sizeof(form))) + allocated(int64(unsafe.Sizeof(forms{})))
}

// AdmitsForm tells whether the policy would let a form of o, of size bytes, into the cache now, as
// far as can be told by the one object that would have to go first.
func (c *Cache) AdmitsForm(o *Object, size int64) bool {
	if c.Bytes()+size <= c.opts.MaxBytes {
		return true
	}
	hash, n := c.hash(o.Key), c.shardOf(c.nameHash(o.Key))
	s := &c.shards[n]
	s.mu.Lock()
	asked := s.sketch.frequency(hash)
	s.mu.Unlock()
	return c.oldestYields(n, asked)
}

// AddForm keeps a form of o's body with o, by number, which BeginForm has begun, and takes
// ownership of it. It evicts what is needed to make room. It does nothing and returns false if o
// is no longer stored, if all would be too large for the cache, or if the policy prefers objects
// that are asked for more than o.
func (c *Cache) AddForm(o *Object, n int, form []byte) bool {
	hash, shard := c.hash(o.Key), c.shardOf(c.nameHash(o.Key))
	s := &c.shards[shard]
	size := formSize(form)
	size += size / runtimeShare
	var r room
	defer c.release(&r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		slot := s.findLocked(hash, o.Key)
		if slot == 0 || s.at(slot).obj.shared() != o.shared() || s.at(slot).size+size > c.opts.MaxBytes {
			return false
		}
		e := s.at(slot)
		if c.reserve(size, &r) {
			o.shared().forms.Load().made[n].Store(&form)
			e.size += size
			c.groups.add(e.group, 0, size)
			return true
		}
		asked := s.sketch.frequency(hash)
		s.mu.Unlock()
		evicted := c.evict(shard, asked, &r)
		s.mu.Lock()
		if !evicted {
			return false
		}
	}
}
