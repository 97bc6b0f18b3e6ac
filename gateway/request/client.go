package request

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"yatagarasu/cache"
)

// WellFormedID tells whether a trusted proxy's request id can be used.
func WellFormedID(id []byte) bool {
	const alphabet = "-._0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return len(id) > 0 && len(id) <= 128 && consistsOf(id, alphabet)
}

// consistsOf tells whether all bytes of v are among the ASCII bytes of set.
func consistsOf(v []byte, set string) bool { return len(bytes.TrimLeft(v, set)) == 0 }

// AppendUUIDv7 appends a UUID of version 7, RFC 9562 section 5.7: 48 bits of
// Unix milliseconds, then random bits. Ids need not be secret.
//
// Not google/uuid, which allocates for every id.
func AppendUUIDv7(dst []byte, now time.Time) []byte {
	var u [16]byte
	binary.BigEndian.PutUint64(u[0:], uint64(now.UnixMilli())<<16|rand.Uint64()&0xffff)
	binary.BigEndian.PutUint64(u[8:], rand.Uint64())
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	var digits [32]byte
	hex.Encode(digits[:], u[:])
	s := [36]byte{8: '-', 13: '-', 18: '-', 23: '-'}
	copy(s[0:8], digits[0:8])
	copy(s[9:13], digits[8:12])
	copy(s[14:18], digits[12:16])
	copy(s[19:23], digits[16:20])
	copy(s[24:36], digits[20:32])
	return append(dst, s[:]...)
}

// PeerAddr returns the IP address at the other end of a connection.
func PeerAddr(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// TrustedProxies are the addresses of the proxies whose headers count: server.trusted_proxies.
type TrustedProxies []netip.Prefix

// Trusts tells whether peer is one of them.
func (t TrustedProxies) Trusts(peer netip.Addr) bool {
	return slices.ContainsFunc(t, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// ForwardedClient returns the client that the trusted proxies name: the first address from the
// right that is not a trusted proxy's own. The client may have invented everything to the left
// of it. lines are those of Forwarded, or else of X-Forwarded-For.
func (t TrustedProxies) ForwardedClient(peer netip.Addr, lines [][]byte, forwarded bool) netip.Addr {
	client := peer
	for _, line := range slices.Backward(lines) {
		for len(line) > 0 {
			cut := bytes.LastIndexByte(line, ',') + 1
			element := cache.TrimOWS(line[cut:])
			if forwarded {
				element = parameter(element, "for")
			}
			a, ok := parseForwarded(element)
			if !ok {
				return client
			}
			client = a
			if !t.Trusts(client) {
				return client
			}
			line = line[:max(cut-1, 0)]
		}
	}
	return client
}

// Scheme is that of a client's connection. The zero value: nobody says.
type Scheme uint8

const (
	SchemeUnknown Scheme = iota
	SchemeHTTP
	SchemeHTTPS
)

// ForwardedScheme returns the scheme by which the client has come to the first of the trusted
// proxies, as they say. lines are those of Forwarded, or else of X-Forwarded-Proto. The client may
// have invented it: what depends on it must harm nobody else.
func ForwardedScheme(lines [][]byte, forwarded bool) Scheme {
	if len(lines) == 0 {
		return SchemeUnknown
	}
	first, _, _ := bytes.Cut(lines[0], comma)
	v := cache.TrimOWS(first)
	if forwarded {
		v = parameter(first, "proto")
	}
	switch {
	case NameIs(v, "http"):
		return SchemeHTTP
	case NameIs(v, "https"):
		return SchemeHTTPS
	}
	return SchemeUnknown
}

// parameter returns the value of an element's parameter, without quotes (RFC 7239, 4); nil if
// there is none. A comma within quotes ends the element, but neither addresses nor schemes have one.
func parameter(element []byte, want string) []byte {
	for pair := range bytes.SplitSeq(element, []byte(";")) {
		name, value, _ := bytes.Cut(cache.TrimOWS(pair), []byte("="))
		if NameIs(name, want) {
			return bytes.Trim(value, `"`)
		}
	}
	return nil
}

// parseForwarded parses an address, with or without a port, and an IPv6 address with or without
// brackets.
//
// Hot path: zero allocations for an address, guarded by TestRequestIDAllocs. The form decides
// on the parser beforehand, since a parser that fails allocates its error.
func parseForwarded(v []byte) (a netip.Addr, ok bool) {
	s := bytesString(v) // netip keeps nothing of it but in its errors, which end here
	var err error
	switch {
	case len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']':
		a, err = netip.ParseAddr(s[1 : len(s)-1])
	case strings.HasPrefix(s, "[") || strings.Count(s, ":") == 1: // an IPv6 address has two, or more
		var p netip.AddrPort
		p, err = netip.ParseAddrPort(s)
		a = p.Addr()
	default:
		a, err = netip.ParseAddr(s)
	}
	return a.Unmap(), err == nil && a.Zone() == ""
}
