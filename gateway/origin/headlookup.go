package origin

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"
)

// ambiguous tells whether the status of an answer to HEAD, which has no document, means many
// things: 404 is what versitygw says of an unknown key of the gateway, and
// what all say of a bucket that is not there.
func ambiguous(h *fasthttp.ResponseHeader) bool {
	status := h.StatusCode()
	return slices.Contains([]int{fasthttp.StatusBadRequest, fasthttp.StatusUnauthorized, fasthttp.StatusForbidden, fasthttp.StatusNotFound}, status) ||
		status == fasthttp.StatusMethodNotAllowed && !isDeleteMarker(h)
}

// isDeleteMarker tells whether an answer is about a version that says that the object
// was deleted, see GetObject in the Amazon S3 API Reference.
func isDeleteMarker(h *fasthttp.ResponseHeader) bool {
	return string(h.Peek("X-Amz-Delete-Marker")) == "true"
}

// lookUpWait is how long a request waits for what another's look-up learns: that may take
// its time because of its object alone.
const lookUpWait = 500 * time.Millisecond

// diagnoseHead finds out why HEAD was refused, since the answer to it has no document.
//
// If the origin has just taken the same credential for the bucket, a 403 or 404 can only be
// about the object. Otherwise a GET of one byte asks. A request that is refused while
// another one asks with the same credential waits a little for what that learns, which may
// hold for both. So every error is diagnosed, with at most one GET for each HEAD.
func (f *Fetch) diagnoseHead() error {
	r, signer := f.replica, f.signer
	kind := objectError(&f.Answer.Header)
	if f.trustStatus(kind) {
		return nil
	}
	l := &lookUp{done: make(chan struct{})}
	if other, underWay := r.lookUps.LoadOrStore(signer, l); underWay {
		l = other.(*lookUp)
	} else {
		defer func() {
			r.lookUps.Delete(signer)
			close(l.done)
		}()
		l.err = f.lookUp(kind)
		l.kind, l.doc = f.OriginError, f.doc
		return l.err
	}
	f.Answer.Close() // others may have the connection meanwhile
	select {
	case <-l.done:
	case <-time.After(lookUpWait):
		return f.lookUp(kind)
	}
	switch {
	case f.trustStatus(kind):
		return nil
	case unreachable(l.err):
		return l.err
	case l.kind != nil && l.kind.Fault == s3error.FaultSetup:
		f.OriginError, f.doc = l.kind, l.doc
		return nil
	}
	return f.lookUp(kind) // the other one's answer was about its object
}

// unreachable tells whether err is about the origin as a whole, whatever it was asked for.
func unreachable(err error) bool {
	own, ok := errors.AsType[*failure](err)
	return ok && own.problem != problem.HeadError && own.problem.Reason != problem.ObjectFails.Reason || slices.Contains([]pool.Reason{pool.ReasonDNS, pool.ReasonConnect, pool.ReasonTLS}, pool.ReasonOf(err))
}

// objectError returns the kind of an answer to HEAD if it is about the object, and not about
// credential or bucket; nil if that is not certain, as when the answer names a type of
// document that S3 does not send.
func objectError(h *fasthttp.ResponseHeader) *s3error.Kind {
	media, _, _ := bytes.Cut(h.ContentType(), []byte(";"))
	switch string(bytes.ToLower(bytes.TrimSpace(media))) {
	case "", "application/xml", "text/xml":
	default:
		if len(h.Peek("X-Amz-Request-Id")) == 0 {
			return nil
		}
	}
	switch h.StatusCode() {
	case fasthttp.StatusForbidden:
		return s3error.Denied // S3 says so of what does not exist, too, to who may not list
	case fasthttp.StatusNotFound:
		return s3error.NoSuchKey
	}
	return nil
}

// trustStatus takes kind, which may be nil, for the error at hand, if the origin is known to
// accept the credential: then the status alone says enough.
func (f *Fetch) trustStatus(kind *s3error.Kind) bool {
	if kind == nil || !f.replica.proof.holds(f.signer, time.Now()) {
		return false
	}
	f.OriginError, f.doc = kind, s3error.Document{}
	return true
}

// lookUp asks for a byte of the object, so that an error has a document. kind is that of the
// answer to HEAD, if it is about the object.
func (f *Fetch) lookUp(kind *s3error.Kind) error {
	r, now := f.replica, time.Now()
	t, wait, v := r.Health.Breaker.Allow(f.hash, now)
	if v != pool.Pass {
		return (&refusal{v, wait}).failure()
	}
	signer, skew := f.signer, f.skew
	if err := f.sendTo(r, t, request.Plan{Range: request.ByteRange{Kind: request.RangeSingle}}, false, now); err != nil {
		return err
	}
	if f.Answer.Header.StatusCode() == fasthttp.StatusRequestedRangeNotSatisfiable { // of an empty object
		if raw, _ := f.Answer.Document(s3error.DocumentLimit); s3error.Parse(raw).Code != "" {
			r.proof.note(f.signer, time.Now())
		}
	}
	switch {
	case f.OriginError != nil:
		f.noteAnswer()
		return nil
	case !f.Notes.Corrected && (kind == s3error.NoSuchKey || f.signer != signer || (f.skew-skew).Abs() > LeastSkew):
		return errHeadMended // or the object is there by now
	case f.trustStatus(kind): // HEAD is refused, GET is not
		return nil
	}
	r.Metrics.CountError(problem.HeadError.Reason)
	return errHeadRefused
}

// lookUp is a GET that asks for the reason of a refused HEAD.
type lookUp struct {
	done chan struct{}    // closed when the following fields are set
	kind *s3error.Kind    // kind of the answer if it is an error, else nil
	doc  s3error.Document // document of that error
	err  error
}
