package cache

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errFlight = errors.New("no route to the origin")

// told is what Await said to one follower.
type told struct {
	state  FlightState
	object *Object
	err    error
}

// follow has n followers join a flight that is under way and wait. It belongs in a
// synctest bubble, and returns when all of them do wait.
func follow(t *testing.T, fs *Flights, key string, n int) <-chan told {
	t.Helper()
	answers := make(chan told, n)
	for range n {
		f, leads := fs.Join([]byte(key), 0)
		if leads {
			t.Fatal("a follower leads")
		}
		go func() { // ends with the flight, or leading it
			var a told
			a.state, a.object, a.err = f.Await()
			answers <- a
		}()
	}
	synctest.Wait()
	if len(answers) != 0 {
		t.Fatalf("a follower of a flight of which nothing is known is told %+v", <-answers)
	}
	return answers
}

// begin returns a flight that the test leads.
func begin(t *testing.T, fs *Flights, key string) *Flight {
	t.Helper()
	f, leads := fs.Join([]byte(key), 0)
	if !leads {
		t.Fatal("there is a flight already")
	}
	return f
}

// Join is JoinIf of who is served by any flight.
func (fs *Flights) Join(key []byte, epoch uint64) (f *Flight, leads bool) {
	return fs.JoinIf(key, epoch, func(*Object) bool { return true })
}

func TestFlightsJoin(t *testing.T) {
	fs := NewFlights()
	key := []byte("a")
	f, leads := fs.Join(key, 7)
	if !leads || f.Epoch() != 7 || fs.Len() != 1 {
		t.Errorf("the first: leads %t, epoch %d, %d flights", leads, f.Epoch(), fs.Len())
	}
	key[0] = 'b' // Join does not keep it
	other, leads := fs.Join(key, 7)
	if !leads || other == f || fs.Len() != 2 {
		t.Errorf("another key: leads %t, %d flights", leads, fs.Len())
	}
	for i := range 3 {
		if g, leads := fs.Join([]byte("a"), 7); leads || g != f {
			t.Errorf("follower %d: leads %t", i, leads)
		}
	}
	f.Pass()
	if g, leads := fs.Join([]byte("a"), 7); !leads || g == f {
		t.Error("a flight that has ended is joined")
	}
	if n := fs.Len(); n != 2 {
		t.Errorf("%d flights, want 2", n)
	}
}

// TestFlightsBeginAnewAfterPurge has a flight of before a purge end while one of
// after it is under way.
func TestFlightsBeginAnewAfterPurge(t *testing.T) {
	fs := NewFlights()
	key := []byte("k")
	before, _ := fs.Join(key, 1)
	after, leads := fs.Join(key, 2)
	if !leads || after == before || after.Epoch() != 2 {
		t.Fatal("a flight from before the purge is joined after it")
	}
	old, current := object("k", 1), object("k", 2)
	before.Land(old)
	if f, leads := fs.Join(key, 2); leads || f != after || fs.Len() != 1 {
		t.Error("the end of the old flight ended the new one")
	}
	after.Land(current)
	for f, want := range map[*Flight]*Object{before: old, after: current} {
		if _, o, _ := f.Await(); o != want {
			t.Errorf("the flight of epoch %d has the object of the other", f.Epoch())
		}
	}
	if fs.Len() != 0 {
		t.Errorf("%d flights after all ended", fs.Len())
	}
}

// TestFlightsJoinNewer has a request that took the epoch before a purge come after
// one that took it afterwards: what is fetched after the purge is good for both.
func TestFlightsJoinNewer(t *testing.T) {
	fs := NewFlights()
	key := []byte("k")
	after, _ := fs.Join(key, 2)
	if f, leads := fs.Join(key, 1); leads || f != after {
		t.Error("a second fetch of the same")
	}
	if f, leads := fs.Join(key, 2); leads || f != after || fs.Len() != 1 {
		t.Error("the flight of after the purge was put aside")
	}
	after.Pass()
}

// TestFlightEnds tells the same to who waits, who comes later, and who asks again.
func TestFlightEnds(t *testing.T) {
	o := object("k", 10)
	for name, test := range map[string]struct {
		end  func(f *Flight)
		want told
	}{
		"landed": {func(f *Flight) { f.Land(o) }, told{Landed, o, nil}},
		"passed": {(*Flight).Pass, told{Passed, nil, nil}},
		"failed": {func(f *Flight) { f.Fail(errFlight) }, told{Failed, nil, errFlight}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := NewFlights()
				f := begin(t, fs, "k")
				answers := follow(t, fs, "k", 3)
				test.end(f)
				for range 3 {
					if got := <-answers; got != test.want {
						t.Errorf("a follower is told %+v, want %+v", got, test.want)
					}
				}
				next := begin(t, fs, "k")
				for _, again := range []func(){func() { f.Land(object("k", 5)) }, f.Pass, func() { f.Fail(errors.New("late")) }, func() { f.FailOnce(errors.New("late")) }} {
					again()
					if state, o, err := f.Await(); (told{state, o, err}) != test.want {
						t.Errorf("a second end made it %d, %v, %v", state, o, err)
					}
				}
				if fs.Len() != 1 {
					t.Errorf("%d flights", fs.Len())
				}
				next.Pass()
			})
		})
	}
}

// TestFlightStreams has followers read a body as it arrives.
func TestFlightStreams(t *testing.T) {
	body := []byte("0123456789")
	for name, test := range map[string]struct {
		arrives []int // ends of the pieces
		end     func(f *Flight, o *Object)
		want    string
		err     error
	}{
		"in pieces":               {[]int{1, 4, 9, 10}, (*Flight).Land, "0123456789", nil},
		"in one piece":            {[]int{10}, (*Flight).Land, "0123456789", nil},
		"landing tells all":       {[]int{3}, (*Flight).Land, "0123456789", nil},
		"fails with nothing":      {nil, func(f *Flight, _ *Object) { f.Fail(errFlight) }, "", errFlight},
		"fails after bytes":       {[]int{3, 5}, func(f *Flight, _ *Object) { f.Fail(errFlight) }, "01234", errFlight},
		"nobody leads it on":      {[]int{3, 5}, func(f *Flight, _ *Object) { f.FailOnce(errFlight) }, "01234", errFlight},
		"fails when all is there": {[]int{10}, func(f *Flight, _ *Object) { f.Fail(errFlight) }, "0123456789", errFlight},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := NewFlights()
				f := begin(t, fs, "k")
				answers := follow(t, fs, "k", 3)
				o := object("k", 0)
				o.Body = make([]byte, len(body))
				f.Stream(o)
				for range 3 {
					if got := <-answers; got != (told{Streaming, o, nil}) {
						t.Fatalf("a follower is told %+v", got)
					}
				}
				if state, got, err := f.Await(); state != Streaming || got != o || err != nil {
					t.Fatalf("a late follower is told %d, %v, %v", state, got, err)
				}
				type result struct {
					body string
					err  error
				}
				results := make(chan result, 3)
				for range 3 {
					go func() { // ends with the flight
						var all []byte
						for {
							b, err := f.Read(len(all))
							if all = append(all, b...); len(b) == 0 {
								results <- result{string(all), err}
								return
							}
						}
					}()
				}
				have := 0
				for _, n := range test.arrives {
					copy(o.Body[have:n], body[have:n])
					f.Filled(n)
					b, err := f.Read(have)
					if string(b) != string(body[have:n]) || cap(b) != len(b) || err != nil {
						t.Errorf("with %d bytes: %q of capacity %d, %v", n, b, cap(b), err)
					}
					have = n
					synctest.Wait()
					if len(results) != 0 {
						t.Fatalf("a reader ended before the body did: %+v", <-results)
					}
				}
				if fs.Len() != 1 {
					t.Error("a flight is over while its body arrives")
				}
				copy(o.Body[have:], body[have:])
				test.end(f, o)
				for range 3 {
					if got := <-results; got.body != test.want || got.err != test.err {
						t.Errorf("read %+v, want %q, %v", got, test.want, test.err)
					}
				}
				if b, err := f.Read(0); string(b) != test.want || len(b) > 0 && err != nil {
					t.Errorf("read afterwards: %q, %v", b, err)
				}
				if fs.Len() != 0 {
					t.Error("the flight is still there")
				}
			})
		})
	}
}

// TestFlightOfEmptyBody has nothing to read.
func TestFlightOfEmptyBody(t *testing.T) {
	f := begin(t, NewFlights(), "k")
	f.Land(object("k", 0))
	if b, err := f.Read(0); len(b) != 0 || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestFailOnce(t *testing.T) {
	t.Run("without followers it fails", func(t *testing.T) {
		fs := NewFlights()
		f := begin(t, fs, "k")
		late, _ := fs.Join([]byte("k"), 0) // it has not asked yet
		f.FailOnce(errFlight)
		if state, _, err := late.Await(); state != Failed || err != errFlight || fs.Len() != 0 {
			t.Errorf("state %d, %v, %d flights", state, err, fs.Len())
		}
	})
	t.Run("one follower leads on, the others get its object", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			fs := NewFlights()
			f := begin(t, fs, "k")
			answers := follow(t, fs, "k", 5)
			f.FailOnce(errFlight)
			synctest.Wait()
			if got := <-answers; got != (told{state: Orphaned}) {
				t.Fatalf("%+v", got)
			}
			if len(answers) != 0 {
				t.Fatalf("a second follower is told %+v", <-answers)
			}
			later := follow(t, fs, "k", 2) // the flight can still be joined
			o := object("k", 3)
			f.Land(o)
			for range 4 {
				if got := <-answers; got != (told{Landed, o, nil}) {
					t.Errorf("%+v", got)
				}
			}
			for range 2 {
				if got := <-later; got != (told{Landed, o, nil}) {
					t.Errorf("who came later: %+v", got)
				}
			}
			if fs.Len() != 0 {
				t.Errorf("%d flights", fs.Len())
			}
		})
	})
	t.Run("until too many have led", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			fs := NewFlights()
			f := begin(t, fs, "k")
			answers := follow(t, fs, "k", 5)
			for range maxTries - 1 {
				f.FailOnce(errors.New("at first"))
				if got := <-answers; got != (told{state: Orphaned}) {
					t.Fatalf("%+v", got)
				}
			}
			f.FailOnce(errFlight)
			for range 5 - (maxTries - 1) {
				if got := <-answers; got != (told{Failed, nil, errFlight}) {
					t.Errorf("%+v, want the last error", got)
				}
			}
			if fs.Len() != 0 {
				t.Errorf("%d flights", fs.Len())
			}
		})
	})
	t.Run("until nobody is left", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			fs := NewFlights()
			f := begin(t, fs, "k")
			answers := follow(t, fs, "k", 1)
			f.FailOnce(errors.New("at first"))
			if got := <-answers; got.state != Orphaned {
				t.Fatalf("%+v", got)
			}
			f.FailOnce(errFlight)
			if state, _, err := f.Await(); state != Failed || err != errFlight {
				t.Errorf("state %d, %v", state, err)
			}
		})
	})
	t.Run("who comes late may take it, but then nobody else", func(t *testing.T) {
		for range 500 { // who of the two is first differs
			synctest.Test(t, func(t *testing.T) {
				fs := NewFlights()
				f := begin(t, fs, "k")
				answers := follow(t, fs, "k", 1)
				late, leads := fs.Join([]byte("k"), 0)
				if leads {
					t.Fatal("a follower leads")
				}
				f.FailOnce(errFlight)
				o := object("k", 3)
				state := make(chan FlightState, 1)
				go func() { // ends with the flight, or leading it
					s, _, _ := late.Await()
					state <- s
				}()
				synctest.Wait()
				if len(answers)+len(state) != 1 {
					t.Fatalf("%d followers were told to lead, want 1", len(answers)+len(state))
				}
				f.Land(o)
				got := []FlightState{(<-answers).state, <-state}
				slices.Sort(got)
				if !slices.Equal(got, []FlightState{Landed, Orphaned}) {
					t.Errorf("the followers were told %v", got)
				}
			})
		}
	})
}

// leaderError is the failure of one leader, of a flight of key.
type leaderError struct {
	key    string
	serial int64
}

func (e leaderError) Error() string { return fmt.Sprintf("leader %d of %s failed", e.serial, e.key) }

// airport has many requests for few keys, whose flights end in all ways.
type airport struct {
	t       *testing.T
	flights *Flights
	epoch   atomic.Uint64
	serial  atomic.Int64 // of leaders
	states  [Failed + 1]atomic.Int64
}

// bodyByte is what is at offset i of the body that a leader fetches.
func bodyByte(serial int64, i int) byte { return byte(serial*31 + int64(i)*7) }

// fly is one request.
func (a *airport) fly(key string, r *rand.Rand) {
	f, leads := a.flights.Join([]byte(key), a.epoch.Load())
	if leads {
		a.lead(f, key, r)
		return
	}
	state, o, err := f.Await()
	a.states[state].Add(1)
	var failure leaderError
	switch state {
	case Orphaned:
		a.lead(f, key, r)
	case Streaming, Landed:
		a.read(f, o, key)
	case Failed:
		if !errors.As(err, &failure) || failure.key != key {
			a.t.Errorf("%s fails with %v", key, err)
		}
	case Passed:
		if o != nil || err != nil {
			a.t.Errorf("%s passes with %v, %v", key, o, err)
		}
	default:
		a.t.Errorf("state %d", state)
	}
}

// read reads the whole body of a flight.
func (a *airport) read(f *Flight, o *Object, key string) {
	serial := o.Freshness.Sent.UnixNano()
	if string(o.Key) != key {
		a.t.Errorf("%s got the object of %s", key, o.Key)
	}
	n := 0
	for {
		b, err := f.Read(n)
		for i, got := range b {
			if got != bodyByte(serial, n+i) {
				a.t.Errorf("%s: wrong byte at %d of %d", key, n+i, len(o.Body))
				return
			}
		}
		if n += len(b); len(b) > 0 {
			continue
		}
		if (err != nil || n != len(o.Body)) && err != (leaderError{key, serial}) {
			a.t.Errorf("%s: %d of %d bytes, %v", key, n, len(o.Body), err)
		}
		return
	}
}

// lead ends a flight in one of the ways there are.
func (a *airport) lead(f *Flight, key string, r *rand.Rand) {
	serial := a.serial.Add(1)
	o := &Object{Key: []byte(key), Freshness: Freshness{Sent: time.Unix(0, serial)}, Body: make([]byte, r.IntN(3000))}
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			o.Body[i] = bodyByte(serial, i)
		}
	}
	pause := func() {
		if r.IntN(4) == 0 {
			time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond) // of the bubble: until all others wait
		} else {
			runtime.Gosched()
		}
	}
	pause()
	switch r.IntN(8) {
	case 0:
		fill(0, len(o.Body))
		f.Land(o)
	case 1:
		f.Pass()
	case 2:
		f.Fail(leaderError{key, serial})
	case 3, 4:
		f.FailOnce(leaderError{key, serial})
	default:
		last := len(o.Body)
		if r.IntN(2) == 0 {
			last = r.IntN(last + 1)
		}
		f.Stream(o)
		for n := 0; n < last; {
			m := min(n+1+r.IntN(500), last)
			fill(n, m)
			f.Filled(m)
			n = m
			pause()
		}
		switch {
		case last == len(o.Body):
			f.Land(o)
		case r.IntN(2) == 0:
			f.Fail(leaderError{key, serial})
		default:
			f.FailOnce(leaderError{key, serial})
		}
	}
}

// TestFlightsRace has hundreds of requests for few keys, and purges in between. All
// get what they are due: were one to wait for ever, synctest would tell.
func TestFlightsRace(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 20
	}
	synctest.Test(t, func(t *testing.T) {
		a := &airport{t: t, flights: NewFlights()}
		var requests sync.WaitGroup
		for g := range 400 {
			requests.Go(func() {
				r := rand.New(rand.NewPCG(uint64(g), 1))
				for range rounds {
					a.fly(fmt.Sprint("key", r.IntN(7)), r)
					if r.IntN(100) == 0 {
						a.epoch.Add(1)
					}
				}
			})
		}
		requests.Wait()
		if n := a.flights.Len(); n != 0 {
			t.Errorf("%d flights are left", n)
		}
		for _, state := range []FlightState{Streaming, Landed, Orphaned, Passed, Failed} {
			if a.states[state].Load() == 0 {
				t.Errorf("no follower was told state %d", state)
			}
		}
	})
}

// TestFlightsJoinIf has requests come that a flight does not serve: before anything is
// known of its object, and while the body arrives.
func TestFlightsJoinIf(t *testing.T) {
	fs, key := NewFlights(), []byte("k")
	f, _ := fs.Join(key, 3)
	var given []*Object
	join := func(serves bool) (*Flight, bool) {
		return fs.JoinIf(key, 3, func(o *Object) bool { given = append(given, o); return serves })
	}
	if g, leads := join(true); leads || g != f {
		t.Error("a flight that serves is not joined")
	}
	o := object("k", 10)
	f.Stream(o)
	if g, leads := join(true); leads || g != f {
		t.Error("a flight whose body arrives is not joined")
	}
	next, leads := join(false)
	if !leads || next == f || next.Epoch() != 3 || fs.Len() != 1 {
		t.Error("a flight that does not serve is joined")
	}
	if g, leads := fs.Join(key, 3); leads || g != next {
		t.Error("the flight that was replaced is joined")
	}
	if !slices.Equal(given, []*Object{nil, o, o}) {
		t.Errorf("asked about %v", given)
	}

	c := New(Options{MaxBytes: 1 << 20})
	young := object("k", 20)
	c.PutSince(young, c.Epoch("", key))
	if c.PutSince(o, f.Epoch()) || c.Replace(young, o, f.Epoch()) || c.Peek(young.Key) != young {
		t.Error("the older object is stored in the place of the younger")
	}
	f.Land(o)
	next.Land(young)
	if fs.Len() != 0 {
		t.Errorf("%d flights after all ended", fs.Len())
	}
}

// TestFlightsOverlap has each flight replaced before it brings its object: the objects
// come in order, and each is stored, until one comes late.
func TestFlightsOverlap(t *testing.T) {
	fs, key, c := NewFlights(), []byte("k"), New(Options{MaxBytes: 1 << 20})
	epoch := c.Epoch("", key)
	var flights [4]*Flight
	for i := range flights {
		flights[i], _ = fs.JoinIf(key, epoch, func(*Object) bool { return false })
	}
	for _, step := range []struct {
		flight int
		stored bool
	}{{0, true}, {2, true}, {1, false}, {3, true}} {
		o := object("k", 10+step.flight)
		if stored := c.PutSince(o, flights[step.flight].Epoch()); stored != step.stored {
			t.Errorf("flight %d: stored %t, want %t", step.flight, stored, step.stored)
		}
		flights[step.flight].Land(o)
	}
	if n := len(c.Peek(key).Body); n != 13 {
		t.Errorf("%d bytes are stored, want those of the last flight", n)
	}
}
