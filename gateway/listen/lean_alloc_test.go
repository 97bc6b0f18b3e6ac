//go:build !race

package listen

import (
	"testing"

	"github.com/valyala/fasthttp"
)

// TestLeanAllocs guards what it costs to hand a request over.
func TestLeanAllocs(t *testing.T) {
	ended := make(chan struct{})
	defer close(ended)
	var ctx fasthttp.RequestCtx
	handled := 0
	w := NewWorkers(func(c *fasthttp.RequestCtx) {
		if c != &ctx {
			t.Error("another request")
		}
		handled++
	}, ended)
	w.Handle(&ctx)
	if n := testing.AllocsPerRun(500, func() { w.Handle(&ctx) }); n > 0 {
		t.Errorf("%v allocations per request, want 0", n)
	}
	if handled != 502 {
		t.Errorf("handled %d times, want 502", handled)
	}
}

// BenchmarkLean is what it costs a request to be handed over, which those of other
// connections are not.
func BenchmarkLean(b *testing.B) {
	ended := make(chan struct{})
	defer close(ended)
	w := NewWorkers(func(*fasthttp.RequestCtx) {}, ended)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var ctx fasthttp.RequestCtx
		for pb.Next() {
			w.Handle(&ctx)
		}
	})
}
