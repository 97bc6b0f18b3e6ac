package web

import (
	"strings"
	"testing"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/site"
)

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, key string
		want         bool
	}{
		{"/", "", true}, {"/", "x", false}, {"/a", "a", true}, {"/a", "a/", false}, {"/a", "A", false},
		{"/a/*", "a/", true}, {"/a/*", "a/b/c", true}, {"/a/*", "a", false}, {"/a*", "abc", true}, {"/*", "", true}, {"/*", "x/y", true},
		{"*.js", "x/y.js", true}, {"*.js", ".js", true}, {"*.js", "js", false}, {"*", "", true},
		{"/a*b", "ab", true}, {"/a*b", "a", false}, {"/ab*ba", "aba", false}, {"/ab*ba", "abba", true}, {"/é/*", "é/x", true},
	} {
		if p := newPattern(c.pattern); p.matches([]byte(c.key)) != c.want {
			t.Errorf("%s, %q: %t", c.pattern, c.key, !c.want)
		}
	}
}

// objectHas says that objects have these headers, in the form of origins' heads.
func objectHas(name []byte) bool {
	return string(name) == "Cache-Control" || string(name) == "X-Amz-Version-Id"
}

func TestHeaders(t *testing.T) {
	always := site.HeaderRule{Set: file.Pairs{{Name: "X-A", Value: "all"}, {Name: "strict-transport-security", Value: "max-age=1"}}, Remove: []string{"x-amz-version-id"}, When: "always"}
	h := newHeaders([]site.HeaderRule{
		always,
		{Match: site.HeaderMatch{Path: "/a/*"}, Set: file.Pairs{{Name: "cache-control", Value: "no-cache"}}},
		{Match: site.HeaderMatch{ContentType: "text/*"}, Set: file.Pairs{{Name: "CACHE-CONTROL", Value: "text"}}, Remove: []string{"x-a"}},
	}, objectHas)
	const head = "Cache-Control: max-age=1\r\nDate: now\r\nX-Amz-Version-Id: 1\r\nCache-Control: public\r\nX-Amz-Version-Idx: 2\r\n"
	for _, c := range []struct {
		name, key, contentType string
		success, secure        bool
		want                   string
	}{
		{"an error", "a/x", "text/html", false, false, "Cache-Control: max-age=1\r\nDate: now\r\nCache-Control: public\r\nX-Amz-Version-Idx: 2\r\nX-A: all\r\n"},
		{"an error over TLS", "a/x", "", false, true, "Cache-Control: max-age=1\r\nDate: now\r\nCache-Control: public\r\nX-Amz-Version-Idx: 2\r\nX-A: all\r\nstrict-transport-security: max-age=1\r\n"},
		{"another path", "b/x", "image/png", true, false, "Cache-Control: max-age=1\r\nDate: now\r\nCache-Control: public\r\nX-Amz-Version-Idx: 2\r\nX-A: all\r\n"},
		{"a path", "a/x", "texts/x", true, false, "Date: now\r\nX-Amz-Version-Idx: 2\r\nX-A: all\r\nCache-Control: no-cache\r\n"},
		{"a type, which removes", "a/x", "TEXT/html", true, false, "Date: now\r\nX-Amz-Version-Idx: 2\r\nCache-Control: text\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := h.Append([]byte(head), h.Match([]byte(c.key), []byte(c.contentType), c.success), c.secure, false)
			if string(got) != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
	if got := h.Append(nil, h.Match(nil, nil, true), false, false); string(got) != "X-A: all\r\n" {
		t.Errorf("an empty head became %q", got)
	}
}

// FuzzWithoutLines holds the removal in place against one that makes a new head.
func FuzzWithoutLines(f *testing.F) {
	f.Add("A: 1\r\nB: 2\r\na: 3\r\nAB: 4\r\n", "a")
	f.Fuzz(func(t *testing.T, head, name string) {
		name = strings.ToLower(name)
		if head = strings.ReplaceAll(head, "\r", ""); head != "" && !strings.HasSuffix(head, "\n") || name == "" || strings.ContainsAny(name, ":\n") || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") != "" {
			return
		}
		var want strings.Builder
		for line := range strings.Lines(head) {
			if n, _, ok := strings.Cut(line, ":"); !ok || strings.Map(lowerASCII, n) != name {
				want.WriteString(line)
			}
		}
		if got := WithoutLines([]byte(head), name); string(got) != want.String() {
			t.Errorf("got  %q\nwant %q", got, want.String())
		}
	})
}

func lowerASCII(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		return r | 0x20
	}
	return r
}

func TestCORSJudges(t *testing.T) {
	c := newCORS(&site.CORS{Origins: []string{"https://a.example", "https://*.b.example:8443", "capacitor://localhost"}, Headers: []string{"range", "x-own"}})
	for _, row := range []struct {
		origin, method, headers string
		want                    Refusal
	}{
		{"https://a.example", "GET", "", Permitted}, {"https://a.example", "HEAD", "range", Permitted}, {"capacitor://localhost", "GET", "", Permitted},
		{"https://a.example", "GET", " Range ,\tX-OWN,, ", Permitted}, {"https://x-_9.b.example:8443", "GET", "", Permitted},
		{"", "GET", "", RefusedOrigin}, {"https://b.example:8443", "GET", "", RefusedOrigin}, {"https://.b.example:8443", "GET", "", RefusedOrigin},
		{"https://x.y.b.example:8443", "GET", "", RefusedOrigin}, {"https://x.b.example", "GET", "", RefusedOrigin}, {"https://\r\n.b.example:8443", "GET", "", RefusedOrigin},
		{"https://a.example", "", "", RefusedMethod}, {"https://a.example", "POST", "", RefusedMethod},
		{"https://a.example", "GET", "range x-own", RefusedHeaders}, {"https://a.example", "GET", "rang", RefusedHeaders},
		{"https://a.example", "GET", strings.Repeat(",", 1024), Permitted}, {"https://a.example", "GET", strings.Repeat(",", 1025), RefusedHeaders},
	} {
		if got := c.Judge([]byte(row.origin), []byte(row.method), []byte(row.headers)); got != row.want {
			t.Errorf("%.80v: %d", row, got)
		}
	}
}
