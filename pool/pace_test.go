package pool

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// lastLook is a client whose stream is cut when all its bytes were written.
type lastLook struct {
	net.Conn
	p    *Pace
	x    *Exchange
	left int
}

func (c *lastLook) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.left -= n; c.left == 0 {
		c.p.mu.Lock()
		c.x.end(ReasonClientSlow)
		c.p.mu.Unlock()
	}
	return n, err
}

// TestCutTooLate has Pace give up a stream in the moment it completes.
func TestCutTooLate(t *testing.T) {
	overBoth(t, func(t *testing.T, overTLS bool) {
		const size = 100_000
		u := startScripted(t, overTLS, answer(ok(strings.Repeat("b", size)))).upstream()
		ours, client := pair(t, false)
		go drain(client)
		p := pace(t, 0, time.Minute)
		var x Exchange
		for range 2 {
			if err := u.Do(&x, []byte(getHead), false); err != nil {
				t.Fatal(err)
			}
			if n, err := x.Stream(&lastLook{ours, p, &x, size}, p); n != size || err != nil {
				t.Fatalf("%d bytes, %v", n, err)
			}
			x.Close()
			idle(t, u, 1)
			if _, err := ours.Write([]byte("x")); err != nil {
				t.Errorf("the client's connection is spoiled: %v", err)
			}
		}
	})
}

// TestStreamAfterStop has a stream begin when nobody would end it any more.
func TestStreamAfterStop(t *testing.T) {
	u := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
		io.WriteString(c, largeHead)
		io.Copy(io.Discard, c)
		return false
	}).upstream(func(o *Options) { o.IdleTimeout = 2 * time.Second })
	ours, client := pair(t, false)
	go drain(client)
	p := NewPace(1, time.Minute)
	p.Stop()
	want(t, stream(t, u, p, ours), ReasonClosed, PhaseBody, true)
}

// TestLargeRates has products of rate and window that no int64 holds.
func TestLargeRates(t *testing.T) {
	u := startScripted(t, false, drip(largeHead)).upstream()
	ours, client := pair(t, false)
	go drain(client)
	const window = 10 * time.Second
	p := pacedByHand(1<<30, window)
	result := make(chan error, 1)
	go func() { result <- stream(t, u, p, ours) }()
	if !registered(p) {
		t.Fatal("Pace does not look after it")
	}
	now := time.Now()
	p.check(now)
	p.check(now.Add(window))
	select {
	case err := <-result:
		want(t, err, ReasonTimeout, PhaseBody, true)
	case <-time.After(10 * time.Second):
		t.Error("never cut")
	}
}

// TestStreamKeepsNothing guards against an Exchange that keeps a connection
// alive while it waits in a pool.
func TestStreamKeepsNothing(t *testing.T) {
	u := startScripted(t, false, answer(ok(strings.Repeat("b", 300_000)))).upstream()
	ours, client := pair(t, false)
	go drain(client)
	var x Exchange
	if err := u.Do(&x, []byte(getHead), false); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Stream(ours, pace(t, 0, time.Minute)); err != nil {
		t.Fatal(err)
	}
	x.Close()
	if x.splice.R != nil || x.conn != nil || x.br != nil || x.client != nil || x.origin != nil {
		t.Error("a connection or buffer is still referred to")
	}
}

// TestStallAfterFastStart has an origin deliver much and then nothing: what came
// in one window does not count in the next.
func TestStallAfterFastStart(t *testing.T) {
	const sent, window = 200_000, time.Minute
	goOn := make(chan bool)
	u := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
		io.WriteString(c, largeHead)
		<-goOn
		c.Write(make([]byte, sent))
		io.Copy(io.Discard, c)
		return false
	}).upstream(func(o *Options) { o.IdleTimeout = 20 * time.Second })
	ours, client := pair(t, false)
	p := pacedByHand(1<<10, window)
	result := make(chan error, 1)
	go func() { result <- stream(t, u, p, ours) }()
	if !registered(p) {
		t.Fatal("Pace does not look after it")
	}
	now := time.Now()
	p.check(now)
	goOn <- true
	if _, err := io.ReadFull(client, make([]byte, sent)); err != nil {
		t.Fatal(err)
	}
	acknowledged(t, ours, sent)
	p.check(now.Add(window))
	select {
	case err := <-result:
		t.Fatalf("cut in spite of its progress: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	p.check(now.Add(2 * window))
	select {
	case err := <-result:
		if r := ReasonOf(err); r != ReasonTimeout && r != ReasonClientSlow {
			t.Errorf("%v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("never cut")
	}
}
