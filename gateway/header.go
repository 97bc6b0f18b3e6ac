package gateway

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// The headers of an object that clients get, in the form in which fasthttp
// stores them; and x-amz-meta-* and x-amz-checksum-*.
var (
	headerETagSent        = []byte("ETag")
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
	cacheControlPrivate   = []byte("private")
)

// passes tells whether a header of the origin is the object's own. All others
// are the origin's: its Vary, HSTS, rate limits and ids are not ours to repeat.
// Content-Length is set with the body.
func passes(name []byte) bool {
	switch string(name) {
	case "Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Content-Range",
		"Cache-Control", "Expires", "Age", "Etag", "Last-Modified", "Accept-Ranges",
		"X-Amz-Version-Id", "X-Amz-Website-Redirect-Location":
		return true
	}
	return bytes.HasPrefix(name, prefixMeta) || bytes.HasPrefix(name, prefixChecksum)
}

// describesNotModified tells whether a header of the object is part of a 304 (RFC 9110
// section 15.4.5).
func describesNotModified(name []byte) bool {
	switch string(name) {
	case "ETag", "Last-Modified", "Cache-Control", "Expires":
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

// setObjectHeader sets a header of the object.
func setObjectHeader(h *fasthttp.ResponseHeader, name, value []byte) {
	switch {
	case isList(name):
		h.AddBytesKV(name, value)
	case isEntityLine(name) || len(h.PeekBytes(name)) == 0: // fasthttp has a type by default
		h.SetCanonical(name, value)
	}
}

// copyHeaders copies the object's headers into the response and adds ours. All but
// fasthttp's own fields are set as one header, as setStoredHead does it.
//
// Hot path: no allocation beyond what TestProxyAllocs states.
func (x *exchange) copyHeaders(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	b, ranges, control := x.scratch[:0], false, false
	for name, value := range x.up.Header.All() {
		if !passes(name) {
			continue
		}
		switch string(name) {
		case "Etag":
			name = headerETagSent
		case "Content-Type":
			h.SetCanonical(name, value)
			continue
		case "Content-Encoding":
			if value = withoutAWSChunked(value); len(value) > 0 {
				h.SetCanonical(name, value)
			}
			continue
		case "Accept-Ranges":
			ranges = ranges || len(value) > 0
		case "Cache-Control":
			control = control || len(value) > 0
		}
		b = appendObjectLine(b, name, value)
	}
	if !ranges {
		b = appendLineTo(b, headerAcceptRanges, headerBytes)
	}
	if x.private && !control {
		b = appendLineTo(b, headerCacheControl, cacheControlPrivate)
	}
	if x.bucket.cached != nil {
		b = appendLineTo(b, headerXCache, stringBytes(outcomes[x.how].header))
		b = append(x.appendCacheStatus(append(b, "Cache-Status: "...), nil, x.start), "\r\n"...)
	}
	b = append(b, "X-Request-ID"...)
	x.scratch = b
	h.SetCanonical(b, x.id)
}
