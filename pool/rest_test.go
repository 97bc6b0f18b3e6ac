package pool

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

const headHead = "HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n"

// headAnswer answers HEAD with a length and GET with a body.
func headAnswer(c net.Conn, _ int, head string) bool {
	if strings.HasPrefix(head, "HEAD") {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 150000\r\n\r\n")
	} else {
		io.WriteString(c, ok("body"))
	}
	return true
}

// ask runs one HEAD exchange.
func ask(t testing.TB, u *Upstream) {
	t.Helper()
	var x Exchange
	if err := u.Do(&x, []byte(headHead), true); err != nil {
		t.Fatal(err)
	}
	x.Close()
}

// resting returns how many connections of u rest.
func resting(u *Upstream) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.resting)
}

// holdRests has the rests of u's connections last until a test ends them.
func holdRests(u *Upstream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range u.resting {
		c.restsUntil = time.Now().Add(time.Hour)
	}
}

func dials(u *Upstream) uint64 {
	var s Stats
	u.UpdateStats(&s)
	return s.Dials
}

// TestT91RestAfterHead has a connection rest after HEAD, while others are used.
func TestT91RestAfterHead(t *testing.T) {
	overBoth(t, func(t *testing.T, overTLS bool) {
		u := startScripted(t, overTLS, headAnswer).upstream()
		begin := time.Now()
		ask(t, u)
		if n := resting(u); n != 1 {
			t.Fatalf("%d rest", n)
		}
		if until := u.resting[0].restsUntil; until.Before(begin.Add(leastRest)) {
			t.Errorf("it rests until %s after the request began", until.Sub(begin))
		}
		holdRests(u)
		for range 3 { // on a second connection
			mustFetch(t, u)
		}
		if n := dials(u); n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
		idle(t, u, 2)
		endRests(u)
		for range 3 {
			mustFetch(t, u)
		}
		idle(t, u, 2)
	})
}

// TestT91RestEnds lets rests end by themselves.
func TestT91RestEnds(t *testing.T) {
	u := startScripted(t, false, headAnswer).upstream()
	ask(t, u)
	if resting(u) != 1 {
		t.Fatal("it does not rest")
	}
	c := u.resting[0]
	if !eventually(func() bool { return time.Now().After(c.restsUntil) }) {
		t.Fatal("it never ends")
	}
	mustFetch(t, u)
	if n := dials(u); n != 1 || !c.restsUntil.IsZero() {
		t.Errorf("%d connections; the one used again rests until %s", n, c.restsUntil)
	}
	if n := resting(u); n != 0 {
		t.Errorf("%d rest after GET", n)
	}
}

// TestT91RestLength has origins take their time for a head.
func TestT91RestLength(t *testing.T) {
	for name, c := range map[string]struct {
		took time.Duration
		kept int
	}{
		"twice the time of the head":   {100 * time.Millisecond, 1},
		"longer than a new connection": {mostRest/2 + 50*time.Millisecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			u := startScripted(t, false, func(conn net.Conn, n int, head string) bool {
				time.Sleep(c.took) // the slowness, which is what is tested
				return headAnswer(conn, n, head)
			}).upstream(func(o *Options) { o.HeadTimeout = 10 * time.Second })
			ask(t, u)
			ended := time.Now()
			idle(t, u, c.kept)
			if c.kept != resting(u) {
				t.Fatalf("%d rest", resting(u))
			}
			if c.kept > 0 && u.resting[0].restsUntil.Sub(ended) < c.took {
				t.Errorf("after %s it rests for %s more", c.took, u.resting[0].restsUntil.Sub(ended))
			}
		})
	}
}

// TestT91NoRest has responses that no body can follow.
func TestT91NoRest(t *testing.T) {
	for name, response := range map[string]string{
		"an empty object": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"a 304":           "HTTP/1.1 304 Not Modified\r\n\r\n",
		"no such key":     "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			u := startScripted(t, false, answer(response)).upstream()
			for range 3 {
				ask(t, u)
			}
			if n := dials(u); n != 1 || resting(u) != 0 {
				t.Errorf("%d connections, of which %d rest", n, resting(u))
			}
		})
	}
}

// TestT91WaitForRest has the bound of connections reached while all rest: who comes then
// waits for the end of a rest, not for another connection.
func TestT91WaitForRest(t *testing.T) {
	u := startScripted(t, false, headAnswer).upstream(func(o *Options) { o.MaxConns = 2 })
	t.Run("one who waits", func(t *testing.T) {
		for range 10 {
			ask(t, u)
			mustFetch(t, u)
		}
	})
	t.Run("many who wait", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				var x Exchange
				for range 3 {
					if err := u.Do(&x, []byte(headHead), true); err != nil {
						t.Error(err)
					}
					x.Close()
				}
			})
		}
		wg.Wait()
	})
	if n := dials(u); n > 2 {
		t.Errorf("%d connections, want 2", n)
	}
	idle(t, u, 2)
	t.Run("a connection whose rest ends earlier than another's", func(t *testing.T) {
		ask(t, u)
		ask(t, u)
		if resting(u) != 2 {
			t.Fatalf("%d rest", resting(u))
		}
		u.mu.Lock()
		u.resting[1].restsUntil = time.Now().Add(time.Hour)
		u.mu.Unlock()
		mustFetch(t, u)
		mustFetch(t, u)
		if n := dials(u); n > 2 {
			t.Errorf("%d connections, want 2", n)
		}
	})
}

// TestT91RestedLast has the connections that are not needed any more grow old.
func TestT91RestedLast(t *testing.T) {
	u := startScripted(t, false, headAnswer).upstream(func(o *Options) { o.KeepIdle = time.Hour })
	for range 3 {
		ask(t, u)
		holdRests(u)
	}
	if resting(u) != 3 {
		t.Fatalf("%d rest", resting(u))
	}
	u.mu.Lock()
	last := u.resting[2]
	for i, c := range u.resting {
		c.restsUntil = time.Now().Add(time.Duration(i-3) * time.Second)
	}
	u.mu.Unlock()
	mustFetch(t, u)
	if len(u.idle) != 3 || u.idle[2] != last {
		t.Error("another one is used than that which rested last")
	}
	u.mu.Lock()
	for _, c := range u.idle[:2] {
		c.idleAt = time.Now().Add(-2 * time.Hour)
	}
	u.mu.Unlock()
	u.reap()
	idle(t, u, 1)
}

// TestT91RestOfClosed closes resting connections, while somebody waits and not.
func TestT91RestOfClosed(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(*Upstream)
		reason Reason // of who waits
		kept   int    // connections
	}{
		"Close":  {(*Upstream).Close, ReasonClosed, 0},
		"Retire": {(*Upstream).Retire, ReasonNone, 0},
		"an address that is gone": {func(u *Upstream) {
			u.mu.Lock()
			at := u.resting[0].remote
			u.mu.Unlock()
			u.drop([]netip.Addr{at})
		}, ReasonNone, 1},
	} {
		t.Run(name, func(t *testing.T) {
			u := startScripted(t, false, headAnswer).upstream(func(o *Options) { o.MaxConns = 1 })
			ask(t, u)
			if resting(u) != 1 {
				t.Fatalf("%d rest", resting(u))
			}
			holdRests(u)
			u.mu.Lock()
			w := u.queue.push(1, time.Now()) // acquire would have the resting one replaced
			u.mu.Unlock()
			c.end(u)
			g := <-w.granted
			if ReasonOf(g.err) != c.reason || g.conn != nil {
				t.Fatalf("who waits gets %+v", g)
			}
			if g.err == nil {
				conn, err := u.dialSlot(1, nil)
				if err != nil {
					t.Fatal(err)
				}
				u.release(conn)
			}
			idle(t, u, c.kept)
		})
	}
	t.Run("a HEAD that ends after Retire", func(t *testing.T) {
		u := startScripted(t, false, headAnswer).upstream(func(o *Options) { o.MaxConns = 1 })
		var x Exchange
		if err := u.Do(&x, []byte(headHead), true); err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() { _, _, err := fetch(u); got <- err }()
		waiting(t, u, 1)
		u.Retire()
		x.Close()
		if err := <-got; err != nil {
			t.Errorf("who waits gets %v", err)
		}
		idle(t, u, 0)
	})
}

// TestT91LateResponse has an origin send a response of its choice some time after another
// one, whoever asks for what meanwhile: nobody may get it. After a complete response that
// announces no body, that can be told only where the response is there before the next
// request is sent; see RESILIENCE.md, "Connections out of step".
func TestT91LateResponse(t *testing.T) {
	for _, c := range []struct {
		name, first string
		head        bool
	}{
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n", true},
		{"HEAD without a length", "HTTP/1.1 200 OK\r\nETag: \"e\"\r\n\r\n", true},
		{"HEAD of what is not there", "HTTP/1.1 404 Not Found\r\nContent-Length: 42\r\n\r\n", true},
		{"HEAD with chunks", "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		{"304 to HEAD", "HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\n\r\n", true},
		{"304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\n\r\n", false},
		{"304 with chunks", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", false},
		{"204", "HTTP/1.1 204 No Content\r\nContent-Length: 42\r\n\r\n", false},
	} {
		for _, after := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond} {
			t.Run(c.name+"/after "+after.String(), func(t *testing.T) {
				overBoth(t, func(t *testing.T, overTLS bool) {
					late := make(chan bool, 5)
					var dirty sync.Map // connections on which it comes
					u := startScripted(t, overTLS, func(conn net.Conn, n int, head string) bool {
						if strings.HasPrefix(head, "GET /y ") {
							body := "good"
							if _, here := dirty.Load(conn); here {
								body = "evil"
							}
							io.WriteString(conn, ok(body))
							return true
						}
						dirty.Store(conn, true)
						io.WriteString(conn, c.first)
						go func() { // ends with its write
							time.Sleep(after) // the lateness, which is what is tested
							io.WriteString(conn, ok("evil"))
							late <- true
						}()
						return true
					}).upstream()
					for range 5 {
						first := getHead
						if c.head {
							first = headHead
						}
						var x Exchange
						if err := u.Do(&x, []byte(first), c.head); err != nil {
							t.Fatal(err)
						}
						if err := finish(&x); err != nil {
							t.Fatal(err)
						}
						holdRests(u)  // however late a busy machine is
						for range 5 { // at once, while the other one is on its way
							if err := u.Do(&x, []byte("GET /y HTTP/1.1\r\nHost: x\r\n\r\n"), false); err != nil {
								t.Fatal(err)
							}
							if b, err := x.Body(); string(b) != "good" || err != nil {
								t.Fatalf("%q %v", b, err)
							}
							x.Close()
						}
						<-late
						for _, c := range u.resting {
							// TLS may have read it together with the head.
							if !eventually(func() bool { return c.look() == peekBytes || !c.clean() }) {
								t.Fatal("nothing comes")
							}
						}
						endRests(u)
					}
				})
			})
		}
	}
}
