package gateway

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"
)

// identify determines who asks, and under which id the request is logged.
func (x *exchange) identify(ctx *fasthttp.RequestCtx, gen *generation) {
	h := &ctx.Request.Header
	peer := peerAddr(ctx.RemoteAddr())
	x.client = peer
	if gen.trusts(peer) {
		x.client = gen.forwardedClient(peer, h.PeekAll(fasthttp.HeaderXForwardedFor))
		if id := h.PeekBytes(headerRequestID); wellFormedID(id) {
			x.id = append(x.id[:0], id...)
			return
		}
	}
	x.id = appendUUIDv7(x.id[:0], x.start)
}

// wellFormedID tells whether a request id of a trusted proxy can be taken over.
func wellFormedID(id []byte) bool {
	if len(id) == 0 || len(id) > 128 {
		return false
	}
	for _, c := range id {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// appendUUIDv7 appends a UUID of version 7, RFC 9562 section 5.7: 48 bits of
// Unix milliseconds, then random bits. Ids need not be secret.
//
// Not google/uuid, which allocates for every id.
func appendUUIDv7(dst []byte, now time.Time) []byte {
	var u [16]byte
	binary.BigEndian.PutUint64(u[0:], uint64(now.UnixMilli())<<16|rand.Uint64()&0xffff)
	binary.BigEndian.PutUint64(u[8:], rand.Uint64())
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	var s [36]byte
	hex.Encode(s[0:8], u[0:4])
	hex.Encode(s[9:13], u[4:6])
	hex.Encode(s[14:18], u[6:8])
	hex.Encode(s[19:23], u[8:10])
	hex.Encode(s[24:36], u[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return append(dst, s[:]...)
}

// peerAddr returns the IP address at the other end of a connection.
func peerAddr(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// trusts tells whether peer is one of server.trusted_proxies.
func (gen *generation) trusts(peer netip.Addr) bool {
	for _, p := range gen.trusted {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// forwardedClient returns the client that X-Forwarded-For names: the last
// address, read from the right, that is not a trusted proxy itself. Everything
// to the left of it may be invented by the client.
func (gen *generation) forwardedClient(peer netip.Addr, lines [][]byte) netip.Addr {
	client := peer
	for i := len(lines) - 1; i >= 0; i-- {
		line := lines[i]
		for len(line) > 0 {
			cut := len(line)
			for cut > 0 && line[cut-1] != ',' {
				cut--
			}
			a, err := netip.ParseAddr(string(bytes.Trim(line[cut:], " \t")))
			if err != nil || a.Zone() != "" {
				return client
			}
			client = a.Unmap()
			if !gen.trusts(client) {
				return client
			}
			line = line[:max(cut-1, 0)]
		}
	}
	return client
}
