package origin

import (
	"bytes"
	"errors"
	"sync"
	"time"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"
	"yatagarasu/sign"

	"github.com/valyala/fasthttp"
)

// unclear tells whether the head of an answer to HEAD, which has no document, has a status
// that means many things: 404 is what versitygw says of an unknown key of the gateway, and
// what all say of a bucket that is not there.
func unclear(h *fasthttp.ResponseHeader) bool {
	switch h.StatusCode() {
	case fasthttp.StatusBadRequest, fasthttp.StatusUnauthorized, fasthttp.StatusForbidden, fasthttp.StatusNotFound:
		return true
	case fasthttp.StatusMethodNotAllowed:
		return !isDeleteMarker(h)
	}
	return false
}

// isDeleteMarker tells whether an answer is about a version that says that the object
// was deleted, see GetObject in the Amazon S3 API Reference.
func isDeleteMarker(h *fasthttp.ResponseHeader) bool {
	return string(h.Peek("X-Amz-Delete-Marker")) == "true"
}

// errUnexplained says that HEAD was refused, and a GET of the same object was not.
// errMended says so too, and that HEAD may be taken now: the GET was signed with another
// credential or time, or it found the object.
var (
	errUnexplained = errors.New("the origin refuses HEAD and not GET")
	errMended      = errors.New("the origin has refused HEAD, and a GET after it not")
)

// lookUpWait is how long a request waits for what another's look-up learns: that may take
// its time because of its object alone.
const lookUpWait = 500 * time.Millisecond

// explain finds out why HEAD was refused, since the answer to it has no document.
//
// If the origin has just taken the same credential for the bucket, a 403 or 404 can only be
// about the object. Otherwise a GET of one byte asks. A request that is refused while
// another one asks with the same credential waits a little for what that learns, which may
// hold for both. So every refusal is explained, with at most one GET for each HEAD.
func (f *Fetch) explain() error {
	r, signer := f.replica, f.signer
	o := refusalOfObject(&f.Answer.Header)
	if f.takeByProof(o) {
		return nil
	}
	l, leads := r.lookUps.join(signer)
	if leads {
		defer r.lookUps.end(l)
		l.err = f.lookUp(o)
		l.refusal, l.doc = f.Refusal, f.doc
		return l.err
	}
	f.Answer.Close() // others may have the connection meanwhile
	timer := time.NewTimer(lookUpWait)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
		return f.lookUp(o)
	}
	switch {
	case f.takeByProof(o):
		return nil
	case unreachable(l.err):
		return l.err
	case l.refusal != nil && l.refusal.Fault == s3error.FaultSetup:
		f.Refusal, f.doc = l.refusal, l.doc
		return nil
	}
	return f.lookUp(o) // the other one's answer was about its object
}

// unreachable tells whether err is about the origin as a whole, whatever it was asked.
func unreachable(err error) bool {
	var open *breakerError
	if errors.As(err, &open) || err == errNoCredential {
		return true
	}
	switch pool.Of(err) {
	case pool.ReasonDNS, pool.ReasonConnect, pool.ReasonTLS:
		return true
	}
	return false
}

// refusalOfObject returns what an answer to HEAD means if it is about the object, and not
// about credential or bucket; nil if that cannot be told, as of one that names a type of
// document that S3 does not send.
func refusalOfObject(h *fasthttp.ResponseHeader) *s3error.Kind {
	kind, _, _ := bytes.Cut(h.ContentType(), []byte(";"))
	switch string(bytes.ToLower(bytes.TrimSpace(kind))) {
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

// takeByProof takes o, which may be nil, for the refusal at hand, if the origin is known to
// take the credential.
func (f *Fetch) takeByProof(o *s3error.Kind) bool {
	if o == nil || !f.replica.proof.holds(f.signer, time.Now()) {
		return false
	}
	f.Refusal, f.doc = o, s3error.Document{}
	return true
}

// lookUp asks for a byte of the object, so that a refusal has a document. o is what HEAD
// was refused with, if that is about the object.
func (f *Fetch) lookUp(o *s3error.Kind) error {
	r, now := f.replica, time.Now()
	t, wait, ok := r.Health.Breaker.Allow(now)
	if !ok {
		return &breakerError{wait}
	}
	signer, skew := f.signer, f.skew
	if err := f.askOne(r, t, request.Plan{Range: request.ByteRange{Kind: request.RangeSingle}}, false, now); err != nil {
		return err
	}
	if f.Answer.Header.StatusCode() == fasthttp.StatusRequestedRangeNotSatisfiable { // of an empty object
		if raw, _ := f.Answer.Document(s3error.DocumentLimit); s3error.Parse(raw).Code != "" {
			r.proof.note(f.signer, time.Now())
		}
	}
	switch {
	case f.Refusal != nil:
		f.noteAnswer()
		return nil
	case !f.corrected && (o == s3error.NoSuchKey || f.signer != signer || (f.skew-skew).Abs() > LeastSkew):
		return errMended // or the object is there by now
	case f.takeByProof(o): // HEAD is refused, GET is not
		return nil
	}
	r.Metrics.Fault(problem.HeadError.Reason)
	return errUnexplained
}

// lookUps are the look-ups under way at a replica, one for each credential. The zero
// value is ready to use. Safe for concurrent use.
type lookUps struct {
	mu       sync.Mutex // guards underWay
	underWay map[*sign.Signer]*lookUp
}

// lookUp is a GET that asks for the reason of a refused HEAD.
type lookUp struct {
	signer  *sign.Signer
	done    chan struct{}    // closed when the following fields are set
	refusal *s3error.Kind    // what the answer means
	doc     s3error.Document // its document
	err     error
}

// join returns the look-up under way for s, or a new one, which the caller leads and has
// to end.
func (l *lookUps) join(s *sign.Signer) (u *lookUp, leads bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if u = l.underWay[s]; u != nil {
		return u, false
	}
	u = &lookUp{signer: s, done: make(chan struct{})}
	if l.underWay == nil {
		l.underWay = make(map[*sign.Signer]*lookUp)
	}
	l.underWay[s] = u
	return u, true
}

// end wakes those who wait for u.
func (l *lookUps) end(u *lookUp) {
	l.mu.Lock()
	delete(l.underWay, u.signer)
	l.mu.Unlock()
	close(u.done)
}
