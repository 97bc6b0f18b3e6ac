//go:build !race

package gateway

import (
	"net/netip"
	"testing"
	"time"
)

func TestRequestIDAllocs(t *testing.T) {
	gen := &generation{trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	peer, lines := netip.MustParseAddr("10.0.0.1"), [][]byte{[]byte("198.51.100.1, 2001:db8:1:2:3:4:5:6, 10.9.9.9")}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var id []byte
	var client netip.Addr
	run := func() {
		id = appendUUIDv7(id[:0], now)
		client = gen.forwardedClient(peer, lines)
	}
	if run(); !wellFormedID(id) || len(id) != 36 || client.String() != "2001:db8:1:2:3:4:5:6" {
		t.Fatalf("id %q of %s", id, client)
	}
	// want <= 2: netip.ParseAddr may keep its string in an error, so that each
	// address read is copied.
	if n := testing.AllocsPerRun(100, run); n > 2 {
		t.Errorf("%v allocations, want at most 2", n)
	}
	if n := testing.AllocsPerRun(100, func() { id = appendUUIDv7(id[:0], now) }); n != 0 {
		t.Errorf("%v allocations for an id, want 0", n)
	}
}
