package listen

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/request"
)

// firstByteGrace is how long a new connection may stay silent while the gateway stops: its
// request may be on its way.
const firstByteGrace = 5 * time.Second

// Conns is the table of open client connections, for the limits and for stopping. The zero
// value is empty and has no limits. Safe for concurrent use.
type Conns struct {
	conns sync.Map // of net.Conn to *clientConn: looked up twice per request, so without mu

	draining atomic.Bool
	idle     atomic.Int64 // nanoseconds that Drain leaves idle connections

	mu              sync.Mutex // guards the following fields
	max, maxPerAddr int        // 0: no limit
	open            int
	perAddr         map[uint64]int // connections by limit.AddressKey, as rates are
	sealed          bool           // no more will be added
	drained         chan struct{}  // result of Drain; nil: not called yet
	closeDrained    sync.Once
}

// clientConn is an open client connection.
type clientConn struct {
	conn    net.Conn
	addr    netip.Addr // set before it is served; not valid: not known yet
	opened  time.Time
	unnamed bool         // the PROXY header names no client: addr is the proxy's
	state   atomic.Int32 // fasthttp.StateNew, StateActive or StateIdle
}

func (c *clientConn) is(state fasthttp.ConnState) bool { return c.state.Load() == int32(state) }

// Limit sets the limits; 0: none. Connections beyond them stay open.
func (t *Conns) Limit(most, mostPerAddr int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.max, t.maxPerAddr = most, mostPerAddr
}

// add registers c, unless a limit is reached. An addr that is not valid is not known yet:
// setClient follows.
func (t *Conns) add(c net.Conn, addr netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	conn := &clientConn{conn: c, opened: time.Now()}
	if t.max > 0 && t.open >= t.max || addr.IsValid() && !t.countLocked(conn, addr) {
		return false
	}
	t.open++
	t.conns.Store(c, conn)
	if t.draining.Load() {
		t.closeUnused(conn)
	}
	return true
}

// setClient sets the address of c's client before c is served: the proxy's if unnamed. It
// returns false if the limit of that address is reached; c stays registered.
func (t *Conns) setClient(c net.Conn, addr netip.Addr, unnamed bool) bool {
	conn := t.find(c)
	if conn == nil {
		panic("BUG: a connection that is not registered gets a client")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	conn.unnamed = unnamed
	return t.countLocked(conn, addr)
}

// find returns the entry of c; nil: it has none.
func (t *Conns) find(c net.Conn) *clientConn {
	v, _ := t.conns.Load(c)
	conn, _ := v.(*clientConn)
	return conn
}

// all yields the open connections.
func (t *Conns) all(yield func(*clientConn) bool) {
	t.conns.Range(func(_, v any) bool { return yield(v.(*clientConn)) })
}

// countLocked counts conn among those of addr, unless the limit per address is reached.
func (t *Conns) countLocked(conn *clientConn, addr netip.Addr) bool {
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

// Client returns the address of c's client, or the proxy's if its PROXY header named no
// client.
func (t *Conns) Client(c net.Conn) (addr netip.Addr, unnamed bool) {
	if conn := t.find(c); conn != nil {
		return conn.addr, conn.unnamed
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
	t.noteDrainedLocked()
}

// Seal says that no more connections will be added.
func (t *Conns) Seal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sealed = true
	t.noteDrainedLocked()
}

func (t *Conns) noteDrainedLocked() {
	if t.open == 0 && t.sealed && t.drained != nil {
		t.closeDrained.Do(func() { close(t.drained) })
	}
}

// Track notes the state of a connection: it is for fasthttp.Server.ConnState.
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
		t.closeUnused(conn)
	}
}

// closeOldestUnused makes room for a new connection: it closes the oldest one that has no
// request under way. It returns false if there is none.
func (t *Conns) closeOldestUnused() bool {
	var oldest *clientConn
	for c := range t.all {
		if (c.is(fasthttp.StateIdle) || c.is(fasthttp.StateNew)) && (oldest == nil || c.opened.Before(oldest.opened)) {
			oldest = c
		}
	}
	if oldest == nil {
		return false
	}
	oldest.state.Store(int32(fasthttp.StateClosed)) // so that it is not found again
	oldest.conn.(*net.TCPConn).CloseRead()          // what has arrived is still answered, as in closeUnused
	return true
}

// Drain closes each connection as soon as its client expects no answer on it: idle ones
// after the time idle, new ones when they stay silent. The channel that it returns is closed
// when none is left and Seal was called. Drain may be called again, with another time.
func (t *Conns) Drain(idle time.Duration) <-chan struct{} {
	t.idle.Store(int64(idle))
	t.draining.Store(true)
	t.mu.Lock()
	if t.drained == nil {
		t.drained = make(chan struct{})
		t.noteDrainedLocked()
	}
	drained := t.drained
	t.mu.Unlock()
	for c := range t.all {
		t.closeUnused(c)
	}
	return drained
}

// closeUnused closes c after its time, unless a request begins on it before. A request whose
// first bytes have arrived by then is still answered: only the reading end is shut, so that
// the server finds the end of the connection behind them, and closes it.
func (t *Conns) closeUnused(c *clientConn) {
	state := c.state.Load()
	var after time.Duration
	switch fasthttp.ConnState(state) {
	case fasthttp.StateNew:
		after = firstByteGrace - time.Since(c.opened)
	case fasthttp.StateIdle:
		after = time.Duration(t.idle.Load())
	default:
		return // Track comes back when it gets idle
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

// CloseAll closes every open connection and returns how many had a request under way. They
// are removed as the server notices.
func (t *Conns) CloseAll() (active int) {
	for c := range t.all {
		busy := c.is(fasthttp.StateActive)
		if err := c.conn.Close(); busy && !errors.Is(err, net.ErrClosed) { // else the server was done with it
			active++
		}
	}
	return active
}

// Active returns the number of connections with a request under way.
func (t *Conns) Active() (n int) {
	for c := range t.all {
		if c.is(fasthttp.StateActive) {
			n++
		}
	}
	return n
}

// Len returns the number of open connections.
func (t *Conns) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open
}
