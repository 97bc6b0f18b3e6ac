package listen

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
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

	Displaced atomic.Uint64 // connections that made room for others

	draining atomic.Bool
	idle     atomic.Int64 // nanoseconds that Drain leaves idle connections
	crowded  atomic.Bool  // the table fills up: Track and Serving tell apart who has sent a whole head
	heads    atomic.Int64 // connections that are in a head since they were told apart

	mu              sync.Mutex // guards the following fields
	max, maxPerAddr int        // 0: no limit
	open            int
	perAddr         map[uint64]int // connections by limit.AddressKey, as rates are
	room            room           // what makes room at the limit
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
	state   atomic.Int32 // fasthttp.StateNew, StateActive or StateIdle; or stateHead
	since   atomic.Int64 // nanoseconds from opened to the last change of state that made it unused
	inHead  bool         // it counts in Conns.heads; for the goroutine that serves it
	told    time.Time    // when it was told to make room; zero: it was not. Guarded by Conns.mu
}

// stateHead is the state of a connection on which a request has begun and its head has not
// come to its end. It is told from StateActive while the table is crowded.
const stateHead fasthttp.ConnState = 100

func (c *clientConn) is(state fasthttp.ConnState) bool { return c.state.Load() == int32(state) }

// active tells whether a request has begun on c.
func (c *clientConn) active() bool { return c.is(fasthttp.StateActive) || c.is(stateHead) }

// Limit sets the limits; 0: none. Connections beyond them stay open.
func (t *Conns) Limit(most, mostPerAddr int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.max, t.maxPerAddr = most, mostPerAddr
	t.noteCrowdLocked()
}

// Most returns the limit of connections; 0: none.
func (t *Conns) Most() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.max
}

// add registers c, unless a limit is reached. At the limit of all connections, one without a
// request makes room; at that of an address none does, as it keeps nobody else out. An addr that
// is not valid is not known yet: setClient follows.
func (t *Conns) add(c net.Conn, addr netip.Addr) bool {
	conn := &clientConn{conn: c, opened: time.Now()}
	leave, ok := t.register(conn, addr)
	t.Displaced.Add(uint64(len(leave)))
	for _, c := range leave {
		c.dismiss()
	}
	if ok && t.draining.Load() {
		t.closeUnused(conn)
	}
	return ok
}

// register is add, but for what it returns: the connections that make room.
func (t *Conns) register(conn *clientConn, addr netip.Addr) (leave []*clientConn, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if addr.IsValid() && !t.countLocked(conn, addr) {
		return nil, false
	}
	if t.max > 0 && t.open-len(t.room.leaving) >= t.max {
		if leave, ok = t.makeRoomLocked(); !ok {
			t.uncountLocked(conn)
			return leave, false
		}
	}
	t.open++
	t.conns.Store(conn.conn, conn)
	t.noteCrowdLocked()
	return leave, true
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

// uncountLocked undoes countLocked.
func (t *Conns) uncountLocked(conn *clientConn) {
	if !conn.addr.IsValid() {
		return
	}
	client := limit.AddressKey(conn.addr)
	if t.perAddr[client]--; t.perAddr[client] <= 0 {
		delete(t.perAddr, client)
	}
}

func (t *Conns) remove(c net.Conn) {
	v, ok := t.conns.LoadAndDelete(c)
	if !ok {
		return
	}
	conn := v.(*clientConn)
	t.noteHead(conn, false)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.uncountLocked(conn)
	if !conn.told.IsZero() {
		t.room.leaving = slices.DeleteFunc(t.room.leaving, func(c *clientConn) bool { return c == conn })
	}
	t.open--
	t.noteCrowdLocked()
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
	c = bare(c)
	if s == fasthttp.StateClosed {
		t.remove(c)
		return
	}
	conn := t.find(c)
	if conn == nil {
		return
	}
	if s == fasthttp.StateActive && t.crowded.Load() {
		s = stateHead // until Serving
	}
	t.noteHead(conn, s == stateHead)
	if s != fasthttp.StateActive {
		conn.since.Store(int64(time.Since(conn.opened)))
	}
	conn.state.Store(int32(s))
	if s == fasthttp.StateIdle && t.draining.Load() {
		t.closeUnused(conn)
	}
}

// noteHead notes whether c is in a head. The goroutine that serves c calls it.
func (t *Conns) noteHead(c *clientConn, in bool) {
	if in == c.inHead {
		return
	}
	if c.inHead = in; in {
		t.heads.Add(1)
	} else {
		t.heads.Add(-1)
	}
}

// Serving notes that the head of a request on c has come to its end: until the next state, c
// makes no room for others. It takes a look-up while the table is crowded, or a head has not
// ended since it was; else next to nothing.
//
// Hot path: zero allocations, guarded by TestConnStateAllocs.
func (t *Conns) Serving(c net.Conn) {
	if t.heads.Load() == 0 {
		return
	}
	if conn := t.find(bare(c)); conn != nil && conn.inHead {
		t.noteHead(conn, false)
		conn.state.Store(int32(fasthttp.StateActive)) // also if it was told to make room in this moment
	}
}

// bare returns the connection below TLS, by which the table has it.
func bare(c net.Conn) net.Conn {
	if secure, ok := c.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return c
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

// closeUnused closes c after its time, unless a request begins on it before.
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
		if c.state.Load() == state {
			c.dismiss()
		}
	}
	if after <= 0 {
		end()
	} else {
		time.AfterFunc(after, end)
	}
}

// dismiss closes c. A request whose first bytes have arrived is still answered: only the reading
// end is shut, so that the server finds the end of the connection behind them, and closes it.
func (c *clientConn) dismiss() {
	if half, ok := c.conn.(interface{ CloseRead() error }); ok {
		half.CloseRead()
	}
}

// CloseAll closes every open connection and returns how many had a request under way. They
// are removed as the server notices.
func (t *Conns) CloseAll() (active int) {
	for c := range t.all {
		busy := c.active()
		if err := c.conn.Close(); busy && !errors.Is(err, net.ErrClosed) { // else the server was done with it
			active++
		}
	}
	return active
}

// Active returns the number of connections with a request under way.
func (t *Conns) Active() (n int) {
	for c := range t.all {
		if c.active() {
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
