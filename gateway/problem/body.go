package problem

import (
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fasthttp"
)

// SetHead sets the headers of an answer with p, whose body is plain text or else JSON.
func (p *Problem) SetHead(h *fasthttp.ResponseHeader, plain bool) {
	if plain {
		h.SetContentType("text/plain; charset=utf-8")
	} else {
		h.SetContentType("application/json")
	}
	if p.RetryAfter > 0 {
		h.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(p.RetryAfter))
	}
	if p.Status == fasthttp.StatusMethodNotAllowed {
		h.Set(fasthttp.HeaderAllow, "GET, HEAD")
	}
	if p.Challenge != "" {
		h.Set(fasthttp.HeaderWWWAuthenticate, p.Challenge)
	}
	if p.Close {
		h.SetConnectionClose()
	}
}

// AppendBody appends the body of an error to dst: a JSON object, or lines of plain text. code is
// for programs, message for people. Any bytes are safe in the strings: JSON escapes them, and
// in plain text control bytes become spaces.
func AppendBody(dst []byte, plain bool, status int, code, message string, requestID []byte) []byte {
	if plain {
		dst = append(strconv.AppendInt(dst, int64(status), 10), ' ')
		dst = append(appendLine(dst, code), ": "...)
		dst = append(appendLine(dst, message), '\n')
		if len(requestID) > 0 {
			dst = append(dst, "request id: "...)
			dst = append(appendLine(dst, requestID), '\n')
		}
		return dst
	}
	dst = appendJSONString(append(dst, `{"error":`...), code)
	dst = appendJSONString(append(dst, `,"message":`...), message)
	dst = strconv.AppendInt(append(dst, `,"status":`...), int64(status), 10)
	dst = appendJSONString(append(dst, `,"request_id":`...), requestID)
	return append(dst, '}', '\n')
}

// appendLine appends s without control bytes.
func appendLine[T string | []byte](dst []byte, s T) []byte {
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c == 0x7f {
			c = ' '
		}
		dst = append(dst, c)
	}
	return dst
}

// appendJSONString appends s as a string of JSON (RFC 8259 section 7). Bytes that are not UTF-8
// become U+FFFD. Characters of HTML are escaped, too.
func appendJSONString[T string | []byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ' || c == 0x7f || c == '<' || c == '>' || c == '&':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			var word [utf8.UTFMax]byte
			r, n := utf8.DecodeRune(word[:copy(word[:], s[i:])])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}
