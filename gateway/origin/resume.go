package origin

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"time"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/request"
	"yatagarasu/pool"

	"github.com/valyala/fasthttp"
)

const (
	// resumeProgress is how many bytes make a continued body worth continuing again.
	resumeProgress = 64 << 10
	// freeProgress is how many bytes make it free: the request asks only for what the
	// client would otherwise ask for from the start.
	freeProgress = 1 << 20
)

// resumption is a body that broke off and is to be continued.
type resumption struct {
	next, last, size int64 // bytes of the object: the next one, the last one wanted, all
	brought          int64 // by the latest exchange
	fruitless        int   // exchanges in a row that brought too little
	from             *Replica
	ticket           pool.Ticket // that it was asked with
	failed, unfit    replicaSet  // of late; for good
	changed          bool        // where it came from, there is another object now
}

var errChanged = errors.New("the object has changed since its body began")

// Relay sends the body of the response at hand to the client, and where the origin
// breaks off, goes on with the rest of it.
func (f *Fetch) Relay(client net.Conn) (sent int64, err error) {
	return f.withResume(func(int64) (int64, error) { return f.Answer.Stream(client, f.Bucket.Shared.Pace) })
}

// Fill reads the body of the response at hand into body, which has its length, and where
// the origin breaks off, goes on with the rest of it. filled is told how much is there.
func (f *Fetch) Fill(body []byte, filled func(n int)) error {
	_, err := f.withResume(func(from int64) (n int64, err error) {
		err = f.Answer.Fill(f.Bucket.Shared.Pace, body[from:], func(have int) {
			n = int64(have)
			filled(int(from) + have)
		})
		return n, err
	})
	return err
}

// withResume has move take the body of the response at hand from a byte on, as often as
// it breaks off and can be resumed. move returns how many bytes it moved.
func (f *Fetch) withResume(move func(from int64) (int64, error)) (moved int64, err error) {
	n, err := move(0)
	if err == nil || !brokeOff(err) {
		return n, err
	}
	s, ok := f.resumption()
	for moved = n; ; moved += n {
		s.from.Metrics.Fault(pool.Of(err).String())
		s.next, s.brought = s.next+n, n
		from, ticket := s.from, s.ticket
		resumed := ok && f.resume(&s, err)
		if !resumed || n < resumeProgress {
			from.Health.Breaker.Fail(ticket, time.Now())
		}
		if !resumed {
			if s.changed {
				err = fmt.Errorf("%w: %w", errChanged, err)
			}
			return moved, err
		}
		if n, err = move(moved); err == nil || !brokeOff(err) {
			return moved + n, err
		}
	}
}

// brokeOff tells whether an error means that the origin has not sent all.
func brokeOff(err error) bool {
	switch pool.Of(err) {
	case pool.ReasonTruncated, pool.ReasonReset, pool.ReasonTimeout:
		return true
	}
	return false
}

// resumption returns what it takes to continue the body of the response at hand; ok is
// false where that cannot be: only a strong validator tells that the rest is of the
// same bytes (RFC 9110, 8.8.1).
func (f *Fetch) resumption() (s resumption, ok bool) {
	s.from, s.ticket = f.replica, f.ticket
	h := &f.Answer.Header
	etag := h.Peek(fasthttp.HeaderETag)
	if f.Bucket.S3.Retry.Resumes == 0 || f.Part() || len(etag) < 2 || etag[0] != '"' {
		return s, false
	}
	f.tag = append(f.tag[:0], etag...)
	s.size = f.Answer.Length()
	s.last = s.size - 1
	if h.StatusCode() == fasthttp.StatusPartialContent {
		first, last, size, err := request.ParseContentRange(h.Peek(fasthttp.HeaderContentRange))
		if err != nil || first < 0 {
			return s, false
		}
		s.next, s.last, s.size = first, last, size
	}
	return s, true
}

// resume asks for the rest of a body that broke off by cause, and reports whether the
// response at hand is it.
func (f *Fetch) resume(s *resumption, cause error) bool {
	f.corrected = false // it may be long since
	for {
		if s.fruitless++; s.brought >= resumeProgress {
			s.fruitless = 0
		}
		free := s.brought >= freeProgress
		s.brought = 0
		if s.fruitless > f.Bucket.S3.Retry.Resumes {
			return false
		}
		r, t := f.resumeAt(s, cause, free)
		if r == nil {
			return false
		}
		if s.fruitless > 1 {
			f.Answer.Close() // others may have the connection meanwhile
			time.Sleep(backoff(s.fruitless - 1))
		}
		err := f.askRest(r, t, request.ByteRange{Kind: request.RangeSingle, First: s.next, Last: s.last})
		if f.Refusal != nil {
			r.Metrics.Fault(f.Refusal.Reason)
		}
		switch {
		case err != nil, f.Refusal != nil && f.Refusal.Passing():
			s.failed.add(r)
		case f.Refusal != nil: // it does not give it
			s.unfit.add(r)
		case f.continues(s):
			s.from, s.ticket, s.failed = r, f.ticket, 0
			f.told.Resumes++
			r.Metrics.Extra(observe.ExtraResume)
			return true
		default: // it has another object
			s.unfit.add(r)
			s.changed = s.changed || r == s.from
		}
	}
}

// askRest sends the request for the rest of a body, and where another credential or the
// origin's time helps, once more.
func (f *Fetch) askRest(r *Replica, t pool.Ticket, rest request.ByteRange) error {
	w := request.Plan{Range: rest, Condition: "if-match", Value: f.tag}
	err := f.askOne(r, t, w, false, time.Now())
	if err != nil || f.remedy(nil) != remedyNow {
		return err
	}
	now := time.Now()
	t, _, ok := r.Health.Breaker.Allow(now)
	if !ok {
		return nil
	}
	return f.askOne(r, t, w, false, now)
}

// resumeAt returns where to ask for the rest: where it came from, unless that is slow
// or fails, then elsewhere. To ask the same again is charged to its budget, unless it is
// free.
func (f *Fetch) resumeAt(s *resumption, cause error, free bool) (*Replica, pool.Ticket) {
	now := time.Now()
	same := func() (*Replica, pool.Ticket) {
		if s.unfit.has(s.from) {
			return nil, pool.Ticket{}
		}
		t, _, ok := s.from.Health.Breaker.Allow(now)
		if ok && !free && !s.from.Health.resumes.Take(now) {
			s.from.Health.Breaker.Done(t, pool.OutcomeNone, now)
			s.from.Metrics.Extra(observe.ExtraResumeDenied)
			ok = false
		}
		if !ok {
			return nil, pool.Ticket{}
		}
		return s.from, t
	}
	if pool.Of(cause) != pool.ReasonTimeout && !s.failed.has(s.from) {
		if r, t := same(); r != nil {
			return r, t
		}
	}
	but := s.failed | s.unfit
	but.add(s.from)
	if r, t, _ := f.Bucket.pick(but, now); r != nil {
		return r, t
	}
	s.failed = 0
	return same()
}

// continues tells whether the response at hand is the rest of s, of the same object.
func (f *Fetch) continues(s *resumption) bool {
	h := &f.Answer.Header
	if h.StatusCode() != fasthttp.StatusPartialContent || !bytes.Equal(h.Peek(fasthttp.HeaderETag), f.tag) {
		return false
	}
	first, last, size, err := request.ParseContentRange(h.Peek(fasthttp.HeaderContentRange))
	return err == nil && first == s.next && last == s.last && size == s.size && f.Answer.Length() == last-first+1
}
