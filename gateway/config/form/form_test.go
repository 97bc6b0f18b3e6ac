package form_test

import (
	"fmt"
	"strings"
	"testing"

	"yatagarasu/gateway/config/form"
)

func ExamplePath() {
	for _, s := range []string{"/docs/", "/", "docs", "/a%20b", "/a/../b"} {
		if path, problem, fix := form.Path(s); problem != "" {
			fmt.Println(problem+";", fix)
		} else {
			fmt.Println(path)
		}
	}

	// Output:
	// /docs
	// /
	// does not begin with "/"; put a "/" before it
	// contains "%"; write the path decoded: a space as a space, not as %20
	// contains a "." or ".." segment; write the path without it
}

func TestForms(t *testing.T) {
	for name, c := range map[string]struct {
		is        func(string) bool
		good, bad []string
	}{
		"name":           {func(s string) bool { return form.IsName(s, 5) }, []string{"a", "0._-b"}, []string{"", ".a", "-a", "a b", "abcdef"}},
		"host name":      {form.IsHostName, []string{"a", "a.b-c", "_x.y", "1a"}, []string{"", "1.2.3", "a..b", "-a", "a.", "é", strings.Repeat("a.", 127) + "a"}},
		"host":           {form.IsHost, []string{"127.0.0.1", "::1", "fe80::1%eth0", "a.b"}, []string{"", "[::1]", "2001:db8::1%eth0", "127.0.0.256"}},
		"host of a URL":  {form.IsURLHost, []string{"127.0.0.1", "a.b."}, []string{"127.0.0.1.", "a..", "."}},
		"port":           {func(s string) bool { return form.IsPort(s, 1) }, []string{"1", "080", "65535"}, []string{"", "0", "+1", "-1", "65536", "1_0", "0x1", "99999999999999999999"}},
		"listen address": {form.IsListenAddress, []string{":0", "[::1]:80", "a:1"}, []string{"80", "a", "a:b", "a:1:2", "[a b]:1"}},
		"token":          {form.IsToken, []string{"a", "X-Y", "!#$"}, []string{"", "a b", "a:b", "a/b", "é"}},
		"visible":        {form.IsVisible, []string{"", "a:/b"}, []string{"a b", "\x7f", "é"}},
	} {
		for _, s := range c.good {
			if !c.is(s) {
				t.Errorf("%q is no %s", s, name)
			}
		}
		for _, s := range c.bad {
			if c.is(s) {
				t.Errorf("%q is a %s", s, name)
			}
		}
	}
}
