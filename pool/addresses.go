package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	unknownTTL    = 30 * time.Second // where the answer does not tell, as of /etc/hosts
	leastTTL      = time.Second
	mostTTL       = 5 * time.Minute
	staleFor      = time.Hour              // how long an answer serves while there is no newer one
	lookUpTimeout = 20 * time.Second       // the resolver waits 5 s for each name server
	headStart     = 250 * time.Millisecond // of one address over the next, RFC 8305 section 5
	leastAside    = 10 * time.Second       // how long an address is left alone; doubled each time
	mostAside     = time.Minute

	// An address is gone when as many answers in a row, over as long, were without it:
	// some names have many addresses, of which each answer has a few.
	goneAnswers = 3
	goneAfter   = time.Minute
)

// addresses knows the addresses of one host. It looks them up again when their time to
// live is over, in the background where an older answer is at hand.
//
// An addresses is safe for concurrent use. Use newAddresses, whose context ends its
// look-ups.
type addresses struct {
	life     context.Context // parent of the look-ups' contexts
	host     string
	port     uint16
	resolver *net.Resolver
	gone     func([]netip.Addr) // told of addresses that the host no longer has; may be nil
	server   string             // name server of a test; empty: the system's

	ttl     atomic.Int64 // lowest in the answers to the pending look-up, in seconds; -1: none
	lacking atomic.Bool  // a name server could not be asked, see isShortage
	lookUps atomic.Uint64
	failed  atomic.Uint64 // look-ups without an answer

	mu      sync.Mutex // guards the following fields
	list    []netip.Addr
	known   time.Time              // time of the look-up that brought list; zero: none has
	until   time.Time              // end of list's time to live
	pending *lookUp                // the look-up under way; nil: none
	turn    int                    // calls of candidates, from a random start
	aside   map[netip.Addr]aside   // addresses to leave alone for a while
	missing map[netip.Addr]missing // former addresses that are not gone yet
}

// missing is an address that the latest answers were without.
type missing struct {
	since   time.Time
	answers int
}

// lookUp is one look-up, for all exchanges that wait for it. It outlives them: a name server that
// is down takes longer than a request waits, and the next one is asked only then.
type lookUp struct {
	done chan struct{} // closed at its end
	err  error         // its result, once done is closed
}

// aside is an address that is left alone for a while.
type aside struct {
	until time.Time
	pause time.Duration
}

// newAddresses returns the addresses of host:port. Look-ups end with life. gone may be
// nil.
func newAddresses(life context.Context, address string, gone func([]netip.Addr)) (*addresses, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, err
	}
	a := &addresses{life: life, host: host, port: uint16(n), gone: gone, turn: rand.IntN(1 << 16)}
	a.aside, a.missing = make(map[netip.Addr]aside), make(map[netip.Addr]missing)
	a.resolver = &net.Resolver{PreferGo: true, Dial: a.dialResolver}
	if ip, err := netip.ParseAddr(host); err == nil {
		a.list, a.known = []netip.Addr{ip}, time.Unix(0, 0)
		a.until = time.Unix(1<<40, 0)
	}
	return a, nil
}

// candidates returns the addresses in the order in which to try them: IPv6 and IPv4 in
// turns, another one first each time, those that are put aside last.
func (a *addresses) candidates(ctx context.Context) ([]netip.AddrPort, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.known.IsZero() || now.After(a.until) {
		if a.pending == nil {
			a.pending = &lookUp{done: make(chan struct{})}
			go a.lookUp(a.pending) // ends after lookUpTimeout, or with life
		}
		if l := a.pending; a.known.IsZero() || now.Sub(a.until) > staleFor {
			a.mu.Unlock()
			err := l.wait(ctx, a.host)
			a.mu.Lock()
			if err != nil {
				return nil, err
			}
			now = time.Now()
		}
	}
	a.turn++
	return a.order(now), nil
}

// order returns the addresses as candidates does; a.mu is held.
func (a *addresses) order(now time.Time) []netip.AddrPort {
	var families [2][]netip.AddrPort
	var away []netip.AddrPort
	for i := range a.list {
		ip := a.list[(i+a.turn)%len(a.list)]
		one := netip.AddrPortFrom(ip, a.port)
		switch {
		case now.Before(a.aside[ip].until):
			away = append(away, one)
		case ip.Is4():
			families[1] = append(families[1], one)
		default:
			families[0] = append(families[0], one)
		}
	}
	if a.turn%2 == 0 {
		families[0], families[1] = families[1], families[0]
	}
	ordered := make([]netip.AddrPort, 0, len(a.list))
	for i := range max(len(families[0]), len(families[1])) {
		for _, f := range families {
			if i < len(f) {
				ordered = append(ordered, f[i])
			}
		}
	}
	return append(ordered, away...)
}

// wait waits for the end of the look-up of host, or of ctx.
func (l *lookUp) wait(ctx context.Context, host string) error {
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &net.DNSError{Err: "no name server has answered in time", Name: host, IsTimeout: true}
	}
	return ctx.Err()
}

// lookUp carries out l, and replaces the addresses by what it finds.
func (a *addresses) lookUp(l *lookUp) {
	ctx, cancel := context.WithTimeout(a.life, lookUpTimeout)
	defer cancel()
	defer close(l.done)
	a.lookUps.Add(1)
	a.ttl.Store(-1)
	a.lacking.Store(false)
	ips, err := a.resolver.LookupNetIP(ctx, "ip", a.host)
	if err == nil && len(ips) == 0 {
		err = &net.DNSError{Err: "it has no address", Name: a.host, IsNotFound: true}
	}
	switch l.err = err; {
	case err != nil && a.lacking.Load(): // the resolver's error has it as text
		l.err = fmt.Errorf("cannot ask a name server for %s: %w", a.host, errnoNoDescriptors)
	case err != nil:
		a.failed.Add(1)
	}
	for i := range ips {
		ips[i] = ips[i].Unmap()
	}
	slices.SortFunc(ips, netip.Addr.Compare)
	ips = slices.Compact(ips)
	if gone := a.take(ips, err); len(gone) > 0 && a.gone != nil {
		a.gone(gone)
	}
}

// take ends the pending look-up with its result, and returns the addresses that are gone
// since the one before.
func (a *addresses) take(ips []netip.Addr, err error) (gone []netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending = nil
	now := time.Now()
	if err != nil {
		a.until = now.Add(leastTTL) // and then again
		if now.Sub(a.known) >= staleFor {
			a.known = time.Time{} // too old to go on with
		}
		return nil
	}
	ttl := unknownTTL
	if s := a.ttl.Load(); s >= 0 {
		ttl = min(max(time.Duration(s)*time.Second, leastTTL), mostTTL)
	}
	gone = a.miss(ips, now)
	a.list, a.known, a.until = ips, now, now.Add(ttl)
	for ip := range a.aside {
		if !slices.Contains(ips, ip) {
			delete(a.aside, ip)
		}
	}
	return gone
}

// miss notes which addresses an answer lacks, and returns those that are gone now; a.mu
// is held.
func (a *addresses) miss(ips []netip.Addr, now time.Time) (gone []netip.Addr) {
	for _, ip := range a.list {
		if _, known := a.missing[ip]; !known {
			a.missing[ip] = missing{since: now}
		}
	}
	for ip, m := range a.missing {
		m.answers++
		switch {
		case slices.Contains(ips, ip):
			delete(a.missing, ip)
		case m.answers >= goneAnswers && now.Sub(m.since) >= goneAfter:
			delete(a.missing, ip)
			gone = append(gone, ip)
		default:
			a.missing[ip] = m
		}
	}
	return gone
}

// report notes whether an address could be connected to. One that could not is put
// aside, for longer each time in a row.
func (a *addresses) report(ip netip.Addr, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before, was := a.aside[ip]
	if ok {
		if was {
			delete(a.aside, ip)
		}
		return
	}
	now := time.Now()
	if was && now.Before(before.until) {
		return // tried since all are aside
	}
	pause := min(max(2*before.pause, leastAside), mostAside)
	a.aside[ip] = aside{now.Add(pause*3/4 + rand.N(pause/2)), pause}
}

// putAside returns how many addresses are left alone now.
func (a *addresses) putAside() (n int) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range a.aside {
		if now.Before(one.until) {
			n++
		}
	}
	return n
}

// dial connects to one of the addresses: to the next one as soon as one has failed, or
// takes too long. The first to succeed is used (RFC 8305).
func (a *addresses) dial(ctx context.Context, d *net.Dialer) (*net.TCPConn, error) {
	list, err := a.candidates(ctx)
	if err != nil {
		return nil, err
	}
	if len(list) == 1 {
		c, err := d.DialContext(ctx, "tcp", list[0].String())
		if err != nil {
			return nil, err
		}
		return c.(*net.TCPConn), nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the slower ones
	type result struct {
		c   net.Conn
		err error
		ip  netip.Addr
	}
	results := make(chan result)
	next := time.NewTimer(0)
	defer next.Stop()
	var first error
	for begun, ended := 0, 0; ended < len(list); {
		select {
		case <-next.C:
			if begun == len(list) {
				continue
			}
			to := list[begun]
			begun++
			next.Reset(headStart)
			go func() { // ends with ctx, at the latest
				c, err := d.DialContext(ctx, "tcp", to.String())
				select {
				case results <- result{c, err, to.Addr()}:
				case <-ctx.Done():
					if err == nil {
						c.Close()
					}
				}
			}()
		case r := <-results:
			if r.err == nil {
				a.report(r.ip, true)
				return r.c.(*net.TCPConn), nil
			}
			if ended++; ctx.Err() == nil && !isShortage(r.err) {
				a.report(r.ip, false)
			}
			if first == nil {
				first = r.err
			}
			next.Reset(0)
		case <-ctx.Done():
			for _, to := range list[:begun] {
				if errors.Is(ctx.Err(), context.DeadlineExceeded) {
					a.report(to.Addr(), false) // none has answered
				}
			}
			return nil, ctx.Err()
		}
	}
	return nil, first
}

// dialResolver connects to a name server, and reads along: the library's resolver does
// not tell the time to live of its answers.
func (a *addresses) dialResolver(ctx context.Context, network, address string) (net.Conn, error) {
	if a.server != "" {
		address = a.server
	}
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if isShortage(err) {
		a.lacking.Store(true)
	}
	if udp, ok := c.(*net.UDPConn); ok && err == nil {
		return &ttlConn{udp, a}, nil
	}
	return c, err
}

// ttlConn is a connection to a name server that notes the time to live of answers.
type ttlConn struct {
	*net.UDPConn // must be a net.PacketConn, or the resolver takes it for a stream
	addresses    *addresses
}

// Read implements net.Conn.
func (c *ttlConn) Read(b []byte) (int, error) {
	n, err := c.UDPConn.Read(b)
	if err == nil {
		c.addresses.noteTTL(b[:n])
	}
	return n, err
}

// noteTTL notes the time to live in a name server's message.
func (a *addresses) noteTTL(message []byte) {
	var p dnsmessage.Parser
	if _, err := p.Start(message); err != nil || p.SkipAllQuestions() != nil {
		return
	}
	for {
		h, err := p.AnswerHeader()
		if err != nil {
			return // the end, or nonsense
		}
		switch h.Type {
		case dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeCNAME:
			if least := a.ttl.Load(); least < 0 || int64(h.TTL) < least {
				a.ttl.Store(int64(h.TTL))
			}
		}
		if p.SkipAnswer() != nil {
			return
		}
	}
}
