package main

import (
	"slices"
	"strings"
	"testing"
)

// TestBelady has traces whose best hit ratios are known.
func TestBelady(t *testing.T) {
	tests := map[string]struct {
		ids      []uint32
		capacity int
		want     int
	}{
		"all fit":                     {[]uint32{0, 1, 2, 0, 1, 2}, 3, 3},
		"a loop that does not fit":    {[]uint32{0, 1, 2, 0, 1, 2, 0, 1, 2}, 2, 4},
		"one that comes back is kept": {[]uint32{0, 1, 0, 2, 0, 3, 0}, 1, 3},
		"nothing comes back":          {[]uint32{0, 1, 2, 3}, 4, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tr := &trace{ids: test.ids, sizes: make([]int32, slices.Max(test.ids)+1)}
			if got := beladyHits(tr, test.capacity); got != test.want {
				t.Errorf("%d hits, want %d", got, test.want)
			}
			if got := pfooHits(tr, int64(test.capacity)*tr.object(0).Size()); got < test.want {
				t.Errorf("the bound is %d, below the %d that are possible", got, test.want)
			}
		})
	}
}

// TestRun asks that no cache exceeds the bound, and that each has hits.
func TestRun(t *testing.T) {
	for _, sizes := range sizeKinds {
		for _, kind := range traceKinds {
			tr := newTrace(kind, sizes, 20_000, 2000)
			bound := boundHits(tr, tr.bytes/10)
			for _, c := range contenders {
				if got := c.hits(tr, tr.bytes/10); got > bound || got < len(tr.ids)/20 {
					t.Errorf("%s, %s: %d hits by %s, bound %d", kind.name, sizes.name, got, c.name, bound)
				}
			}
		}
	}
	var out strings.Builder
	run(&out, 20_000, 2000)
	if got, want := strings.Count(out.String(), "\n| Zipf"), len(sizeKinds)*len(traceKinds)*len(fractions); got != want {
		t.Errorf("%d rows, want %d:\n%s", got, want, out.String())
	}
}
