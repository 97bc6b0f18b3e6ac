package route

import (
	"strings"
	"testing"
)

func TestAppendHost(t *testing.T) {
	for _, tc := range []struct{ name, host, want string }{
		{"as it is", "cdn.example.com", "cdn.example.com"},
		{"lower-cased", "CDN.Example.COM", "cdn.example.com"},
		{"port stripped", "cdn.example.com:8080", "cdn.example.com"},
		{"empty port stripped", "cdn.example.com:", "cdn.example.com"},
		{"trailing dot stripped", "cdn.example.com.", "cdn.example.com"},
		{"trailing dot before the port stripped", "cdn.example.com.:8080", "cdn.example.com"},
		{"only one trailing dot stripped", "cdn.example.com..", "cdn.example.com."},
		{"IPv4", "192.0.2.1:80", "192.0.2.1"},
		{"IPv6", "[2001:DB8::1]", "2001:db8::1"},
		{"IPv6 with port", "[2001:DB8::1]:8080", "2001:db8::1"},
		{"IPv6 without brackets has no port", "2001:db8::1", "2001:db8::1"},
		{"brackets around a name stay", "[cdn]:80", "[cdn]"},
		{"port of other than digits stays", "cdn:8x", "cdn:8x"},
		{"two ports stay", "cdn:80:80", "cdn:80:80"},
		{"open bracket stays", "[::1", "[::1"},
		{"empty", "", ""},
		{"a dot stays", ".", "."},
		{"a colon is an empty port", ":", ""},
		{"other bytes stay", "\xff\x00É", "\xff\x00É"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := string(AppendHost([]byte("x"), []byte(tc.host))); got != "x"+tc.want {
				t.Errorf("AppendHost(x, %q) = %q, want %q", tc.host, got, "x"+tc.want)
			}
		})
	}
}

func TestCanonicalHost(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := strings.Join([]string{label, label, label, strings.Repeat("b", 61)}, ".")
	for _, tc := range []struct{ name, host, want, problem string }{
		{"name", "CDN.example.com.", "cdn.example.com", ""},
		{"underscore and dash", "a_b-c", "a_b-c", ""},
		{"IPv4", "192.0.2.1", "192.0.2.1", ""},
		{"IPv6", "[2001:DB8::1]", "2001:db8::1", ""},
		{"IPv6 without brackets", "::1", "::1", ""},
		{"longest name", longest, longest, ""},
		{"longer name", longest + "b", "", "longer than 253 bytes"},
		{"port", "example.com:80", "", "has a port"},
		{"IPv6 with port", "[::1]:80", "", "has a port"},
		{"no IPv6 address", "a:b:c", "", "no IPv6 address"},
		{"zone", "fe80::1%eth0", "", "no IPv6 address"},
		{"open bracket", "[::1", "", "no IPv6 address"},
		{"wildcard", "*.example.com", "", `the character '*'`},
		{"URL", "https://example.com", "", "no IPv6 address"},
		{"path", "example.com/x", "", `the character '/'`},
		{"empty label", "a..b", "", "empty label"},
		{"dot alone", ".", "", "empty label"},
		{"not ASCII", "bücher.example", "", "punycode"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := canonicalHost(tc.host)
			switch {
			case tc.problem == "" && (err != nil || got != tc.want):
				t.Errorf("canonicalHost(%q) = %q, %v, want %q", tc.host, got, err, tc.want)
			case tc.problem != "" && (err == nil || !strings.Contains(err.Error(), tc.problem)):
				t.Errorf("canonicalHost(%q) = %q, %v, want an error with %q", tc.host, got, err, tc.problem)
			}
		})
	}
}
