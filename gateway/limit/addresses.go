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

// Allow reports whether a client at a is admitted. An invalid address is not.
//
// Hot path: zero allocations, guarded by TestAllocs.
func (s *Addresses) Allow(a netip.Addr) bool {
	if s == nil {
		return true
	}
	a = a.Unmap().WithZone("") // a prefix contains no address with a zone
	return a.IsValid() && !contains(s.deny, a) && (len(s.allow) == 0 || contains(s.allow, a))
}

// contains reports whether one of prefixes, which are disjoint and in order,
// contains a.
func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	// Only the last prefix that begins at or before a can contain it.
	i, found := slices.BinarySearchFunc(prefixes, a, func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
	return found || i > 0 && prefixes[i-1].Contains(a)
}
