package pool

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// TestAbort ends exchanges in each thing that they can wait for.
func TestAbort(t *testing.T) {
	patient := func(o *Options) {
		o.QueueTimeout, o.DialTimeout, o.HeadTimeout, o.IdleTimeout = time.Hour, time.Hour, time.Hour, time.Hour
	}
	// silent sends some bytes of a response and no more.
	silent := func(begin string) func(net.Conn, int, string) bool {
		return func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, begin)
			io.Copy(io.Discard, c)
			return false
		}
	}
	for _, overTLS := range []bool{false, true} {
		name := map[bool]string{false: "plain: ", true: "TLS: "}[overTLS]
		t.Run(name+"a head", func(t *testing.T) {
			s := startScripted(t, overTLS, silent("HTTP/1.1 200"))
			u := s.upstream(patient)
			go func() {
				s.asked(1)
				u.Abort()
			}()
			_, _, err := fetch(u)
			want(t, err, ReasonClosed, PhaseHead, true)
			idle(t, u, 0)
		})
		t.Run(name+"a body", func(t *testing.T) {
			u := startScripted(t, overTLS, silent(largeHead+"begin")).upstream(patient)
			var x Exchange
			if err := u.Do(&x, []byte(getHead), false); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 100)
			if n, err := x.Read(got); err != nil || string(got[:n]) != "begin" {
				t.Fatalf("%q, %v", got[:n], err)
			}
			go u.Abort()
			_, err := x.Read(got)
			want(t, err, ReasonClosed, PhaseBody, true)
			x.Close()
			idle(t, u, 0)
		})
		t.Run(name+"a stream", func(t *testing.T) {
			u := startScripted(t, overTLS, silent(largeHead+"begin")).upstream(patient)
			ours, client := pair(t, false)
			go func() {
				io.ReadFull(client, make([]byte, 5))
				u.Abort()
			}()
			want(t, stream(t, u, pace(t, 0, time.Minute), ours), ReasonClosed, PhaseBody, true)
		})
	}
	t.Run("a place in the queue", func(t *testing.T) {
		s, _ := blocking(t)
		u := s.upstream(patient, func(o *Options) { o.MaxConns = 1 })
		errs := make(chan error, 2)
		for range 2 {
			go func() { _, _, err := fetch(u); errs <- err }()
		}
		waiting(t, u, 1)
		s.asked(1)
		u.Abort()
		for range 2 {
			if err := <-errs; ReasonOf(err) != ReasonClosed {
				t.Error(err)
			}
		}
		idle(t, u, 0)
	})
	t.Run("a handshake", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		_, client := tlsPair(t)
		u := NewUpstream(Options{Address: ln.Addr().String(), TLS: client, Buffers: NewBuffers(DefaultBufferSize, 0), DialTimeout: time.Hour})
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			c.Read(make([]byte, 1)) // the client's hello has begun
			u.Abort()
			io.Copy(io.Discard, c)
		}()
		_, _, err = fetch(u)
		want(t, err, ReasonClosed, PhaseTLS, false)
	})
	t.Run("a connection that is opened just then", func(t *testing.T) {
		s := startScripted(t, false, answer(ok("body")))
		u := s.upstream()
		u.life = ended{context.Background()} // the dial does not see it
		_, _, err := fetch(u)
		want(t, err, ReasonClosed, PhaseConnect, false)
		idle(t, u, 0)
	})
}

// ended is a context that has ended, and that does not tell those who wait.
type ended struct{ context.Context }

func (ended) Err() error { return context.Canceled }

// watched is a context that counts those who want to be told of its end.
type watched struct {
	context.Context
	by *atomic.Int64
}

func (watched) Value(any) any { return nil } // package context looks for its own there

func (w watched) AfterFunc(f func()) func() bool {
	w.by.Add(1)
	stop := context.AfterFunc(w.Context, f)
	return func() bool {
		w.by.Add(-1)
		return stop()
	}
}

// TestOpenConnections holds that no closed connection is remembered.
func TestOpenConnections(t *testing.T) {
	watch := func(u *Upstream) (remembered func() int64) {
		w := watched{u.life, new(atomic.Int64)}
		u.life = w
		return w.by.Load
	}
	s := startScripted(t, false, answer(ok("body")))
	u := s.upstream()
	remembered := watch(u)
	for range 10 {
		if _, _, err := fetch(u); err != nil {
			t.Fatal(err)
		}
	}
	if n := remembered(); n != 1 {
		t.Errorf("%d connections, want the idle one", n)
	}
	u.Close()
	if n := remembered(); n != 0 {
		t.Errorf("%d connections after Close", n)
	}
	// One that the origin closes after each answer.
	u = startScripted(t, false, answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx")).upstream()
	remembered = watch(u)
	for range 10 {
		if _, _, err := fetch(u); err != nil {
			t.Fatal(err)
		}
	}
	if n := remembered(); n != 0 {
		t.Errorf("%d connections, want none", n)
	}
}
