package limit

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func prefixes(s string) (out []netip.Prefix) {
	for f := range strings.FieldsSeq(s) {
		out = append(out, netip.MustParsePrefix(f))
	}
	return out
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		name, allow, deny, address string
		want                       bool
	}{
		{"no list", "", "", "192.0.2.7", true},
		{"allowed", "192.0.2.0/24", "", "192.0.2.7", true},
		{"not allowed", "192.0.2.0/24", "", "192.0.3.7", false},
		{"the first of a network", "192.0.2.0/24", "", "192.0.2.0", true},
		{"the last of a network", "192.0.2.0/24", "", "192.0.2.255", true},
		{"one address", "192.0.2.7/32", "", "192.0.2.7", true},
		{"another address", "192.0.2.7/32", "", "192.0.2.8", false},
		{"denied", "", "192.0.2.0/24", "192.0.2.7", false},
		{"not denied", "", "192.0.2.0/24", "192.0.1.255", true},
		{"deny wins", "192.0.2.0/24", "192.0.2.7/32", "192.0.2.7", false},
		{"deny wins over what is inside", "192.0.2.7/32", "192.0.2.0/24", "192.0.2.7", false},
		{"allowed beside the denied", "192.0.2.0/24", "192.0.2.7/32", "192.0.2.8", true},
		{"nested", "10.0.0.0/8 10.1.0.0/16 10.1.2.0/24", "", "10.200.0.1", true},
		{"after a nested one", "10.0.0.0/8 10.1.0.0/16", "", "10.2.0.1", true},
		{"IPv6", "2001:db8::/32", "", "2001:db8:ffff::1", true},
		{"another IPv6", "2001:db8::/32", "", "2001:db9::1", false},
		{"an allow list of IPv4 alone", "0.0.0.0/0", "", "2001:db8::1", false},
		{"mapped IPv4 is allowed", "192.0.2.0/24", "", "::ffff:192.0.2.7", true},
		{"mapped IPv4 is denied", "", "192.0.2.0/24", "::ffff:192.0.2.7", false},
		{"a network of IPv6 has no mapped IPv4", "::/0", "", "::ffff:192.0.2.7", false},
		{"a zone hides nothing", "", "fe80::/10", "fe80::1%eth0", false},
		{"everyone is denied", "", "0.0.0.0/0 ::/0", "2001:db8::1", false},
		{"behind a translator", "", "192.0.2.0/24", "64:ff9b::192.0.2.7", false},
		{"another one behind it", "", "192.0.2.0/24", "64:ff9b::192.0.3.7", true},
		{"behind it, by its own address", "", "64:ff9b::/96", "64:ff9b::192.0.2.7", false},
		{"behind it, in a list of all IPv4", "", "0.0.0.0/0", "64:ff9b::192.0.2.7", false},
		{"a translator's address as it is", "64:ff9b::/96", "", "64:ff9b::192.0.2.7", true},
		{"lets nobody in for what it carries", "192.0.2.0/24", "", "64:ff9b::192.0.2.7", false},
		{"lets nobody in whom deny has", "64:ff9b::/96", "192.0.2.7/32", "64:ff9b::192.0.2.7", false},
		{"beside the translator's network", "", "192.0.2.0/24", "64:ff9b:0:1::192.0.2.7", true},
		{"a translator of a network's own", "", "192.0.2.0/24", "64:ff9b:1::192.0.2.7", true},
		{"the end of a 6to4 tunnel", "", "192.0.2.0/24", "2002:c000:207:1::1", false},
		{"the end of another one", "", "192.0.2.0/24", "2002:c000:307:1::1", true},
		{"the end of a Teredo tunnel", "", "192.0.2.0/24", "2001:0:4136:e378:8000:63bf:3fff:fdf8", false},
		{"which has it inverted", "", "192.0.2.0/24", "2001:0:4136:e378:8000:63bf:c000:207", true},
		{"which is no other address", "", "192.0.2.0/24", "2001:1:4136:e378:8000:63bf:3fff:fdf8", true},
		{"no address", "", "192.0.2.0/24", "", false},
	} {
		var a netip.Addr
		if c.address != "" {
			a = netip.MustParseAddr(c.address)
		}
		if got := NewAddresses(prefixes(c.allow), prefixes(c.deny)).Allow(a); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// TestAddressesMatchModel compares with a linear scan.
func TestAddressesMatchModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func() netip.Addr {
		var b [16]byte
		binary.BigEndian.PutUint16(b[:], uint16(rnd.IntN(4))<<14|uint16(rnd.IntN(8)))
		b[rnd.IntN(16)] = byte(rnd.IntN(256))
		if rnd.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte(b[:4]))
		}
		return netip.AddrFrom16(b)
	}
	list := func() (out []netip.Prefix) {
		for range rnd.IntN(40) {
			a := random()
			p, err := a.Prefix(a.BitLen() - rnd.IntN(30))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, p)
		}
		return out
	}
	var counts [2]int
	for range 500 {
		allow, deny := list(), list()
		s := NewAddresses(allow, deny)
		for range 200 {
			a := random()
			in := func(p netip.Prefix) bool { return p.Contains(a) }
			want := !slices.ContainsFunc(deny, in) && (len(allow) == 0 || slices.ContainsFunc(allow, in))
			if got := s.Allow(a); got != want {
				t.Fatalf("%s: %t; allow %v, deny %v", a, got, allow, deny)
			}
			if want {
				counts[0]++
			} else {
				counts[1]++
			}
		}
	}
	if counts[0] < 1000 || counts[1] < 1000 {
		t.Errorf("%v let in and refused: a side is hardly tried", counts)
	}
}
