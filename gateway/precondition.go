package gateway

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"
)

// preconditions are the conditional headers of a request; nil: absent. Several
// lines of a list header are one value.
type preconditions struct {
	ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince, ifRange []byte
}

// empty tells whether no precondition is given; If-Range is none.
func (p *preconditions) empty() bool {
	return p.ifMatch == nil && p.ifNoneMatch == nil && p.ifModifiedSince == nil && p.ifUnmodifiedSince == nil
}

// verdict is what preconditions make of a GET or HEAD request.
type verdict uint8

const (
	proceed            verdict = iota
	notModified                // 304
	preconditionFailed         // 412
)

// evaluate applies the preconditions to an object that exists, in the order of
// RFC 9110 section 13.2.2. modified is Last-Modified in Unix seconds, 0 if
// unknown. Conditions that cannot be evaluated are ignored.
func (p *preconditions) evaluate(etag []byte, modified int64) verdict {
	if p.ifMatch != nil {
		if !matchesTag(p.ifMatch, etag, true) {
			return preconditionFailed
		}
	} else if t, ok := parseHTTPDate(p.ifUnmodifiedSince); ok && modified > 0 && modified > t {
		return preconditionFailed
	}
	if p.ifNoneMatch != nil {
		if matchesTag(p.ifNoneMatch, etag, false) {
			return notModified
		}
	} else if t, ok := parseHTTPDate(p.ifModifiedSince); ok && modified > 0 && modified <= t {
		return notModified
	}
	return proceed
}

// ifRangeHolds tells whether a part may be sent to a client that has the rest
// under validator v, RFC 9110 section 13.1.5.
func ifRangeHolds(v, etag []byte, modified int64) bool {
	if tag, weak, ok := singleTag(v); ok {
		return !weak && bytes.Equal(tag, etag)
	}
	t, ok := parseHTTPDate(v)
	return ok && modified > 0 && t == modified
}

// matchesTag tells whether list, "*" or a list of entity tags, has etag, by
// strong or weak comparison (RFC 9110 section 8.8.3.2). A malformed list has
// nothing.
func matchesTag(list, etag []byte, strong bool) bool {
	list = bytes.Trim(list, " \t")
	if string(list) == "*" {
		return true
	}
	opaque, weak := bytes.CutPrefix(etag, []byte("W/"))
	found := false
	for len(list) > 0 {
		if list[0] == ',' || list[0] == ' ' || list[0] == '\t' {
			list = list[1:]
			continue
		}
		tag, tagWeak, rest, ok := cutTag(list)
		if !ok {
			return false
		}
		if bytes.Equal(tag, opaque) && !(strong && (weak || tagWeak)) {
			found = true
		}
		if rest = bytes.TrimLeft(rest, " \t"); len(rest) > 0 && rest[0] != ',' {
			return false
		}
		list = rest
	}
	return found
}

// cutTag takes one entity tag from the front of b; tag is without W/.
func cutTag(b []byte) (tag []byte, weak bool, rest []byte, ok bool) {
	b, weak = bytes.CutPrefix(b, []byte("W/"))
	if len(b) < 2 || b[0] != '"' {
		return nil, false, nil, false
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return b[:i+1], weak, b[i+1:], true
		case c <= ' ' || c == 0x7f:
			return nil, false, nil, false
		}
	}
	return nil, false, nil, false
}

// singleTag returns the opaque tag if v is exactly one entity tag.
func singleTag(v []byte) (tag []byte, weak, ok bool) {
	tag, weak, rest, ok := cutTag(bytes.Trim(v, " \t"))
	return tag, weak, ok && len(rest) == 0
}

// parseHTTPDate parses a date in any of the forms of RFC 9110 section 5.6.7 and
// returns Unix seconds.
func parseHTTPDate(v []byte) (unix int64, ok bool) {
	if len(v) == 0 {
		return 0, false
	}
	if t, err := fasthttp.ParseHTTPDate(v); err == nil {
		return t.Unix(), true
	}
	for _, layout := range [...]string{time.RFC850, time.ANSIC} {
		if t, err := time.Parse(layout, string(v)); err == nil {
			return t.Unix(), true
		}
	}
	return 0, false
}

// appendHTTPDate appends a date in the preferred form of RFC 9110.
func appendHTTPDate(dst []byte, unix int64) []byte {
	return fasthttp.AppendHTTPDate(dst, time.Unix(unix, 0))
}
