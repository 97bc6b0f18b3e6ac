package gateway

import (
	"bytes"
	"sync"
	"time"

	"yatagarasu/pool"
)

// hedge is a second request for the same, to another replica, because the first takes
// long (see "The Tail at Scale", Dean and Barroso, 2013).
type hedge struct {
	mu     sync.Mutex    // guards the following fields
	over   bool          // the first has its answer, or has taken that of the second
	second *fetch        // nil: it was not sent
	err    error         // of the second, once it is done
	done   chan struct{} // closed when the second is done; nil: it was not sent
	won    bool          // the second was done first, and well
}

func (f *fetch) askTwo(r *replica, t pool.Ticket, w forward, head bool, begin time.Time) error {
	c := &f.bucket.s3.Hedge
	r.health.hedges.Count(begin)
	after, known := c.After, true
	if after == 0 {
		after, known = r.health.latency.P95()
		defer func() { r.health.latency.Add(time.Since(begin)) }()
	}
	if !known {
		return f.sendTo(r, t, w, head, begin)
	}
	var h hedge
	f.up.Close()
	f.up.SetInterruptible(true)
	timer := time.AfterFunc(after, func() { h.send(f, r, w, head) })
	err := f.sendTo(r, t, w, head, begin)
	timer.Stop()
	err = h.settle(f, err)
	f.up.SetInterruptible(false)
	return err
}

// send sends the second request.
func (h *hedge) send(f *fetch, first *replica, w forward, head bool) {
	y, t := h.begin(f, first, &w)
	if y == nil {
		return
	}
	defer y.bucket.shared.background.Done()
	err := y.sendSafely(y.replica, t, w, head)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		y.release()
		return
	}
	h.err = err
	close(h.done)
	if y.answered(err) {
		h.won = true
		f.up.Interrupt()
	}
}

// answered tells whether a request that ended with err has brought what no other
// replica would better.
func (f *fetch) answered(err error) bool {
	return err == nil && (f.refusal == nil || f.refusal.fault == faultRequest && !(f.refusal == outcomeNoSuchKey && f.bucket.s3.FailoverOn404))
}

// sendSafely is sendTo in a goroutine of its own, where a panic must not end the process.
func (f *fetch) sendSafely(r *replica, t pool.Ticket, w forward, head bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			f.bucket.shared.background.panicked(p)
			err = &fetchError{problem: problemPanic, reason: "panic"}
		}
	}()
	return f.sendTo(r, t, w, head, time.Now())
}

// begin returns the fetch of the second request, if there is to be one. It has all it
// needs, since the first goes on without it when it has its answer.
func (h *hedge) begin(f *fetch, first *replica, w *forward) (*fetch, pool.Ticket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return nil, pool.Ticket{}
	}
	but, now := f.failed, time.Now()
	but.add(first)
	r, t, _ := f.bucket.pick(but, now)
	if r == nil {
		return nil, pool.Ticket{}
	}
	if !first.health.hedges.Take(now) {
		r.health.breaker.Done(t, pool.OutcomeNone, now)
		return nil, pool.Ticket{}
	}
	r.metrics.extra(extraHedge)
	y := f.bucket.fetch(nil, f.key, f.query, nil, f.trace)
	w.value = bytes.Clone(w.value)
	y.replica = r
	y.up.SetInterruptible(true)
	h.second, h.done = y, make(chan struct{})
	f.bucket.shared.background.Add(1)
	return y, t
}

// settle decides between the first, which ended with err, and the second. What does
// not count is interrupted.
func (h *hedge) settle(f *fetch, err error) error {
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
			y.release()
		default:
			y.up.Interrupt() // its goroutine gives it back
		}
		return err
	}
	if !h.won { // the second may do better
		h.mu.Unlock()
		<-h.done
		h.mu.Lock()
	}
	h.over = true
	defer y.release()
	if !y.answered(h.err) {
		f.failed.add(y.replica)
		return err
	}
	f.attempt, y.attempt = y.attempt, f.attempt
	f.replica.metrics.extra(extraHedgeWon)
	return nil
}
