package cache

import (
	"bytes"

	"golang.org/x/net/http/httpguts"
)

// MaxSeconds is what longer times count as, RFC 9111 section 1.2.2.
const MaxSeconds = 1 << 31

// Control is what Cache-Control says to this cache, in a response (RFC 9111 section
// 5.2.2, RFC 5861) or in a request (RFC 9111 section 5.2.1). Times are in seconds, at most
// MaxSeconds; -1: absent. Of the rest, public permits what is done anyway, no-transform
// forbids what is not done, and immutable speaks to those who revalidate what is fresh.
//
// The zero value is not one without directives: all its times are 0. Reset makes
// that. A Control may be copied.
type Control struct {
	NoStore         bool // in a request: do not store the response; nothing here heeds that
	NoCache         bool // with or without a list of fields
	Private         bool // with or without a list of fields
	MustRevalidate  bool
	ProxyRevalidate bool
	OnlyIfCached    bool

	MaxAge               int64
	SMaxAge              int64
	StaleWhileRevalidate int64
	StaleIfError         int64 // heeded in responses only
	MinFresh             int64
	MaxStale             int64 // MaxSeconds: any staleness
}

// Reset makes c one without any directive.
func (c *Control) Reset() {
	*c = Control{MaxAge: -1, SMaxAge: -1, StaleWhileRevalidate: -1, StaleIfError: -1, MinFresh: -1, MaxStale: -1}
}

// ParseControl adds the value of one Cache-Control line to dst, which Reset has
// prepared; it keeps nothing of value. Call it once for each line: they are one
// list (RFC 9110 section 5.3).
//
// Names are in any case and unknown ones are ignored (RFC 9111 section 5.2). What
// is malformed makes for less caching, never more: a time that is none, or that
// another one of the same name contradicts, is 0 (section 4.2.1), min-fresh then
// MaxSeconds; a directive with a surplus argument stands; with a list of fields,
// no-cache and private mean all of the response; a quote that is not closed quotes
// nothing.
//
// Hot path: zero allocations, guarded by TestControlAllocs.
func ParseControl(dst *Control, value []byte) {
	for len(value) > 0 {
		var name, arg []byte
		var hasArg bool
		name, arg, hasArg, value = cutDirective(value)
		dst.set(name, arg, hasArg)
	}
}

// ParsePragma adds the value of a request's Pragma line to dst, as RFC 7234
// section 5.4 has it. Call it only for a request without Cache-Control, which
// Pragma gives way to. RFC 9111 only deprecates the field.
//
// Hot path: zero allocations, guarded by TestControlAllocs.
func ParsePragma(dst *Control, value []byte) {
	var c Control
	ParseControl(&c, value)
	dst.NoCache = dst.NoCache || c.NoCache
}

// Audience is what the Cache-Control of a response says of the caches on its way that serve
// several clients. The zero value is that of a response without it.
type Audience struct {
	Given   bool // there is one
	private bool // private, without a list of fields
	shared  bool // public, or an s-maxage that is a time
	unclear bool // a quote that others may read otherwise: it may hide what is behind it
}

// Add adds the value of one Cache-Control line; it keeps nothing of value. Call it once for
// each line. A directive with a malformed argument, or one that it may not have, permits
// nothing.
//
// Hot path: zero allocations, guarded by TestControlAllocs.
func (a *Audience) Add(value []byte) {
	a.Given = true
	for len(value) > 0 {
		var name, arg []byte
		var hasArg bool
		name, arg, hasArg, value = cutDirective(value)
		a.unclear = a.unclear || bytes.IndexByte(arg, '"') >= 0
		var buf [nameLength]byte
		switch string(lower(&buf, name)) {
		case "private":
			a.private = a.private || !hasArg
		case "public":
			a.shared = a.shared || !hasArg
		case "s-maxage":
			_, ok := parseSeconds(arg)
			a.shared = a.shared || ok
		}
	}
}

// Settled reports whether the response itself says who may keep it: all caches, although it
// is for those alone who are authorised (RFC 9111 section 3.5), or no shared one.
func (a *Audience) Settled() bool { return !a.unclear && (a.private || a.shared) }

// cutDirective takes one directive from the front of a list, and its argument without the
// quotes, within which a comma is part of it. Other things behind the name are an
// argument that is no number.
func cutDirective(list []byte) (name, arg []byte, hasArg bool, rest []byte) {
	comma := []byte(",")
	element, rest, _ := bytes.Cut(list, comma)
	if eq := bytes.IndexByte(element, '='); eq >= 0 {
		if n := quotedLength(list[eq+1:]); n > 0 {
			tail, more, _ := bytes.Cut(list[eq+1+n:], comma)
			element, rest = list[:eq+1+n+len(tail)], more
		}
	}
	element = TrimOWS(element)
	n := 0
	for n < len(element) && httpguts.IsTokenRune(rune(element[n])) {
		n++
	}
	name, arg = element[:n], element[n:]
	hasArg = len(arg) > 0
	if hasArg && arg[0] == '=' {
		if arg = arg[1:]; len(arg) > 0 && quotedLength(arg) == len(arg) {
			arg = arg[1 : len(arg)-1]
		}
	}
	return name, arg, hasArg, rest
}

// quotedLength returns the length of the quoted string, RFC 9110 section 5.6.4,
// that v begins with; 0 if there is none, or it does not end.
func quotedLength(v []byte) int {
	if len(v) == 0 || v[0] != '"' {
		return 0
	}
	for i := 1; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

func (c *Control) set(name, arg []byte, hasArg bool) {
	var buf [nameLength]byte
	switch string(lower(&buf, name)) {
	case "no-store":
		c.NoStore = true
	case "no-cache":
		c.NoCache = true
	case "private":
		c.Private = true
	case "must-revalidate":
		c.MustRevalidate = true
	case "proxy-revalidate":
		c.ProxyRevalidate = true
	case "only-if-cached":
		c.OnlyIfCached = true
	case "max-age":
		setSeconds(&c.MaxAge, arg, 0)
	case "s-maxage":
		setSeconds(&c.SMaxAge, arg, 0)
	case "stale-while-revalidate":
		setSeconds(&c.StaleWhileRevalidate, arg, 0)
	case "stale-if-error":
		setSeconds(&c.StaleIfError, arg, 0)
	case "min-fresh":
		setSeconds(&c.MinFresh, arg, MaxSeconds)
	case "max-stale":
		if !hasArg {
			arg = []byte("2147483648")
		}
		setSeconds(&c.MaxStale, arg, 0)
	}
}

// setSeconds sets dst to the time in arg. worst is what stands for no time, and
// for two different ones.
func setSeconds(dst *int64, arg []byte, worst int64) {
	n, ok := parseSeconds(arg)
	if !ok || *dst >= 0 && *dst != n {
		n = worst
	}
	*dst = n
}

// parseSeconds parses delta-seconds, RFC 9111 section 1.2.2.
func parseSeconds(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), MaxSeconds)
	}
	return n, len(b) > 0
}

// nameLength is the length of the longest name of a directive or field that is
// known here.
const nameLength = len("stale-while-revalidate")

// lower returns name in lower case, in buf; nothing if it is too long to be known.
func lower(buf *[nameLength]byte, name []byte) []byte {
	if len(name) > len(buf) {
		return nil
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return buf[:len(name)]
}

// TrimOWS returns b without the optional whitespace around it, RFC 9110 section
// 5.6.3.
//
// Not bytes.Trim, which takes 10 ns more, for each of several headers of a hit.
func TrimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
