package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/pool"
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
	from             *replica
	ticket           pool.Ticket // that it was asked with
	failed, unfit    replicaSet  // of late; for good
	changed          bool        // where it came from, there is another object now
}

var errChanged = errors.New("the object has changed since its body began")

// relay sends the body of the response at hand to the client, and where the origin
// breaks off, goes on with the rest of it.
func (f *fetch) relay(client net.Conn) (sent int64, err error) {
	return f.withResume(func(int64) (int64, error) { return f.up.Stream(client, f.bucket.shared.pace) })
}

// fill reads the body of the response at hand into body, which has its length, and where
// the origin breaks off, goes on with the rest of it. filled is told how much is there.
func (f *fetch) fill(body []byte, filled func(n int)) error {
	_, err := f.withResume(func(from int64) (n int64, err error) {
		err = f.up.Fill(f.bucket.shared.pace, body[from:], func(have int) {
			n = int64(have)
			filled(int(from) + have)
		})
		return n, err
	})
	return err
}

// withResume has move take the body of the response at hand from a byte on, as often as
// it breaks off and can be resumed. move returns how many bytes it moved.
func (f *fetch) withResume(move func(from int64) (int64, error)) (moved int64, err error) {
	n, err := move(0)
	if err == nil || !brokeOff(err) {
		return n, err
	}
	s, ok := f.resumption()
	for moved = n; ; moved += n {
		s.from.metrics.fault(pool.Of(err).String())
		s.next, s.brought = s.next+n, n
		from, ticket := s.from, s.ticket
		resumed := ok && f.resume(&s, err)
		if !resumed || n < resumeProgress {
			from.health.breaker.Fail(ticket, time.Now())
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
func (f *fetch) resumption() (s resumption, ok bool) {
	s.from, s.ticket = f.replica, f.ticket
	h := &f.up.Header
	etag := h.Peek(fasthttp.HeaderETag)
	if f.bucket.s3.Retry.Resumes == 0 || f.part() || len(etag) < 2 || etag[0] != '"' {
		return s, false
	}
	f.tag = append(f.tag[:0], etag...)
	s.size = f.up.Length()
	s.last = s.size - 1
	if h.StatusCode() == fasthttp.StatusPartialContent {
		first, last, size, err := parseContentRange(h.Peek(fasthttp.HeaderContentRange))
		if err != nil || first < 0 {
			return s, false
		}
		s.next, s.last, s.size = first, last, size
	}
	return s, true
}

// resume asks for the rest of a body that broke off by cause, and reports whether the
// response at hand is it.
func (f *fetch) resume(s *resumption, cause error) bool {
	f.corrected = false // it may be long since
	for {
		if s.fruitless++; s.brought >= resumeProgress {
			s.fruitless = 0
		}
		free := s.brought >= freeProgress
		s.brought = 0
		if s.fruitless > f.bucket.s3.Retry.Resumes {
			return false
		}
		r, t := f.resumeAt(s, cause, free)
		if r == nil {
			return false
		}
		if s.fruitless > 1 {
			f.up.Close() // others may have the connection meanwhile
			time.Sleep(backoff(s.fruitless - 1))
		}
		err := f.askRest(r, t, byteRange{kind: rangeSingle, first: s.next, last: s.last})
		if f.refusal != nil {
			r.metrics.fault(f.refusal.reason)
		}
		switch {
		case err != nil, f.refusal != nil && f.refusal.passing():
			s.failed.add(r)
		case f.refusal != nil: // it does not give it
			s.unfit.add(r)
		case f.continues(s):
			s.from, s.ticket, s.failed = r, f.ticket, 0
			f.told.resumes++
			r.metrics.extra(extraResume)
			return true
		default: // it has another object
			s.unfit.add(r)
			s.changed = s.changed || r == s.from
		}
	}
}

// askRest sends the request for the rest of a body, and where another credential or the
// origin's time helps, once more.
func (f *fetch) askRest(r *replica, t pool.Ticket, rest byteRange) error {
	w := forward{rng: rest, condition: "if-match", value: f.tag}
	err := f.askOne(r, t, w, false, time.Now())
	if err != nil || f.remedy(nil) != remedyNow {
		return err
	}
	now := time.Now()
	t, _, ok := r.health.breaker.Allow(now)
	if !ok {
		return nil
	}
	return f.askOne(r, t, w, false, now)
}

// resumeAt returns where to ask for the rest: where it came from, unless that is slow
// or fails, then elsewhere. To ask the same again is charged to its budget, unless it is
// free.
func (f *fetch) resumeAt(s *resumption, cause error, free bool) (*replica, pool.Ticket) {
	now := time.Now()
	same := func() (*replica, pool.Ticket) {
		if s.unfit.has(s.from) {
			return nil, pool.Ticket{}
		}
		t, _, ok := s.from.health.breaker.Allow(now)
		if ok && !free && !s.from.health.resumes.Take(now) {
			s.from.health.breaker.Done(t, pool.OutcomeNone, now)
			s.from.metrics.extra(extraResumeDenied)
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
	if r, t, _ := f.bucket.pick(but, now); r != nil {
		return r, t
	}
	s.failed = 0
	return same()
}

// continues tells whether the response at hand is the rest of s, of the same object.
func (f *fetch) continues(s *resumption) bool {
	h := &f.up.Header
	if h.StatusCode() != fasthttp.StatusPartialContent || !bytes.Equal(h.Peek(fasthttp.HeaderETag), f.tag) {
		return false
	}
	first, last, size, err := parseContentRange(h.Peek(fasthttp.HeaderContentRange))
	return err == nil && first == s.next && last == s.last && size == s.size && f.up.Length() == last-first+1
}
