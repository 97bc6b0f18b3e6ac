package origin

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"
)

// hedge is a second request for the same, to another replica, because the first takes
// long (see "The Tail at Scale", Dean and Barroso, 2013).
type hedge struct {
	mu     sync.Mutex    // guards the following fields
	over   bool          // the first has its answer, or has taken that of the second
	second *Fetch        // nil: it was not sent
	err    error         // of the second, once it is done
	done   chan struct{} // closed when the second is done; nil: it was not sent
	won    bool          // the second was done first, and well
}

// sendHedged sends a request to r, and where that takes long, to another replica; the first
// good answer counts.
func (f *Fetch) sendHedged(r *Replica, t pool.Ticket, w request.Plan, head bool, begin time.Time) error {
	c := &f.Bucket.S3.Hedge
	r.Health.hedges.Count(f.hash, begin)
	after, known := c.After, true
	if after == 0 {
		after, known = r.Health.latency.P95()
		defer func() { r.Health.latency.Add(time.Since(begin)) }()
	}
	if !known {
		return f.sendTo(r, t, w, head, begin)
	}
	var h hedge
	f.Answer.Close()
	f.Answer.SetInterruptible(true)
	timer := time.AfterFunc(after, func() { h.send(f, r, w, head) })
	defer h.end(timer) // if sendTo panics, too: f is another request's then
	err := f.sendTo(r, t, w, head, begin)
	timer.Stop()
	err = h.settle(f, err)
	f.Answer.SetInterruptible(false)
	return err
}

// end keeps a second request from beginning.
func (h *hedge) end(timer *time.Timer) {
	timer.Stop()
	h.mu.Lock()
	h.over = true
	h.mu.Unlock()
}

// send sends the second request.
func (h *hedge) send(f *Fetch, first *Replica, w request.Plan, head bool) {
	y, t := h.begin(f, first, &w)
	if y == nil {
		return
	}
	background := &y.Bucket.Shared.Background
	defer background.Done()
	err := errors.New("the second request panicked")
	func() {
		defer background.Recover()
		err = y.sendTo(y.replica, t, w, head, time.Now())
	}()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		y.Release()
		return
	}
	h.err = err
	close(h.done)
	if y.answered(err) {
		h.won = true
		f.Answer.Interrupt()
	}
}

// answered tells whether a request that ended with err has brought what no other
// replica would better.
func (f *Fetch) answered(err error) bool {
	return err == nil && (f.OriginError == nil || f.OriginError.Fault == s3error.FaultRequest && !(f.OriginError == s3error.NoSuchKey && f.Bucket.S3.FailoverOn404))
}

// begin returns the fetch of the second request, if there is to be one. It has all it
// needs, since the first goes on without it when it has its answer.
func (h *hedge) begin(f *Fetch, first *Replica, w *request.Plan) (*Fetch, pool.Ticket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return nil, pool.Ticket{}
	}
	except, now := replicaSet(f.Notes.Failed), time.Now()
	except.add(first)
	r, t, _ := f.Bucket.pick(f.hash, except, now)
	if r == nil {
		return nil, pool.Ticket{}
	}
	if !first.Health.hedges.Take(f.hash, now) {
		r.Health.Breaker.Done(t, pool.ResultNone, now)
		return nil, pool.Ticket{}
	}
	r.Metrics.Count(observe.Hedges)
	y := f.Bucket.NewFetch(nil, f.key, f.query, nil, f.trace)
	y.Client = f.Client
	if f.listed > 0 {
		y.list(f.after, f.listed)
	}
	w.Value = bytes.Clone(w.Value)
	y.replica = r
	y.Answer.SetInterruptible(true)
	h.second, h.done = y, make(chan struct{})
	f.Bucket.Shared.Background.Add(1)
	return y, t
}

// settle decides between the first, which ended with err, and the second. What does
// not count is interrupted.
func (h *hedge) settle(f *Fetch, err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	y := h.second
	if y == nil {
		h.over = true
		return err
	}
	if !h.won && f.answered(err) {
		h.over = true
		select {
		case <-h.done:
			y.Release()
		default:
			y.Answer.Interrupt() // its goroutine gives it back
		}
		return err
	}
	if !h.won { // the second may do better
		h.mu.Unlock()
		<-h.done
		h.mu.Lock()
	}
	h.over = true
	defer y.Release()
	if !y.answered(h.err) {
		f.Notes.Failed |= 1 << y.replica.number
		return err
	}
	f.Notes.Replica = y.replica.Name
	f.Notes.Queued += y.Answer.Queued - f.Answer.Queued
	f.Notes.Dialed += y.Answer.Dialed - f.Answer.Dialed
	f.attempt, y.attempt = y.attempt, f.attempt
	f.replica.Metrics.Count(observe.HedgesWon)
	return nil
}
