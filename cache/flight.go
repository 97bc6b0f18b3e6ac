package cache

import (
	"math"
	"sync"
	"sync/atomic"
)

// Flights collapse concurrent fetches of the same key into one: the first request
// leads, the others follow it and read the body as it arrives.
//
// Flights are safe for concurrent use. Use NewFlights.
type Flights struct {
	mu      sync.Mutex // guards flights; held for moments, of fetches that take milliseconds
	flights map[string]*Flight
}

// NewFlights returns a table without flights.
func NewFlights() *Flights { return &Flights{flights: make(map[string]*Flight)} }

// FlightState is how far a flight got.
type FlightState uint8

const (
	// Flying: nothing is known yet. The zero value.
	Flying FlightState = iota
	// Streaming: the object's head is known, its body is arriving.
	Streaming
	// Landed: the object is complete.
	Landed
	// Orphaned: its leader failed. Await returns it to one follower, which leads now.
	Orphaned
	// Passed: the object cannot be shared; each request fetches for itself.
	Passed
	// Failed: there is an error instead of an object.
	Failed
)

// maxTries bounds the leaders of a flight: when one fails before the object's head
// is known, a follower tries again, until these many have failed.
const maxTries = 3

// Flight is one fetch. Its leader must end it by Land, Pass or Fail, with or without
// Stream before; the first of these counts. A Flight is safe for concurrent use. Use
// Flights.JoinIf.
type Flight struct {
	in    *Flights
	key   string
	epoch uint64

	next    atomic.Pointer[Flight] // the flight that has replaced it; nil: none
	brought atomic.Bool            // Epoch was called: there is an object to store

	mu      sync.Mutex // guards the following fields
	changed sync.Cond  // signals a change of any of them
	state   FlightState
	object  *Object
	filled  int // bytes of the object's body that are there
	err     error
	waiting int // followers in Await
	tries   int // leaders that failed
}

// JoinIf returns the flight under way for key if that serves the caller, or a new one
// that the caller leads. epoch is [Cache.Epoch] of the key's group at this moment: a
// flight that began before a purge is not joined after it; one that began after it may be
// joined with the epoch from before. key is not kept.
//
// serves is given the object whose body is arriving; nil: nothing is known yet. It is
// called under a lock, and must not call the Flights.
func (fs *Flights) JoinIf(key []byte, epoch uint64, serves func(o *Object) bool) (f *Flight, leads bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	older := fs.flights[string(key)]
	if older != nil && older.epoch >= epoch && serves(older.arriving()) {
		return older, false
	}
	f = &Flight{in: fs, key: string(key), epoch: epoch}
	f.changed.L = &f.mu
	if older != nil {
		older.next.Store(f)
	}
	fs.flights[f.key] = f
	return f, true
}

// arriving returns the object whose body is arriving; nil: nothing is known yet.
func (f *Flight) arriving() *Object {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.object
}

// Len returns the number of flights under way.
func (fs *Flights) Len() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return len(fs.flights)
}

// Epoch returns the epoch with which [Cache.PutSince] and [Cache.Replace] store the
// flight's object: the one that the flight began with. Once a flight that has replaced it
// has called Epoch, it is one that is never current, because the object of that flight is
// younger. Call it when there is an object, right before that is stored.
func (f *Flight) Epoch() uint64 {
	f.brought.Store(true)
	for y := f.next.Load(); y != nil; y = y.next.Load() {
		if y.brought.Load() {
			return math.MaxUint64
		}
	}
	return f.epoch
}

// Await waits until something is known. The object comes with Streaming and
// Landed, the error with Failed. Where it returns Orphaned, the caller has become
// the leader.
func (f *Flight) Await() (FlightState, *Object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting++
	for f.state == Flying {
		f.changed.Wait()
	}
	f.waiting--
	if f.state == Orphaned {
		f.state = Flying
		return Orphaned, nil, nil
	}
	return f.state, f.object, f.err
}

// Read waits until the body has bytes from offset on, or the flight has ended, and
// returns those bytes, which never change. None are returned at the end of the
// body, and with an error.
func (f *Flight) Read(offset int) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.state == Streaming && f.filled <= offset {
		f.changed.Wait()
	}
	if f.filled <= offset {
		return nil, f.err
	}
	return f.object.Body[offset:f.filled:f.filled], nil
}

// Stream makes the object known while its body arrives: o.Body has its full length,
// and the leader writes to the part of it that Filled has not passed, and to
// nothing else of o.
func (f *Flight) Stream(o *Object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.object = Streaming, o
	f.changed.Broadcast()
}

// Filled tells that the first n bytes of the body are there.
func (f *Flight) Filled(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.filled = n
	f.changed.Broadcast()
}

// Land ends the flight with a complete object, that of Stream if there was one.
func (f *Flight) Land(o *Object) { f.end(Landed, o, nil) }

// Pass ends the flight: the object cannot be shared.
func (f *Flight) Pass() { f.end(Passed, nil, nil) }

// Fail ends the flight with an error. Readers of a body that was arriving get it
// after the bytes that came.
func (f *Flight) Fail(err error) { f.end(Failed, nil, err) }

// FailOnce is Fail for an error that may not come again: if there are followers, and
// not too many leaders have failed, one of them leads the flight on.
func (f *Flight) FailOnce(err error) {
	f.mu.Lock()
	f.tries++
	again := f.state == Flying && f.waiting > 0 && f.tries < maxTries
	if again {
		f.state = Orphaned
		f.changed.Signal()
	}
	f.mu.Unlock()
	if !again {
		f.Fail(err)
	}
}

func (f *Flight) end(state FlightState, o *Object, err error) {
	f.in.mu.Lock()
	if f.in.flights[f.key] == f { // another one may have begun after a purge
		delete(f.in.flights, f.key)
	}
	f.in.mu.Unlock()

	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state > Streaming {
		return
	}
	if o != nil {
		f.object, f.filled = o, len(o.Body)
	}
	f.state, f.err = state, err
	f.changed.Broadcast()
}
