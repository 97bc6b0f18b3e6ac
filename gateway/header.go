package gateway

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
)

// The headers of an object that clients get, in the form in which fasthttp
// stores them; and x-amz-meta-* and x-amz-checksum-*.
var (
	headerETagSent        = []byte("ETag")
	headerContentType     = []byte(fasthttp.HeaderContentType)
	headerAcceptRanges    = []byte("Accept-Ranges")
	headerBytes           = []byte("bytes")
	awsChunked            = []byte("aws-chunked")
	prefixMeta            = []byte("X-Amz-Meta-")
	prefixChecksum        = []byte("X-Amz-Checksum-")
	headerRequestID       = []byte("X-Request-ID")
	headerReferrerPolicy  = []byte("Referrer-Policy")
	headerRetryAfter      = []byte("Retry-After")
	referrerPolicyNothing = []byte("no-referrer")
	headerCacheControl    = []byte("Cache-Control")
	headerDate            = []byte("Date")
	cacheControlPrivate   = []byte("private")
)

// passes tells whether a header of the origin is the object's own. All others
// are the origin's: its Vary, HSTS, rate limits and ids are not ours to repeat.
// Content-Length is set with the body.
func passes(name []byte) bool {
	switch string(name) {
	case "Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Content-Range",
		"Cache-Control", "Expires", "Date", "Age", "Etag", "Last-Modified", "Accept-Ranges",
		"X-Amz-Version-Id", "X-Amz-Website-Redirect-Location", "X-Amz-Mp-Parts-Count":
		return true
	}
	return bytes.HasPrefix(name, prefixMeta) || describesWhole(name)
}

// describesWhole tells whether a header of an object is about all of its bytes: an SDK
// that finds it with a part refuses that.
func describesWhole(name []byte) bool { return bytes.HasPrefix(name, prefixChecksum) }

// describesNotModified tells whether a header of the object is part of a 304 (RFC 9110
// section 15.4.5).
func describesNotModified(name []byte) bool {
	switch string(name) {
	case "ETag", "Last-Modified", "Cache-Control", "Expires", "Date":
		return true
	}
	return false
}

// withoutAWSChunked drops aws-chunked from a Content-Encoding. It is the framing
// of an upload, see "Signature calculations for the authorization header:
// transferring payload in multiple chunks" in the Amazon S3 API Reference; some
// servers store it with the object, which no client could then decode.
func withoutAWSChunked(v []byte) []byte {
	if len(v) < len(awsChunked) {
		return v
	}
	var kept []byte
	found := false
	for coding := range bytes.SplitSeq(v, []byte(",")) {
		coding = bytes.Trim(coding, " \t")
		switch {
		case bytes.EqualFold(coding, awsChunked):
			found = true
		case len(coding) > 0:
			if len(kept) > 0 {
				kept = append(kept, ", "...)
			}
			kept = append(kept, coding...)
		}
	}
	if !found {
		return v
	}
	return kept
}

// isList tells whether a header of the object is a list, which may come in several
// lines, of which none must get lost. Of any other the first line counts, by which the
// gateway decides, too.
func isList(name []byte) bool {
	return string(name) == "Cache-Control" || string(name) == "Content-Language"
}

// appendObjectLine appends a line of the object's head to those before it, unless one of
// that name counts already, or it says nothing: only S3's own metadata may be empty, and a
// Date must be one.
func appendObjectLine(head, name, value []byte) []byte {
	if len(value) == 0 && !bytes.HasPrefix(name, prefixMeta) || !isList(name) && hasStored(head, name) {
		return head
	}
	if string(name) == "Date" {
		if _, ok := cache.ParseDate(value); !ok {
			return head
		}
	}
	return appendLineTo(head, name, value)
}

// setLines sets b, lines of a head, and the request's id as one header, whose name is
// everything up to the last value: fasthttp writes a canonical name as it is, and
// setting a dozen headers one by one is a tenth of the CPU time of a small hit. x.scratch
// is b's memory from then on.
//
// None of the values may hold a line break. The object's were parsed from lines, of
// which fasthttp refuses those with a bare CR and joins those that are folded; those of
// this process have none.
//
// Among the lines is Date, as fasthttp would write none; see complete.
func (x *exchange) setLines(h *fasthttp.ResponseHeader, b []byte) {
	x.dated = true
	x.scratch = append(b, "X-Request-ID"...)
	h.SetCanonical(x.scratch, x.id)
}

// complete adds to an answer of the gateway's own what all have: when it was made, and
// the request's id. An object has the origin's Date (RFC 9110 section 6.6.1).
func (x *exchange) complete(ctx *fasthttp.RequestCtx) {
	if !x.dated {
		x.setLines(&ctx.Response.Header, appendDateLine(x.scratch[:0], time.Now()))
	}
}

func appendDateLine(b []byte, now time.Time) []byte {
	return append(cache.AppendDate(append(b, "Date: "...), now.Unix()), "\r\n"...)
}

// withDate returns the head of an answer that was just received with a Date: its own, else
// the time now (RFC 9110 section 6.6.1).
func withDate(head []byte) []byte {
	if hasStored(head, headerDate) {
		return head
	}
	return appendDateLine(head, time.Now())
}

// copyHeaders copies the object's headers into the response and adds ours.
//
// Hot path: no allocation beyond what TestProxyAllocs states.
func (x *exchange) copyHeaders(ctx *fasthttp.RequestCtx) {
	x.setLines(&ctx.Response.Header, x.appendOwn(x.appendObject(x.scratch[:0], false)))
}

// appendOwn appends the lines that the gateway adds to those of an object from the
// origin.
func (x *exchange) appendOwn(b []byte) []byte {
	if x.private && !hasStored(b, headerCacheControl) {
		b = appendLineTo(b, headerCacheControl, cacheControlPrivate)
	}
	if x.bucket.cached != nil {
		b = appendLineTo(b, headerXCache, stringBytes(outcomes[x.how].header))
		b = append(x.appendCacheStatus(append(b, "Cache-Status: "...), nil, x.start), "\r\n"...)
	}
	return b
}
