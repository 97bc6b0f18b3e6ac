//go:build !race

package token

import (
	"runtime"
	"strings"
	"testing"
)

// Claims that are arrays take no more memory than is counted.
func TestSizeOfArrays(t *testing.T) {
	for _, item := range []string{`1`, `-1.25`, `"a"`, `[1]`, `null`, `"a string of some length"`, `{}`, `{"a":1}`, `{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9}`} {
		claims := []byte(`{"c":[` + strings.TrimSuffix(strings.Repeat(item+",", 600), ",") + `]}`)
		heap := func() int {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc)
		}
		kept := make([]any, 0, 200)
		counted, before := 0, heap()
		for range cap(kept) {
			o, err := new(Decoder).Object(claims)
			if err != nil {
				t.Fatal(err)
			}
			c, _ := o.Get("c")
			kept = append(kept, c)
			counted += SizeOf(c)
		}
		if used := heap() - before; used > counted*21/20 {
			t.Errorf("%s: %d bytes of heap, %d counted", item, used, counted)
		}
		runtime.KeepAlive(kept)
	}
}
