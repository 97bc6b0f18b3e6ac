package gateway

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
)

// verifyAsked checks what the origin was asked: as often as needed, by no more than
// the request means, and without anything else of the client's.
func (a *diffAnswer) verifyAsked(q *diffRequest, target string, asked []*http.Request) error {
	if len(asked) < a.least || len(asked) > a.most {
		return fmt.Errorf("is asked %d times, want %d to %d: %s", len(asked), a.least, a.most, askedFor(asked))
	}
	wholes := 0
	for i, r := range asked {
		if r.URL.RequestURI() != "/"+target {
			return fmt.Errorf("is asked for %s", r.URL)
		}
		h := maps.Clone(r.Header)
		for _, name := range []string{"User-Agent", "Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "Accept-Encoding"} {
			if len(h[name]) != 1 {
				return fmt.Errorf("request %d has the fields %v", i, r.Header)
			}
			h.Del(name)
		}
		if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") || r.Header.Get("Accept-Encoding") != "identity" {
			return fmt.Errorf("request %d has the fields %v", i, r.Header)
		}
		switch {
		case a.whole && r.Method == "GET" && a.isValidation(h):
			wholes++
		case a.whole && r.Method == "GET" && len(h) == 0 && wholes > 0: // after a 304 for another version
		case a.direct && q.mayAsk(r.Method, h):
		case a.denied && r.Method == "GET" && len(h) == 1 && h.Get("Range") == "bytes=0-0": // why a HEAD was
		default:
			return fmt.Errorf("request %d is %s with %v; validator %q %q, whole %t, direct %t", i, r.Method, h, a.validator, a.validates, a.whole, a.direct)
		}
	}
	if a.whole && wholes == 0 {
		return fmt.Errorf("is not asked for the whole object")
	}
	return nil
}

// askedFor is for the story of a failure.
func askedFor(asked []*http.Request) string {
	var b strings.Builder
	for _, r := range asked {
		fmt.Fprintf(&b, "%s, Range %q, If-Match %q, If-None-Match %q, If-Modified-Since %q; ", r.Method, r.Header["Range"], r.Header["If-Match"], r.Header["If-None-Match"], r.Header["If-Modified-Since"])
	}
	return b.String()
}

// isValidation tells whether a request for the whole object has the validator of what
// is stored, and nothing else.
func (a *diffAnswer) isValidation(h http.Header) bool {
	if a.validator == "" {
		return len(h) == 0
	}
	return len(h) == 1 && h.Get(a.validator) == a.validates
}

// mayAsk tells whether the request means what the origin is asked: the part, and at
// most one of its conditions, which stands for no other.
func (q *diffRequest) mayAsk(method string, h http.Header) bool {
	if len(h["Range"]) > 0 {
		if q.method != "GET" || len(q.ranges) != 1 || h.Get("Range") != "bytes="+q.ranges[0].String() {
			return false
		}
		h.Del("Range")
		if len(h) == 1 && h.Get("If-Match") != "" && h.Get("If-Match") == q.rangeTag.String() {
			return method == "GET"
		}
	} else if method != q.method && method != "HEAD" {
		return false
	}
	if len(h) == 0 {
		return true
	}
	match, isOne := q.match.single()
	none, isNone := q.noneMatch.single()
	if len(h) > 1 {
		return false
	}
	switch {
	case h["If-Match"] != nil:
		return isOne && !match.weak && h.Get("If-Match") == match.opaque
	case h["If-None-Match"] != nil:
		return isNone && h.Get("If-None-Match") == none.opaque && q.match.lines == nil
	case h["If-Modified-Since"] != nil:
		return q.noneMatch.lines == nil && q.match.lines == nil && dateOf(h.Get("If-Modified-Since")).Equal(q.modified.at)
	}
	return false
}
