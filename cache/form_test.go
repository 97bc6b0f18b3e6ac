package cache

import (
	"bytes"
	"sync"
	"testing"
)

// newFormed returns a stored object with a body of n bytes.
func newFormed(t *testing.T, c *Cache, key string, n int) *Object {
	t.Helper()
	o := &Object{Key: AppendKey(nil, []byte(key)), Group: "g", Body: make([]byte, n), Status: 200}
	if !c.Put(o) {
		t.Fatal("it is not stored")
	}
	return o
}

// TestForms follows the bytes of an object's forms: they count as the object's, are evicted and
// purged with it, stay with a clone that takes its place, and never get to an object that is gone.
func TestForms(t *testing.T) {
	c := New(Options{MaxBytes: 1 << 20, MaxObjectBytes: 1 << 19})
	o := newFormed(t, c, "a", 1000)
	alone := c.Bytes()
	if !o.BeginForm(1) || o.BeginForm(1) || !o.BeginForm(0) || o.Form(1) != nil {
		t.Error("a form is not begun once")
	}
	if !c.AddForm(o, 1, []byte("form")) || string(o.Form(1)) != "form" || o.Form(0) != nil || c.Bytes() <= alone {
		t.Errorf("the form is %q, %d bytes, %d without", o.Form(1), c.Bytes(), alone)
	}
	if got := o.Size(); got != c.Bytes() {
		t.Errorf("the object has %d bytes, the cache %d", got, c.Bytes())
	}
	clone := o.Clone()
	if !c.Replace(o, clone, c.Epoch("g", o.Key)) || string(clone.Form(1)) != "form" || clone.BeginForm(1) {
		t.Error("a clone has lost the form")
	}
	if c.AddForm(o, 0, []byte("other")); string(clone.Form(0)) != "other" || c.Bytes() != clone.Size() {
		t.Errorf("a form of the original is not the clone's, or %d bytes are not %d", c.Bytes(), clone.Size())
	}
	other := newFormed(t, c, "a", 10)
	if c.AddForm(clone, 2, []byte("late")) || clone.Form(2) != nil {
		t.Error("an object that was replaced has got a form")
	}
	c.Delete(other.Key)
	if c.Bytes() != 0 || c.AddForm(other, 0, []byte("later")) {
		t.Errorf("%d bytes are left", c.Bytes())
	}
}

// TestFormsPinned has a reader hold an object with forms that is dropped: all its bytes count.
func TestFormsPinned(t *testing.T) {
	c := New(Options{MaxBytes: 1 << 20, MaxObjectBytes: 1 << 19})
	o := newFormed(t, c, "a", 1000)
	c.Pin(o)
	o.BeginForm(0)
	c.AddForm(o, 0, make([]byte, 500))
	if c.Pinned() != 0 {
		t.Errorf("%d bytes are pinned while it is stored", c.Pinned())
	}
	c.Delete(o.Key)
	if c.Pinned() < 1500 {
		t.Errorf("%d bytes are pinned", c.Pinned())
	}
	c.Unpin(o)
	if c.Pinned() != 0 {
		t.Errorf("%d bytes are pinned for ever", c.Pinned())
	}
}

// TestFormsMakeRoom has forms evict older objects, but never more than the cache may hold.
func TestFormsMakeRoom(t *testing.T) {
	c := New(Options{MaxBytes: 64 << 10, MaxObjectBytes: 32 << 10})
	var objects []*Object
	for _, key := range []string{"a", "b", "c"} {
		objects = append(objects, newFormed(t, c, key, 10<<10))
	}
	last := objects[2]
	for n, size := range []int{20 << 10, 20 << 10, 20 << 10} {
		last.BeginForm(n)
		if added := c.AddForm(last, n, make([]byte, size)); added != (n < 2) {
			t.Errorf("form %d: %t", n, added)
		}
	}
	if c.Bytes() > 64<<10 || c.Peek(objects[0].Key) != nil || c.Peek(last.Key) != last {
		t.Errorf("%d bytes, of %d objects", c.Bytes(), c.Len())
	}
}

// TestFormsInParallel has forms come while objects are replaced, dropped and read.
func TestFormsInParallel(t *testing.T) {
	c := New(Options{MaxBytes: 1 << 20, MaxObjectBytes: 1 << 19})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 500 {
				o := newFormed(t, c, string(rune('a'+i%5)), 100)
				c.Pin(o)
				for n := range NumForms {
					if o.BeginForm(n) {
						c.AddForm(o, n, bytes.Repeat([]byte{byte(n)}, 50))
					}
					if form := o.Form(n); form != nil && (len(form) != 50 || form[49] != byte(n)) {
						t.Errorf("form %d is %q", n, form)
					}
				}
				c.Replace(o, o.Clone(), c.Epoch("g", o.Key))
				if i%7 == 0 {
					c.Delete(o.Key)
				}
				c.Unpin(o)
			}
		})
	}
	all.Wait()
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		c.Delete(AppendKey(nil, []byte(key)))
	}
	if c.Bytes() != 0 || c.Pinned() != 0 {
		t.Errorf("%d bytes and %d pinned are left", c.Bytes(), c.Pinned())
	}
}

// TestFormsAskThePolicy has the form of an object that was asked for once come while the cache is
// full of objects that are asked for often: it takes nothing of theirs.
func TestFormsAskThePolicy(t *testing.T) {
	c := New(Options{MaxBytes: 128 << 10, MaxObjectBytes: 64 << 10, Policy: PolicyTinyLFU})
	var hot []*Object
	cold := newFormed(t, c, "cold", 1<<10)
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		hot = append(hot, newFormed(t, c, key, 10<<10))
	}
	for range 8 {
		for _, o := range hot {
			c.Get(o.Key)
		}
	}
	c.Get(cold.Key)
	if cold.BeginForm(0); c.AdmitsForm(cold, 30<<10) || c.AddForm(cold, 0, make([]byte, 30<<10)) || cold.Form(0) != nil {
		t.Error("the form of a cold object is kept")
	}
	for _, o := range hot {
		if c.Peek(o.Key) != o {
			t.Errorf("%s was evicted for it", o.Key)
		}
	}
	if hot[3].BeginForm(0); !c.AdmitsForm(hot[3], 8<<10) || !c.AddForm(hot[3], 0, make([]byte, 8<<10)) {
		t.Error("the form of a hot object is not kept")
	}
}
