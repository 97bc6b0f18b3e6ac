package pool

import (
	"context"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// blocking is an origin that answers each request only after a value from next.
func blocking(t *testing.T) (s *scripted, next chan bool) {
	next = make(chan bool)
	return startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
		if keep, ok := <-next; !ok || !keep {
			return false
		}
		io.WriteString(c, ok("body"))
		return true
	}), next
}

// waiting waits until n exchanges wait for a connection of u.
func waiting(t *testing.T, u *Upstream, n int) {
	t.Helper()
	var s Stats
	if !eventually(func() bool {
		s = Stats{}
		u.UpdateStats(&s)
		return s.Waiting == n
	}) {
		t.Fatalf("%d waiting, want %d", s.Waiting, n)
	}
}

func TestQueue(t *testing.T) {
	one := func(o *Options) { o.MaxConns = 1 }
	t.Run("a freed connection goes to the one that waits longest", func(t *testing.T) {
		s, next := blocking(t)
		u := s.upstream(one)
		served := make(chan int)
		for i := range 4 {
			go func() {
				if _, body, err := fetch(u); body != "body" || err != nil {
					t.Errorf("%d: %q %v", i, body, err)
				}
				served <- i
			}()
			if i == 0 {
				s.asked(1)
			} else {
				waiting(t, u, i)
			}
		}
		for i := range 4 {
			next <- true
			if n := <-served; n != i {
				t.Errorf("%d is served, want %d", n, i)
			}
		}
		if n := s.Conns.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
		idle(t, u, 1)
	})
	t.Run("a closed connection's place goes to the one that waits", func(t *testing.T) {
		s, next := blocking(t)
		u := s.upstream(one)
		results := make(chan error, 2)
		for i := range 2 {
			go func() { _, _, err := fetch(u); results <- err }()
			if i == 0 {
				s.asked(1)
			}
		}
		waiting(t, u, 1)
		next <- false // the first connection breaks
		want(t, <-results, ReasonReset, PhaseHead, true)
		next <- true
		if err := <-results; err != nil {
			t.Errorf("the one that waited: %v", err)
		}
		if n := s.Conns.Load(); n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
		idle(t, u, 1)
	})
	t.Run("the wait ends by its deadline", func(t *testing.T) {
		s, next := blocking(t)
		u := s.upstream(one, func(o *Options) { o.QueueTimeout = 50 * time.Millisecond })
		done := make(chan error, 1)
		go func() { _, _, err := fetch(u); done <- err }()
		s.asked(1)
		_, _, err := fetch(u)
		want(t, err, ReasonQueue, PhaseQueue, false)
		waiting(t, u, 0)
		next <- true
		if err := <-done; err != nil {
			t.Error(err)
		}
		var stats Stats
		if u.UpdateStats(&stats); stats.QueueTimeouts != 1 {
			t.Errorf("%+v", stats)
		}
		idle(t, u, 1)
	})
	t.Run("a stale connection handed to a waiter is replaced", func(t *testing.T) {
		s := startScripted(t, false, answer(ok("body")))
		u := s.upstream(one)
		if _, _, err := fetch(u); err != nil {
			t.Fatal(err)
		}
		c, _, err := u.acquire(0, nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() { _, _, err := fetch(u); got <- err }()
		waiting(t, u, 1)
		c.tcp.CloseRead() // reads as closed by the origin
		u.release(c)
		if err := <-got; err != nil {
			t.Error(err)
		}
		idle(t, u, 1)
	})
}

func TestCloseOfUpstream(t *testing.T) {
	s, next := blocking(t)
	u := s.upstream(func(o *Options) { o.MaxConns = 1 })
	first := make(chan error, 1)
	go func() { _, _, err := fetch(u); first <- err }()
	s.asked(1)
	second := make(chan error, 1)
	go func() { _, _, err := fetch(u); second <- err }()
	waiting(t, u, 1)
	u.Close()
	want(t, <-second, ReasonClosed, PhaseQueue, false)
	next <- true
	if err := <-first; err != nil {
		t.Errorf("the exchange under way: %v", err)
	}
	idle(t, u, 0)
	_, _, err := fetch(u)
	want(t, err, ReasonClosed, PhaseQueue, false)
}

func TestCloseOfIdleConnections(t *testing.T) {
	s := startScripted(t, false, answer(ok("body")))
	u := s.upstream()
	if _, _, err := fetch(u); err != nil {
		t.Fatal(err)
	}
	idle(t, u, 1)
	u.Close()
	idle(t, u, 0)
}

func TestRetire(t *testing.T) {
	t.Run("idle connections are closed", func(t *testing.T) {
		s := startScripted(t, false, answer(ok("body")))
		u := s.upstream()
		if _, _, err := fetch(u); err != nil {
			t.Fatal(err)
		}
		idle(t, u, 1)
		u.Retire()
		u.Retire()
		idle(t, u, 0)
		for i := range 2 {
			if _, body, err := fetch(u); body != "body" || err != nil {
				t.Errorf("a late exchange: %q %v", body, err)
			}
			idle(t, u, 0)
			if n := s.Conns.Load(); n != int64(2+i) {
				t.Errorf("%d connections, want %d", n, 2+i)
			}
		}
	})
	t.Run("those in use serve who waits, and are closed then", func(t *testing.T) {
		s, next := blocking(t)
		u := s.upstream(func(o *Options) { o.MaxConns = 1 })
		results := make(chan error, 2)
		for range 2 {
			go func() { _, _, err := fetch(u); results <- err }()
		}
		waiting(t, u, 1)
		u.Retire()
		for range 2 {
			next <- true
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		idle(t, u, 0)
		if n := s.Conns.Load(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	})
}

// TestReceived counts the bytes of bodies, whichever way they are taken.
func TestReceived(t *testing.T) {
	const size = 1000
	u := startScripted(t, false, answer(ok(string(noise(size))))).upstream()
	ours, client := pair(t, false)
	go drain(client)
	for name, take := range map[string]func(x *Exchange) error{
		"at once":     func(x *Exchange) error { _, err := x.Body(); return err },
		"in pieces":   func(x *Exchange) error { _, err := io.ReadFull(x, make([]byte, size)); return err },
		"to a client": func(x *Exchange) error { _, err := x.Stream(ours, pace(t, 0, time.Minute)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			var before, after Stats
			u.UpdateStats(&before)
			var x Exchange
			do(t, u, &x)
			if err := take(&x); err != nil {
				t.Fatal(err)
			}
			x.Close()
			if u.UpdateStats(&after); after.Received-before.Received != size {
				t.Errorf("%d bytes are counted, want %d", after.Received-before.Received, size)
			}
		})
	}
}

func TestAges(t *testing.T) {
	t.Run("idle connections are closed", func(t *testing.T) {
		u := startScripted(t, false, answer(ok("body"))).upstream(func(o *Options) { o.KeepIdle = 30 * time.Millisecond })
		for range 2 {
			if _, _, err := fetch(u); err != nil {
				t.Fatal(err)
			}
			idle(t, u, 0)
		}
	})
	t.Run("an idle connection past its time is not used", func(t *testing.T) {
		s := startScripted(t, false, answer(ok("body")))
		u := s.upstream(func(o *Options) { o.KeepIdle = time.Hour })
		if _, _, err := fetch(u); err != nil {
			t.Fatal(err)
		}
		u.mu.Lock()
		u.idle[0].idleAt = time.Now().Add(-2 * time.Hour)
		u.mu.Unlock()
		if _, _, err := fetch(u); err != nil || s.Conns.Load() != 2 {
			t.Errorf("%d connections, %v", s.Conns.Load(), err)
		}
	})
	t.Run("the reaper leaves younger ones", func(t *testing.T) {
		next := make(chan bool)
		s := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
			<-next
			io.WriteString(c, ok("body"))
			return true
		})
		u := s.upstream(func(o *Options) { o.KeepIdle = time.Hour })
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { fetch(u) })
		}
		s.asked(2)
		next <- true
		next <- true
		wg.Wait()
		idle(t, u, 2)
		u.mu.Lock()
		u.idle[0].idleAt = time.Now().Add(-2 * time.Hour)
		u.mu.Unlock()
		u.reap()
		idle(t, u, 1)
	})
	t.Run("old connections are not kept", func(t *testing.T) {
		s := startScripted(t, false, answer(ok("body")))
		u := s.upstream(func(o *Options) { o.MaxAge = time.Nanosecond })
		for range 3 {
			if _, _, err := fetch(u); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.Conns.Load(); n != 3 {
			t.Errorf("%d connections, want 3", n)
		}
		idle(t, u, 0)
	})
}

func TestBuffersLimit(t *testing.T) {
	s, next := blocking(t)
	u := s.upstream(func(o *Options) { o.Buffers = NewBuffers(DefaultBufferSize, 1) })
	done := make(chan error, 1)
	go func() { _, _, err := fetch(u); done <- err }()
	s.asked(1)
	_, _, err := fetch(u)
	want(t, err, ReasonBuffers, PhaseQueue, false)
	next <- true
	if err := <-done; err != nil {
		t.Error(err)
	}
	idle(t, u, 1)
	if n := NewBuffers(1, 0).Size(); n != maxHead {
		t.Errorf("a buffer that holds no head: %d bytes", n)
	}
}

// TestWaitersHoldNoBuffers has exchanges wait for a connection, and for one to open.
func TestWaitersHoldNoBuffers(t *testing.T) {
	s, next := blocking(t)
	b := NewBuffers(DefaultBufferSize, 2)
	busy := s.upstream(func(o *Options) { o.Buffers, o.MaxConns, o.QueueTimeout = b, 1, time.Minute })
	done := make(chan error, 6)
	run := func(u *Upstream) {
		_, _, err := fetch(u)
		done <- err
	}
	go run(busy)
	s.asked(1)
	for range 3 {
		go run(busy)
	}
	waiting(t, busy, 3)
	dialing := s.upstream(func(o *Options) { o.Buffers, o.DialTimeout = b, time.Minute })
	begun := make(chan bool)
	dialing.dialer.ControlContext = func(ctx context.Context, _, _ string, _ syscall.RawConn) error {
		begun <- true
		<-ctx.Done()
		return ctx.Err()
	}
	for range 2 {
		go run(dialing)
		<-begun
	}
	if n := b.InUse(); n != 1 {
		t.Errorf("%d buffers in use for one exchange", n)
	}
	healthy := startScripted(t, false, answer(ok("body")))
	mustFetch(t, healthy.upstream(func(o *Options) { o.Buffers = b }))
	dialing.Abort()
	for range 4 {
		next <- true
	}
	failed := 0
	for range 6 {
		if err := <-done; err != nil {
			failed++
			want(t, err, ReasonClosed, PhaseConnect, false)
		}
	}
	if failed != 2 {
		t.Errorf("%d fail, want the two that were aborted", failed)
	}
	idle(t, busy, 1)
	if n := b.InUse(); n != 0 {
		t.Errorf("%d buffers stay in use", n)
	}
}

func TestOptionsAreRequired(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an Upstream without an address is made")
		}
	}()
	NewUpstream(Options{})
}
