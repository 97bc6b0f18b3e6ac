package pool

import (
	"slices"
	"testing"
	"time"
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
