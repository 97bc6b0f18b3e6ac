package pool

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Options describe one origin. Address and Buffers are required; a zero in any
// other field takes the default named there.
type Options struct {
	// Address is host:port; every connection looks the name up anew and tries
	// IPv6 and IPv4 in parallel (RFC 8305).
	Address string
	// TLS is the client configuration with ServerName set; nil: plain TCP.
	TLS *tls.Config
	// Buffers lends each exchange its read buffer.
	Buffers *Buffers
	// MaxConns bounds the connections, idle and in use; default 1024.
	MaxConns int
	// QueueTimeout is how long an exchange waits for a connection when all are
	// in use; default 10 s.
	QueueTimeout time.Duration
	// DialTimeout bounds look-up, connect and TLS handshake together; default 3 s.
	DialTimeout time.Duration
	// HeadTimeout bounds sending the request and receiving the whole response
	// head; default 10 s.
	HeadTimeout time.Duration
	// IdleTimeout bounds the wait for the next bytes of a body; default 30 s.
	IdleTimeout time.Duration
	// KeepIdle is how long an unused connection is kept; default 15 s, below
	// the 20 s after which S3 closes it.
	KeepIdle time.Duration
	// MaxAge is how long a connection may serve new exchanges, so that address
	// changes take effect; default 5 min.
	MaxAge time.Duration
}

func (o *Options) setDefaults() {
	o.MaxConns = cmp.Or(o.MaxConns, 1024)
	o.QueueTimeout = cmp.Or(o.QueueTimeout, 10*time.Second)
	o.DialTimeout = cmp.Or(o.DialTimeout, 3*time.Second)
	o.HeadTimeout = cmp.Or(o.HeadTimeout, 10*time.Second)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 30*time.Second)
	o.KeepIdle = cmp.Or(o.KeepIdle, 15*time.Second)
	o.MaxAge = cmp.Or(o.MaxAge, 5*time.Minute)
}

// Upstream is a bounded pool of HTTP/1.1 keep-alive connections to one origin.
// It is never shared between credentials.
//
// An Upstream is safe for concurrent use. Use NewUpstream; Close it when no new
// exchange will start: exchanges under way then finish normally.
type Upstream struct {
	opts   Options
	dialer net.Dialer

	dials, reuses, stale, retries, queueTimeouts atomic.Uint64

	mu      sync.Mutex // guards the following fields
	idle    []*conn    // most recently used last
	open    int        // connections idle, in use or being opened
	waiters waitQueue
	closed  bool
	reaper  *time.Timer // closes connections idle for too long; nil: none idle
}

// NewUpstream returns an Upstream without connections; they are opened on
// demand.
func NewUpstream(o Options) *Upstream {
	if o.Buffers == nil || o.Address == "" {
		panic("BUG: pool.Options needs Address and Buffers")
	}
	o.setDefaults()
	return &Upstream{opts: o}
}

// Close closes the idle connections, refuses new exchanges and fails those
// that wait for a connection. Exchanges under way keep theirs.
func (u *Upstream) Close() {
	u.mu.Lock()
	idle := u.idle
	u.idle = nil
	u.open -= len(idle)
	u.closed = true
	if u.reaper != nil {
		u.reaper.Stop()
		u.reaper = nil
	}
	for w := u.waiters.pop(); w != nil; w = u.waiters.pop() {
		w.grant <- grant{closed: true}
	}
	u.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
}

// acquire returns a connection that the caller owns until release or discard.
// reused tells whether it served before.
func (u *Upstream) acquire() (c *conn, reused bool, err error) {
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		return nil, false, &Error{Reason: ReasonClosed, Phase: PhaseQueue}
	}
	for n := len(u.idle); n > 0; n = len(u.idle) {
		c = u.idle[n-1]
		u.idle[n-1] = nil
		u.idle = u.idle[:n-1]
		u.mu.Unlock()
		if u.usable(c, time.Now()) && c.clean() {
			u.reuses.Add(1)
			return c, true, nil
		}
		u.stale.Add(1)
		u.discard(c)
		u.mu.Lock()
	}
	if u.open < u.opts.MaxConns {
		u.open++
		u.mu.Unlock()
		return u.dialSlot()
	}
	w := newWaiter()
	u.waiters.push(w)
	u.mu.Unlock()
	return u.wait(w)
}

// wait blocks until w is granted a connection or a place to open one.
func (u *Upstream) wait(w *waiter) (c *conn, reused bool, err error) {
	timer := time.NewTimer(u.opts.QueueTimeout)
	defer timer.Stop()
	var g grant
	select {
	case g = <-w.grant:
	case <-timer.C:
		u.mu.Lock()
		queued := u.waiters.remove(w)
		u.mu.Unlock()
		if queued {
			u.queueTimeouts.Add(1)
			return nil, false, &Error{Reason: ReasonQueue, Phase: PhaseQueue}
		}
		g = <-w.grant // granted in the same moment
	}
	switch {
	case g.closed:
		return nil, false, &Error{Reason: ReasonClosed, Phase: PhaseQueue}
	case g.conn != nil && g.conn.clean():
		u.reuses.Add(1)
		return g.conn, true, nil
	case g.conn != nil:
		u.stale.Add(1)
		g.conn.Close()
	}
	return u.dialSlot()
}

// dialSlot opens a connection for a place already counted in open, and gives
// the place up again on failure.
func (u *Upstream) dialSlot() (*conn, bool, error) {
	c, err := u.dial()
	if err != nil {
		u.freeSlot()
		return nil, false, err
	}
	u.dials.Add(1)
	return c, false, nil
}

func (u *Upstream) dial() (*conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), u.opts.DialTimeout)
	defer cancel()
	nc, err := u.dialer.DialContext(ctx, "tcp", u.opts.Address)
	if err != nil {
		return nil, dialError(PhaseConnect, err)
	}
	tcp := nc.(*net.TCPConn)
	if u.opts.TLS != nil {
		tc := tls.Client(nc, u.opts.TLS)
		if err := tc.HandshakeContext(ctx); err != nil {
			nc.Close()
			return nil, dialError(PhaseTLS, err)
		}
		nc = tc
	}
	c, err := newConn(nc, tcp, time.Now())
	if err != nil {
		nc.Close()
		return nil, dialError(PhaseConnect, err)
	}
	return c, nil
}

func (u *Upstream) usable(c *conn, now time.Time) bool {
	return now.Sub(c.idleAt) < u.opts.KeepIdle && now.Sub(c.opened) < u.opts.MaxAge
}

// release takes back a connection whose exchange ended at a message boundary.
func (u *Upstream) release(c *conn) {
	now := time.Now()
	c.idleAt = now
	if now.Sub(c.opened) >= u.opts.MaxAge {
		u.discard(c)
		return
	}
	u.mu.Lock()
	if u.closed {
		u.open--
		u.mu.Unlock()
		c.Close()
		return
	}
	if w := u.waiters.pop(); w != nil {
		u.mu.Unlock()
		w.grant <- grant{conn: c}
		return
	}
	u.idle = append(u.idle, c)
	if u.reaper == nil {
		u.reaper = time.AfterFunc(u.opts.KeepIdle, u.reap)
	}
	u.mu.Unlock()
}

// discard closes a connection and frees its place.
func (u *Upstream) discard(c *conn) {
	c.Close()
	u.freeSlot()
}

// freeSlot hands the place of a connection to the first waiter, or gives it up.
func (u *Upstream) freeSlot() {
	u.mu.Lock()
	w := u.waiters.pop()
	if w == nil {
		u.open--
	}
	u.mu.Unlock()
	if w != nil {
		w.grant <- grant{}
	}
}

// reap closes connections that were idle for too long; the reaper timer runs
// it while any are idle.
func (u *Upstream) reap() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return
	}
	now, n := time.Now(), 0
	for n < len(u.idle) && now.Sub(u.idle[n].idleAt) >= u.opts.KeepIdle {
		u.idle[n].Close() // never blocks: nothing is waiting to be sent
		n++
	}
	u.open -= n
	rest := copy(u.idle, u.idle[n:])
	clear(u.idle[rest:])
	u.idle = u.idle[:rest]
	if rest == 0 {
		u.reaper = nil
		return
	}
	u.reaper.Reset(max(u.opts.KeepIdle-now.Sub(u.idle[0].idleAt), time.Millisecond))
}

// Stats are counts since start and values now of one Upstream.
type Stats struct {
	Dials         uint64 // connections opened
	Reuses        uint64 // exchanges on a kept connection
	Stale         uint64 // kept connections found closed or dirty
	Retries       uint64 // exchanges repeated on a new connection
	QueueTimeouts uint64 // exchanges that got no connection in time
	Open          int    // connections idle, in use or being opened
	Idle          int    // connections waiting for an exchange
	Waiting       int    // exchanges waiting for a connection
}

// UpdateStats adds the counts of u to s.
func (u *Upstream) UpdateStats(s *Stats) {
	s.Dials += u.dials.Load()
	s.Reuses += u.reuses.Load()
	s.Stale += u.stale.Load()
	s.Retries += u.retries.Load()
	s.QueueTimeouts += u.queueTimeouts.Load()
	u.mu.Lock()
	s.Open += u.open
	s.Idle += len(u.idle)
	s.Waiting += u.waiters.n
	u.mu.Unlock()
}
