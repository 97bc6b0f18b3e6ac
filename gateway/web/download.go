package web

import (
	"bytes"
	"unicode/utf8"
)

// maxName is the most bytes of the name of a download, as that of a file in most file systems.
const maxName = 255

// DownloadName returns the name that a query asks to save an object under, as it is written
// there, which may be empty. It is not ok without the parameter download.
func DownloadName(query []byte) (raw []byte, ok bool) {
	for parameter := range bytes.SplitSeq(query, []byte("&")) {
		if name, value, _ := bytes.Cut(parameter, []byte("=")); string(name) == "download" {
			return value, true
		}
	}
	return nil, false
}

// AppendDisposition appends a line that has browsers save an object (RFC 6266): under the name
// that a query has, of which raw is the encoded form, or, where that is none, under the last
// segment of its key. The name is that of a file alone, without folders.
//
// Hot path: zero allocations if dst has room, guarded by TestLocationAllocs.
func AppendDisposition(dst, raw, key []byte) []byte {
	var buf [maxName]byte
	name, ok := appendDecoded(buf[:0], raw)
	if name = baseOf(name); !ok || len(name) == 0 || !utf8.Valid(name) {
		name = baseOf(key)
	}
	dst = append(dst, "Content-Disposition: attachment"...)
	if len(name) == 0 {
		return append(dst, "\r\n"...)
	}
	dst = append(dst, `; filename="`...)
	for rest := name; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if rest = rest[n:]; r < ' ' || r > '~' || r == '"' || r == '\\' || r == '%' { // some browsers decode the last (RFC 6266, D)
			r = '_'
		}
		dst = append(dst, byte(r))
	}
	dst = append(dst, `"; filename*=UTF-8''`...)
	return append(appendEscaped(dst, name, byteName), "\r\n"...)
}

// appendDecoded appends raw, decoded once. It is not ok if raw has a control character, or a "%"
// without two digits, or more bytes than dst has room for.
func appendDecoded(dst, raw []byte) (_ []byte, ok bool) {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if len(raw) < i+3 {
				return dst[:0], false
			}
			high, low := fromHex(raw[i+1]), fromHex(raw[i+2])
			if high < 0 || low < 0 {
				return dst[:0], false
			}
			c = byte(high<<4 | low)
			i += 2
		}
		if c < ' ' || c == 0x7f || len(dst) == cap(dst) {
			return dst[:0], false
		}
		dst = append(dst, c)
	}
	return dst, true
}

// fromHex returns the value of a hexadecimal digit; -1 if c is none.
func fromHex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// baseOf returns the last segment of a path, on whatever system. It is empty for what no file can
// be called.
func baseOf(path []byte) []byte {
	path = path[bytes.LastIndexAny(path, `/\`)+1:]
	if s := string(path); s == "." || s == ".." {
		return nil
	}
	return path
}
