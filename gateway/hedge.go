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
	second *exchange     // nil: it was not sent
	err    error         // of the second, once it is done
	done   chan struct{} // closed when the second is done; nil: it was not sent
	won    bool          // the second was done first, and well
}

// ask sends a request to r, and where its answer takes long, to another replica as
// well; the first good answer counts, and ends the other request.
func (x *exchange) ask(r *replica, t pool.Ticket, f forward, head bool, begin time.Time) error {
	if !x.bucket.s3.Hedge.Enabled || len(x.bucket.replicas) == 1 {
		return x.askOne(r, t, f, head, begin)
	}
	err := x.askTwo(r, t, f, head, begin)
	x.noteWaits()
	return err
}

// askOne sends a request to r alone.
func (x *exchange) askOne(r *replica, t pool.Ticket, f forward, head bool, begin time.Time) error {
	err := x.sendTo(r, t, f, head, begin)
	x.noteWaits()
	return err
}

// noteWaits adds, for the log, how long the request that counts has waited for its
// connection.
func (x *exchange) noteWaits() {
	x.upstream.queued += x.up.Queued
	x.upstream.dialed += x.up.Dialed
}

func (x *exchange) askTwo(r *replica, t pool.Ticket, f forward, head bool, begin time.Time) error {
	c := &x.bucket.s3.Hedge
	r.health.hedges.Count(begin)
	after, known := c.After, true
	if after == 0 {
		after, known = r.health.latency.P95()
		defer func() { r.health.latency.Add(time.Since(begin)) }()
	}
	if !known {
		return x.sendTo(r, t, f, head, begin)
	}
	var h hedge
	x.up.Close()
	x.up.SetInterruptible(true)
	timer := time.AfterFunc(after, func() { h.send(x, r, f, head) })
	err := x.sendTo(r, t, f, head, begin)
	timer.Stop()
	err = h.settle(x, err)
	x.up.SetInterruptible(false)
	return err
}

// send sends the second request.
func (h *hedge) send(x *exchange, first *replica, f forward, head bool) {
	y, t := h.begin(x, first, &f)
	if y == nil {
		return
	}
	defer y.g.background.Done() // x may be another request's by now
	err := y.sendSafely(y.replica, t, f, head)
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
		x.up.Interrupt()
	}
}

// answered tells whether a request that ended with err has brought what no other
// replica would better.
func (x *exchange) answered(err error) bool {
	return err == nil && (x.refusal == nil || x.refusal.fault == faultRequest && !(x.refusal == outcomeNoSuchKey && x.bucket.s3.FailoverOn404))
}

// sendSafely is sendTo in a goroutine of its own, where a panic must not end the process.
func (x *exchange) sendSafely(r *replica, t pool.Ticket, f forward, head bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			x.g.observer.panicked(p, nil)
			err = &fetchError{problem: problemPanic, reason: "panic"}
		}
	}()
	return x.sendTo(r, t, f, head, time.Now())
}

// begin returns the exchange of the second request, if there is to be one. It has all
// it needs, since x goes on without it when it has its answer.
func (h *hedge) begin(x *exchange, first *replica, f *forward) (*exchange, pool.Ticket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return nil, pool.Ticket{}
	}
	but, now := x.failed, time.Now()
	but.add(first)
	r, t, _ := x.bucket.pick(but, now)
	if r == nil {
		return nil, pool.Ticket{}
	}
	if !first.health.hedges.Take(now) {
		r.health.breaker.Done(t, pool.OutcomeNone, now)
		return nil, pool.Ticket{}
	}
	r.metrics.extra(extraHedge)
	y := x.g.backgroundExchange(x.bucket, x.key, x.query, x.cacheKey)
	y.rangeV = append(y.rangeV[:0], x.rangeV...)
	y.trace = append(y.trace[:0], x.trace...)
	f.value = bytes.Clone(f.value)
	y.replica = r
	y.up.SetInterruptible(true)
	h.second, h.done = y, make(chan struct{})
	x.g.background.Add(1)
	return y, t
}

// settle decides between the first, which ended with err, and the second. What does
// not count is interrupted.
func (h *hedge) settle(x *exchange, err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	y := h.second
	if y == nil {
		h.over = true
		return err
	}
	if !h.won && x.answered(err) {
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
		x.failed.add(y.replica)
		return err
	}
	x.attempt, y.attempt = y.attempt, x.attempt
	x.replica.metrics.extra(extraHedgeWon)
	return nil
}
