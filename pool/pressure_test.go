package pool

import (
	"fmt"
	"io"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestRelieve has transfers of certain rates hold something that others need.
func TestRelieve(t *testing.T) {
	const kB, MB = 1000, 1000_000
	type stream struct {
		name   string
		client uint64
		rate   int64 // bytes per second; 0: its client takes all there is, the origin is slow
		total  int64 // 0: 8 MB
	}
	type shares = map[uint64]int64
	for name, c := range map[string]struct {
		streams []stream
		demand  demand
		cut     string // names, in alphabetical order
	}{
		"nobody needs anything": {
			[]stream{{"a", 1, 1100, 0}, {"b", 1, 1200, 0}}, demand{over: shares{1: 1}}, "",
		},
		"a client beyond its share gives what is needed and no more": {
			[]stream{{"a", 1, 1100, 0}, {"b", 1, 1200, 0}, {"c", 1, 1300, 0}, {"d", 2, 1100, 0}}, demand{want: 2, over: shares{1: 3}}, "a b",
		},
		"and no more than what is beyond": {
			[]stream{{"a", 1, 1100, 0}, {"b", 1, 1200, 0}, {"c", 1, 1300, 0}}, demand{want: 3, over: shares{1: 1}}, "a",
		},
		"a fast one goes after the slow ones": {
			[]stream{{"a", 1, 2 * MB, 0}, {"b", 1, 20 * kB, 0}, {"c", 1, 1 * MB, 0}, {"d", 1, 10 * kB, 0}}, demand{want: 2, over: shares{1: 3}}, "b d",
		},
		"a huge body that is fast is not slow": {
			[]stream{{"a", 1, 100 * MB, 1 << 40}, {"b", 1, 1100, 0}}, demand{want: 2, over: shares{1: 2}}, "b",
		},
		"others are spared while somebody is beyond his share": {
			[]stream{{"a", 1, 1100, 0}, {"b", 2, 200 * kB, 0}, {"c", 2, 300 * kB, 0}}, demand{want: 2, over: shares{2: 1}}, "b",
		},
		"also while that is only being looked at": {
			[]stream{{"a", 1, 1100, 0}, {"fresh", 2, 1100, 0}}, demand{want: 1, over: shares{2: 1}}, "",
		},
		"nobody is beyond his share, and some would take too long": {
			[]stream{{"a", 1, 1100, 0}, {"b", 2, 1200, 0}, {"c", 3, 2 * MB, 0}, {"d", 4, 2 * kB, 0}}, demand{want: 2}, "a b",
		},
		"nobody is beyond his share, and all are soon done": {
			[]stream{{"a", 1, 2 * MB, 0}, {"b", 2, 2 * MB, 0}}, demand{want: 2}, "",
		},
		"beyond his share, and soon done": {
			[]stream{{"a", 1, 5 * MB, 0}}, demand{want: 1, over: shares{1: 1}}, "",
		},
		"nobody is beyond his share, and the origin is slow": {
			[]stream{{"a", 1, 0, 0}}, demand{want: 1}, "",
		},
		"beyond his share, and the origin is slow": {
			[]stream{{"a", 1, 0, 0}}, demand{want: 1, over: shares{1: 1}}, "a",
		},
		"one that waits for itself": {
			[]stream{{"a", 1, 1100, 0}, {"b", 2, 1100, 0}, {"c", 1, 2 * MB, 0}}, demand{own: shares{1: 2}, churn: 2}, "a",
		},
		"others, and then itself": {
			[]stream{{"a", 1, 1100, 0}, {"b", 1, 1200, 0}, {"c", 1, 1300, 0}}, demand{want: 1, over: shares{1: 1}, own: shares{1: 1}, churn: 1}, "a b",
		},
		"few at a time that wait for themselves": {
			[]stream{{"a", 1, 1100, 0}, {"b", 1, 1200, 0}, {"c", 1, 1300, 0}, {"d", 2, 1000, 0}}, demand{own: shares{1: 3, 2: 1}, churn: 2}, "a d",
		},
		"a fresh one is looked at first": {
			[]stream{{"fresh", 1, 1100, 0}}, demand{want: 1, over: shares{1: 1}}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, on := pacedByHand(0, time.Minute), new(int)
			begin := func(s stream, on any) *transfer {
				x := new(transfer)
				client, other := net.Pipe()
				if s.rate == 0 {
					client, other = pair(t, false)
				}
				t.Cleanup(func() { client.Close(); other.Close() })
				total := s.total
				if total == 0 {
					total = 8 * MB
				}
				x.watch(p, client, nil, Claim{On: on, Client: s.client, Total: total})
				return x
			}
			var count atomic.Uint64
			demanded := func() *demand {
				d := c.demand
				d.on, d.watch, d.most, d.count = on, longWatch, 5*time.Second, &count
				d.over, d.own = maps.Clone(d.over), maps.Clone(d.own)
				return &d
			}
			streams := map[string]*transfer{"of something else": begin(stream{"", 1, 1100, 0}, new(int))}
			for _, s := range c.streams {
				if s.name != "fresh" {
					streams[s.name] = begin(s, on)
				}
			}
			now := time.Now()
			p.relieve(&demand{on: on, watch: longWatch}, now)
			for _, s := range c.streams {
				if s.name == "fresh" {
					streams[s.name] = begin(s, on)
				} else {
					streams[s.name].sent.Add(s.rate * int64(longWatch/time.Second))
				}
			}
			p.relieve(demanded(), now.Add(longWatch))
			n := count.Load()
			var cut []string
			for name, x := range streams {
				if Reason(x.cut.Load()) == ReasonYielded {
					cut = append(cut, name)
				}
			}
			slices.Sort(cut)
			if got := strings.Join(cut, " "); got != c.cut || n != uint64(len(cut)) {
				t.Errorf("%d gave way: %q, want %q", n, got, c.cut)
			}
			if int64(n) == c.demand.want {
				if p.relieve(demanded(), now.Add(longWatch+pressEvery)); count.Load() > n {
					t.Errorf("%d more gave way while the others had yet to go", count.Load()-n)
				}
			}
		})
	}
}

// TestDemand has clients hold and wait for four connections.
func TestDemand(t *testing.T) {
	type client struct {
		held, waiting int
		since         time.Duration // of the first that waits
	}
	type shares = map[uint64]int64
	for name, c := range map[string]struct {
		clients []client // their keys are 1, 2 and so on
		want    int64
		over    shares
		own     shares
		watch   time.Duration
	}{
		"one client alone waits for itself":            {[]client{{4, 3, time.Second}}, 0, shares{}, shares{1: 3}, longWatch},
		"another has not waited long":                  {[]client{{4, 0, 0}, {0, 1, 900 * time.Millisecond}}, 0, shares{1: 2}, shares{}, longWatch},
		"another has waited":                           {[]client{{4, 0, 0}, {0, 1, time.Second}}, 1, shares{1: 2}, shares{}, longWatch},
		"among many, a shorter wait is long":           {slices.Concat([]client{{4, 0, 0}}, slices.Repeat([]client{{0, 1, 250 * time.Millisecond}}, 16)), 16, shares{1: 3}, shares{}, 937500 * time.Microsecond},
		"he wants no more than his share":              {[]client{{4, 9, 3 * time.Second}, {0, 9, time.Second}}, 2, shares{1: 2}, shares{1: 9}, longWatch},
		"as many clients as connections":               {[]client{{1, 0, 0}, {1, 0, 0}, {1, 0, 0}, {1, 0, 0}, {0, 2, time.Second}}, 1, shares{}, shares{}, longWatch},
		"many who wait have less time":                 {slices.Concat([]client{{4, 0, 0}}, slices.Repeat([]client{{0, 1, time.Second}}, 16)), 16, shares{1: 3}, shares{}, 750 * time.Millisecond},
		"and very many, or for long, hardly any":       {slices.Concat([]client{{4, 0, 0}}, slices.Repeat([]client{{0, 1, 6 * time.Second}}, 16)), 16, shares{1: 3}, shares{}, shortWatch},
		"who has his share may displace his own alone": {[]client{{2, 5, time.Second}, {2, 0, 0}}, 0, shares{}, shares{1: 5}, longWatch},
	} {
		t.Run(name, func(t *testing.T) {
			u := NewUpstream(Options{Address: "127.0.0.1:1", Buffers: NewBuffers(0, 0), MaxConns: 4})
			defer u.Close()
			now := time.Now()
			for i, c := range c.clients {
				for range c.held {
					u.queue.hold(uint64(i + 1))
				}
				for range c.waiting {
					u.queue.push(uint64(i+1), now.Add(-c.since))
				}
			}
			d := u.demand(now)
			if d.want != c.want || !reflect.DeepEqual(d.over, c.over) || !reflect.DeepEqual(d.own, c.own) || d.watch != c.watch {
				t.Errorf("want %d, over %v, own %v, watch %v; want %d, %v, %v, %v", d.want, d.over, d.own, d.watch, c.want, c.over, c.own, c.watch)
			}
		})
	}
}

// TestQueueIsFair has one client's exchanges wait in great number, and then another's.
func TestQueueIsFair(t *testing.T) { // T89
	served := make(chan string, 8)
	goOn := make(chan bool)
	s := startScripted(t, false, func(c net.Conn, _ int, head string) bool {
		served <- strings.Fields(head)[1]
		<-goOn
		io.WriteString(c, ok("body"))
		return true
	})
	u := s.upstream(func(o *Options) { o.MaxConns, o.MaxWaiting, o.QueueTimeout = 1, 4, 10*time.Second })
	results := make(chan string, 8)
	start := func(client uint64, n int) {
		go func() { // ends with the exchange
			x := Exchange{Client: client}
			err := u.Do(&x, fmt.Appendf(nil, "GET /%d.%d HTTP/1.1\r\nHost: x\r\n\r\n", client, n), false)
			if err == nil {
				_, err = x.Body()
				x.Close()
			}
			results <- fmt.Sprintf("/%d.%d %v", client, n, ReasonOf(err))
		}()
	}
	start(1, 0)
	s.asked(1)
	for n := 1; n <= 4; n++ {
		start(1, n)
		waiting(t, u, n)
	}
	start(2, 1) // too many wait: one of those of the client with the most
	if got := <-results; got != "/1.1 queue" {
		t.Errorf("%s, want the oldest of the client with the most refused", got)
	}
	close(goOn)
	var order []string
	for range 5 {
		order = append(order, <-served)
	}
	if got := strings.Join(order, " "); got != "/1.0 /1.2 /2.1 /1.3 /1.4" {
		t.Errorf("served %s", got)
	}
	for range 5 {
		<-results
	}
}

// TestYieldBeforeTheBody has a client not even take the head of an answer, so that the
// body does not begin, while another client waits for the connection.
func TestYieldBeforeTheBody(t *testing.T) { // T89
	u := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
		io.WriteString(c, largeHead+"the body begins")
		io.Copy(io.Discard, c)
		return false
	}).upstream(func(o *Options) { o.MaxConns, o.QueueTimeout = 1, 10*time.Second })
	ours, _ := pair(t, false)
	p := pace(t, 0, time.Minute)
	x := Exchange{Client: 1}
	if err := u.Do(&x, []byte(getHead), false); err != nil {
		t.Fatal(err)
	}
	x.Watch(ours, p)
	next := make(chan error, 1)
	go func() { // ends with the exchange
		y := Exchange{Client: 2}
		err := u.Do(&y, []byte(getHead), false)
		y.Close()
		next <- err
	}()
	head := make(chan error, 1)
	go func() { // ends when the head is given up
		for {
			if _, err := ours.Write(make([]byte, 64<<10)); err != nil {
				head <- err
				return
			}
		}
	}()
	select {
	case err := <-head:
		if !isTimeout(err) {
			t.Errorf("writing the head ends with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing gives way")
	}
	want(t, x.Cut(), ReasonYielded, PhaseBody, true)
	if n, err := x.Stream(ours, p); n != 0 {
		t.Errorf("%d bytes are sent afterwards", n)
	} else {
		want(t, err, ReasonYielded, PhaseBody, true)
	}
	x.Close()
	if err := <-next; err != nil {
		t.Errorf("the one that waited: %v", err)
	}
	var s Stats
	if u.UpdateStats(&s); s.Yielded != 1 {
		t.Errorf("%d are counted, want 1", s.Yielded)
	}
	unregistered(t, p)
}
