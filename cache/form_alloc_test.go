//go:build !race

package cache

import "testing"

func TestFormAllocs(t *testing.T) {
	c := New(Options{MaxBytes: 1 << 20, MaxObjectBytes: 1 << 19})
	o := newFormed(t, c, "a", 10)
	o.BeginForm(0)
	c.AddForm(o, 0, []byte("x"))
	if n := testing.AllocsPerRun(100, func() {
		if o.Form(0) == nil || o.Form(1) != nil || o.BeginForm(0) {
			t.Fatal("the forms are others")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
