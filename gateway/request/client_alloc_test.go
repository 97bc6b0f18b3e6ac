//go:build !race

package request

import (
	"net/netip"
	"testing"
	"time"
)

func TestRequestIDAllocs(t *testing.T) {
	trusted := TrustedProxies{netip.MustParsePrefix("10.0.0.0/8")}
	peer, now := netip.MustParseAddr("10.0.0.1"), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		line, want string
		forwarded  bool
	}{
		{"198.51.100.1, 2001:db8:1:2:3:4:5:6, 10.9.9.9", "2001:db8:1:2:3:4:5:6", false},
		{"192.0.2.7:4711, 10.9.9.9:80", "192.0.2.7", false},
		{"[2001:db8::1]:4711, [::ffff:10.9.9.9]", "2001:db8::1", false},
		{`for="[2001:db8::1]:4711";proto=https, for=10.9.9.9`, "2001:db8::1", true},
	} {
		lines := [][]byte{[]byte(c.line)}
		var id []byte
		var client netip.Addr
		run := func() {
			id = AppendUUIDv7(id[:0], now)
			client = trusted.ForwardedClient(peer, lines, c.forwarded)
		}
		if run(); !WellFormedID(id) || len(id) != 36 || client.String() != c.want {
			t.Fatalf("%s: id %q of %s", c.line, id, client)
		}
		if n := testing.AllocsPerRun(100, run); n > 0 {
			t.Errorf("%s: %v allocations, want none", c.line, n)
		}
	}
}
