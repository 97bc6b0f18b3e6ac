// Package request judges what a client sent: its head, target, ranges, conditions, Accept and
// trace context, and the address that proxies forward for. Values are borrowed from fasthttp's
// request, and parsing allocates nothing. Begin with Head.Check and Target.
package request

import (
	"bytes"
	"encoding/hex"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/problem"
	"yatagarasu/sign"
)

const (
	maxTargetLen     = 8 << 10 // bytes of a raw request target, query included
	maxQueryValueLen = 1024    // bytes of a decoded query value that goes upstream
	maxPartNumber    = 10000   // S3 User Guide, "Amazon S3 multipart upload limits"
)

// Target is a request target (RFC 9112, 3.2), parsed once. Nothing else in the program looks at
// the URI.
//
// The zero value is ready for Parse. Not safe for concurrent use. Reused, it keeps its two
// buffers, which maxTargetLen bounds.
type Target struct {
	// Authority is the host and port of an absolute form, which replace Host; nil in
	// the origin form. It aliases the slice given to Parse.
	Authority []byte
	// Path is percent-decoded once. It begins with '/', is valid UTF-8 without control
	// bytes, and has no segment "." or "..". The target owns it; it is valid until the
	// next Parse.
	Path []byte
	// Query is raw, from the first '?' on; nil without one. It aliases the slice given
	// to Parse.
	Query []byte
	// encodedSlash is the index in Path of the first '/' that came as %2F, or -1.
	encodedSlash int
	// plain tells that Path came as it is, in ASCII, that no slash in it has another one, or a '.',
	// behind it, and that no segment ends in '_'. Of the keys of such paths, which nearly all
	// are, only the length is left to judge; of others it is not known.
	plain bool

	value []byte // scratch of AllowedQuery: one decoded value
}

// What can be wrong with a request target.
var (
	targetTooLong         = &problem.Problem{Status: fasthttp.StatusRequestURITooLong, Code: "target_too_long", Message: "the request target is longer than 8 KiB"}
	targetForm            = badTarget("the request target must begin with one slash, or be an http or https URL")
	targetAuthority       = badTarget("the URL of the request target must name a host, with or without a port and without userinfo")
	targetByte            = badTarget("the request target has a control character, a space or a '#'")
	targetEscape          = badTarget("the path has a '%' without two hexadecimal digits")
	targetControl         = badTarget("the path has an encoded control character")
	targetUTF8            = badTarget("the path is not valid UTF-8")
	targetDots            = badTarget("the path has the segment '.' or '..'")
	targetEncodedSlash    = badTarget("the path has an encoded slash before the object key")
	targetQueryEscape     = badTarget("the query has a '%' without two hexadecimal digits")
	targetQueryControl    = badTarget("the query has an encoded control character")
	targetQueryTwice      = badTarget("the query has a parameter twice")
	targetQueryTooLong    = badTarget("the query has a value longer than 1024 bytes")
	targetQueryPartNumber = badTarget("partNumber must be an integer from 1 to 10000")
	targetQueryVersionID  = badTarget("versionId must not be empty")
)

// badTarget returns the answer to a bad target. message has no byte of the request.
func badTarget(message string) *problem.Problem {
	return &problem.Problem{Status: fasthttp.StatusBadRequest, Code: "bad_target", Message: message}
}

// Classes of the bytes of a raw target. Bytes without one are copied as they are.
const (
	byteBad    = 1 << iota // must not occur: 0x00-0x20, 0x7f, '#'
	byteEscape             // '%'
	byteQuery              // '?'
	byteHigh               // 0x80 and above: part of UTF-8, or invalid
	byteSlash              // '/'
)

var targetBytes = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c <= ' ' || c == 0x7f || c == '#':
			t[c] = byteBad
		case c == '%':
			t[c] = byteEscape
		case c == '?':
			t[c] = byteQuery
		case c == '/':
			t[c] = byteSlash
		case c >= utf8.RuneSelf:
			t[c] = byteHigh
		}
	}
	return t
}()

// Parse parses raw, a request target as it was received, and forgets the one before. It
// takes the origin form (RFC 9112, 3.2.1) and the absolute form (3.2.2) with http or https.
// Two slashes at the start are refused: elsewhere they begin an authority. The path must be
// UTF-8, as object keys in S3 are. After an error t has no authority, path and query.
//
// t.Authority and t.Query alias raw; nothing else does.
//
// Hot path: zero allocations, guarded by TestTargetAllocs.
func (t *Target) Parse(raw []byte) *problem.Problem {
	t.Reset()
	var err *problem.Problem
	if len(raw) > 1 && len(raw) <= maxTargetLen && raw[0] == '/' && raw[1] != '/' {
		err = t.parsePath(raw) // as nearly all are
	} else {
		err = t.parseForm(raw)
	}
	if err != nil {
		t.Reset()
	}
	return err
}

// Reset forgets the target and keeps the buffers.
func (t *Target) Reset() {
	t.Authority, t.Path, t.Query, t.encodedSlash = nil, t.Path[:0], nil, -1
	t.plain = false
}

// parseForm fills t, which is reset, from either form.
func (t *Target) parseForm(raw []byte) *problem.Problem {
	if len(raw) > maxTargetLen {
		return targetTooLong
	}
	if len(raw) == 0 || raw[0] != '/' {
		scheme, rest, ok := bytes.Cut(raw, []byte("://"))
		if !ok || !NameIs(scheme, "http") && !NameIs(scheme, "https") {
			return targetForm
		}
		end := bytes.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		if !isAuthority(rest[:end]) {
			return targetAuthority
		}
		t.Authority, raw = rest[:end], rest[end:]
		if len(raw) == 0 || raw[0] == '?' {
			t.Path = append(t.Path, '/') // an empty path is the same (RFC 9110, 4.2.3)
			return t.parsePath(raw)
		}
	}
	if len(raw) > 1 && raw[1] == '/' {
		return targetForm
	}
	return t.parsePath(raw)
}

// Host returns the host that a request with the head h is for, with its port as it came: the
// target's authority, or else the header Host.
func (t *Target) Host(h *fasthttp.RequestHeader) []byte {
	if t.Authority != nil {
		return t.Authority
	}
	return h.Host()
}

// parsePath appends the path that raw begins with to t.Path, and sets t.Query.
func (t *Target) parsePath(raw []byte) *problem.Problem {
	var seen uint8 // classes of the bytes in the path
	start := 0     // first byte that is not yet copied to t.Path
	i, plain := scanPlain(raw)
scan:
	for ; i < len(raw); i++ {
		class := targetBytes[raw[i]]
		if class == 0 {
			continue
		}
		plain = plain && class == byteQuery // for scanPlain has looked no further
		seen |= class
		switch class {
		case byteQuery:
			break scan
		case byteBad:
			return targetByte
		case byteEscape:
			c, ok := unhex(raw[i:])
			if !ok {
				return targetEscape
			}
			if isControl(c) {
				return targetControl
			}
			t.Path = append(t.Path, raw[start:i]...)
			if c == '/' && t.encodedSlash < 0 {
				t.encodedSlash = len(t.Path)
			}
			t.Path = append(t.Path, c)
			seen |= targetBytes[c]
			i += 2
			start = i + 1
		}
	}
	t.Path = append(t.Path, raw[start:i]...)
	if i < len(raw) {
		t.Query = raw[i+1:]
		for _, c := range t.Query {
			if targetBytes[c] == byteBad {
				return targetByte
			}
		}
	}
	t.plain = plain && t.Path[len(t.Path)-1] != '_'
	if !t.plain && hasDotSegment(t.Path) {
		return targetDots
	}
	if seen&byteHigh != 0 && !utf8.Valid(t.Path) {
		return targetUTF8
	}
	return nil
}

// scanPlain returns how many bytes at the start of raw are ASCII and stand for themselves in a
// path, and whether they are plain, see Target, but for the end of the last segment.
func scanPlain(raw []byte) (n int, plain bool) {
	plain = true
	for i, c := range raw {
		switch targetBytes[c] {
		case 0:
		case byteSlash:
			if i > 0 && raw[i-1] == '_' || i+1 < len(raw) && (raw[i+1] == '/' || raw[i+1] == '.') {
				plain = false
			}
		default:
			return i, plain
		}
	}
	return len(raw), plain
}

// unhex returns the byte that s, which begins with '%', encodes there.
func unhex(s []byte) (c byte, ok bool) {
	if len(s) < 3 {
		return 0, false
	}
	var b [1]byte
	_, err := hex.Decode(b[:], s[1:3])
	return b[0], err == nil
}

func isControl(c byte) bool { return c < ' ' || c == 0x7f }

// hasDotSegment reports whether a segment of path, which begins with '/', is
// "." or "..". Segments end at '/' alone: a backslash is a byte of a key.
func hasDotSegment(path []byte) bool {
	if !bytes.Contains(path, []byte("/.")) {
		return false
	}
	for segment := range bytes.SplitSeq(path, slash) {
		if s := string(segment); s == "." || s == ".." {
			return true
		}
	}
	return false
}

// Key returns the object key below a prefix, the first prefixLen bytes of the path, as
// route.Table finds it: nothing, or whole segments. The key begins after the slash that
// follows the prefix; it is empty for the prefix itself, with or without that slash.
//
// keys is CheckKey's.
//
// An encoded slash within the prefix or right behind it is an error, so that
// there is one way to write a prefix. Further on it is a slash of the key.
//
// The key aliases t.Path.
//
// Hot path: zero allocations, guarded by TestTargetAllocs.
func (t *Target) Key(prefixLen int, keys Keys) (key []byte, err *problem.Problem) {
	if t.encodedSlash >= 0 && t.encodedSlash <= prefixLen {
		return nil, targetEncodedSlash
	}
	if prefixLen == len(t.Path) {
		return nil, nil
	}
	if t.Path[prefixLen] != '/' {
		panic("BUG: the prefix ends within a segment of the path")
	}
	key = t.Path[prefixLen+1:]
	if t.plain && len(key) <= MaxKeyLen-keys.Prefix {
		return key, nil
	}
	if err := CheckKey(key, keys); err != nil {
		return nil, err
	}
	return key, nil
}

// Below returns the path below a prefix, the first prefixLen bytes, without the slash behind it. It
// need not be an object's key.
func (t *Target) Below(prefixLen int) []byte {
	return t.Path[min(prefixLen+1, len(t.Path)):]
}

var slash = []byte("/")

// AllowedQuery appends the query that goes to the origin to dst: the parameters named in allow
// and no others, sorted by name. Each value is decoded once ('+' is a plus) and encoded as
// SigV4 wants it (Create a canonical request, step 3), so that equal queries are equal bytes.
// Parameters end at '&' alone (WHATWG URL, 5.1).
//
// Names are compared byte by byte with the raw query: an encoded name is another, and is
// dropped. The names of allow consist of A-Z a-z 0-9 - . _ ~. An allowed parameter that is
// given twice, or whose value S3 cannot mean, is an error: dst is then returned as it came.
//
// Hot path: zero allocations if dst has room, guarded by TestTargetAllocs.
func (t *Target) AllowedQuery(dst []byte, allow []string) ([]byte, *problem.Problem) {
	if len(t.Query) == 0 {
		return dst, nil
	}
	start := len(dst)
	for name := nextName(allow, ""); name != ""; name = nextName(allow, name) {
		found := false
		for param := range bytes.SplitSeq(t.Query, []byte("&")) {
			param, value, _ := bytes.Cut(param, []byte("="))
			if string(param) != name {
				continue
			}
			if found {
				return dst[:start], targetQueryTwice
			}
			found = true
			if err := t.decodeValue(name, value); err != nil {
				return dst[:start], err
			}
			if len(dst) > start {
				dst = append(dst, '&')
			}
			dst = append(dst, name...)
			dst = append(dst, '=')
			dst = sign.AppendQueryComponent(dst, t.value)
		}
	}
	return dst, nil
}

// nextName returns the smallest of names above last, or "". The lists have two names or so,
// in the order of the configuration file.
func nextName(names []string, last string) string {
	next := ""
	for _, name := range names {
		if name > last && (next == "" || name < next) {
			next = name
		}
	}
	return next
}

// decodeValue decodes the raw value of a parameter into t.value.
func (t *Target) decodeValue(name string, raw []byte) *problem.Problem {
	t.value = t.value[:0]
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			var ok bool
			if c, ok = unhex(raw[i:]); !ok {
				return targetQueryEscape
			}
			if isControl(c) {
				return targetQueryControl
			}
			i += 2
		}
		t.value = append(t.value, c)
	}
	switch {
	case len(t.value) > maxQueryValueLen:
		return targetQueryTooLong
	case name == "partNumber":
		// The one way to write it: two would be two cache keys.
		if n, ok := ParseDigits(t.value); !ok || t.value[0] == '0' || n > maxPartNumber {
			return targetQueryPartNumber
		}
	case name == "versionId" && len(t.value) == 0:
		return targetQueryVersionID
	}
	return nil
}

// RawPath returns the path of a target, which may be bad, for people. It leaves out the query,
// which can hold a token, and userinfo.
func RawPath(raw []byte) []byte {
	raw, _, _ = bytes.Cut(raw, []byte("?"))
	if len(raw) > 0 && raw[0] != '/' {
		if _, rest, absolute := bytes.Cut(raw, []byte("://")); !absolute {
			raw = raw[bytes.LastIndexByte(raw, '@')+1:]
		} else if i := bytes.IndexByte(rest, '/'); i >= 0 {
			raw = rest[i:]
		} else {
			raw = []byte("/")
		}
	}
	return raw
}
