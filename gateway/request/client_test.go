package request

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestUUIDv7(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	seen := make(map[string]bool)
	for range 10_000 {
		s := string(AppendUUIDv7(nil, now))
		u, err := uuid.Parse(s)
		if err != nil || u.Version() != 7 || u.Variant() != uuid.RFC4122 {
			t.Fatalf("%s: %v, version %d, variant %s", s, err, u.Version(), u.Variant())
		}
		sec, nsec := u.Time().UnixTime()
		if got := time.Unix(sec, nsec); got.UnixMilli() != now.UnixMilli() {
			t.Fatalf("%s is of %s, want %s", s, got, now)
		}
		if seen[s] {
			t.Fatalf("%s twice", s)
		}
		seen[s] = true
	}
}

func TestWellFormedID(t *testing.T) {
	for id, want := range map[string]bool{
		"abc-DEF_0.9": true, strings.Repeat("a", 128): true,
		"": false, strings.Repeat("a", 129): false, "a b": false, "a\nb": false, `a"b`: false, "ä": false, "a/b": false,
	} {
		if got := WellFormedID([]byte(id)); got != want {
			t.Errorf("%q: %t", id, got)
		}
	}
}

func TestForwardedClient(t *testing.T) {
	trusted := TrustedProxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"none", nil, "10.0.0.1"},
		{"one", []string{"192.0.2.7"}, "192.0.2.7"},
		{"the last untrusted counts", []string{"198.51.100.1, 192.0.2.7, 10.9.9.9"}, "192.0.2.7"},
		{"lines are one list", []string{"198.51.100.1", "192.0.2.7", "10.9.9.9"}, "192.0.2.7"},
		{"all trusted", []string{"10.1.1.1,10.2.2.2"}, "10.1.1.1"},
		{"IPv6 through a trusted one", []string{"2001:db8::1, fd00::5"}, "2001:db8::1"},
		{"mapped IPv4", []string{"::ffff:192.0.2.7"}, "192.0.2.7"},
		{"a zone is nonsense", []string{"fe80::1%text"}, "10.0.0.1"},
		{"nonsense stops the reading", []string{"192.0.2.7, unknown, 10.3.3.3"}, "10.3.3.3"},
		{"a port", []string{"192.0.2.7:80"}, "192.0.2.7"},
		{"IPv6 with a port", []string{"[2001:db8::1]:80"}, "2001:db8::1"},
		{"IPv6 in brackets", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"empty", []string{""}, "10.0.0.1"},
		{"empty behind the client", []string{"192.0.2.7,"}, "10.0.0.1"},
		{"commas alone", []string{",,,"}, "10.0.0.1"},
		{"what a client invents is not read", []string{"10.0.0.5, 198.51.100.1", "192.0.2.7"}, "192.0.2.7"},
		{"whitespace around", []string{" \t192.0.2.7\t , 10.9.9.9 "}, "192.0.2.7"},
		{"an octal address is nonsense", []string{"0300.0.2.7"}, "10.0.0.1"},
	} {
		var lines [][]byte
		for _, l := range c.lines {
			lines = append(lines, []byte(l))
		}
		if got := trusted.ForwardedClient(netip.MustParseAddr("10.0.0.1"), lines, false); got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestForwarded(t *testing.T) {
	trusted := TrustedProxies{netip.MustParsePrefix("10.0.0.0/8")}
	for line, want := range map[string]string{
		"for=192.0.2.7":                                 "192.0.2.7",
		`For="192.0.2.7:4711"`:                          "192.0.2.7",
		`for="[2001:db8::1]:4711";proto=https`:          "2001:db8::1",
		`by=10.0.0.2; for=192.0.2.7 ;host=a`:            "192.0.2.7",
		"for=198.51.100.1, for=192.0.2.7, for=10.1.1.1": "192.0.2.7",
		"for=192.0.2.7, for=unknown":                    "10.0.0.1",
		"for=192.0.2.7, for=_hidden, for=10.1.1.1":      "10.1.1.1",
		"192.0.2.7":      "10.0.0.1",
		"proto=https":    "10.0.0.1",
		`for="192.0.2.7`: "192.0.2.7",
		"":               "10.0.0.1",
	} {
		if got := trusted.ForwardedClient(netip.MustParseAddr("10.0.0.1"), [][]byte{[]byte(line)}, true); got.String() != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

func TestPeerAddr(t *testing.T) {
	if got := PeerAddr(&net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.7"), Port: 80}); got.String() != "192.0.2.7" {
		t.Errorf("a mapped address is %s", got)
	}
	if got := PeerAddr(&net.UnixAddr{}); got.IsValid() {
		t.Errorf("a socket without address is %s", got)
	}
}

// FuzzForwardedClient reads the list from the right in a second way, and tries each form
// of an address in turn.
func FuzzForwardedClient(f *testing.F) {
	trusted := TrustedProxies{netip.MustParsePrefix("10.0.0.0/8")}
	peer := netip.MustParseAddr("10.0.0.1")
	for _, v := range []string{"", "192.0.2.7", "192.0.2.7, 10.1.1.1", ",10.1.1.1", ",", "::ffff:10.1.1.1,,", "fe80::1%eth0", "10.1.1.1, x, 10.2.2.2", "192.0.2.7:80", "[2001:db8::1]:80, [fd00::1]", "[192.0.2.7]", "[192.0.2.7]:80", "[::1", "[]", ":80", "1:2:3"} {
		f.Add(v, v)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		var elements []string
		for _, line := range []string{a, b} {
			list := strings.Split(line, ",")
			if list[0] == "" {
				list = list[1:] // nothing is left of the first comma
			}
			elements = append(elements, list...)
		}
		want := peer
		for _, e := range slices.Backward(elements) {
			e = strings.Trim(e, " \t")
			addr, err := netip.ParseAddr(e)
			if p, portErr := netip.ParseAddrPort(e); portErr == nil {
				addr, err = p.Addr(), nil
			}
			if bare, ok := strings.CutPrefix(e, "["); ok && strings.HasSuffix(e, "]") {
				addr, err = netip.ParseAddr(strings.TrimSuffix(bare, "]"))
			}
			if err != nil || addr.Zone() != "" {
				break
			}
			if want = addr.Unmap(); !trusted.Trusts(want) {
				break
			}
		}
		if got := trusted.ForwardedClient(peer, [][]byte{[]byte(a), []byte(b)}, false); got != want {
			t.Fatalf("%q, %q: %s, the model says %s", a, b, got, want)
		}
	})
}
