package request

import (
	"bytes"
	"net/netip"
	"unicode/utf8"
)

// hostBytes are the bytes of a reg-name (RFC 3986, 3.2.2) without the comma, which joins what
// were two Host headers, and the quote, which is in no name.
var hostBytes = byteSet("-._~!$&()*+;=0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

// byteSet returns a table that has true for each byte of members.
func byteSet(members string) (t [256]bool) {
	for _, c := range []byte(members) {
		t[c] = true
	}
	return t
}

// isAuthority reports whether v is a host with or without a port, as a Host header and the
// authority of a target have it (RFC 9110, 7.2 and 4.2.1): a name, an IPv4 address, or an
// IPv6 address in brackets without a zone. The port may be empty and is 65535 at most. There
// is no userinfo, and no host is empty. A name may have escapes of bytes beyond ASCII only: an
// escaped letter would be a second way to write a host.
//
// Hot path: zero allocations, guarded by TestHeadAllocs and TestTargetAllocs.
func isAuthority(v []byte) bool {
	n := hostLen(v)
	return n > 0 && (n == len(v) || v[n] == ':' && isPort(v[n+1:]))
}

// hostLen returns the length of the host that v begins with; 0: there is none.
func hostLen(v []byte) (n int) {
	if len(v) > 0 && v[0] == '[' {
		if n = bytes.IndexByte(v, ']'); n < 0 || !isIPv6(v[1:n]) {
			return 0
		}
		return n + 1
	}
	for n < len(v) {
		if hostBytes[v[n]] {
			n++
			continue
		}
		if v[n] != '%' {
			break
		}
		if c, ok := unhex(v[n:]); !ok || c < utf8.RuneSelf {
			return 0
		}
		n += len("%ff")
	}
	return n
}

// isIPv6 reports whether v is an IPv6 address without a zone.
func isIPv6(v []byte) bool {
	a, err := netip.ParseAddr(bytesString(v)) // kept in the error alone, which ends here
	return err == nil && a.Is6() && a.Zone() == ""
}

// isPort reports whether v is a port, or empty.
func isPort(v []byte) bool {
	n, ok := ParseDigits(v)
	return len(v) == 0 || ok && n <= 65535
}

// SplitAuthority splits a host with or without a port, as isAuthority has found it to be. Both
// are empty for an empty one.
func SplitAuthority(v []byte) (host, port []byte) {
	n := hostLen(v)
	if n == len(v) {
		return v, nil
	}
	return v[:n], v[n+1:]
}
