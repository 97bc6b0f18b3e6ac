package pool

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Pace ends streams that move fewer than a minimum of bytes per second, so that
// neither a client that reads one byte a second nor an origin that sends one
// can hold a connection for ever. While others need what a stream holds, it ends those
// that would take longest, see Claim.
//
// A stream is measured over consecutive windows by the bytes that the client's
// kernel acknowledged (on Linux; elsewhere by the bytes handed to ours). In a
// window without enough of them the side that keeps the other waiting is to
// blame: the client if it has bytes to acknowledge, else the origin.
//
// A Pace is safe for concurrent use. Use NewPace, and Stop it at the end.
type Pace struct {
	rate   int64 // bytes per second; 0: nothing is measured
	window time.Duration
	stop   chan struct{}
	wg     sync.WaitGroup // of run

	mu      sync.Mutex // guards the following fields
	streams map[*transfer]struct{}
	ended   bool // Stop was called
}

// NewPace starts the goroutine that looks at the streams; Stop ends it. rate is
// in bytes per second, 0 turns it off; window is how long a stream may stay
// below it.
func NewPace(rate int, window time.Duration) *Pace {
	p := &Pace{rate: int64(rate), window: window, stop: make(chan struct{}), streams: make(map[*transfer]struct{})}
	if rate > 0 {
		p.wg.Go(p.run)
	}
	return p
}

// Stop ends the goroutine and every stream, under way or later, with
// ReasonClosed.
func (p *Pace) Stop() {
	close(p.stop)
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for t := range p.streams {
		t.end(ReasonClosed)
	}
}

func (p *Pace) run() {
	ticker := time.NewTicker(max(p.window/8, 10*time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			p.check(now)
		case <-p.stop:
			return
		}
	}
}

// transfer is a body on its way to a client, or from an origin to memory. The zero value is
// ready. One goroutine moves the bytes; a Pace looks on from another.
type transfer struct {
	sent atomic.Int64  // bytes handed to the client's connection, or to memory
	cut  atomic.Uint32 // Reason with which Pace ended it; 0: not
	pace *Pace         // that looks on; nil: none does

	// The following are guarded by Pace.mu.
	client  net.Conn  // nil: the bytes go to memory
	origin  net.Conn  // nil: the bytes are in memory
	since   time.Time // start of the current window
	base    int64     // progress at since
	sampled bool      // base is set
	claim   Claim
	look    look
}

// watch has p, which may be nil, look at t until leave. It does nothing if one does.
func (t *transfer) watch(p *Pace, client, origin net.Conn, c Claim) {
	if p == nil || t.pace != nil {
		return
	}
	t.pace = p
	t.sent.Store(0)
	p.mu.Lock()
	t.client, t.origin, t.sampled, t.claim, t.look = client, origin, false, c, look{}
	p.streams[t] = struct{}{}
	if p.ended {
		t.end(ReasonClosed)
	}
	p.mu.Unlock()
}

// leave ends watch. It may be called again.
func (t *transfer) leave() {
	p := t.pace
	if p == nil {
		return
	}
	p.mu.Lock()
	delete(p.streams, t)
	t.client, t.origin, t.claim = nil, nil, Claim{}
	p.mu.Unlock()
	t.pace = nil
}

// check ends the streams whose window is over with too little progress.
func (p *Pace) check(now time.Time) {
	// In floating point: the product of a rate and nanoseconds can overflow.
	need := int64(min(float64(p.rate)*p.window.Seconds(), 1<<62))
	p.mu.Lock()
	defer p.mu.Unlock()
	for t := range p.streams {
		if t.sampled && now.Sub(t.since) < p.window {
			continue
		}
		have, clientBehind, _ := t.progress()
		switch {
		case !t.sampled || have-t.base >= need:
			// The first sample is taken here, not by add: most streams end before.
			t.since, t.base, t.sampled = now, have, true
		case clientBehind:
			t.end(ReasonClientSlow)
		default:
			t.end(ReasonTimeout)
		}
	}
}

// end makes a registered stream return with reason; Pace.mu is held.
func (t *transfer) end(reason Reason) {
	t.cut.Store(uint32(reason))
	// Deadlines in the past wake whichever side the stream waits for. The stream
	// arms its own before it looks at cut, so none is missed.
	if t.client != nil {
		t.client.SetWriteDeadline(elapsed)
	}
	if t.origin != nil {
		t.origin.SetReadDeadline(elapsed)
	}
}

// delivery is what the kernel knows of a connection's send side.
type delivery struct {
	acked   uint64 // bytes that the peer has acknowledged
	pending bool   // bytes wait to be sent or acknowledged
	unsent  uint32 // bytes that wait to be sent
	over    bool   // the connection was reset
}

// progress returns a count of delivered bytes that only grows, whether the client has bytes
// to take, and how many more than it takes at once; -1: that cannot be told.
func (t *transfer) progress() (n int64, clientBehind bool, unsent int64) {
	c := t.client
	if c == nil {
		return t.sent.Load(), false, 0
	}
	if tls, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = tls.NetConn()
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		if d, ok := delivered(tcp); ok {
			return int64(d.acked), d.pending, int64(d.unsent)
		}
	}
	return t.sent.Load(), true, -1
}
