package pool

import (
	"bufio"
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

// TestWaitQueue compares the queue with slices, one for each client.
func TestWaitQueue(t *testing.T) {
	type model struct {
		held, turn int
		waiters    []*waiter
	}
	const clients = 5
	r := rand.New(rand.NewPCG(1, 2))
	var q queue
	var all [clients]model
	var gone []*waiter
	waiting, turns := 0, 0
	for step := range 50_000 {
		m := &all[r.IntN(clients)]
		client := uint64(0)
		for i := range all {
			if m == &all[i] {
				client = uint64(i)
			}
		}
		switch n := r.IntN(6); {
		case n < 2 && waiting < 12:
			if turns++; len(m.waiters) == 0 {
				m.turn = turns
			}
			m.waiters = append(m.waiters, q.push(client, time.Time{}))
			waiting++
		case n == 2: // whose turn it is
			var next *model
			for i := range all {
				if c := &all[i]; len(c.waiters) > 0 && (next == nil || c.held < next.held || c.held == next.held && c.turn < next.turn) {
					next = c
				}
			}
			w := q.serve()
			if next == nil {
				if w != nil {
					t.Fatalf("step %d: somebody is served of nobody", step)
				}
				break
			}
			if w != next.waiters[0] {
				t.Fatalf("step %d: another is served", step)
			}
			turns++
			next.turn, next.held, next.waiters = turns, next.held+1, next.waiters[1:]
			gone = append(gone, w)
			waiting--
		case n == 3 && waiting > 0: // too many wait
			var most *model
			for i := range all {
				c := &all[i]
				if n := len(c.waiters); n > 0 && (most == nil || n > len(most.waiters) || n == len(most.waiters) && c.waiters[0].order < most.waiters[0].order) {
					most = c
				}
			}
			w := q.shed()
			if w != most.waiters[0] {
				t.Fatalf("step %d: another is refused", step)
			}
			most.waiters = most.waiters[1:]
			gone = append(gone, w)
			waiting--
		case n == 4 && len(m.waiters) > 0:
			i := r.IntN(len(m.waiters))
			w := m.waiters[i]
			m.waiters = slices.Delete(slices.Clone(m.waiters), i, i+1)
			gone = append(gone, w)
			waiting--
			if !q.remove(w) {
				t.Fatalf("step %d: one in the queue did not leave", step)
			}
		case n == 5 && m.held > 0:
			m.held--
			q.letGo(client)
		case n == 5:
			m.held++
			q.hold(client)
		}
		if len(gone) > 0 && q.remove(gone[len(gone)-1]) {
			t.Fatalf("step %d: one left twice", step)
		}
		known := 0
		for i := range all {
			if all[i].held > 0 || len(all[i].waiters) > 0 {
				known++
			}
		}
		if q.waiting != waiting || len(q.lines) != known {
			t.Fatalf("step %d: %d in the queue, %d clients; want %d, %d", step, q.waiting, len(q.lines), waiting, known)
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
	c, _, err := u.acquire(0, nil, time.Now())
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
						c, _, err := u.acquire(0, nil, time.Now())
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
