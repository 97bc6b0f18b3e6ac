package pool

import (
	"bufio"
	"container/list"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/loadtest/rawserver"
)

// TestWaitQueue compares the queue with a slice.
func TestWaitQueue(t *testing.T) {
	type waiter struct {
		granted chan grant
		place   *list.Element
	}
	r := rand.New(rand.NewPCG(1, 2))
	var u Upstream
	var model, gone []waiter
	for step := range 20_000 {
		switch n := r.IntN(4); {
		case n < 2 && len(model) < 12:
			granted := make(chan grant, 1)
			model = append(model, waiter{granted, u.waiters.PushBack(granted)})
		case n == 2:
			var first waiter
			if len(model) > 0 {
				first, model = model[0], model[1:]
				gone = append(gone, first)
			}
			if got := u.nextWaiter(); got != first.granted {
				t.Fatalf("step %d: another was taken", step)
			}
		case len(model) > 0:
			i := r.IntN(len(model))
			w := model[i]
			model = slices.Delete(model, i, i+1)
			gone = append(gone, w)
			if !u.leaves(w.place) {
				t.Fatalf("step %d: one in the queue did not leave", step)
			}
		}
		if len(gone) > 0 && u.leaves(gone[len(gone)-1].place) {
			t.Fatalf("step %d: one left twice", step)
		}
		if u.waiters.Len() != len(model) {
			t.Fatalf("step %d: %d in the queue, want %d", step, u.waiters.Len(), len(model))
		}
	}
}

// TestRetryCannotConnect has an origin go away under a kept connection.
func TestRetryCannotConnect(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	goOn := make(chan bool)
	go func() { // ends after two requests
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		ln.Close()
		br := bufio.NewReader(c)
		for n := 0; n < 6; n++ { // the two heads have three lines each
			if _, err := br.ReadString('\n'); err != nil {
				return
			}
			if n == 2 {
				io.WriteString(c, ok("body"))
			}
		}
		<-goOn
	}()
	u := NewUpstream(Options{Address: ln.Addr().String(), Buffers: NewBuffers(0, 1), MaxConns: 1, DialTimeout: time.Second})
	defer u.Close()
	if _, _, err := fetch(u); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	_, _, err = fetch(u)
	want(t, err, ReasonConnect, PhaseConnect, true) // the first attempt was sent
	idle(t, u, 0)
	_, _, err = fetch(u) // neither the place nor the buffer is lost
	want(t, err, ReasonConnect, PhaseConnect, false)
}

// TestUnsolicitedBytesForWaiter has a connection with surplus bytes handed to an
// exchange that waits.
func TestUnsolicitedBytesForWaiter(t *testing.T) {
	goOn := make(chan bool)
	first := true // one request comes after the other
	s := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
		io.WriteString(c, ok("body"))
		if first {
			first = false
			<-goOn
			io.WriteString(c, ok("evil"))
		}
		return true
	})
	u := s.upstream(func(o *Options) { o.MaxConns = 1 })
	if _, _, err := fetch(u); err != nil {
		t.Fatal(err)
	}
	c, _, err := u.acquire(nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() { _, body, _ := fetch(u); got <- body }()
	waiting(t, u, 1)
	goOn <- true
	arrived(t, c)
	u.release(c)
	if body := <-got; body != "body" {
		t.Errorf("the one that waited got %q", body)
	}
	idle(t, u, 1)
}

// TestQueueIsBounded has more exchanges wait than may: the oldest are refused, at once.
func TestQueueIsBounded(t *testing.T) {
	goOn := make(chan bool)
	served := make(chan string, 8) // in this order
	s := rawserver.Start(t, nil, func(c net.Conn, _ int, head string) bool {
		served <- strings.Fields(head)[1]
		<-goOn
		io.WriteString(c, ok("body"))
		return true
	})
	u := NewUpstream(Options{Address: s.Addr, Buffers: NewBuffers(0, 0), MaxConns: 1, MaxWaiting: 3})
	defer u.Close()
	ended := make(chan string, 8)
	start := func(name string) {
		go func() {
			var x Exchange
			var body []byte
			err := u.Do(&x, []byte("GET /"+name+" HTTP/1.1\r\nHost: x\r\n\r\n"), false)
			if err == nil {
				defer x.Close()
				body, err = x.Body()
			}
			ended <- fmt.Sprint(name, " ", string(body), ReasonOf(err))
		}()
	}
	start("first")
	if !eventually(func() bool { return s.Requests.Load() > 0 }) {
		t.Fatal("nothing is asked")
	}
	for i, name := range []string{"a", "b", "c", "d", "e"} {
		start(name)
		waiting(t, u, min(i+1, 3))
		if i >= 3 {
			if got, want := <-ended, []string{"a queue", "b queue"}[i-3]; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
	close(goOn)
	var all []string
	for range 4 {
		all = append(all, <-ended)
	}
	slices.Sort(all) // who is served first need not be the first to tell
	if got := fmt.Sprint(all); got != "[c body d body e body first body]" {
		t.Error(got)
	}
	for _, want := range []string{"/first", "/c", "/d", "/e"} {
		if got := <-served; got != want {
			t.Errorf("%s is served, want %s", got, want)
		}
	}
	var st Stats
	if u.UpdateStats(&st); st.QueueFull != 2 || st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
}

// BenchmarkQueue is the time from one release of a connection to the next while so many
// exchanges wait, and each that gets it waits again.
func BenchmarkQueue(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s := rawserver.StartQuiet(b, []byte(ok("body")))
			u := NewUpstream(Options{Address: s.Addr, Buffers: NewBuffers(0, 0), MaxConns: 1, MaxWaiting: 2 * n, QueueTimeout: time.Minute})
			defer u.Close()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						c, _, err := u.acquire(nil, time.Now())
						if err != nil {
							b.Error(err)
							return
						}
						u.release(c)
					}
				})
			}
			wg.Wait()
		})
	}
}
