package limit

import (
	"net/netip"
	"slices"
)

// Addresses says from which addresses clients may come. Create it with
// NewAddresses; a nil Addresses lets everyone in. It never changes and is safe for
// concurrent use.
type Addresses struct {
	allow, deny []netip.Prefix // disjoint, in order
}

// NewAddresses returns the rule that refuses who is in deny and, where allow is
// not empty, who is not in allow. It is nil where both are empty. A prefix of IPv4
// is not in its IPv6-mapped form.
func NewAddresses(allow, deny []netip.Prefix) *Addresses {
	if len(allow) == 0 && len(deny) == 0 {
		return nil
	}
	return &Addresses{allow: disjoint(allow), deny: disjoint(deny)}
}

// disjoint returns the prefixes that are not part of another one, in order.
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

// Allow reports whether a client at a may come in. An address that is not valid
// may not.
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
	// Only the last one that does not begin after a can.
	i, found := slices.BinarySearchFunc(prefixes, a, func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
	return found || i > 0 && prefixes[i-1].Contains(a)
}
