//go:build !race

package request

import "testing"

func TestRangeAllocs(t *testing.T) {
	value, contentRange := []byte("Bytes=, 5-99 ,"), []byte("bytes 5-9/10")
	var dst []byte
	var first, last, a, b, size int64
	var ok bool
	var err error
	run := func() {
		r := parseRange(value)
		dst = AppendRange(dst[:0], r)
		first, last, ok = r.Resolve(10)
		a, b, size, err = ParseContentRange(contentRange)
	}
	run()
	if string(dst) != "bytes=5-99" || first != 5 || last != 9 || !ok || a != 5 || b != 9 || size != 10 || err != nil {
		t.Fatalf("%q; %d-%d %v; %d-%d/%d %v", dst, first, last, ok, a, b, size, err)
	}
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
