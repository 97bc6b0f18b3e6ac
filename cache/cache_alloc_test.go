//go:build !race

package cache

import (
	"fmt"
	"testing"
)

func TestGetAllocs(t *testing.T) {
	for _, policy := range []string{PolicyLRU, PolicyTinyLFU} {
		t.Run(policy, func(t *testing.T) {
			c := New(Options{MaxBytes: 1 << 20, Policy: policy})
			for i := range 100 {
				c.Put(object(fmt.Sprintf("k%d", i), 100))
			}
			var keys [][]byte
			for i := range 100 {
				keys = append(keys, fmt.Appendf(nil, "k%d", i))
				if o := c.Get(keys[i]); o == nil || string(o.Key) != string(keys[i]) {
					t.Fatalf("%s is not there", keys[i])
				}
			}
			absent, alias := []byte("absent"), AppendKey(nil, []byte("//a//b/"), []byte("origin"))
			c.Put(&Object{Key: alias, Group: "g"})
			parts := [][]byte{keys[0], keys[1]}
			buf := make([]byte, 0, 64)
			i := 0
			got := testing.AllocsPerRun(1000, func() {
				if c.Get(keys[i%100]) == nil || c.Peek(keys[i%100]) == nil || c.Get(absent) != nil || c.Get(alias) == nil || c.Epoch("g", alias) != 0 {
					t.Error("another object")
				}
				buf = AppendKey(buf[:0], parts...)
				i++
			})
			if got != 0 {
				t.Errorf("%v allocations, want 0", got)
			}
		})
	}
}

// TestPutAllocs guards the storing of an object that displaces another.
func TestPutAllocs(t *testing.T) {
	c := New(Options{MaxBytes: 1 << 20})
	objects := make([]*Object, 2000)
	for i := range objects {
		objects[i] = object(fmt.Sprintf("k%d", i), 1000)
		c.Put(objects[i])
	}
	epoch := c.Epoch("g", nil)
	i := 0
	got := testing.AllocsPerRun(1500, func() {
		if !c.PutSince(objects[i%len(objects)], epoch) {
			t.Error("not stored")
		}
		i++
	})
	if got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
	consistent(t, c)
}
