package file

import (
	"net/netip"
	"slices"
	"strings"
)

// Networks decodes a list of distinct addresses and networks, none of them in one of
// denied.
func (o Object) Networks(key string, denied []netip.Prefix) []netip.Prefix {
	var list []netip.Prefix
	o.Strings(key, func(n *Node, text string, _ bool) {
		p, problem := parseNetwork(text)
		fix := "write an address such as 10.1.2.3, or a network such as 10.0.0.0/8"
		if problem == "" {
			fix = "remove one of them"
		}
		switch {
		case problem != "":
		case slices.Contains(list, p):
			problem = "is in the list twice"
		case slices.ContainsFunc(denied, func(deny netip.Prefix) bool { return deny.Bits() <= p.Bits() && deny.Contains(p.Addr()) }):
			problem = "has no effect: deny refuses all of it"
		default:
			list = append(list, p)
			return
		}
		o.d.Fail(n, problem, fix)
	})
	return list
}

// parseNetwork returns an address, as a prefix of full length, or a network.
func parseNetwork(s string) (p netip.Prefix, problem string) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, "is neither an address nor a network"
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), ""
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, "is neither an address nor a network"
	}
	if p != p.Masked() {
		return netip.Prefix{}, "has bits of an address after the network part"
	}
	return p, ""
}
