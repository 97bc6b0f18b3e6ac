package request

import (
	"encoding/binary"
	"math/bits"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/problem"
)

// What can be wrong with the header lines of a request. The connection is closed
// after all of them: after most nobody can tell where the next request begins, and a
// client that sends the others gains nothing by keeping it.
var (
	headEnding        = badHead("head_line_ending", "a header line does not end in CRLF")
	headFold          = badHead("head_fold", "a header line is folded")
	headName          = badHead("head_name", "a header line does not begin with a name and a colon")
	headValue         = badHead("head_value", "a header has a control character")
	headFraming       = badHead("head_framing", "Content-Length or Transfer-Encoding is not acceptable")
	headHost          = badHead("head_host", "a request needs exactly one Host header")
	headHostForm      = badHead("head_host_form", "the Host header is not a host with or without a port")
	headAuthorization = badHead("head_authorization", "there is more than one Authorization header")
	headExpect        = &problem.Problem{Status: fasthttp.StatusExpectationFailed, Code: "expectation_failed", Close: true, Message: "only the expectation 100-continue can be met"}
	BodyNotAllowed    = &problem.Problem{Status: fasthttp.StatusRequestEntityTooLarge, Code: "body_not_allowed", Close: true, Message: "a request must not have a body"}
)

// badHead returns the answer to a bad head; reason is for log and metrics.
func badHead(reason, message string) *problem.Problem {
	return &problem.Problem{Status: fasthttp.StatusBadRequest, Code: "bad_request", Reason: reason, Close: true, Message: message}
}

// Head is the findings of Check: the headers that decide on framing, routing and access. Use a
// zero value for each request.
type Head struct {
	Conditional bool // there is a precondition or a range

	host, authorization, length, coding uint8 // lines of each header, counted up to 2

	badHost   bool // a Host is neither empty nor a host with or without a port
	badLength bool // a Content-Length is not 1*DIGIT
	badCoding bool // a Transfer-Encoding is not chunked
	badExpect bool // an expectation is not 100-continue
	body      bool // a Content-Length above 0, or chunked
}

// Check returns the answer to a bad head, or nil, and notes its findings in s. raw is the header
// lines as they were received, with the empty line: fasthttp's RequestHeader.RawHeaders, which
// is empty without a header. http11 tells that the request is HTTP/1.1.
//
// fasthttp v1.77.0 itself refuses lines without a colon; names that are empty or have bytes
// of no token but a space; a space before the colon; control bytes in values; a second Host,
// Content-Length or Transfer-Encoding; codings other than chunked and identity; and HTTP/1.1
// without a Host. It lets through what RFC 9112 sections 2.2 and 5 tell a recipient to refuse
// or to repair, which two readers may do differently: lines that end in a bare LF, an empty
// line of a bare LF, obs-fold, and spaces within a name; a Host with userinfo, a port above
// 65535 or bytes of no host; and Transfer-Encoding with Content-Length, which section 6.1
// calls an attack. Check refuses all of these: the next version may let through others.
//
// A name with '_' is never its twin with '-'.
//
// Hot path: zero allocations, guarded by TestHeadAllocs.
func (s *Head) Check(raw []byte, http11 bool) *problem.Problem {
	for i := 0; i < len(raw); {
		colon := i
		for colon < len(raw) && nameBytes[raw[colon]] {
			colon++
		}
		if colon == i || colon == len(raw) || raw[colon] != ':' {
			if string(raw[i:]) == "\r\n" {
				return s.flaw(http11)
			}
			return badName(raw[i:], colon-i)
		}
		end, flaw := valueEnd(raw, colon+1)
		if flaw != nil {
			return flaw
		}
		s.note(raw[i:colon], raw[colon+1:end])
		i = end + len("\r\n")
	}
	if len(raw) > 0 {
		return headEnding // the empty line is missing
	}
	return s.flaw(http11)
}

// nameBytes are the bytes of a token, RFC 9110 section 5.6.2.
var nameBytes = byteSet("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

// badName returns the answer to a line whose first n bytes alone may be in a name.
func badName(line []byte, n int) *problem.Problem {
	switch {
	case n == 0 && (line[0] == ' ' || line[0] == '\t'):
		return headFold
	case n == 0 && (line[0] == '\n' || line[0] == '\r'):
		return headEnding
	}
	return headName
}

// valueEnd returns the index of the CRLF that ends the value at raw[i:]. It reads eight bytes at
// a time, of which few have a control byte.
func valueEnd(raw []byte, i int) (end int, flaw *problem.Problem) {
	for {
		for len(raw)-i >= 8 {
			if m := controlBytes(binary.LittleEndian.Uint64(raw[i:])); m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		for i < len(raw) && (raw[i] >= ' ' && raw[i] != 0x7f) {
			i++
		}
		switch {
		case i == len(raw), raw[i] == '\n':
			return 0, headEnding
		case raw[i] == '\t':
			i++
		case raw[i] != '\r':
			return 0, headValue
		case i+1 < len(raw) && raw[i+1] == '\n':
			return i, nil
		default:
			return 0, headEnding
		}
	}
}

// controlBytes returns a word whose lowest set bit is the highest of the first
// byte of w, in memory order, that is below 0x20 or 0x7f; 0 if there is none.
// Bits above the lowest mean nothing.
func controlBytes(w uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	low := (w - ones*0x20) &^ w
	del := w ^ ones*0x7f
	return (low | (del-ones)&^del) & tops
}

// note notes the findings of one header.
func (s *Head) note(name, value []byte) {
	if len(name) >= len("if-") && NameIs(name[:len("if-")], "if-") {
		s.Conditional = true
		return
	}
	switch len(name) {
	case len("range"):
		s.Conditional = s.Conditional || NameIs(name, "range")
	case len("host"):
		if NameIs(name, "host") {
			s.host = min(s.host+1, 2)
			if value = cache.TrimOWS(value); !isName(value) {
				s.badHost = s.badHost || !isAuthority(value)
			}
		}
	case len("expect"):
		s.badExpect = s.badExpect || NameIs(name, "expect") && !NameIs(cache.TrimOWS(value), "100-continue")
	case len("authorization"):
		if NameIs(name, "authorization") {
			s.authorization = min(s.authorization+1, 2)
		}
	case len("content-length"):
		if NameIs(name, "content-length") {
			n, ok := ParseDigits(cache.TrimOWS(value))
			s.length = min(s.length+1, 2)
			s.badLength = s.badLength || !ok
			s.body = s.body || n > 0
		}
	case len("transfer-encoding"):
		if NameIs(name, "transfer-encoding") {
			s.coding = min(s.coding+1, 2)
			s.badCoding = s.badCoding || !NameIs(cache.TrimOWS(value), "chunked")
			s.body = true
		}
	}
}

// NameIs tells whether b is a name, given in lower case, in any case.
func NameIs(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := range b {
		if d := b[i] ^ name[i]; d != 0 && (d != 0x20 || name[i]-'a' >= 26) { // in which the cases of letters differ
			return false
		}
	}
	return true
}

// flaw returns the answer to the worst of the findings, framing first.
func (s *Head) flaw(http11 bool) *problem.Problem {
	switch {
	case s.length > 1, s.badLength, s.coding > 1, s.badCoding, s.length > 0 && s.coding > 0:
		return headFraming
	case s.host > 1, s.host == 0 && http11:
		return headHost
	case s.badHost:
		return headHostForm
	case s.authorization > 1:
		return headAuthorization
	case s.badExpect:
		return headExpect
	case s.body: // last: Begin answers other flaws of the request first
		return BodyNotAllowed
	}
	return nil
}

// isName reports whether v is a name or an IPv4 address without a port, or empty, as in most
// Host headers.
func isName(v []byte) bool {
	for _, c := range v {
		if !hostBytes[c] {
			return false
		}
	}
	return true
}
