package web

import (
	"strings"

	"yatagarasu/gateway/request"
)

// Which bytes of an address are written as they are (RFC 3986). The others are percent-encoded.
const (
	bytePath     = 1 << iota // of a path that is encoded already
	byteURL                  // of a whole URL that is encoded already
	byteUnquoted             // of text that is not encoded yet
	byteName                 // of a parameter's value (RFC 8187, "attr-char")
)

var addressBytes = func() (t [256]uint8) {
	set := func(bits uint8, bytes string) {
		for i := range len(bytes) {
			t[bytes[i]] |= bits
		}
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	set(bytePath|byteURL|byteUnquoted|byteName, letters)
	set(bytePath|byteURL|byteUnquoted, "!$&'()*+,;=:@/")
	set(bytePath|byteURL, "%")
	set(byteURL, "?#[]")
	set(byteName, "!#$&+^`|")
	return t
}()

// AppendEscaped appends text, of which the bytes without the class of an address are
// percent-encoded.
func appendEscaped[T string | []byte](dst []byte, text T, class uint8) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(text) {
		c := text[i]
		if addressBytes[c]&class != 0 {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// appendPath appends the path that write appends, which begins with a slash: a second one is
// encoded, as what two slashes begin with is another site.
func appendPath(dst []byte, write func(dst []byte) []byte) []byte {
	start := len(dst)
	dst = write(dst)
	if len(dst) > start+1 && dst[start+1] == '/' {
		dst = append(dst, "  "...) // for the two bytes more
		copy(dst[start+4:], dst[start+2:len(dst)-2])
		copy(dst[start+1:], "%2F")
	}
	return dst
}

// AppendFolder appends the address of the folder that a request means without its slash: the
// request's own path, as it came, with a slash and the query behind it. Neither is encoded
// again.
//
// Hot path: zero allocations if dst has room, guarded by TestLocationAllocs.
func AppendFolder(dst, path, query []byte) []byte {
	dst = appendPath(dst, func(dst []byte) []byte { return append(appendEscaped(dst, path, bytePath), '/') })
	return appendQuery(dst, query)
}

// AppendTarget appends the path and the query of a request as they came. What clients send as it
// is, and what cannot be in an address, is encoded; nothing is encoded again.
func AppendTarget(dst, path, query []byte) []byte {
	return appendQuery(appendEscaped(dst, path, bytePath), query)
}

// appendQuery appends the query of a request, if it has one.
func appendQuery(dst, query []byte) []byte {
	if len(query) == 0 {
		return dst
	}
	return appendEscaped(append(dst, '?'), query, bytePath|byteURL)
}

// AppendObjectRedirect appends the address that an object redirects to, which its
// x-amz-website-redirect-location has: a path below prefix, the bucket's, or an http or https
// URL. It is not ok for any other, and for a path that leads out of the bucket.
func AppendObjectRedirect(dst []byte, prefix string, location []byte) (_ []byte, ok bool) {
	if isURL(location) {
		return appendEscaped(dst, location, byteURL), true
	}
	if len(location) == 0 || location[0] != '/' || len(location) > 1 && location[1] == '/' || leadsUp(location) {
		return dst, false
	}
	return appendPath(dst, func(dst []byte) []byte {
		if prefix != "/" {
			dst = appendEscaped(dst, prefix, byteUnquoted)
		}
		return appendEscaped(dst, location, byteURL)
	}), true
}

// isURL tells whether an address is an http or https URL with a host.
func isURL(address []byte) bool {
	for _, scheme := range [...]string{"http://", "https://"} {
		if n := len(scheme); len(address) > n && request.NameIs(address[:n], scheme) {
			return strings.IndexByte("/\\?#@:", address[n]) < 0
		}
	}
	return false
}

// leadsUp tells whether the path of an address has a segment that is "." or "..", however they are
// written.
func leadsUp(address []byte) bool {
	dots, others := 0, 0 // bytes of the segment
	for i := 0; i <= len(address); i++ {
		c := byte('/')
		if i < len(address) {
			c = address[i]
		}
		switch {
		case c == '/' || c == '\\' || c == '?' || c == '#':
			if others == 0 && (dots == 1 || dots == 2) {
				return true
			}
			if dots, others = 0, 0; c == '?' || c == '#' {
				return false
			}
		case c == '.':
			dots++
		case c == '%' && len(address) > i+2 && address[i+1] == '2' && address[i+2]|0x20 == 'e':
			dots++
			i += 2
		case c == '%' && len(address) > i+2 && (address[i+1] == '2' && address[i+2]|0x20 == 'f' || address[i+1] == '5' && address[i+2]|0x20 == 'c'):
			if others == 0 && (dots == 1 || dots == 2) {
				return true
			}
			dots, others = 0, 0
			i += 2
		default:
			others++
		}
	}
	return false
}
