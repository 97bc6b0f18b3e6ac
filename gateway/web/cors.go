package web

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"yatagarasu/gateway/config/site"
	"yatagarasu/gateway/request"
)

// CORS says which pages of other sites may read a bucket (Fetch Standard, "CORS protocol"). Safe
// for concurrent use.
type CORS struct {
	all            bool // every page
	origins        map[string]struct{}
	wild           []pattern // whose "*" is one label
	headers        []string  // that pages may send, in lower case
	privateNetwork bool

	allowed    string // lines of an answer that a page may read
	permission string // lines of the answer to a preflight
}

// allOrigins is the line for every page.
const allOrigins = "Access-Control-Allow-Origin: *\r\n"

func newCORS(c *site.CORS) *CORS {
	if len(c.Origins) == 0 {
		return nil
	}
	o := &CORS{origins: make(map[string]struct{}), headers: c.Headers, privateNetwork: c.PrivateNetwork}
	for _, origin := range c.Origins {
		switch {
		case origin == "*":
			o.all = true
		case strings.Contains(origin, "*"):
			o.wild = append(o.wild, newPattern(origin))
		default:
			o.origins[origin] = struct{}{}
		}
	}
	var credentials string
	if c.Credentials {
		credentials = "Access-Control-Allow-Credentials: true\r\n"
	}
	o.allowed = credentials
	if len(c.Expose) > 0 {
		o.allowed += "Access-Control-Expose-Headers: " + strings.Join(c.Expose, ", ") + "\r\n"
	}
	o.permission = credentials + "Access-Control-Allow-Methods: GET, HEAD\r\n"
	if len(c.Headers) > 0 {
		o.permission += "Access-Control-Allow-Headers: " + strings.Join(c.Headers, ", ") + "\r\n"
	}
	o.permission += "Access-Control-Max-Age: " + strconv.FormatInt(int64(c.MaxAge/time.Second), 10) + "\r\n"
	return o
}

// Allows tells whether the pages of an origin, as the request has it, may read.
//
// Hot path: zero allocations, guarded by TestHitAllocs.
func (c *CORS) Allows(origin []byte) bool {
	if len(origin) == 0 {
		return false
	}
	if _, ok := c.origins[string(origin)]; ok || c.all {
		return true
	}
	for i := range c.wild {
		w := &c.wild[i]
		if n := len(origin) - len(w.after); n > len(w.before) && string(origin[:len(w.before)]) == w.before && string(origin[n:]) == w.after && isLabel(origin[len(w.before):n]) {
			return true
		}
	}
	return false
}

// isLabel tells whether b is letters, digits, "-" and "_": one label of a host's name, as
// browsers write it.
func isLabel(b []byte) bool {
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// AppendLines appends what tells browsers, and caches on the way, whether the pages of an
// origin may read an answer.
//
// Hot path: zero allocations if dst has room, guarded by TestHitAllocs.
func (c *CORS) AppendLines(dst, origin []byte) []byte { return c.appendLines(dst, origin, c.allowed) }

// appendLines appends whose pages may read and, if those of origin may, more. What depends on
// the origin says so even where no page asks: a cache must not give the answer to another.
func (c *CORS) appendLines(dst, origin []byte, more string) []byte {
	if c.all {
		return append(append(dst, allOrigins...), more...)
	}
	dst = append(dst, "Vary: Origin\r\n"...)
	if c.Allows(origin) {
		dst = append(append(dst, "Access-Control-Allow-Origin: "...), origin...)
		dst = append(append(dst, "\r\n"...), more...)
	}
	return dst
}

// Refusal is why a preflight is refused. The zero value: it is not.
type Refusal uint8

const (
	Permitted      Refusal = iota
	RefusedOrigin          // the page's origin may not read
	RefusedMethod          // pages may only GET and HEAD
	RefusedHeaders         // the page may not send one of the headers that it names, or names too many
)

// maxRequestedHeaders is the most bytes of Access-Control-Request-Headers.
const maxRequestedHeaders = 1 << 10

// Judge decides on a preflight by its origin, and by the method and the headers that the page
// wants to send.
//
// Hot path of a flood: zero allocations, guarded by TestPreflightAllocs.
func (c *CORS) Judge(origin, method, headers []byte) Refusal {
	switch {
	case !c.Allows(origin):
		return RefusedOrigin
	case string(method) != "GET" && string(method) != "HEAD":
		return RefusedMethod
	case len(headers) > maxRequestedHeaders:
		return RefusedHeaders
	}
	for name := range bytes.SplitSeq(headers, []byte(",")) {
		name = bytes.Trim(name, " \t")
		if len(name) > 0 && !slices.ContainsFunc(c.headers, func(allowed string) bool { return request.NameIs(name, allowed) }) {
			return RefusedHeaders
		}
	}
	return Permitted
}

// AppendPermission appends the lines of an answer to a preflight that Judge permits. private
// says that the page asks for a private network (WICG, "Private Network Access").
func (c *CORS) AppendPermission(dst, origin []byte, private bool) []byte {
	dst = c.appendLines(dst, origin, c.permission)
	if private && c.privateNetwork {
		dst = append(dst, "Access-Control-Allow-Private-Network: true\r\n"...)
	}
	return dst
}
