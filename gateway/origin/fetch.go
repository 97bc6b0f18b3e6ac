package origin

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"
	"yatagarasu/sign"
)

// Fetch is one request to a bucket's replicas, for an object or a page of a list, with its tries,
// and the answer to it. It has copies of all that it needs of a client's request, so it may
// outlive that.
//
// Use Bucket.NewFetch or NewList, and Release at the end, which closes the connection to
// the origin. A fetch has one owner at a time: the exchange of the client's request, the
// flight that fills the cache, or a hedge. Not safe for concurrent use.
type Fetch struct {
	*attempt
	Client   uint64 // key of the client that it is for, by which connections are shared; 0: the gateway itself
	Bucket   *Bucket
	Notes    *observe.Upstream // of the client's request, or ownNotes
	ownNotes observe.Upstream

	key   []byte   // of the object, or of the folder that is listed; decoded
	hash  pool.Key // see hashKey
	query []byte   // canonical
	id    []byte   // X-Request-ID of the client's request, for the log
	trace []byte   // traceparent to pass on; empty: none

	listed    int    // the most entries of the page that is asked for, of the folder key; 0: an object is
	after     []byte // key that the page begins behind; empty: with the first
	listQuery []byte // canonical

	head       []byte // request head
	keyPath    []byte // encoded path
	rangeValue []byte
	tag        []byte         // ETag of a body that broke off
	headers    [3]sign.Header // a condition, the range, and who pays
}

// attempt is the latest request of a fetch to a replica, and its answer. A hedge that wins
// gives its own attempt to the fetch.
type attempt struct {
	Answer      *pool.Exchange
	replica     *Replica
	ticket      pool.Ticket      // of the replica's breaker
	signer      *sign.Signer     // of the request
	skew        time.Duration    // of the clock it was signed by, against this one
	OriginError *s3error.Kind    // kind of the answer if it is an error, else nil
	doc         s3error.Document // the error's document
}

// NewFetch returns a fetch of an object, with copies of the arguments. notes, which may be
// nil, are those of the request that waits for it; the caller owns them. Fetches that follow
// each other for one request share them, so that none asks again who has failed it, or more
// often than allowed.
func (b *Bucket) NewFetch(notes *observe.Upstream, key, query, id, trace []byte) *Fetch {
	f, _ := b.Shared.fetches.Get().(*Fetch)
	if f == nil {
		f = &Fetch{attempt: &attempt{Answer: new(pool.Exchange)}}
	}
	f.Bucket = b
	if f.Notes = notes; notes == nil {
		f.Notes = &f.ownNotes
	}
	f.key = append(f.key, key...)
	f.query = append(f.query, query...)
	f.hashKey()
	f.id = append(f.id, id...)
	if b.S3.ForwardTraceparent {
		f.trace = append(f.trace, trace...)
	}
	return f
}

// hashKey sets the hash of the object. Some servers drop empty segments: what they have under
// one key must not count as many objects, so the spellings of a key with more slashes count as
// one, and so do the versions that a query names. But one of them may fail where others do not.
//
// Hot path: no allocation, once f has been used.
func (f *Fetch) hashKey() {
	if !bytes.HasPrefix(f.key, twoSlashes[:1]) && !bytes.Contains(f.key, twoSlashes) {
		f.hash = pool.KeyOf(f.key, f.key, f.query)
		return
	}
	f.keyPath = f.keyPath[:0] // not needed before it is signed
	for i, c := range f.key {
		if c != '/' || i > 0 && f.key[i-1] != '/' {
			f.keyPath = append(f.keyPath, c)
		}
	}
	f.hash = pool.KeyOf(f.keyPath, f.key, f.query)
}

var twoSlashes = []byte("//")

// Detach has f go on without the request that waited for it, as far as that has come.
func (f *Fetch) Detach() {
	f.ownNotes.Tries, f.ownNotes.Failed, f.ownNotes.Corrected = f.Notes.Tries, f.Notes.Failed, f.Notes.Corrected
	f.Notes = &f.ownNotes
}

// maxKept bounds each buffer that a fetch keeps for the next request, in bytes.
const maxKept = 16 << 10

// Release closes the connection to the origin, unless it can be kept, and gives f back.
func (f *Fetch) Release() {
	s := f.Bucket.Shared
	f.Answer.Close()
	f.Answer.SetInterruptible(false)
	*f.attempt = attempt{Answer: f.Answer}
	f.Client, f.Bucket, f.Notes, f.ownNotes = 0, nil, nil, observe.Upstream{ID: f.ownNotes.ID[:0]}
	f.headers, f.listed = [3]sign.Header{}, 0
	for _, b := range [...]*[]byte{&f.key, &f.query, &f.id, &f.trace, &f.after, &f.listQuery, &f.head, &f.keyPath, &f.rangeValue, &f.tag} {
		if *b = (*b)[:0]; cap(*b) > maxKept {
			*b = nil
		}
	}
	s.fetches.Put(f)
}

// Part tells whether the request asks for a part of a multipart object, which
// S3 answers like a range: by 206 with Content-Range.
func (f *Fetch) Part() bool { return IsPart(f.query) }

// IsPart tells whether a canonical query, in which partNumber comes first, asks for a part.
func IsPart(query []byte) bool { return bytes.HasPrefix(query, []byte("partNumber=")) }

// ContentType returns the type of the object that the answer is about, by its key and by what
// the origin says; nil if neither settles it.
func (f *Fetch) ContentType() []byte {
	return f.Bucket.Types.Of(f.key, f.Answer.Header.Peek(fasthttp.HeaderContentType))
}

// Validators returns the validators of the origin's answer.
func (f *Fetch) Validators() (etag []byte, modified int64) {
	h := &f.Answer.Header
	modified, ok := cache.ParseDate(h.Peek(fasthttp.HeaderLastModified))
	if !ok {
		modified = 0
	}
	return h.Peek(fasthttp.HeaderETag), modified
}

// IfRangeHeld tells whether the client's If-Range holds for the origin's answer to a plan that it
// is in.
func (f *Fetch) IfRangeHeld(v []byte) bool {
	switch f.Answer.Header.StatusCode() {
	case fasthttp.StatusPreconditionFailed:
		return false
	case fasthttp.StatusPartialContent:
		etag, modified := f.Validators()
		return request.IfRangeHolds(v, etag, modified)
	}
	return true
}

// HasRange tells whether the origin's answer, a 206, has the range of a plan. head says that it
// answers a HEAD.
func (f *Fetch) HasRange(plan request.Plan, head bool) bool {
	v := f.Answer.Header.Peek(fasthttp.HeaderContentRange)
	if head && v == nil {
		return f.Part() // the header may be left out, as Content-Length may be
	}
	first, last, size, err := request.ParseContentRange(v)
	if n := f.Answer.Length(); err != nil || first < 0 || last-first+1 != n && !(head && n < 0) {
		return false
	}
	if f.Part() {
		return true
	}
	wantFirst, wantLast, ok := plan.Range.Resolve(size)
	return ok && first == wantFirst && last == wantLast
}
