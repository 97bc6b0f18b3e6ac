package pool

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options describe one origin. Address and Buffers are required; a zero in any
// other field takes the default named there.
type Options struct {
	// Address is host:port. The name is looked up again when the answer's time to live
	// is over; connections are spread over all its addresses, and those that cannot be
	// connected to are left alone for a while.
	Address string
	// Proxy is the HTTP proxy to reach Address by, with CONNECT (RFC 9110, 9.3.6), as
	// "http://[user:password@]host:port"; nil: none.
	Proxy *url.URL
	// TLS is the client configuration with ServerName set; nil: plain TCP.
	TLS *tls.Config
	// Buffers lends each exchange its read buffer.
	Buffers *Buffers
	// MaxConns bounds the connections, idle and in use; default 1024.
	MaxConns int
	// MaxWaiting bounds the exchanges that wait for a connection; one more, and one of the
	// client with the most waiting is refused. Default 4096.
	MaxWaiting int
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
	o.MaxWaiting = cmp.Or(o.MaxWaiting, 4096)
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
// An Upstream is safe for concurrent use. Use NewUpstream. Retire it when few new
// exchanges will start, Close it when none will: exchanges under way then finish
// normally.
type Upstream struct {
	opts      Options
	dialer    net.Dialer
	addresses *addresses // of the origin, or of the proxy

	fullBody atomic.Bool // the last body needed a buffer of full size

	pace atomic.Pointer[Pace] // of its streams; nil: there was none yet

	dials, reuses, stale, retries, queueTimeouts, queueFull, yielded, received atomic.Uint64

	mu      sync.Mutex  // guards the following fields
	idle    []*conn     // most recently used last
	resting []*conn     // after HEAD; whose rest ends first, first
	open    int         // connections idle, resting, in use or being opened
	queue   queue       // clients that use connections or wait for one
	closed  bool        // no new exchanges
	retired bool        // no idle connections
	reaper  *time.Timer // closes connections idle for too long; nil: none idle
	caller  *time.Timer // gives rested connections to waiters; nil: none had to wait for that yet
	presser *time.Timer // runs press while exchanges wait; nil: none does

	life  context.Context // of dials, look-ups and connections
	abort context.CancelFunc
}

// NewUpstream returns an Upstream without connections; they are opened on
// demand.
func NewUpstream(o Options) *Upstream {
	if o.Buffers == nil || o.Address == "" {
		panic("BUG: pool.Options needs Address and Buffers")
	}
	o.setDefaults()
	u := &Upstream{opts: o}
	u.life, u.abort = context.WithCancel(context.Background())
	address := o.Address
	if o.Proxy != nil {
		address = o.Proxy.Host
		if o.Proxy.Port() == "" {
			address = net.JoinHostPort(o.Proxy.Hostname(), "80")
		}
	}
	var err error
	if u.addresses, err = newAddresses(u.life, address, u.drop); err != nil {
		panic("BUG: pool.Options has a bad address: " + err.Error())
	}
	return u
}

// Close closes the idle connections, refuses new exchanges and fails those
// that wait for a connection. Exchanges under way keep theirs.
func (u *Upstream) Close() { u.retire(true) }

// Abort is Close, and ends the exchanges under way, whatever they wait for.
func (u *Upstream) Abort() {
	u.Close()
	u.abort()
}

// Retire closes the idle connections, and each of the others when its exchange
// ends. Exchanges that are late still get one; nothing is left open after the last.
func (u *Upstream) Retire() { u.retire(false) }

// retire closes the idle connections for good, and with closes refuses new exchanges.
func (u *Upstream) retire(closes bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.retired, u.closed = true, u.closed || closes
	for u.closed && u.queue.waiting > 0 {
		u.queue.shed().granted <- grant{err: &Error{Reason: ReasonClosed, Phase: PhaseQueue}}
	}
	u.closeIdle(func(*conn) bool { return true })
}

// closeIdle closes the idle and resting connections that which is true of; u.mu is held. It
// never blocks for long: nothing is waiting to be sent on them.
func (u *Upstream) closeIdle(which func(*conn) bool) {
	closes := func(c *conn) bool {
		if !which(c) {
			return false
		}
		c.Close()
		u.open--
		return true
	}
	u.idle = slices.DeleteFunc(u.idle, closes)
	u.resting = slices.DeleteFunc(u.resting, func(c *conn) bool {
		closed := closes(c)
		if closed {
			u.queue.letGo(c.client)
		}
		return closed
	})
	u.serve(time.Now())
	if u.reaper != nil && len(u.idle)+len(u.resting) == 0 {
		u.reaper.Stop()
		u.reaper = nil
	}
}

// acquire returns a connection for an exchange of client, which the caller owns until
// release or discard. reused tells whether it served before. Waiting ends with done, which
// may be nil. now is the time of the call.
func (u *Upstream) acquire(client uint64, done <-chan struct{}, now time.Time) (c *conn, reused bool, err error) {
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		return nil, false, &Error{Reason: ReasonClosed, Phase: PhaseQueue}
	}
	u.endRests(now)
	for (!u.scarce() || u.queue.heldBy(client) < u.leastShare()) && !u.owes() {
		c = u.takeIdle()
		if c == nil && u.open == u.opts.MaxConns {
			break
		}
		u.queue.hold(client)
		if c == nil {
			u.open++
			u.mu.Unlock()
			c, err = u.dialSlot(client, done)
			return c, false, err
		}
		u.mu.Unlock()
		c.client = client
		if now.Sub(c.idleAt) < u.opts.KeepIdle && now.Sub(c.opened) < u.opts.MaxAge && c.clean() {
			return c, true, nil
		}
		u.stale.Add(1)
		u.discard(c)
		u.mu.Lock()
	}
	w := u.queue.push(client, now)
	if u.queue.waiting > u.opts.MaxWaiting {
		u.queueFull.Add(1)
		u.queue.shed().granted <- grant{err: &Error{Reason: ReasonQueue, Phase: PhaseQueue}}
	}
	if u.presser == nil {
		u.presser = time.AfterFunc(pressEvery, u.press)
	}
	u.serve(now)
	u.mu.Unlock()
	return u.wait(client, w, done)
}

// scarce tells whether what is free is kept for clients with less than their share: who takes all
// that is free would have the next one wait. u.mu is held.
func (u *Upstream) scarce() bool {
	return u.opts.MaxConns-u.queue.used <= min(u.opts.MaxConns/8, mostKept)
}

// mostKept bounds the connections that are kept for clients with less than their share.
const mostKept = 32

// leastShare returns the share of each client once one more has come; u.mu is held.
func (u *Upstream) leastShare() int { return max(1, u.opts.MaxConns/(len(u.queue.lines)+1)) }

// owes tells whether a waiting exchange is to have the next connection that is free; u.mu is held.
func (u *Upstream) owes() bool {
	return u.queue.waiting > 0 && (!u.scarce() || u.queue.next.lines[0].held < u.leastShare())
}

// takeIdle takes a connection that may be used at once; nil: there is none. u.mu is held.
func (u *Upstream) takeIdle() *conn {
	n := len(u.idle)
	if n == 0 {
		return nil
	}
	c := u.idle[n-1]
	u.idle[n-1] = nil
	u.idle = u.idle[:n-1]
	return c
}

// serve grants what is free to those who wait and may have it. It is called whenever more has
// become free, or fewer want it; u.mu is held.
func (u *Upstream) serve(now time.Time) {
	u.endRests(now)
	for u.owes() {
		c := u.takeIdle()
		if c == nil && u.open < u.opts.MaxConns {
			u.open++
		} else if c == nil && !u.replaceResting(now) {
			break
		}
		u.queue.serve().granted <- grant{conn: c}
	}
	u.awaitRest(now)
}

// wait blocks until w, of client, is granted a connection or the right to open one.
func (u *Upstream) wait(client uint64, w *waiter, done <-chan struct{}) (c *conn, reused bool, err error) {
	begin := time.Now()
	defer func() {
		if c != nil {
			c.queued = time.Since(begin) - c.dialed
		}
	}()
	timer := time.NewTimer(u.opts.QueueTimeout)
	defer timer.Stop()
	var g grant
	select {
	case g = <-w.granted:
	case <-timer.C:
		if u.leaves(w) {
			u.queueTimeouts.Add(1)
			return nil, false, &Error{Reason: ReasonQueue, Phase: PhaseQueue}
		}
		g = <-w.granted // in the same moment
	case <-done:
		if u.leaves(w) {
			return nil, false, &Error{Reason: ReasonClosed, Phase: PhaseQueue}
		}
		g = <-w.granted
	}
	switch {
	case g.err != nil:
		return nil, false, g.err
	case g.conn != nil && g.conn.clean():
		g.conn.client = client
		return g.conn, true, nil
	case g.conn != nil:
		u.stale.Add(1)
		g.conn.Close()
	}
	c, err = u.dialSlot(client, done)
	return c, false, err
}

// leaves takes a waiter out of the queue and reports whether it was still there.
func (u *Upstream) leaves(w *waiter) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	there := u.queue.remove(w)
	u.serve(time.Now())
	return there
}

// drop closes the idle connections to addresses that are gone. Those in use are closed
// when they are old enough.
func (u *Upstream) drop(addresses []netip.Addr) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closeIdle(func(c *conn) bool { return slices.Contains(addresses, c.remote) })
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
	rests := c.restsUntil.After(now)
	if !rests || u.retired {
		u.queue.letGo(c.client)
	}
	switch {
	case u.retired && (!u.owes() || rests):
		u.open--
		defer c.Close()
	case rests:
		u.rest(c)
	default:
		c.restsUntil = time.Time{}
		u.idle = append(u.idle, c)
	}
	if u.reaper == nil && !u.retired {
		u.reaper = time.AfterFunc(u.opts.KeepIdle, u.reap)
	}
	u.serve(now)
	u.mu.Unlock()
}

// discard closes a connection and frees its place.
func (u *Upstream) discard(c *conn) {
	c.Close()
	u.freeSlot(c.client)
}

// freeSlot gives up the place of a connection that client had.
func (u *Upstream) freeSlot(client uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.queue.letGo(client)
	u.open--
	u.serve(time.Now())
}

// reap closes connections that were idle for too long; the reaper timer runs
// it while any are idle.
func (u *Upstream) reap() {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	u.closeIdle(func(c *conn) bool { return now.Sub(c.idleAt) >= u.opts.KeepIdle })
	if u.reaper != nil {
		oldest := now
		for _, conns := range [...][]*conn{u.idle, u.resting} {
			for _, c := range conns {
				if c.idleAt.Before(oldest) {
					oldest = c.idleAt
				}
			}
		}
		u.reaper.Reset(max(u.opts.KeepIdle-now.Sub(oldest), time.Millisecond))
	}
}

// Stats are counts since start and values now of one Upstream.
type Stats struct {
	Dials         uint64 // connections opened
	Reuses        uint64 // exchanges on a kept connection
	Stale         uint64 // kept connections found closed or dirty
	Retries       uint64 // exchanges repeated on a new connection
	QueueTimeouts uint64 // exchanges that got no connection in time
	QueueFull     uint64 // exchanges that gave up their wait for others
	Yielded       uint64 // bodies that were cut because others waited for the connection
	Received      uint64 // bytes of bodies
	LookUps       uint64 // of the origin's name
	LookUpsFailed uint64 // look-ups without an answer
	Aside         int    // addresses of the origin that are left alone for a while
	Open          int    // connections idle, in use or being opened
	Idle          int    // connections waiting for an exchange, or resting before the next
	Waiting       int    // exchanges waiting for a connection
}

// UpdateStats adds the counts of u to s.
func (u *Upstream) UpdateStats(s *Stats) {
	s.Dials += u.dials.Load()
	s.Reuses += u.reuses.Load()
	s.Stale += u.stale.Load()
	s.Retries += u.retries.Load()
	s.QueueTimeouts += u.queueTimeouts.Load()
	s.QueueFull += u.queueFull.Load()
	s.Yielded += u.yielded.Load()
	s.Received += u.received.Load()
	s.LookUps += u.addresses.lookUps.Load()
	s.LookUpsFailed += u.addresses.failed.Load()
	s.Aside += u.addresses.putAside()
	u.mu.Lock()
	s.Open += u.open
	s.Idle += len(u.idle) + len(u.resting)
	s.Waiting += u.queue.waiting
	u.mu.Unlock()
}
