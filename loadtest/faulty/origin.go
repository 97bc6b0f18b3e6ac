// Package faulty is an HTTP/1.1 origin that misbehaves on demand, for tests. It
// speaks over raw sockets, so that a script can break any rule of the protocol.
package faulty

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxHead     = 1 << 20 // of a request; a longer one closes the connection
	keptHeads   = 4096    // requests that Requests returns at most
	handshaking = 10 * time.Second
)

// Script answers one request by writing any bytes to c, *net.TCPConn or, with
// TLS, *tls.Conn. It returns whether the connection stays open for a further
// request; it may also close c itself. What it does with c after it returned
// is a data race.
//
// Scripts of one origin run at the same time, one per connection. A script that
// waits must end when c fails or r.Done is closed.
type Script func(c net.Conn, r *Request) (keep bool)

// Request is the head of one request. It does not change once a script has it.
type Request struct {
	Conn   int64 // the connection it came by, from 1
	N      int64 // its place among the origin's requests, from 1
	OnConn int   // its place on its connection, from 1
	Raw    []byte
	Method string
	Target string      // as sent, not decoded
	Header http.Header // names in canonical form; a name alone on a line has an empty value
	Done   <-chan struct{}
}

// Wait waits for d and reports whether the origin is still open.
func (r *Request) Wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Done:
		return false
	}
}

// Origin is a listener on 127.0.0.1 whose requests a script answers. Request
// bodies are not read: what follows a head is the next head. Its methods may be
// called at any time.
type Origin struct {
	ln     net.Listener
	tls    *tls.Config // nil: plain TCP
	ca     []byte
	script atomic.Pointer[Script] // nil: nothing is read or written
	done   chan struct{}
	wg     sync.WaitGroup

	conns, requests atomic.Int64

	mu     sync.Mutex // guards the following fields
	open   map[net.Conn]struct{}
	heads  []*Request
	closed bool
}

// Start starts an origin on a free port.
func Start(s Script) (*Origin, error) { return start(s, nil, nil) }

// StartTLS starts an origin with a certificate for 127.0.0.1 and localhost that
// CA vouches for.
func StartTLS(s Script) (*Origin, error) {
	cert, ca, err := selfSigned()
	if err != nil {
		return nil, fmt.Errorf("cannot make a certificate: %w", err)
	}
	return start(s, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}, ca)
}

// StartMute starts an origin that accepts connections and then neither reads nor
// writes: a black hole to HTTP, and a handshake without end to TLS.
func StartMute() (*Origin, error) { return start(nil, nil, nil) }

func start(s Script, conf *tls.Config, ca []byte) (*Origin, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot listen: %w", err)
	}
	o := &Origin{ln: ln, tls: conf, ca: ca, done: make(chan struct{}), open: map[net.Conn]struct{}{}}
	if s != nil {
		o.script.Store(&s)
	}
	o.wg.Go(o.accept) // ends with the listener, in Close
	return o, nil
}

// Endpoint returns the base URL, http or https.
func (o *Origin) Endpoint() string {
	if o.tls != nil {
		return "https://" + o.Addr()
	}
	return "http://" + o.Addr()
}

// Addr returns the host and port.
func (o *Origin) Addr() string { return o.ln.Addr().String() }

// CA returns the certificate in PEM that a client has to trust; nil without TLS.
func (o *Origin) CA() []byte { return o.ca }

// Script replaces the script from the next request on; of no effect on an origin
// of StartMute.
func (o *Origin) Script(s Script) {
	if o.script.Load() != nil {
		o.script.Store(&s)
	}
}

// Conns returns how many connections were accepted so far.
func (o *Origin) Conns() int64 { return o.conns.Load() }

// Open returns how many connections are open now. An origin of StartMute does not
// notice that a client left.
func (o *Origin) Open() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.open)
}

// Count returns how many request heads were read so far.
func (o *Origin) Count() int64 { return o.requests.Load() }

// Requests returns the heads read so far, at most the last 4096, in the order in
// which they came.
func (o *Origin) Requests() []*Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]*Request(nil), o.heads[max(0, len(o.heads)-keptHeads):]...)
}

// Close closes the listener and all connections, and returns when every script
// has ended. It may be called again.
func (o *Origin) Close() {
	o.mu.Lock()
	if !o.closed {
		o.closed = true
		close(o.done)
		o.ln.Close()
		for c := range o.open {
			c.Close()
		}
	}
	o.mu.Unlock()
	o.wg.Wait()
}

func (o *Origin) accept() {
	for {
		c, err := o.ln.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		if o.closed {
			o.mu.Unlock()
			c.Close()
			return
		}
		o.open[c] = struct{}{}
		o.wg.Go(func() { o.serve(c, o.conns.Add(1)) }) // ends with the connection
		o.mu.Unlock()
	}
}

func (o *Origin) serve(c net.Conn, id int64) {
	defer func() {
		c.Close()
		o.mu.Lock()
		delete(o.open, c)
		o.mu.Unlock()
	}()
	if o.script.Load() == nil {
		<-o.done
		return
	}
	peer := c
	if o.tls != nil {
		t := tls.Server(c, o.tls)
		t.SetDeadline(time.Now().Add(handshaking))
		if t.Handshake() != nil {
			return
		}
		t.SetDeadline(time.Time{})
		peer = t
	}
	br := bufio.NewReader(peer)
	for n := 1; ; n++ {
		raw, err := readHead(br)
		if err != nil {
			return
		}
		r := parse(raw)
		r.Conn, r.OnConn, r.Done = id, n, o.done
		o.record(r)
		if !(*o.script.Load())(peer, r) {
			// TLS: the close_notify alert, without which strict clients see a truncation.
			peer.Close()
			return
		}
	}
}

func (o *Origin) record(r *Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r.N = o.requests.Add(1)
	if len(o.heads) == 2*keptHeads {
		o.heads = append([]*Request(nil), o.heads[keptHeads:]...)
	}
	o.heads = append(o.heads, r)
}

// readHead reads up to and with an empty line.
func readHead(br *bufio.Reader) ([]byte, error) {
	var head []byte
	for {
		line, err := br.ReadSlice('\n')
		head = append(head, line...)
		switch {
		case len(head) > maxHead:
			return nil, bufio.ErrTooLong
		case err == bufio.ErrBufferFull:
		case err != nil:
			if err == io.EOF && len(head) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		case bytes.HasSuffix(head, []byte("\r\n\r\n")):
			return head, nil
		}
	}
}

// parse reads a head leniently: judging it is the test's business.
func parse(raw []byte) *Request {
	r := &Request{Raw: raw, Header: http.Header{}}
	first, rest, _ := strings.Cut(string(raw), "\r\n")
	r.Method, first, _ = strings.Cut(first, " ")
	r.Target = first
	if i := strings.LastIndexByte(first, ' '); i >= 0 {
		r.Target = first[:i]
	}
	for line := range strings.SplitSeq(rest, "\r\n") {
		if name, value, _ := strings.Cut(line, ":"); name != "" {
			r.Header.Add(name, strings.Trim(value, " \t"))
		}
	}
	return r
}
