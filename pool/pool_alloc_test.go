//go:build !race

package pool

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"yatagarasu/loadtest/rawserver"
)

func response(body []byte) []byte {
	return append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"e\"\r\nContent-Length: %d\r\n\r\n", len(body)), body...)
}

// TestExchangeAllocs guards an exchange on a kept connection.
func TestExchangeAllocs(t *testing.T) {
	body := noise(1 << 10)
	u := NewUpstream(Options{Address: rawserver.StartQuiet(t, response(body)).Addr, Buffers: NewBuffers(0, 0)})
	defer u.Close()
	head := []byte(getHead)
	var x Exchange
	run := func() {
		if err := u.Do(&x, head, false); err != nil {
			t.Fatal(err)
		}
		got, err := x.Body()
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		x.Close()
	}
	run()
	if n := testing.AllocsPerRun(300, run); n > 0 {
		t.Errorf("%v allocations per exchange, want 0", n)
	}
}

// TestHeadAllocs guards a HEAD on a connection that has rested.
func TestHeadAllocs(t *testing.T) {
	u := NewUpstream(Options{Address: rawserver.StartQuiet(t, []byte("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")).Addr, Buffers: NewBuffers(0, 0)})
	defer u.Close()
	head := []byte(headHead)
	var x Exchange
	run := func() {
		if err := u.Do(&x, head, true); err != nil || x.Length() != 9 {
			t.Fatalf("%d bytes, %v", x.Length(), err)
		}
		x.Close()
		for _, c := range u.resting {
			c.restsUntil = time.Time{}
		}
	}
	run()
	if n := testing.AllocsPerRun(300, run); n > 0 {
		t.Errorf("%v allocations per exchange, want 0", n)
	}
	if n := dials(u); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestStreamAllocs guards a body that is spliced.
func TestStreamAllocs(t *testing.T) {
	body := noise(300_000)
	u := NewUpstream(Options{Address: rawserver.StartQuiet(t, response(body)).Addr, Buffers: NewBuffers(0, 0)})
	defer u.Close()
	p := pace(t, 1<<10, time.Minute)
	ours, client := pair(t, false)
	got := make([]byte, len(body))
	arrived := make(chan error)
	read := make(chan bool)
	go func() { // ends with read
		for range read {
			_, err := io.ReadFull(client, got)
			arrived <- err
		}
	}()
	defer close(read)
	head := []byte(getHead)
	var x Exchange
	run := func() {
		read <- true
		if err := u.Do(&x, head, false); err != nil {
			t.Fatal(err)
		}
		n, err := x.Stream(ours, p)
		if err != nil || n != int64(len(body)) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if err := <-arrived; err != nil || !bytes.Equal(got, body) {
			t.Fatalf("the client has other bytes, %v", err)
		}
		x.Close()
	}
	run()
	if n := testing.AllocsPerRun(100, run); n > 0 {
		t.Errorf("%v allocations per streamed body, want 0", n)
	}
}

// TestBreakerAllocs guards what a request asks of breaker and budget, beside keys that fail.
func TestBreakerAllocs(t *testing.T) {
	b, budget := newTrial(BreakerOptions{}), NewRetryBudget(20, 0, 10, time.Second)
	for range 5 {
		b.ask(named("bad"), ResultFailure)
	}
	name := []byte("good")
	if n := testing.AllocsPerRun(300, func() {
		k := KeyOf(name, name, nil)
		budget.Count(k, b.now)
		if v := b.ask(k, ResultSuccess); v != Pass {
			t.Fatalf("it does not pass: %v", v)
		}
		if v := b.ask(named("bad"), ResultSuccess); v != KeyFails {
			t.Fatalf("what fails passes: %v", v)
		}
	}); n > 0 {
		t.Errorf("%v allocations per request, want 0", n)
	}
}
