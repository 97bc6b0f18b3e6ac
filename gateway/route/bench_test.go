package route

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// mapTable is the baseline: a map of prefixes, probed from the longest possible
// one to the root.
type mapTable map[string]*int

func (m mapTable) lookup(path []byte) (*int, int) {
	for n := len(path); n > 0; n = bytes.LastIndexByte(path[:n], '/') {
		if v := m[string(path[:n])]; v != nil {
			return v, n
		}
	}
	return m[""], 0
}

// manyPrefixes has n prefixes in the shapes of a large installation: a quarter
// each of flat tenants, dated archives, nested teams, and hashes.
func manyPrefixes(n int) []rule {
	rules := []rule{{"", "/"}}
	for i := 0; len(rules) < n; i++ {
		for _, p := range []string{
			fmt.Sprintf("/tenant-%05d", i),
			fmt.Sprintf("/archive/%04d/%02d/%02d", 1990+i/372, i/31%12+1, i%31+1),
			fmt.Sprintf("/teams/team-%02d/apps/app-%03d/assets", i%50, i/50),
			fmt.Sprintf("/%08x", uint32(i)*2654435761),
		} {
			if len(rules) < n {
				rules = append(rules, rule{"", p})
			}
		}
	}
	return rules
}

func BenchmarkLookup(b *testing.B) {
	for _, size := range []int{10, 10_000} {
		rules := manyPrefixes(size)
		table := build(b, rules)
		baseline := mapTable{}
		for i, r := range rules {
			baseline[strings.TrimSuffix(r.prefix, "/")] = &i
		}
		withHosts := build(b, append([]rule{{"cdn.example.com", "/only/here"}}, rules...))
		for _, tc := range []struct{ name, path, prefix string }{
			{"hit", "/tenant-00001/img/2024/a.png", "/tenant-00001"},
			{"deep", "/teams/team-01/apps/app-000/assets/js/vendor/chunks/a.js", "/teams/team-01/apps/app-000/assets"},
			{"miss", "/teams/team-01/apps/app-000/asset/js/vendor/chunks/a.js", ""},
			{"root", "/favicon.ico", ""},
			{"slashes", strings.Repeat("/a", 4096), ""}, // what an attacker sends to a map
		} {
			path, host := []byte(tc.path), []byte("CDN.example.com:8443")
			for _, twin := range []struct {
				name   string
				lookup func() (*int, int)
			}{
				{"radix", func() (*int, int) { return table.Lookup(host, path) }},
				{"radix-hosts", func() (*int, int) { return withHosts.Lookup(host, path) }},
				{"map", func() (*int, int) { return baseline.lookup(path) }},
			} {
				b.Run(fmt.Sprintf("%d/%s/%s", size, tc.name, twin.name), func(b *testing.B) {
					if v, n := twin.lookup(); v == nil || n != len(tc.prefix) {
						b.Fatalf("Lookup(%s) = %v, %d, want length %d", path, v, n, len(tc.prefix))
					}
					b.ReportAllocs()
					for b.Loop() {
						twin.lookup()
					}
				})
			}
		}
	}
}
