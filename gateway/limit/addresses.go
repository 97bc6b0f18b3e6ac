package limit

import (
	"net/netip"
	"slices"
)

// Addresses admits clients by their addresses. Create it with NewAddresses; a nil
// Addresses admits everyone. It never changes and is safe for concurrent use.
type Addresses struct {
	allow, deny []netip.Prefix // disjoint, in order
}

// NewAddresses returns the rule that refuses clients in deny and, where allow is not
// empty, clients outside of allow. It is nil where both are empty. No prefix may be
// IPv4-mapped IPv6.
func NewAddresses(allow, deny []netip.Prefix) *Addresses {
	if len(allow) == 0 && len(deny) == 0 {
		return nil
	}
	return &Addresses{allow: disjoint(allow), deny: disjoint(deny)}
}

// disjoint returns the prefixes without those inside another one, in order.
func disjoint(prefixes []netip.Prefix) []netip.Prefix {
	sorted := slices.SortedFunc(slices.Values(prefixes), netip.Prefix.Compare)
	var out []netip.Prefix
	for _, p := range sorted {
		if n := len(out); n == 0 || !out[n-1].Overlaps(p) {
			out = append(out, p.Masked())
		}
	}
	return out
}

// Allow reports whether a client at a is admitted. An invalid address is not. Of an IPv6 address
// that carries an IPv4 address, deny has to have neither. allow has to have it as it is: what
// lets somebody in goes by the address that the network vouches for.
//
// Hot path: zero allocations, guarded by TestAllocs.
func (s *Addresses) Allow(a netip.Addr) bool {
	if s == nil {
		return true
	}
	a = a.Unmap().WithZone("") // a prefix contains no address with a zone
	if !a.IsValid() || contains(s.deny, a) {
		return false
	}
	if within, ok := carried(a); ok && contains(s.deny, within) {
		return false
	}
	return len(s.allow) == 0 || contains(s.allow, a)
}

// carried returns the IPv4 address that an IPv6 address stands for: that of the host behind a
// translator between the two (64:ff9b::/96, RFC 6052), or of the end of a tunnel (6to4, RFC 3056;
// Teredo, RFC 4380, which inverts it). Of 64:ff9b:1::/48 (RFC 8215) each network decides by itself
// where in the address it lies, so that none is known.
func carried(a netip.Addr) (within netip.Addr, ok bool) {
	if !a.Is6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	v4 := b[12:]
	switch {
	case [12]byte(b[:12]) == [12]byte{0, 0x64, 0xff, 0x9b}:
	case b[0] == 0x20 && b[1] == 0x02:
		v4 = b[2:6]
	case [4]byte(b[:4]) == [4]byte{0x20, 0x01}:
		for i := range v4 {
			v4[i] = ^v4[i]
		}
	default:
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(v4)), true
}

// contains reports whether one of prefixes, which are disjoint and in order,
// contains a.
func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	// Only the last prefix that begins at or before a can contain it.
	i, found := slices.BinarySearchFunc(prefixes, a, func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
	return found || i > 0 && prefixes[i-1].Contains(a)
}
