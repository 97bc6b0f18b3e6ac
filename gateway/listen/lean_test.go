package listen

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// TestLeanWorkers has more requests handled at once than workers are kept, each once,
// and the workers end.
func TestLeanWorkers(t *testing.T) {
	const n = 3 * maxIdleWorkers
	ended := make(chan struct{})
	var under sync.WaitGroup
	under.Add(n)
	w := NewWorkers(func(ctx *fasthttp.RequestCtx) {
		ctx.SetStatusCode(ctx.Response.StatusCode() + 1)
		under.Done()
		under.Wait() // all are handled at the same time
	}, ended)
	var all sync.WaitGroup
	before := runtime.NumGoroutine()
	for range n {
		all.Go(func() {
			var ctx fasthttp.RequestCtx
			w.Handle(&ctx)
			if got := ctx.Response.StatusCode(); got != 201 {
				t.Errorf("status %d, want 201: handled once", got)
			}
		})
	}
	all.Wait()
	atMost := func(limit int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > limit; time.Sleep(time.Millisecond) { // looks again
			if time.Now().After(deadline) {
				t.Fatalf("%d goroutines, want at most %d", runtime.NumGoroutine(), limit)
			}
		}
	}
	atMost(before + maxIdleWorkers)
	close(ended)
	atMost(before)
}
