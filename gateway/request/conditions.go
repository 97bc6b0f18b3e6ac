package request

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
)

// Conditions are a request's preconditions, raw, and its range. nil is absent. Several lines of
// If-Match or If-None-Match are one value, joined by ", ". The values are borrowed from the
// request.
//
// The zero value has no condition. Not safe for concurrent use.
type Conditions struct {
	ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince, IfRange []byte

	Range ByteRange // part that the origin can be asked for alone; of no kind: the whole object
	date  []byte    // memory of Plan
}

// Read reads the conditions from a head. part tells that the request is for a part of a multipart
// object: S3 takes either a range or a part.
//
// Range counts only on GET (RFC 9110 section 14.2), and If-Range only beside Range. Several
// ranges are none here: the origin is asked for the whole object.
func (c *Conditions) Read(h *fasthttp.RequestHeader, get, part bool) {
	c.ifMatch = joinLines(h, fasthttp.HeaderIfMatch)
	c.ifNoneMatch = joinLines(h, fasthttp.HeaderIfNoneMatch)
	c.ifModifiedSince = h.Peek(fasthttp.HeaderIfModifiedSince)
	c.ifUnmodifiedSince = h.Peek(fasthttp.HeaderIfUnmodifiedSince)
	if !get || part {
		return
	}
	if v := h.Peek(fasthttp.HeaderRange); v != nil {
		if rng := parseRange(v); rng.Kind != RangeMulti {
			c.Range, c.IfRange = rng, h.Peek(fasthttp.HeaderIfRange)
		}
	}
}

// Reset forgets the conditions, and keeps c's memory.
func (c *Conditions) Reset() { *c = Conditions{date: c.date[:0]} }

// Empty tells whether there is no precondition. If-Range is none.
func (c *Conditions) Empty() bool {
	return c.ifMatch == nil && c.ifNoneMatch == nil && c.ifModifiedSince == nil && c.ifUnmodifiedSince == nil
}

// WantsPart tells whether the request is for one part, which the origin can be asked for alone.
// With any other Range, the whole object is fetched, once for all requests.
func (c *Conditions) WantsPart() bool {
	return c.Range.Kind == RangeUnsatisfiable || c.Range.Kind == RangeSingle && c.mayHold()
}

// mayHold tells whether If-Range, if there is one, can hold. A weak or malformed validator
// cannot.
func (c *Conditions) mayHold() bool {
	if c.IfRange == nil {
		return true
	}
	_, weak, ok := singleTag(c.IfRange)
	return ok && !weak || isHTTPDate(c.IfRange)
}

// Plan is the range and the precondition that the origin is sent. It is sent one precondition at
// most, since origins disagree on how several combine; the gateway evaluates all of them on the
// answer. The zero value asks for the whole object.
type Plan struct {
	Range     ByteRange // of RangeSingle, or of no kind
	Condition string    // name of the precondition's header in lower case; empty: none
	Value     []byte    // value of that header
	IfRange   bool      // Condition stands for If-Range: if it fails, the whole object is the answer
}

// Plan returns the plan for the conditions: the range, and the precondition that is evaluated
// first, if every origin understands it alike. Its value is valid until the next call.
func (c *Conditions) Plan() (p Plan) {
	if c.Range.Kind == RangeSingle && c.mayHold() {
		p.Range = c.Range
		if tag, _, ok := singleTag(c.IfRange); ok {
			return Plan{Range: c.Range, Condition: "if-match", Value: tag, IfRange: true}
		}
		if c.IfRange != nil {
			// Not sent as If-Unmodified-Since: origins whose clock has fractions
			// of a second find an object newer than its own Last-Modified.
			return Plan{Range: c.Range, IfRange: true}
		}
	}
	switch {
	case c.ifMatch != nil:
		if tag, weak, ok := singleTag(c.ifMatch); ok && !weak {
			p.Condition, p.Value = "if-match", tag
		}
	case isHTTPDate(c.ifUnmodifiedSince):
		// Not sent, see above.
	case c.ifNoneMatch != nil:
		if tag, _, ok := singleTag(c.ifNoneMatch); ok {
			p.Condition, p.Value = "if-none-match", tag // compared weakly: the opaque tag is enough
		}
	case isHTTPDate(c.ifModifiedSince):
		t, _ := cache.ParseDate(c.ifModifiedSince)
		c.date = cache.AppendDate(c.date[:0], t)
		p.Condition, p.Value = "if-modified-since", c.date
	}
	return p
}

// joinLines returns the value of a list header. Several lines are one list.
func joinLines(h *fasthttp.RequestHeader, name string) []byte {
	if h.Peek(name) == nil {
		return nil
	}
	lines := h.PeekAll(name)
	if len(lines) == 1 {
		return lines[0]
	}
	return bytes.Join(lines, []byte(", "))
}

func isHTTPDate(v []byte) bool {
	_, ok := cache.ParseDate(v)
	return ok
}

// Verdict is the outcome of preconditions for a GET or HEAD.
type Verdict uint8

const (
	proceed            Verdict = iota
	NotModified                // 304
	PreconditionFailed         // 412
)

// Evaluate applies the preconditions to an object that exists, in the order of
// RFC 9110 section 13.2.2. etag is the object's, quoted; empty if unknown.
// modified is its Last-Modified in Unix seconds; 0 or less if unknown.
//
// A malformed date, or one without a Last-Modified to compare with, is ignored (sections
// 13.1.3, 13.1.4). A malformed list of tags matches nothing: the request is refused or
// answered in full, but never taken for another.
//
// Hot path: zero allocations, guarded by TestPreconditionAllocs.
func (c *Conditions) Evaluate(etag []byte, modified int64) Verdict {
	if c.ifMatch != nil {
		if !matchesTag(c.ifMatch, etag, true) {
			return PreconditionFailed
		}
	} else if t, ok := cache.ParseDate(c.ifUnmodifiedSince); ok && modified > 0 && modified > t {
		return PreconditionFailed
	}
	if c.ifNoneMatch != nil {
		if matchesTag(c.ifNoneMatch, etag, false) {
			return NotModified
		}
	} else if t, ok := cache.ParseDate(c.ifModifiedSince); ok && modified > 0 && modified <= t {
		return NotModified
	}
	return proceed
}

// IfRangeHolds tells whether a part may be sent to a client that has other parts of the object
// with the validator v (RFC 9110 section 13.1.5): v is the object's strong tag, or exactly its
// Last-Modified.
func IfRangeHolds(v, etag []byte, modified int64) bool {
	if tag, weak, ok := singleTag(v); ok {
		return !weak && bytes.Equal(tag, etag)
	}
	t, ok := cache.ParseDate(v)
	return ok && modified > 0 && t == modified
}

// matchesTag tells whether list, "*" or a list of entity tags, has etag by strong or weak
// comparison (RFC 9110 section 8.8.3.2). A list with an error anywhere has no tag.
func matchesTag(list, etag []byte, strong bool) bool {
	list = cache.TrimOWS(list)
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
		if rest = cache.TrimOWS(rest); len(rest) > 0 && rest[0] != ',' {
			return false
		}
		list = rest
	}
	return found
}

// TagBytes are the bytes between the quotes of an entity tag, RFC 9110 section
// 8.8.3.
var TagBytes = func() (t [256]bool) {
	for c := range t {
		t[c] = c > ' ' && c != '"' && c != 0x7f
	}
	return t
}()

// cutTag cuts b behind the entity tag that it begins with. tag is without W/.
func cutTag(b []byte) (tag []byte, weak bool, rest []byte, ok bool) {
	b, weak = bytes.CutPrefix(b, []byte("W/"))
	if len(b) < 2 || b[0] != '"' {
		return nil, false, nil, false
	}
	i := 1
	for i < len(b) && TagBytes[b[i]] {
		i++
	}
	if i == len(b) || b[i] != '"' {
		return nil, false, nil, false
	}
	return b[:i+1], weak, b[i+1:], true
}

// singleTag returns the opaque tag of v, quotes included, if v is exactly one entity tag. weak
// tells whether it has the prefix W/. The tag aliases v.
func singleTag(v []byte) (tag []byte, weak, ok bool) {
	tag, weak, rest, ok := cutTag(cache.TrimOWS(v))
	if !ok || len(rest) > 0 {
		return nil, false, false
	}
	return tag, weak, true
}
