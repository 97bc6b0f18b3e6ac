package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"yatagarasu/loadtest/rawserver"
)

// nameServer answers every name with the same addresses.
type nameServer struct {
	address string
	asked   atomic.Int64 // for A records

	mu      sync.Mutex // guards the following fields
	ips     []string
	ttl     uint32
	down    bool
	ignored int           // of the next questions
	held    chan struct{} // answers wait until it is closed; nil: they do not
}

func startNameServer(t *testing.T, ttl uint32, ips ...string) *nameServer {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s := &nameServer{address: c.LocalAddr().String(), ips: ips, ttl: ttl}
	go func() { // ends with c
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if s.hears() {
				c.WriteTo(s.answer(t, b[:n]), from)
			}
		}
	}()
	return s
}

// hears tells whether to answer the next question, and waits until then.
func (s *nameServer) hears() bool {
	s.mu.Lock()
	s.ignored--
	yes, held := s.ignored < 0, s.held
	s.mu.Unlock()
	if held != nil {
		<-held
	}
	return yes
}

func (s *nameServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *nameServer) answer(t *testing.T, question []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		t.Error(err)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := m.Questions[0]
	m.Response, m.Additionals, m.RecursionAvailable = true, nil, true
	if s.down {
		m.RCode = dnsmessage.RCodeServerFailure
	}
	if q.Type == dnsmessage.TypeA {
		s.asked.Add(1)
		for _, ip := range s.ips {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: s.ttl},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(ip).As4()},
			})
		}
	}
	b, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

// named returns an Upstream to a name that s knows.
func (s *nameServer) named(t *testing.T, port string, tune ...func(*Options)) *Upstream {
	t.Helper()
	o := Options{Address: "origin.test:" + port, Buffers: NewBuffers(0, 0)}
	for _, f := range tune {
		f(&o)
	}
	u := NewUpstream(o)
	u.addresses.server = s.address
	t.Cleanup(u.Close)
	return u
}

// listenAt serves on an address of loopback and the port of another server.
func listenAt(t *testing.T, ip, port string) *atomic.Int64 {
	t.Helper()
	ln, err := net.Listen("tcp", ip+":"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	var n atomic.Int64
	go func() { // ends with ln
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			go func() { // ends when the other side closes
				defer c.Close()
				b := make([]byte, 1<<10)
				for {
					if _, err := c.Read(b); err != nil {
						return
					}
					io.WriteString(c, ok("body"))
				}
			}()
		}
	}()
	return &n
}

// outdate ends the time for which the last answer is good.
func outdate(a *addresses) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.until = time.Now().Add(-time.Millisecond)
}

// fresh has each exchange open a connection.
func fresh(o *Options) { o.MaxAge = time.Nanosecond }

func mustFetch(t *testing.T, u *Upstream) {
	t.Helper()
	if _, body, err := fetch(u); err != nil || body != "body" {
		t.Fatalf("%s, %v", body, err)
	}
}

func TestConnectionsAreSpread(t *testing.T) {
	s := startNameServer(t, 300, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	server := rawserver.StartQuiet(t, []byte(ok("body")))
	_, port, _ := net.SplitHostPort(server.Addr)
	second, third := listenAt(t, "127.0.0.2", port), listenAt(t, "127.0.0.3", port)
	u := s.named(t, port, fresh)
	for range 30 {
		mustFetch(t, u)
	}
	if a, b := second.Load(), third.Load(); a != 10 || b != 10 {
		t.Errorf("%d and %d connections of 30 to three addresses", a, b)
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("%d look-ups", n)
	}
}

// TestDeadAddresses has one address refuse connections, and one not answer.
func TestDeadAddresses(t *testing.T) {
	s := startNameServer(t, 300, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	server := rawserver.StartQuiet(t, []byte(ok("body")))
	_, port, _ := net.SplitHostPort(server.Addr)
	u := s.named(t, port, fresh)
	var silent atomic.Int64
	u.dialer.ControlContext = func(ctx context.Context, _, address string, _ syscall.RawConn) error {
		if strings.HasPrefix(address, "127.0.0.3:") {
			silent.Add(1)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	for range 20 {
		mustFetch(t, u)
	}
	var st Stats
	if u.UpdateStats(&st); st.Aside < 1 {
		t.Errorf("%d addresses are aside", st.Aside)
	}
	if silent.Load() == 0 {
		t.Error("the silent one is never tried")
	}
}

// TestSilentAddresses has none answer: all are aside, and still tried.
func TestSilentAddresses(t *testing.T) {
	s := startNameServer(t, 300, "127.0.0.1", "127.0.0.2")
	u := s.named(t, "80", func(o *Options) { o.DialTimeout = 400 * time.Millisecond })
	u.dialer.ControlContext = func(ctx context.Context, _, _ string, _ syscall.RawConn) error {
		<-ctx.Done()
		return ctx.Err()
	}
	for range 2 {
		_, _, err := fetch(u)
		want(t, err, ReasonTimeout, PhaseConnect, false)
	}
	if n := u.addresses.putAside(); n != 2 {
		t.Errorf("%d are aside", n)
	}
}

func TestTimeToLive(t *testing.T) {
	s := startNameServer(t, 1, "127.0.0.1")
	server := rawserver.StartQuiet(t, []byte(ok("body")))
	_, port, _ := net.SplitHostPort(server.Addr)
	second := listenAt(t, "127.0.0.2", port)
	u := s.named(t, port)
	mustFetch(t, u)
	if ttl := time.Until(u.addresses.until); ttl > time.Second || ttl < 0 {
		t.Fatalf("good for %v", ttl)
	}
	s.set(func() { s.ips = []string{"127.0.0.2"} })
	outdate(u.addresses)
	u.opts.KeepIdle = time.Nanosecond // have it look
	if !eventually(func() bool { mustFetch(t, u); return second.Load() > 0 }) {
		t.Fatal("the new address is never used")
	}
	// A server that fails leaves the last answer.
	s.set(func() { s.down = true })
	outdate(u.addresses)
	if !eventually(func() bool { mustFetch(t, u); return u.addresses.failed.Load() > 0 }) {
		t.Fatal("it is never asked again")
	}
	for range 3 {
		mustFetch(t, u)
	}
}

// TestIdleConnectionsToGoneAddresses has answers that are without the address of a
// connection: it is kept for a while, as the next answer may have the address again.
func TestIdleConnectionsToGoneAddresses(t *testing.T) {
	s := startNameServer(t, 300, "127.0.0.1")
	server := rawserver.StartQuiet(t, []byte(ok("body")))
	_, port, _ := net.SplitHostPort(server.Addr)
	u := s.named(t, port)
	mustFetch(t, u)
	idle(t, u, 1)
	s.set(func() { s.ips = []string{"127.0.0.2"} })
	a := u.addresses
	lookUp := func(missing time.Duration) {
		a.mu.Lock()
		a.until = time.Now().Add(-time.Second)
		for ip, m := range a.missing {
			m.since = time.Now().Add(-missing)
			a.missing[ip] = m
		}
		a.mu.Unlock()
		if _, err := a.candidates(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.mu.Lock()
		pending := a.pending
		a.mu.Unlock()
		if pending != nil {
			<-pending.done
		}
	}
	for range goneAnswers {
		lookUp(0)
	}
	idle(t, u, 1)
	lookUp(goneAfter)
	idle(t, u, 0)
}

// TestGone has answers of a name server, five seconds or more apart.
func TestGone(t *testing.T) {
	ip := netip.MustParseAddr
	few := func(n int) []netip.Addr { // two of twenty
		return []netip.Addr{ip(fmt.Sprintf("192.0.2.%d", 2*(n%10))), ip(fmt.Sprintf("192.0.2.%d", 2*(n%10)+1))}
	}
	for _, c := range []struct {
		name   string
		answer func(n int) []netip.Addr // nil: it fails
		pause  time.Duration
		gone   int // with which answer
	}{
		{"the same each time", func(int) []netip.Addr { return few(0) }, 5 * time.Second, 0},
		{"some of many", few, 5 * time.Second, 0},
		{"others for good", func(n int) []netip.Addr { return few(min(n, 1)) }, 5 * time.Second, 13},
		{"others for good, rarely asked", func(n int) []netip.Addr { return few(min(n, 1)) }, 5 * time.Minute, 3},
		{"a name server that fails", func(n int) []netip.Addr {
			if n > 0 {
				return nil
			}
			return few(0)
		}, time.Minute, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, err := newAddresses(t.Context(), "origin.test:443", nil)
				if err != nil {
					t.Fatal(err)
				}
				for n := range 30 {
					ips, err := c.answer(n), error(nil)
					if ips == nil {
						err = errors.New("down")
					}
					if gone := a.take(ips, err); (len(gone) > 0) != (n > 0 && n == c.gone) {
						t.Errorf("answer %d: %v are gone", n, gone)
					}
					time.Sleep(c.pause) // of the bubble
				}
			})
		})
	}
}

func TestOrder(t *testing.T) {
	a, err := newAddresses(t.Context(), "origin.test:443", nil)
	if err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr
	a.list = []netip.Addr{ip("192.0.2.1"), ip("192.0.2.2"), ip("192.0.2.3"), ip("2001:db8::1"), ip("2001:db8::2")}
	a.known, a.until = time.Now(), time.Now().Add(time.Hour)
	first := make(map[netip.Addr]int)
	for range 100 {
		list, err := a.candidates(t.Context())
		if err != nil || len(list) != 5 || list[0].Addr().Is4() == list[1].Addr().Is4() || list[2].Addr().Is4() == list[3].Addr().Is4() {
			t.Fatalf("%v %v", list, err)
		}
		first[list[0].Addr()]++
	}
	for _, one := range a.list {
		if first[one] < 10 {
			t.Errorf("%v is first %d times of 100", one, first[one])
		}
	}
	a.report(a.list[0], false)
	for range 10 {
		if list, _ := a.candidates(t.Context()); list[4].Addr() != a.list[0] {
			t.Errorf("%v: the one that is aside is not last", list)
		}
	}
	if a.putAside() != 1 {
		t.Error("none is aside")
	}
	if a.report(a.list[0], true); a.putAside() != 0 {
		t.Error("it stays aside")
	}
}

// TestLookUpOutlivesRequests has a name server answer when nobody waits any more.
func TestLookUpOutlivesRequests(t *testing.T) {
	s := startNameServer(t, 300, "127.0.0.1")
	held := make(chan struct{})
	s.set(func() { s.held = held })
	server := rawserver.StartQuiet(t, []byte(ok("body")))
	_, port, _ := net.SplitHostPort(server.Addr)
	u := s.named(t, port, func(o *Options) { o.DialTimeout = 50 * time.Millisecond })
	for range 3 {
		_, _, err := fetch(u)
		want(t, err, ReasonDNS, PhaseConnect, false)
	}
	close(held)
	u.opts.DialTimeout = 10 * time.Second
	mustFetch(t, u)
	if n, failed := u.addresses.lookUps.Load(), u.addresses.failed.Load(); n != 1 || failed != 0 {
		t.Errorf("%d look-ups, %d failed", n, failed)
	}
}

// TestFirstNameServerIsDown has the first question go unanswered, as by the first of two
// name servers: the resolver waits for longer than a request does.
func TestFirstNameServerIsDown(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it takes the resolver's 5 s")
	}
	s := startNameServer(t, 300, "127.0.0.1")
	s.set(func() { s.ignored = 2 }) // for A and AAAA records
	server := rawserver.StartQuiet(t, []byte(ok("body")))
	_, port, _ := net.SplitHostPort(server.Addr)
	u := s.named(t, port, func(o *Options) { o.DialTimeout = 700 * time.Millisecond }) // not a part of 5 s
	for deadline := time.Now().Add(30 * time.Second); ; {
		_, body, err := fetch(u)
		if body == "body" {
			break
		}
		want(t, err, ReasonDNS, PhaseConnect, false)
		if time.Now().After(deadline) {
			t.Fatal("the name never resolves")
		}
	}
	if n := u.addresses.lookUps.Load(); n != 1 {
		t.Errorf("%d look-ups", n)
	}
}

func TestNoSuchName(t *testing.T) {
	s := startNameServer(t, 300)
	u := s.named(t, "80")
	_, _, err := fetch(u)
	want(t, err, ReasonDNS, PhaseConnect, false)
	if _, err := newAddresses(t.Context(), "no-port", nil); err == nil {
		t.Error("an address without a port is one")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := u.addresses.dial(ctx, &u.dialer); err == nil {
		t.Error("a dial that ended has a connection")
	}
}

// TestNoteTTL has a resolver's messages, and nonsense.
func TestNoteTTL(t *testing.T) {
	a, err := newAddresses(t.Context(), "origin.test:443", nil)
	if err != nil {
		t.Fatal(err)
	}
	a.ttl.Store(-1)
	for _, b := range [][]byte{nil, {1}, make([]byte, 11), make([]byte, 12), make([]byte, 600)} {
		a.noteTTL(b)
	}
	if a.ttl.Load() != -1 {
		t.Error("nonsense has a time to live")
	}
}
