package route

import (
	"bytes"
	"fmt"
	"net/netip"
)

const (
	// maxHostLen is the longest host of a route, that of a DNS name (RFC 1035, 2.3.4).
	maxHostLen = 253
	// maxHostHeaderLen is the longest Host header value that can equal one.
	maxHostHeaderLen = maxHostLen + len(".:65535")
)

// AppendHost appends the host of a Host header value (RFC 9110, 7.2) to dst in
// the form in which hosts are compared: lower-case, without port, without one
// trailing dot, an IPv6 address without its brackets. A value that is no host[:port]
// is appended in lower case; it equals no host that Builder.Add accepts.
//
// The result is dst's array where its capacity suffices; host is only read.
func AppendHost(dst, host []byte) []byte {
	name, _ := splitPort(host)
	if n := len(name); isBracketed(name) {
		name = name[1 : n-1]
	} else if n > 1 && name[n-1] == '.' {
		name = name[:n-1]
	}
	n := len(dst)
	dst = append(dst, name...)
	for i, c := range dst[n:] {
		if 'A' <= c && c <= 'Z' {
			dst[n+i] = c + ('a' - 'A')
		}
	}
	return dst
}

// splitPort cuts the :port from host. Only digits are a port, and a bare IPv6 address
// has none: otherwise a malformed host or an address would lose its tail and become
// another host.
func splitPort(host []byte) (name []byte, hasPort bool) {
	i := bytes.LastIndexByte(host, ':')
	if i < 0 {
		return host, false
	}
	for _, c := range host[i+1:] {
		if c < '0' || c > '9' {
			return host, false
		}
	}
	name = host[:i]
	if !isBracketed(name) && bytes.IndexByte(name, ':') >= 0 {
		return host, false
	}
	return name, true
}

// isBracketed reports whether name is an IP literal as in a URI (RFC 3986,
// 3.2.2). Brackets around anything without a colon are no part of a valid host.
func isBracketed(name []byte) bool {
	n := len(name)
	return n > 2 && name[0] == '[' && name[n-1] == ']' && bytes.IndexByte(name, ':') > 0
}

// canonicalHost returns the form of a declared host under which Lookup finds it.
func canonicalHost(host string) (string, error) {
	if _, hasPort := splitPort([]byte(host)); hasPort {
		return "", fmt.Errorf("host %q has a port; name the host alone, it matches on every port", host)
	}
	name := AppendHost(nil, []byte(host))
	if bytes.IndexByte(name, ':') >= 0 {
		if a, err := netip.ParseAddr(string(name)); err != nil || a.Zone() != "" {
			return "", fmt.Errorf("host %q is no IPv6 address", host)
		}
		return string(name), nil
	}
	if len(name) > maxHostLen {
		return "", fmt.Errorf("host %q is longer than %d bytes", host, maxHostLen)
	}
	for label := range bytes.SplitSeq(name, []byte(".")) {
		if len(label) == 0 {
			return "", fmt.Errorf("host %q has an empty label", host)
		}
		for _, c := range label {
			if ('a' > c || c > 'z') && ('0' > c || c > '9') && c != '-' && c != '_' {
				return "", fmt.Errorf("host %q has the character %q; use a DNS name (punycode for others than ASCII) or an address", host, c)
			}
		}
	}
	return string(name), nil
}
