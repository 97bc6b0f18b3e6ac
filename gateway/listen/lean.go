package listen

import (
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// maxIdleWorkers is how many workers are kept for the next requests: as many as
// requests of lean connections can begin while one is handled, on a large machine.
const maxIdleWorkers = 256

// Workers handle the requests of lean connections. A goroutine keeps the stack that
// its deepest call took, so those of the connections, which live as long as these, call
// nothing deep: they hand their requests over, and wait.
type Workers struct {
	handler fasthttp.RequestHandler
	ended   <-chan struct{} // ends the workers
	calls   chan *call      // received by those that are idle
	idle    atomic.Int32
	free    sync.Pool // of *call
}

// call is a request that is handed over.
type call struct {
	ctx  *fasthttp.RequestCtx
	done chan struct{}
}

func NewWorkers(h fasthttp.RequestHandler, ended <-chan struct{}) *Workers {
	w := &Workers{handler: h, ended: ended, calls: make(chan *call)}
	w.free.New = func() any { return &call{done: make(chan struct{}, 1)} }
	return w
}

// Handle has a worker handle the request, a new one if none is idle.
//
// Hot path: zero allocations with an idle worker, guarded by TestLeanAllocs.
func (w *Workers) Handle(ctx *fasthttp.RequestCtx) {
	c := w.free.Get().(*call)
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

func (w *Workers) run(c *call) {
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
