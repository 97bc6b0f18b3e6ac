package keys

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// document keeps a copy of a document fresh, which somebody publishes at a URL or in a file.
//
// One goroutine, started by start and ended by close, fetches it: at intervals, and earlier
// when a request needs what the copy does not have. A failed fetch changes nothing, until the
// copy is older than maxAge: then it is dropped. Create it with newDocument and set kind to
// drop before use. All methods but refresh are safe for concurrent use.
type document struct {
	kind   string // what it is, for messages: "key set"
	name   string // the URL or path, for messages
	fetch  func(ctx context.Context) ([]byte, error)
	use    func(data []byte) error // takes a copy that differs from the last; an error: it is of no use
	drop   func()                  // lets go of a copy that is too old
	asOf   func() time.Time        // since when a copy that was fetched now may be outdated; now, but for what depends on another document
	maxAge time.Duration           // 0: none
	o      Options

	limiter *rate.Limiter // of early fetches
	last    []byte        // the copy in use; the fetching goroutine's own

	ctx    context.Context // ends with close
	cancel context.CancelFunc
	ended  chan struct{} // closed when the goroutine has ended
	wake   chan struct{} // makes the goroutine fetch early

	mu      sync.Mutex // guards the following fields
	started bool       // the goroutine was started
	pending *attempt   // the fetch under way or requested; nil: there is none
	failed  bool       // the last fetch failed
	fetched time.Time  // end of the last fetch that did not fail, without monotonic clock, which stands still while a machine sleeps
	dropped bool       // the copy was too old
}

// attempt is one fetch of a document.
type attempt struct {
	done         chan struct{} // closed at its end
	began        time.Time
	afterFailure bool // the fetch before failed
}

func newDocument(o Options) *document {
	d := &document{
		o:       o,
		asOf:    time.Now,
		limiter: rate.NewLimiter(rate.Every(o.EarlyEvery), o.EarlyBurst),
		wake:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// start fetches for the first time and starts the goroutine, whether or not the fetch
// fails. The error is that of the fetch.
func (d *document) start() error {
	err := d.refresh()
	d.mu.Lock()
	d.started = true
	d.mu.Unlock()
	go d.run(err) // ended by close
	return err
}

// close ends the goroutine, and the waiting in waitForNewer and refetch.
func (d *document) close() {
	d.cancel()
	d.mu.Lock()
	started := d.started
	d.mu.Unlock()
	if started {
		<-d.ended
	}
}

func (d *document) run(err error) {
	defer close(d.ended)
	failures := 0
	for {
		wait := d.o.RefreshEvery
		if failures++; err == nil {
			failures = 0
		} else {
			wait = min(wait, d.o.RetryAfter<<min(failures-1, 10))
		}
		if wait -= rand.N(wait/10 + 1); d.maxAge > 0 { // gateways started together do not ask together
			wait = min(wait, d.maxAge/2) // twice at least before the copy is too old
			if left := d.left(); left > 0 {
				wait = min(wait, left) // and once more then
			}
		}
		select {
		case <-d.ctx.Done():
			d.finish(true)
			return
		case <-time.After(wait):
		case <-d.wake:
		}
		err = d.refresh()
	}
}

// left returns how long the copy is still trusted.
func (d *document) left() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Until(d.fetched.Add(d.maxAge))
}

// waitForNewer requests a fetch and waits until deadline for another copy than the caller has
// seen, which changed reports. It returns false at once where there were too many fetches
// lately.
//
// A waiting request holds a slot of the requests in flight, and anybody can write what
// causes a fetch, a token with a new kid: no request waits for a fetch that has taken
// WaitAtMost, or that follows a failed one.
func (d *document) waitForNewer(deadline time.Time, changed func() bool) bool {
	// A fetch that was under way may have begun before the document changed: where it
	// brings nothing new, another one is requested.
	for range 3 {
		if changed() {
			return true
		}
		f, own := d.requestFetch()
		if f == nil || f.afterFailure {
			return false
		}
		ctx, cancel := context.WithTimeout(d.ctx, min(time.Until(deadline), time.Until(f.began.Add(d.o.WaitAtMost))))
		select {
		case <-f.done:
		case <-ctx.Done():
			own = true
		}
		cancel()
		if own {
			break
		}
	}
	return changed()
}

// refetch requests a fetch and waits for it, unless there were too many lately.
func (d *document) refetch() {
	for range 3 {
		f, own := d.requestFetch()
		if f == nil {
			return
		}
		select {
		case <-f.done:
		case <-d.ctx.Done():
			return
		}
		if own {
			return
		}
	}
}

// requestFetch returns the fetch under way, else a new one, its own, which the goroutine
// begins. It returns nil where there were too many fetches lately.
func (d *document) requestFetch() (f *attempt, own bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending != nil {
		return d.pending, false
	}
	if !d.started || d.ctx.Err() != nil || !d.limiter.Allow() {
		return nil, false
	}
	d.beginLocked()
	select {
	case d.wake <- struct{}{}:
	default: // already woken
	}
	return d.pending, true
}

func (d *document) beginLocked() {
	d.pending = &attempt{done: make(chan struct{}), began: time.Now(), afterFailure: d.failed}
}

// refresh fetches once. Only the fetching goroutine calls it, and start before there is one.
func (d *document) refresh() (err error) {
	d.mu.Lock()
	if d.pending == nil {
		d.beginLocked()
	}
	d.mu.Unlock()
	defer func() { d.finish(err != nil) }()

	ctx, cancel := context.WithTimeout(d.ctx, d.o.FetchTimeout)
	defer cancel()
	data, err := d.fetch(ctx)
	if err == nil && d.last != nil && bytes.Equal(data, d.last) {
		d.succeeded(d.asOf())
		d.o.OnFetch(d.name, nil)
		return nil
	}
	if err == nil {
		err = d.use(data)
	}
	if err != nil {
		err = fmt.Errorf("cannot use the %s %s: %w", d.kind, d.name, err)
	} else {
		d.last = data
		d.succeeded(d.asOf())
	}
	if d.ctx.Err() == nil { // else close has cancelled the fetch
		d.o.OnFetch(d.name, err)
		if err != nil {
			d.dropIfTooOld()
		}
	}
	return err
}

// succeeded notes that the copy at hand was right at this time.
func (d *document) succeeded(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fetched, d.dropped = at.Round(0), false
}

// dropIfTooOld drops a copy that could not be fetched for too long. Only refresh calls it.
//
// It comes behind a failed fetch, so that a clock which jumps drops no copy of what can be
// fetched.
func (d *document) dropIfTooOld() {
	d.mu.Lock()
	tooOld := d.maxAge > 0 && !d.dropped && !d.fetched.IsZero() && time.Since(d.fetched) >= d.maxAge
	d.dropped = d.dropped || tooOld
	d.mu.Unlock()
	if tooOld {
		d.last = nil // the same one counts again when it comes
		d.drop()
		d.o.OnTooOld(d.name, d.maxAge)
	}
}

// finish ends the fetch under way, and the waiting for it.
func (d *document) finish(failed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = failed
	if d.pending != nil {
		close(d.pending.done)
		d.pending = nil
	}
}
