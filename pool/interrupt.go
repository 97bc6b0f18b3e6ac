package pool

import (
	"sync"
	"sync/atomic"
)

// interrupt lets another goroutine end Do.
type interrupt struct {
	done  chan struct{} // closed by Interrupt; nil: not interruptible
	fired atomic.Bool

	mu sync.Mutex // guards on
	on *conn      // the connection that Do uses; nil: none
}

// SetInterruptible sets whether Interrupt may end later calls of Do. Not to be called
// together with Interrupt.
func (x *Exchange) SetInterruptible(yes bool) {
	x.fired.Store(false)
	x.done = nil
	if yes {
		x.done = make(chan struct{})
	}
}

// Interrupt ends a Do of an interruptible exchange, with ReasonClosed, or the one to
// come. Call it once, from any goroutine.
func (x *Exchange) Interrupt() {
	x.fired.Store(true)
	close(x.done)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.on != nil {
		x.on.SetDeadline(elapsed)
	}
}

// Interrupted tells whether Interrupt has ended the last Do.
func (x *Exchange) Interrupted() bool { return x.done != nil && x.fired.Load() }

// uses notes the connection that Interrupt has to wake.
func (i *interrupt) uses(c *conn) {
	if i.done != nil {
		i.mu.Lock()
		i.on = c
		i.mu.Unlock()
	}
}
