//go:build !race

package auth

import (
	"runtime"
	"strings"
	"testing"
)

// Claims that are arrays take no more than is counted.
func TestSizeOfArrays(t *testing.T) {
	for _, item := range []string{`1`, `"a"`, `[1]`, `"a string of some length"`} {
		var d document
		if err := d.decode([]byte(`{"c":[` + strings.TrimSuffix(strings.Repeat(item+",", 600), ",") + `]}`)); err != nil {
			t.Fatal(err)
		}
		v := d.value(d.find("c"))
		heap := func() int {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc)
		}
		clones := make([]value, 0, 200)
		counted, before := 0, heap()
		for range cap(clones) {
			clones = append(clones, v.clone())
			counted += clones[len(clones)-1].size()
		}
		if used := heap() - before; used > counted*21/20 {
			t.Errorf("%s: %d bytes of heap, %d counted", item, used, counted)
		}
		runtime.KeepAlive(clones)
	}
}
