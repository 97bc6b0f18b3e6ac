package origin

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/request"
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
	rest      request.ByteRange
	size      int64       // of the object
	fruitless int         // exchanges in a row that brought too little
	from      *Replica    // the one that sent the body so far; nil: it has not broken off
	ticket    pool.Ticket // of the exchange with it
	failed    replicaSet  // replicas that failed of late
	unfit     replicaSet  // replicas that have not the rest
	changed   bool        // from has another object by now
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
	var s resumption
	for resumable := false; ; {
		n, err := move(moved)
		if moved += n; err == nil || !brokeOff(err) {
			return moved, err
		}
		if s.from == nil {
			s, resumable = f.resumption()
		}
		from, ticket := s.from, s.ticket
		from.Metrics.CountError(pool.ReasonOf(err).String())
		resumed := resumable && f.resume(&s, n, err)
		if !resumed || n < resumeProgress {
			from.Health.Breaker.Fail(ticket, time.Now())
		}
		switch {
		case s.changed && !resumed:
			return moved, fmt.Errorf("%w: %w", errChanged, err)
		case !resumed:
			return moved, err
		}
	}
}

// brokeOff tells whether an error means that the origin has not sent all.
func brokeOff(err error) bool {
	return slices.Contains([]pool.Reason{pool.ReasonTruncated, pool.ReasonReset, pool.ReasonTimeout}, pool.ReasonOf(err))
}

// resumption returns what it takes to continue the body of the response at hand; ok is
// false where that cannot be: only a strong validator tells that the rest is of the
// same bytes (RFC 9110, 8.8.1).
func (f *Fetch) resumption() (s resumption, ok bool) {
	var err error
	s.from, s.ticket = f.replica, f.ticket
	h := &f.Answer.Header
	etag := h.Peek(fasthttp.HeaderETag)
	if f.Bucket.S3.Retry.Resumes == 0 || f.Part() || len(etag) < 2 || etag[0] != '"' {
		return s, false
	}
	f.tag = append(f.tag[:0], etag...)
	s.size = f.Answer.Length()
	s.rest = request.ByteRange{Kind: request.RangeSingle, Last: s.size - 1}
	if h.StatusCode() == fasthttp.StatusPartialContent {
		s.rest.First, s.rest.Last, s.size, err = request.ParseContentRange(h.Peek(fasthttp.HeaderContentRange))
	}
	return s, err == nil && s.rest.First >= 0
}

// resume asks for the rest of a body that broke off by cause after an exchange brought some
// bytes of it, and reports whether the response at hand is that rest.
func (f *Fetch) resume(s *resumption, brought int64, cause error) bool {
	f.Notes.Corrected = false // it may be long since
	s.rest.First += brought
	if brought >= resumeProgress {
		s.fruitless = -1
	}
	for free := brought >= freeProgress; s.fruitless < f.Bucket.S3.Retry.Resumes; free = false {
		s.fruitless++
		r, t := f.resumeAt(s, cause, free)
		if r == nil {
			return false
		}
		if s.fruitless > 1 {
			f.Answer.Close() // others may have the connection meanwhile
			time.Sleep(backoff(s.fruitless - 1))
		}
		err := f.askRest(r, t, s.rest)
		if f.OriginError != nil {
			r.Metrics.CountError(f.OriginError.Reason)
		}
		switch {
		case err != nil, f.OriginError != nil && f.OriginError.Passing():
			s.failed.add(r)
		case f.OriginError != nil: // it does not give it
			s.unfit.add(r)
		case f.continues(s):
			s.from, s.ticket, s.failed = r, f.ticket, 0
			f.Notes.Resumes++
			r.Metrics.Count(observe.Resumes)
			return true
		default: // it has another object
			s.unfit.add(r)
			s.changed = s.changed || r == s.from
		}
	}
	return false
}

// askRest sends the request for the rest of a body, and where another credential or the
// origin's time helps, once more.
func (f *Fetch) askRest(r *Replica, t pool.Ticket, rest request.ByteRange) error {
	w := request.Plan{Range: rest, Condition: "if-match", Value: f.tag}
	err := f.sendTo(r, t.Again(), w, false, time.Now())
	if err == nil && f.remedy(nil) == remedyNow {
		now := time.Now()
		if t, _, v := r.Health.Breaker.Allow(f.hash, now); v == pool.Pass {
			return f.sendTo(r, t.Again(), w, false, now)
		}
	}
	return err
}

// resumeAt returns where to ask for the rest: where it came from, unless that is slow
// or fails, then elsewhere. To ask the same again is charged to its budget, unless it is
// free.
func (f *Fetch) resumeAt(s *resumption, cause error, free bool) (r *Replica, t pool.Ticket) {
	now := time.Now()
	if pool.ReasonOf(cause) != pool.ReasonTimeout && !s.failed.has(s.from) {
		r, t = f.askSame(s, now, free)
	}
	if r == nil {
		except := s.failed | s.unfit
		except.add(s.from)
		r, t, _ = f.Bucket.pick(f.hash, except, now)
	}
	if r == nil {
		s.failed = 0
		r, t = f.askSame(s, now, free)
	}
	return r, t
}

// askSame returns the replica that the body came from, if it may be asked once more.
func (f *Fetch) askSame(s *resumption, now time.Time, free bool) (*Replica, pool.Ticket) {
	if s.unfit.has(s.from) {
		return nil, pool.Ticket{}
	}
	t, _, v := s.from.Health.Breaker.Allow(f.hash, now)
	if v != pool.Pass {
		return nil, pool.Ticket{}
	}
	if !free && !s.from.Health.resumes.Take(f.hash, now) {
		s.from.Health.Breaker.Done(t, pool.ResultNone, now)
		s.from.Metrics.Count(observe.ResumesDenied)
		return nil, pool.Ticket{}
	}
	return s.from, t
}

// continues tells whether the response at hand is the rest of s, of the same object.
func (f *Fetch) continues(s *resumption) bool {
	h := &f.Answer.Header
	if h.StatusCode() != fasthttp.StatusPartialContent || !bytes.Equal(h.Peek(fasthttp.HeaderETag), f.tag) {
		return false
	}
	first, last, size, err := request.ParseContentRange(h.Peek(fasthttp.HeaderContentRange))
	return err == nil && first == s.rest.First && last == s.rest.Last && size == s.size && f.Answer.Length() == last-first+1
}
