package pool

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/loadtest/rawserver"
)

// TestT89SomeAreKept has clients take all that they get, one after the other. Some connections
// are left to those who have less than their share, and these do not wait.
func TestT89SomeAreKept(t *testing.T) {
	type step struct {
		client uint64 // takes connections until it would have to wait
		gets   int
	}
	for _, c := range []struct {
		name string
		max  int
		all  []step
	}{
		{"of few none is kept", 7, []step{{1, 7}, {2, 0}}},
		{"one in eight", 16, []step{{1, 14}, {2, 2}, {3, 0}}},
		{"a client that has its share takes no more", 32, []step{{1, 28}, {2, 4}}},
		{"and leaves the rest to others", 40, []step{{1, 35}, {2, 5}, {3, 0}}},
		{"with many clients one each", 24, []step{{1, 21}, {2, 3}}},
		{"32 at most", 1024, []step{{1, 992}, {2, 32}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := NewUpstream(Options{Address: "127.0.0.1:1", Buffers: NewBuffers(1<<16, 0), MaxConns: c.max})
			defer u.Close()
			for _, s := range c.all {
				got := 0
				u.mu.Lock()
				for u.open < u.opts.MaxConns && (!u.scarce() || u.queue.heldBy(s.client) < u.leastShare()) {
					u.open++
					u.queue.hold(s.client)
					got++
				}
				u.mu.Unlock()
				if got != s.gets {
					t.Errorf("client %d gets %d of %d, want %d", s.client, got, c.max, s.gets)
				}
			}
		})
	}
}

// TestT89KeptAreServed has a client wait for what is kept from it, while others come and go: it
// gets its connections as soon as enough are free.
func TestT89KeptAreServed(t *testing.T) {
	u := NewUpstream(Options{Address: "127.0.0.1:1", Buffers: NewBuffers(1<<16, 0), MaxConns: 16})
	defer u.Close()
	u.mu.Lock()
	for range 14 {
		u.open++
		u.queue.hold(1)
	}
	var all []*waiter
	for range 3 {
		all = append(all, u.queue.push(1, time.Now()))
		u.serve(time.Now())
	}
	u.mu.Unlock()
	served := func() (n int) {
		for _, w := range all {
			n += len(w.granted)
		}
		return n
	}
	for i, s := range []struct {
		do   func()
		want int
	}{
		{func() {}, 0},
		{func() { u.mu.Lock(); u.open++; u.queue.hold(2); u.mu.Unlock() }, 0},
		{func() { u.freeSlot(2) }, 0}, // two are free, and kept
		{func() { u.freeSlot(1) }, 1},
		{func() { u.freeSlot(1) }, 2},
		{func() { u.mu.Lock(); u.open++; u.queue.hold(2); u.mu.Unlock() }, 2},
		{func() { u.freeSlot(1) }, 2}, // another client came, and two are kept
		{func() { u.freeSlot(2) }, 3},
	} {
		if s.do(); served() != s.want {
			t.Fatalf("step %d: %d are served, want %d", i, served(), s.want)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open != u.queue.used || slices.Max([]int{u.queue.waiting, u.queue.used}) != 14 {
		t.Errorf("%d open, %d used, %d waiting", u.open, u.queue.used, u.queue.waiting)
	}
}

// TestT89HeadsRestOnTheirOwnAccount has a client ask for heads with as many workers as there are
// connections and more: the connections that rest are its own, it opens none in their place, and
// another client does not wait.
func TestT89HeadsRestOnTheirOwnAccount(t *testing.T) {
	s := rawserver.Start(t, nil, func(c net.Conn, n int, head string) bool {
		if strings.HasPrefix(head, "HEAD") {
			time.Sleep(15 * time.Millisecond) // so long a head takes
			return headAnswer(c, n, head)
		}
		_, err := io.WriteString(c, ok("body"))
		return err == nil
	})
	u := NewUpstream(Options{Address: s.Addr, Buffers: NewBuffers(1<<16, 0), MaxConns: 16})
	defer u.Close()
	var flood sync.WaitGroup
	var heads atomic.Int64
	ctx, end := context.WithCancel(t.Context())
	for range 24 {
		flood.Go(func() {
			x := Exchange{Client: 1}
			for ctx.Err() == nil {
				if err := u.Do(&x, []byte(headHead), true); err != nil {
					t.Error(err)
					return
				}
				x.Close()
				heads.Add(1)
			}
		})
	}
	defer func() { // if the test fails below
		end()
		flood.Wait()
	}()
	if !eventually(func() bool { return heads.Load() > 30 }) {
		t.Fatal("there are no heads")
	}
	x := Exchange{Client: 2}
	waited := 0 // requests that had no connection at once: a resting one may have to make room for it
	for range 50 {
		if err := u.Do(&x, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), false); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Body(); err != nil {
			t.Fatal(err)
		}
		if x.Queued > 100*time.Microsecond { // of 16 heads that take 15 ms, one ends each millisecond
			waited++
		}
		x.Close()
	}
	if waited > 25 {
		t.Errorf("%d of 50 requests of another client wait", waited)
	}
	if !eventually(func() bool { return heads.Load() > 300 }) {
		t.Fatal("the heads have stopped")
	}
	end()
	flood.Wait()
	if n := dials(u); n > 32 {
		t.Errorf("%d connections for %d heads", n, heads.Load())
	}
	endRests(u)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.queue.used != 0 || u.queue.waiting != 0 || len(u.queue.lines) != 0 || u.open != len(u.idle) {
		t.Errorf("left: %d used, %d waiting, %d lines, %d open, %d idle", u.queue.used, u.queue.waiting, len(u.queue.lines), u.open, len(u.idle))
	}
}
