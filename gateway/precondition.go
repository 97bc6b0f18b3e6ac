package gateway

import (
	"bytes"

	"yatagarasu/cache"
)

// preconditions are the conditional headers of a request, raw; nil: absent.
// Several lines of If-Match or If-None-Match are one value, joined by ", ". The
// values are borrowed from the request.
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
// RFC 9110 section 13.2.2. etag is the object's, quoted; empty if unknown.
// modified is its Last-Modified in Unix seconds; 0 or less if unknown.
//
// Dates that are none, or have nothing to be compared with, are ignored
// (sections 13.1.3, 13.1.4). A malformed list of tags matches nothing, so that
// a request is refused or answered in full, but never taken for one that the
// client did not make.
//
// Hot path: zero allocations, guarded by TestPreconditionAllocs.
func (p *preconditions) evaluate(etag []byte, modified int64) verdict {
	if p.ifMatch != nil {
		if !matchesTag(p.ifMatch, etag, true) {
			return preconditionFailed
		}
	} else if t, ok := cache.ParseDate(p.ifUnmodifiedSince); ok && modified > 0 && modified > t {
		return preconditionFailed
	}
	if p.ifNoneMatch != nil {
		if matchesTag(p.ifNoneMatch, etag, false) {
			return notModified
		}
	} else if t, ok := cache.ParseDate(p.ifModifiedSince); ok && modified > 0 && modified <= t {
		return notModified
	}
	return proceed
}

// ifRangeHolds tells whether a part may be sent to a client that has other
// parts of the object with validator v, RFC 9110 section 13.1.5: a strong tag
// that is the object's, or exactly its Last-Modified.
func ifRangeHolds(v, etag []byte, modified int64) bool {
	if tag, weak, ok := singleTag(v); ok {
		return !weak && bytes.Equal(tag, etag)
	}
	t, ok := cache.ParseDate(v)
	return ok && modified > 0 && t == modified
}

// matchesTag tells whether list, "*" or a list of entity tags, has etag, by
// strong or weak comparison (RFC 9110 section 8.8.3.2). A list with an error
// anywhere has nothing.
func matchesTag(list, etag []byte, strong bool) bool {
	list = trimOWS(list)
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
		if rest = trimOWS(rest); len(rest) > 0 && rest[0] != ',' {
			return false
		}
		list = rest
	}
	return found
}

// tagBytes are the bytes between the quotes of an entity tag, RFC 9110 section
// 8.8.3.
var tagBytes = func() (t [256]bool) {
	for c := range t {
		t[c] = c > ' ' && c != '"' && c != 0x7f
	}
	return t
}()

// cutTag takes one entity tag from the front of b; tag is without W/.
func cutTag(b []byte) (tag []byte, weak bool, rest []byte, ok bool) {
	b, weak = bytes.CutPrefix(b, []byte("W/"))
	if len(b) < 2 || b[0] != '"' {
		return nil, false, nil, false
	}
	i := 1
	for i < len(b) && tagBytes[b[i]] {
		i++
	}
	if i == len(b) || b[i] != '"' {
		return nil, false, nil, false
	}
	return b[:i+1], weak, b[i+1:], true
}

// singleTag returns the opaque tag, quotes included, if v is exactly one entity
// tag; weak tells whether it had the prefix W/. The tag aliases v.
func singleTag(v []byte) (tag []byte, weak, ok bool) {
	tag, weak, rest, ok := cutTag(trimOWS(v))
	if !ok || len(rest) > 0 {
		return nil, false, false
	}
	return tag, weak, true
}
