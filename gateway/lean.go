package gateway

import (
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// maxIdleWorkers is how many workers are kept for the next requests: as many as
// requests of lean connections can begin while one is handled, on a large machine.
const maxIdleWorkers = 256

// leanWorkers handle the requests of lean connections. A goroutine keeps the stack that
// its deepest call took, so those of the connections, which live as long as these, call
// nothing deep: they hand their requests over, and wait.
type leanWorkers struct {
	handler fasthttp.RequestHandler
	ended   <-chan struct{} // ends the workers
	calls   chan *leanCall  // received by those that are idle
	idle    atomic.Int32
	free    sync.Pool // of *leanCall
}

// leanCall is a request that is handed over.
type leanCall struct {
	ctx  *fasthttp.RequestCtx
	done chan struct{}
}

func newLeanWorkers(h fasthttp.RequestHandler, ended <-chan struct{}) *leanWorkers {
	w := &leanWorkers{handler: h, ended: ended, calls: make(chan *leanCall)}
	w.free.New = func() any { return &leanCall{done: make(chan struct{}, 1)} }
	return w
}

// handle has a worker handle the request, a new one if none is idle.
//
// Hot path: zero allocations with an idle worker, guarded by TestLeanAllocs.
func (w *leanWorkers) handle(ctx *fasthttp.RequestCtx) {
	c := w.free.Get().(*leanCall)
	c.ctx = ctx
	select {
	case w.calls <- c:
	default:
		go w.run(c) // ends when enough are idle, or with ended
	}
	<-c.done
	c.ctx = nil
	w.free.Put(c)
}

func (w *leanWorkers) run(c *leanCall) {
	defer w.idle.Add(-1)
	for {
		w.handler(c.ctx)
		n := w.idle.Add(1) // before done, so that the next request finds one fewer to start
		c.done <- struct{}{}
		if n > maxIdleWorkers {
			return
		}
		select {
		case c = <-w.calls:
			w.idle.Add(-1)
		case <-w.ended:
			return
		}
	}
}
