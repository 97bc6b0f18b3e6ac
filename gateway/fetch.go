package gateway

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/config"
	"yatagarasu/sign"
)

// forward is what of a request's conditions goes to the origin. At most one
// precondition does, since origins disagree on how they combine; the gateway
// evaluates all of them on the answer.
type forward struct {
	ranged    bool   // Range, as exchange.rangeV
	condition string // lower-case header name; empty: none
	value     []byte
	// ifRange marks that condition stands for If-Range: where it fails, the
	// whole object is the answer.
	ifRange bool
}

// fetch answers from the origin.
func (x *exchange) fetch(ctx *fasthttp.RequestCtx) {
	x.conn = ctx.Conn()
	rng := x.readConditions(&ctx.Request.Header)
	if rng.kind == rangeUnsatisfiable {
		x.validateByHead(ctx, problemRange)
		return
	}
	x.fetchFor(ctx, x.plan(rng), rng)
}

// fetchFor answers from the origin, asked for f.
func (x *exchange) fetchFor(ctx *fasthttp.RequestCtx, f forward, rng byteRange) {
	if err := x.send(f, x.method == methodHead); err != nil {
		x.failUpstream(ctx, err)
		return
	}
	if f.ifRange && !x.ifRangeHeld() {
		// The object changed since the client's part: it gets the whole one.
		x.fetchWhole(ctx)
		return
	}
	x.answer(ctx, f, rng)
}

// answer turns the origin's response into the client's.
func (x *exchange) answer(ctx *fasthttp.RequestCtx, f forward, rng byteRange) {
	if x.refusal != nil {
		x.answerError(ctx)
		return
	}
	switch code := x.up.Header.StatusCode(); code {
	case fasthttp.StatusOK, fasthttp.StatusPartialContent:
		x.answerObject(ctx, f, rng)
	case fasthttp.StatusNotModified:
		switch {
		case f.condition != "if-none-match" && f.condition != "if-modified-since":
			x.fail(ctx, problemProtocol)
		case len(x.up.Header.Peek(fasthttp.HeaderETag)) == 0:
			x.validateByHead(ctx, nil) // some origins send a 304 without validators
		default:
			x.answerNotModified(ctx)
		}
	case fasthttp.StatusPreconditionFailed:
		if f.condition == "if-match" {
			x.fail(ctx, problemFailed)
		} else {
			x.fail(ctx, problemProtocol)
		}
	case fasthttp.StatusRequestedRangeNotSatisfiable:
		switch {
		case f.ranged:
			x.answerUnsatisfiable(ctx)
		case x.part():
			x.answerError(ctx) // no such part
		default:
			x.fail(ctx, problemProtocol)
		}
	default:
		x.answerError(ctx)
	}
}

// readConditions takes the preconditions and the range out of the head. Range
// means nothing on other methods than GET (RFC 9110 section 14.2), If-Range
// nothing without Range.
func (x *exchange) readConditions(h *fasthttp.RequestHeader) byteRange {
	if !x.conditional {
		return byteRange{}
	}
	x.pre.ifMatch = joinLines(h, fasthttp.HeaderIfMatch)
	x.pre.ifNoneMatch = joinLines(h, fasthttp.HeaderIfNoneMatch)
	x.pre.ifModifiedSince = h.Peek(fasthttp.HeaderIfModifiedSince)
	x.pre.ifUnmodifiedSince = h.Peek(fasthttp.HeaderIfUnmodifiedSince)
	if x.method != methodGet {
		return byteRange{}
	}
	v := h.Peek(fasthttp.HeaderRange)
	if v == nil || x.part() {
		return byteRange{} // S3 takes either a range or a part
	}
	rng := parseRange(v)
	if rng.kind == rangeMulti {
		return byteRange{} // answered by the whole object, RFC 9110 section 14.2
	}
	x.pre.ifRange = h.Peek(fasthttp.HeaderIfRange)
	return rng
}

// part tells whether the request asks for a part of a multipart object, which
// S3 answers like a range: by 206 with Content-Range.
func (x *exchange) part() bool { return bytes.HasPrefix(x.query, partNumber) }

var partNumber = []byte("partNumber=") // first in a canonical query

// joinLines returns the value of a list header; several lines are one list.
func joinLines(h *fasthttp.RequestHeader, name string) []byte {
	first := h.Peek(name)
	if first == nil {
		return nil
	}
	lines := h.PeekAll(name)
	if len(lines) == 1 {
		return first
	}
	var list []byte
	for i, l := range lines {
		if i > 0 {
			list = append(list, ", "...)
		}
		list = append(list, l...)
	}
	return list
}

// plan decides what is sent to the origin: the range, and of the preconditions
// the one that is evaluated first, if every origin understands it alike.
func (x *exchange) plan(rng byteRange) forward {
	p := &x.pre
	f := forward{ranged: rng.kind == rangeSingle}
	if f.ranged {
		x.rangeV = appendRange(x.rangeV[:0], rng)
	}
	if f.ranged && p.ifRange != nil {
		if tag, weak, ok := singleTag(p.ifRange); ok && !weak {
			return forward{ranged: true, condition: "if-match", value: tag, ifRange: true}
		}
		if isHTTPDate(p.ifRange) {
			// Not sent as If-Unmodified-Since: origins whose clock has fractions
			// of a second find an object newer than its own Last-Modified.
			return forward{ranged: true, ifRange: true}
		}
		f.ranged = false // a weak or malformed validator never holds
	}
	switch {
	case p.ifMatch != nil:
		if tag, weak, ok := singleTag(p.ifMatch); ok && !weak {
			f.condition, f.value = "if-match", tag
		}
	case isHTTPDate(p.ifUnmodifiedSince):
		// Evaluated here alone, see above.
	case p.ifNoneMatch != nil:
		if tag, _, ok := singleTag(p.ifNoneMatch); ok {
			f.condition, f.value = "if-none-match", tag // compared weakly: the opaque tag is enough
		}
	case isHTTPDate(p.ifModifiedSince):
		t, _ := cache.ParseDate(p.ifModifiedSince)
		x.date = cache.AppendDate(x.date[:0], t)
		f.condition, f.value = "if-modified-since", x.date
	}
	return f
}

func isHTTPDate(v []byte) bool {
	if v == nil {
		return false
	}
	_, ok := cache.ParseDate(v)
	return ok
}

// ifRangeHeld tells whether the answer to a request with If-Range may be used.
func (x *exchange) ifRangeHeld() bool {
	switch x.up.Header.StatusCode() {
	case fasthttp.StatusPreconditionFailed:
		return false
	case fasthttp.StatusPartialContent:
		etag, modified := x.validators()
		return ifRangeHolds(x.pre.ifRange, etag, modified)
	}
	return true
}

// validators returns the validators of the origin's answer.
func (x *exchange) validators() (etag []byte, modified int64) {
	h := &x.up.Header
	modified, ok := cache.ParseDate(h.Peek(fasthttp.HeaderLastModified))
	if !ok {
		modified = 0
	}
	return h.Peek(fasthttp.HeaderETag), modified
}

// validateByHead asks for the object's headers alone and answers by them: with
// what the preconditions say, or, where they let the request proceed, with
// otherwise.
func (x *exchange) validateByHead(ctx *fasthttp.RequestCtx, otherwise *problem) {
	if err := x.send(forward{}, true); err != nil {
		x.failUpstream(ctx, err)
		return
	}
	if x.refusal != nil || x.up.Header.StatusCode() != fasthttp.StatusOK {
		x.answerError(ctx)
		return
	}
	etag, modified := x.validators()
	switch x.pre.evaluate(etag, modified) {
	case notModified:
		x.answerNotModified(ctx)
	case preconditionFailed:
		x.fail(ctx, problemFailed)
	default:
		switch {
		case otherwise != problemRange:
			x.fail(ctx, problemProtocol) // a 304 that no validator bears out
		case x.pre.ifRange != nil && !ifRangeHolds(x.pre.ifRange, etag, modified):
			x.fetchWhole(ctx)
		default:
			x.failRange(ctx, x.up.Length())
		}
	}
}

// fetchWhole answers with the whole object, because If-Range does not hold.
func (x *exchange) fetchWhole(ctx *fasthttp.RequestCtx) {
	x.pre.ifRange = nil
	x.fetchFor(ctx, x.plan(byteRange{}), byteRange{})
}

// fetchAgain answers from the origin once more, because the body failed before the
// client had any of it; it reports whether it did.
func (x *exchange) fetchAgain(ctx *fasthttp.RequestCtx, f forward, rng byteRange, err error) bool {
	if !x.mayRepeat(err) {
		return false
	}
	if f.ranged {
		x.rangeV = appendRange(x.rangeV[:0], rng)
	}
	x.fetchFor(ctx, f, rng)
	return true
}

// appendKeyPath appends the encoded path of the object at the origin.
func (x *exchange) appendKeyPath(dst []byte) []byte {
	dst = append(dst, x.replica.origin.basePath...)
	dst = append(dst, '/')
	return sign.AppendPath(dst, x.key)
}

// failUpstream answers for an exchange that brought no response.
func (x *exchange) failUpstream(ctx *fasthttp.RequestCtx, err error) {
	x.cause = err
	x.reason = reasonOf(err)
	x.fail(ctx, problemOf(err))
}

// requestPayer tells S3 that the holder of the credential pays, not the bucket's owner
// ("Using Requester Pays buckets" in the Amazon S3 User Guide).
var requestPayer = sign.Header{Name: "x-amz-request-payer", Value: []byte(config.PayerRequester)}

// appendHead appends a request head, signed unless the replica is asked anonymously.
// What is signed is byte for byte what is sent; nothing of the client's request is in it
// but the key and what the query allow-list, Range and one precondition let through, and
// the trace of a trusted proxy. headers are in the order of their names, and may be
// appended to. now is by the replica's clock.
func (r *replica) appendHead(dst []byte, signer *sign.Signer, method string, path, query []byte, headers []sign.Header, trace traceparent, now time.Time) []byte {
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, path...)
	if len(query) > 0 {
		dst = append(dst, '?')
		dst = append(dst, query...)
	}
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, r.host...)
	dst = append(dst, "\r\nUser-Agent: yatagarasu\r\nAccept-Encoding: identity\r\n"...)
	if len(trace) > 0 {
		dst = append(append(append(dst, "traceparent: "...), trace...), "\r\n"...) // not signed, like the two above
	}
	if r.s3.RequestPayer != "" {
		headers = append(headers, requestPayer) // the last by name
	}
	for i := range headers {
		dst = append(dst, headers[i].Name...)
		dst = append(dst, ": "...)
		dst = append(dst, headers[i].Value...)
		dst = append(dst, "\r\n"...)
	}
	q := sign.Request{Method: method, Host: r.host, Path: path, Query: query, Headers: headers}
	dst = signer.AppendHeaders(dst, &q, now)
	return append(dst, "\r\n"...)
}
