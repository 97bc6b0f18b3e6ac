package listen

import (
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// maxIdleWorkers is the number of idle workers that are kept: on a large machine, as many
// requests of lean connections can begin while one is handled.
const maxIdleWorkers = 256

// Workers handle the requests of lean connections. A goroutine keeps the stack of its deepest
// call, so the goroutines of idle connections must stay shallow: they hand their requests over,
// and wait. Use NewWorkers. Safe for concurrent use.
type Workers struct {
	handler fasthttp.RequestHandler
	ended   <-chan struct{} // ends the workers
	calls   chan *call      // received by idle workers
	idle    atomic.Int32
	free    sync.Pool // of *call
}

// call is a request for a worker.
type call struct {
	ctx  *fasthttp.RequestCtx
	done chan struct{}
}

// NewWorkers returns workers that call h, and end with ended.
func NewWorkers(h fasthttp.RequestHandler, ended <-chan struct{}) *Workers {
	w := &Workers{handler: h, ended: ended, calls: make(chan *call)}
	w.free.New = func() any { return &call{done: make(chan struct{}, 1)} }
	return w
}

// Handle has an idle worker handle the request, or a new one.
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
