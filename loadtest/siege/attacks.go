package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// attack is one way to take the gateway away from others.
type attack struct {
	name        string
	slows       float64 // p99 may be so many times what it was before; 0: twice
	descriptors int     // the gateway may open; 0: no limit of the attack's own
	run         func(ctx context.Context, s *siege)
}

func (a *attack) factor() float64 { return max(a.slows, 2) }

// attacks are the ways, in the order in which they are tried.
var attacks = []*attack{
	{name: "objects that cannot be read", run: badObjects},
	{name: "slow readers of stored objects", run: slowReadersOfStored},
	{name: "slow readers of streams", slows: 3, run: slowReaders("/plain/", 160)},
	{name: "invalid tokens", slows: 3, run: badTokens},
	{name: "bytes after the answer", run: lateBytes},
	{name: "no descriptors left", descriptors: 256, run: idlers(240)},
	{name: "spellings of one key", run: spellings},
	{name: "requests for nothing", run: nothings},
	{name: "guesses at the admin token", run: guesses},
	{name: "idle connections", run: idlers(700)},
	{name: "heads that never end", run: endless},
	{name: "all at once, each at a quarter", slows: 3, descriptors: 1024, run: everything},
}

// answers counts what attackers are told.
type answers struct {
	mu     sync.Mutex // guards the following field
	counts map[string]int
}

func (a *answers) note(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[what]++
}

// noteUnless is note unless ctx has ended, which ends attacks in their midst.
func (a *answers) noteUnless(ctx context.Context, what string) {
	if ctx.Err() == nil {
		a.note(what)
	}
}

func (a *answers) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for _, what := range slices.Sorted(maps.Keys(a.counts)) {
		all = append(all, fmt.Sprintf("%d x %s", a.counts[what], what))
	}
	return strings.Join(all, ", ")
}

// attacker returns the address of the n-th of four attackers.
func attacker(n int) *net.TCPAddr { return &net.TCPAddr{IP: net.IPv4(127, 2, 0, byte(1+n%4))} }

// dial opens a connection of the n-th attacker.
func (s *siege) dial(ctx context.Context, n int, control func(network, address string, c syscall.RawConn) error) (net.Conn, error) {
	d := net.Dialer{LocalAddr: attacker(n), Timeout: 5 * time.Second, Control: control}
	return d.DialContext(ctx, "tcp", s.address)
}

// together runs f for each of 0 to n-1 at a time, until all have returned.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// pause waits for d; it returns false, at once, when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// flood has eight workers send a request each after every pause, until ctx ends. Each keeps
// its connection while the gateway does. slower is how many times longer the pauses are.
func (s *siege) flood(ctx context.Context, every time.Duration, request func(worker, i int) string) {
	together(8, func(worker int) {
		var c net.Conn
		var r *bufio.Reader
		for i := 0; pause(ctx, every*time.Duration(s.slower)); i++ {
			if c == nil {
				var err error
				if c, err = s.dial(ctx, worker, nil); err != nil {
					s.answers.noteUnless(ctx, "no connection")
					continue
				}
				r = bufio.NewReader(c)
			}
			text := request(worker, i)
			method, _, _ := strings.Cut(text, " ")
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, text)
			answer, err := http.ReadResponse(r, &http.Request{Method: method})
			if err == nil {
				s.answers.note(answer.Status[:3])
				_, err = io.Copy(io.Discard, answer.Body)
			} else {
				s.answers.noteUnless(ctx, "cut")
			}
			if err != nil || answer.Close {
				c.Close()
				c = nil
			}
		}
		if c != nil {
			c.Close()
		}
	})
}

// head returns a request.
func head(method, target string, fields ...string) string {
	text := method + " " + target + " HTTP/1.1\r\nHost: siege.example\r\n"
	for _, field := range fields {
		text += field + "\r\n"
	}
	return text + "\r\n"
}

// badObjects asks for objects that the origin cannot read, or describes in bytes that no head
// may have.
func badObjects(ctx context.Context, s *siege) {
	s.flood(ctx, 10*time.Millisecond, func(worker, i int) string {
		key := "bad/type"
		switch worker {
		case 0:
			key = "bad/rot"
		case 1:
			key = "bad/code"
		}
		return head("GET", []string{"/plain/", "/hits/"}[i%2]+key, fmt.Sprintf("Range: bytes=%d-", i%4096))
	})
}

// slowReaders returns an attack by clients that read large objects just quickly enough.
func slowReaders(prefix string, clients int) func(ctx context.Context, s *siege) {
	return func(ctx context.Context, s *siege) {
		together(clients, func(i int) {
			for pause(ctx, time.Duration(i%40)*50*time.Millisecond) {
				s.readSlowly(ctx, i, prefix)
			}
		})
	}
}

// slowReadersOfStored reads large objects slowly while so many others are stored that these have
// to make room.
func slowReadersOfStored(ctx context.Context, s *siege) {
	together(2, func(i int) {
		if i == 0 {
			slowReaders("/hits/", 8)(ctx, s)
			return
		}
		s.flood(ctx, 40*time.Millisecond, func(worker, i int) string {
			return head("GET", fmt.Sprintf("/hits/m/other-%d", 8*i+worker))
		})
	})
}

// readSlowly reads 1,300 bytes a second of a large object, until the connection or ctx ends.
func (s *siege) readSlowly(ctx context.Context, i int, prefix string) {
	c, err := s.dial(ctx, i, func(_, _ string, c syscall.RawConn) error { return smallWindow(c) })
	if err != nil {
		s.answers.noteUnless(ctx, "no connection")
		return
	}
	defer c.Close()
	io.WriteString(c, head("GET", fmt.Sprintf("%sbig/%d", prefix, i%8)))
	c.SetDeadline(time.Now().Add(20 * time.Second))
	piece := make([]byte, 130)
	n, err := c.Read(piece)
	if err != nil {
		s.answers.noteUnless(ctx, "cut")
		return
	}
	s.answers.note(string(bytes.TrimPrefix(piece[:min(n, 12)], []byte("HTTP/1.1 "))))
	for pause(ctx, 100*time.Millisecond) {
		c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Read(piece); err != nil {
			s.answers.note("cut")
			return
		}
	}
}

// badTokens sends a new invalid token each time, for keys whose signatures take long, and for
// those of honest clients.
func badTokens(ctx context.Context, s *siege) {
	signature := make([]byte, 132)
	rand.Read(signature)
	signature[0], signature[66] = 0, 0 // in the range of P-521
	s.flood(ctx, 4*time.Millisecond, func(worker, i int) string {
		alg, prefix, n := "ES512", "/keys/", 132
		if i%4 == 0 {
			alg, prefix, n = "HS256", "/private/", 32
		}
		claims := fmt.Sprintf(`{"sub":"forged-%d-%d","exp":%d}`, worker, i, time.Now().Add(time.Hour).Unix())
		token := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+alg+`"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." + base64.RawURLEncoding.EncodeToString(signature[:n])
		return head("GET", prefix+"o/1", "Authorization: Bearer "+token)
	})
}

// lateBytes has the origin send what an uploader chose after answers that have no body.
func lateBytes(ctx context.Context, s *siege) {
	s.flood(ctx, 20*time.Millisecond, func(worker, i int) string {
		return head("HEAD", fmt.Sprintf("/plain/late/%d", i))
	})
}

// idlers returns an attack by connections that ask once and stay. Those that are closed are
// opened again.
func idlers(n int) func(ctx context.Context, s *siege) {
	return func(ctx context.Context, s *siege) {
		together(n, func(i int) {
			for pause(ctx, time.Duration((1+i%100)*s.slower)*5*time.Millisecond) {
				s.idle(ctx, i)
			}
		})
	}
}

func (s *siege) idle(ctx context.Context, i int) {
	c, err := s.dial(ctx, i, nil)
	if err != nil {
		s.answers.noteUnless(ctx, "no connection")
		return
	}
	defer c.Close()
	end := context.AfterFunc(ctx, func() { c.Close() })
	defer end()
	io.WriteString(c, head("GET", "/hits/o/1"))
	r := bufio.NewReader(c)
	answer, err := http.ReadResponse(r, nil)
	if err == nil {
		s.answers.note(answer.Status[:3])
		_, err = io.Copy(io.Discard, answer.Body)
	}
	if err == nil {
		_, err = r.ReadByte()
	}
	if err != nil {
		s.answers.noteUnless(ctx, "closed")
	}
}

// spellings asks for one object by ever new names of it.
func spellings(ctx context.Context, s *siege) {
	s.flood(ctx, 4*time.Millisecond, func(worker, i int) string {
		return head("GET", "/hits/m"+strings.Repeat("/", 1+i%900)+strings.Repeat("/", worker)+"spelled")
	})
}

// nothings asks for what is not there, in ways that cost a line of the log each.
func nothings(ctx context.Context, s *siege) {
	long := strings.Repeat("%01", 700)
	s.flood(ctx, 2*time.Millisecond, func(worker, i int) string {
		switch i % 8 {
		case 0:
			return head("GET", "/nowhere/"+long)
		case 1:
			return head("GET", "/hits/"+long)
		case 2:
			return head("POST", "/hits/o/1", "Content-Length: 0")
		case 3:
			return head("GET", "/hits/teams__XLDIR__")
		case 4:
			return "GET /hits/o/1 HTTP/1.1\nHost: siege.example\r\n\r\n"
		case 5:
			return head("GET", "/hits/o/1", "Expect: 100-continue, x")
		case 6:
			return head("GET", "/ready")
		}
		return head("GET", "/hits/%zz", "User-Agent: "+strings.Repeat("\x01", 100))
	})
}

// guesses guesses the administrative token.
func guesses(ctx context.Context, s *siege) {
	s.flood(ctx, 4*time.Millisecond, func(worker, i int) string {
		return head("POST", "/admin/reload", "Content-Length: 0", fmt.Sprintf("Authorization: Bearer guess-%d-%d", worker, i))
	})
}

// endless opens connections and sends a head byte by byte.
func endless(ctx context.Context, s *siege) {
	together(400, func(i int) {
		for pause(ctx, time.Duration(i%100)*5*time.Millisecond) {
			c, err := s.dial(ctx, i, nil)
			if err != nil {
				s.answers.noteUnless(ctx, "no connection")
				continue
			}
			io.WriteString(c, "GET /hits/o/1 HTTP/1.1\r\nHost: siege.example\r\n")
			s.answers.note("begun")
			for n := 0; ; n++ {
				if !pause(ctx, 500*time.Millisecond) {
					break
				}
				if _, err := io.WriteString(c, "X"); err != nil {
					s.answers.note("cut")
					break
				}
			}
			c.Close()
		}
	})
}

// everything is all attacks at once, each with a quarter of its requests: all of them would take
// the processors that honest clients and origin need as well.
func everything(ctx context.Context, s *siege) {
	s.slower = 4
	all := []func(context.Context, *siege){
		badObjects, slowReadersOfStored, slowReaders("/plain/", 80), badTokens, lateBytes, idlers(520), spellings, nothings, guesses,
	}
	together(len(all), func(i int) { all[i](ctx, s) })
}
