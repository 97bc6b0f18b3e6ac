package listen

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/request"

	"github.com/valyala/fasthttp"
)

// newGrace is how long a connection may take for its first byte while the gateway stops:
// the request may be on its way.
const newGrace = 5 * time.Second

// Conns holds the open client connections, for the limits and for stopping.
type Conns struct {
	conns sync.Map // of net.Conn to *clientConn: looked up twice per request, so without mu

	// draining is set by Drain; idle is the time that it gives, in nanoseconds.
	draining atomic.Bool
	idle     atomic.Int64

	mu              sync.Mutex // guards the following fields
	max, maxPerAddr int        // 0: no limit
	open            int
	perAddr         map[uint64]int // by limit.AddressKey, as rates are
	ended           bool           // no more will be added
	gone            chan struct{}  // of Drain; nil: it was not called
	goneOnce        sync.Once      // closes gone
}

// clientConn is an open client connection.
type clientConn struct {
	conn   net.Conn
	addr   netip.Addr // set before it is served; not valid: not known yet
	opened time.Time
	mute   bool         // with a PROXY header that names no client: addr is the proxy's
	state  atomic.Int32 // fasthttp.StateNew, StateActive or StateIdle
}

// Limit sets the limits; 0: none. Connections beyond them stay open.
func (t *Conns) Limit(most, mostPerAddr int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.max, t.maxPerAddr = most, mostPerAddr
}

// add registers the connection c of a client, unless a limit stands against it. An addr
// that is not valid is not known yet: name tells it.
func (t *Conns) add(c net.Conn, addr netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	conn := &clientConn{conn: c, opened: time.Now()}
	if t.max > 0 && t.open >= t.max || addr.IsValid() && !t.countFor(conn, addr) {
		return false
	}
	t.open++
	t.conns.Store(c, conn)
	if t.draining.Load() {
		t.dismiss(conn)
	}
	return true
}

// name tells whose connection c is, before it is served: that of addr, which is the
// proxy's if mute. It reports whether no limit stands against that; c stays registered.
func (t *Conns) name(c net.Conn, addr netip.Addr, mute bool) bool {
	conn := t.find(c)
	if conn == nil {
		panic("BUG: a connection that is not registered gets a name")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	conn.mute = mute
	return t.countFor(conn, addr)
}

// find returns what is known of c; nil: it is not registered.
func (t *Conns) find(c net.Conn) *clientConn {
	v, _ := t.conns.Load(c)
	conn, _ := v.(*clientConn)
	return conn
}

// all yields the open connections.
func (t *Conns) all(yield func(*clientConn) bool) {
	t.conns.Range(func(_, v any) bool { return yield(v.(*clientConn)) })
}

// countFor counts conn among those of addr, unless the limit stands against it; mu is
// held.
func (t *Conns) countFor(conn *clientConn, addr netip.Addr) bool {
	client := limit.AddressKey(addr)
	if t.maxPerAddr > 0 && t.perAddr[client] >= t.maxPerAddr {
		return false
	}
	if t.perAddr == nil {
		t.perAddr = make(map[uint64]int)
	}
	t.perAddr[client]++
	conn.addr = addr
	return true
}

// Client returns the address that c was registered with, and whether its proxy named
// no client.
func (t *Conns) Client(c net.Conn) (addr netip.Addr, mute bool) {
	if conn := t.find(c); conn != nil {
		return conn.addr, conn.mute
	}
	return request.PeerAddr(c.RemoteAddr()), false
}

func (t *Conns) remove(c net.Conn) {
	v, ok := t.conns.LoadAndDelete(c)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if addr := v.(*clientConn).addr; addr.IsValid() {
		client := limit.AddressKey(addr)
		if t.perAddr[client]--; t.perAddr[client] <= 0 {
			delete(t.perAddr, client)
		}
	}
	t.open--
	t.tellGone()
}

// Seal tells that no more connections will be added.
func (t *Conns) Seal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.tellGone()
}

// tellGone closes gone when it is time; mu is held.
func (t *Conns) tellGone() {
	if t.open > 0 || !t.ended || t.gone == nil {
		return
	}
	t.goneOnce.Do(func() { close(t.gone) })
}

// Track takes down what becomes of a connection: it is for fasthttp.Server.ConnState.
//
// Hot path: zero allocations, guarded by TestConnStateAllocs.
func (t *Conns) Track(c net.Conn, s fasthttp.ConnState) {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	if s == fasthttp.StateClosed {
		t.remove(c)
		return
	}
	conn := t.find(c)
	if conn == nil {
		return
	}
	conn.state.Store(int32(s))
	if s == fasthttp.StateIdle && t.draining.Load() {
		t.dismiss(conn)
	}
}

// giveWay dismisses, for a new connection, the one opened first among those on which no
// request is under way. It reports whether there is one.
func (t *Conns) giveWay() bool {
	var first *clientConn
	for c := range t.all {
		state := fasthttp.ConnState(c.state.Load())
		if (state == fasthttp.StateIdle || state == fasthttp.StateNew) && (first == nil || c.opened.Before(first.opened)) {
			first = c
		}
	}
	if first == nil {
		return false
	}
	first.state.Store(int32(fasthttp.StateClosed)) // so that it is not found again
	first.conn.(*net.TCPConn).CloseRead()          // what has arrived is still answered, as in dismiss
	return true
}

// Drain closes each connection as soon as its client expects no answer on it: idle
// ones when they have been so for idle, new ones when they stay silent. It returns a
// channel that is closed when none is left and end was called. It may be called again,
// with another time.
func (t *Conns) Drain(idle time.Duration) <-chan struct{} {
	t.idle.Store(int64(idle))
	t.draining.Store(true)
	t.mu.Lock()
	if t.gone == nil {
		t.gone = make(chan struct{})
		t.tellGone()
	}
	gone := t.gone
	t.mu.Unlock()
	for c := range t.all {
		t.dismiss(c)
	}
	return gone
}

// dismiss has c closed after its time, unless a request begins on it before. One
// whose first bytes have arrived by then is still answered: only the reading end is
// shut, so that the server finds the end of the connection after them, and closes it.
func (t *Conns) dismiss(c *clientConn) {
	state := c.state.Load()
	var after time.Duration
	switch fasthttp.ConnState(state) {
	case fasthttp.StateNew:
		after = newGrace - time.Since(c.opened)
	case fasthttp.StateIdle:
		after = time.Duration(t.idle.Load())
	default:
		return // dismissed when it gets idle
	}
	end := func() {
		if half, ok := c.conn.(interface{ CloseRead() error }); ok && c.state.Load() == state {
			half.CloseRead()
		}
	}
	if after <= 0 {
		end()
	} else {
		time.AfterFunc(after, end)
	}
}

// CloseAll closes every open connection and returns on how many a request was under
// way. They are removed as the server notices.
func (t *Conns) CloseAll() (active int) {
	for c := range t.all {
		state := fasthttp.ConnState(c.state.Load())
		if err := c.conn.Close(); errors.Is(err, net.ErrClosed) {
			continue // the server was done with it
		}
		if state == fasthttp.StateActive {
			active++
		}
	}
	return active
}

// Active returns on how many connections a request is under way.
func (t *Conns) Active() (n int) {
	for c := range t.all {
		if fasthttp.ConnState(c.state.Load()) == fasthttp.StateActive {
			n++
		}
	}
	return n
}

func (t *Conns) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open
}
