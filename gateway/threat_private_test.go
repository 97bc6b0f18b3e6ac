package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestThreatPrivate has objects that say this and that of caching, and asks for them with a
// token: no shared cache on the way may keep the answers, unless the object lets it.
func TestThreatPrivate(t *testing.T) {
	small, large := "0123456789", strings.Repeat("0123456789", 40<<10)
	const added, etag = "private, ", `"01234567"` // of both
	for _, c := range []struct {
		name  string
		lines []string
		want  string // of all lines; "" where the lines stay as they are
	}{
		{"nothing", nil, "private"},
		{"no-transform", []string{"no-transform"}, added + "no-transform"},
		{"max-age", []string{"max-age=31536000, immutable"}, added + "max-age=31536000, immutable"},
		{"must-revalidate", []string{"must-revalidate, max-age=5"}, added + "must-revalidate, max-age=5"},
		{"no-store", []string{"no-store"}, added + "no-store"},
		{"several lines", []string{"max-age=60", "no-transform"}, added + "max-age=60, no-transform"},
		{"private for some fields", []string{`private="x-a, x-b", max-age=60`}, added + `private="x-a, x-b", max-age=60`},
		{"public in quotes", []string{`x="public, s-maxage=9", max-age=60`}, added + `x="public, s-maxage=9", max-age=60`},
		{"public behind an open quote", []string{`x="a, public`, "public"}, added + `x="a, public, public`},
		{"an invalid s-maxage", []string{"s-maxage=soon, max-age=60"}, added + "s-maxage=soon, max-age=60"},
		{"private", []string{"max-age=60", "private"}, ""},
		{"public", []string{"Public, max-age=60"}, ""},
		{"public in the second line", []string{"max-age=60", "public"}, ""},
		{"s-maxage", []string{"s-maxage=60"}, ""},
	} {
		t.Run("T95_"+strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			var headers []string
			for _, l := range c.lines {
				headers = append(headers, "Cache-Control: "+l)
			}
			object := strings.Join(c.lines, ", ")
			want := c.want
			if want == "" {
				want = object
			}
			origin := startScripted(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "large") {
					version(large, headers...)(w, r)
				} else {
					version(small, headers...)(w, r)
				}
			})
			sources := "token_sources: [{type: bearer}, {type: cookie, name: session}, {type: query, name: token}]"
			yaml := "server: {ready: config}\nbuckets:\n"
			rules := "      rules: [{path: /open, enabled: false}]\n"
			yaml += privateYAML("kept", "/kept", origin.URL, sources) + rules + both
			yaml += privateYAML("raw", "/raw", origin.URL, sources) + rules
			yaml += bucketYAML("public", "/public", origin.URL)
			gw := startGateway(t, yaml)
			token := goodToken()
			for _, prefix := range []string{"/kept/", "/raw/"} {
				for i, by := range [][2]string{{"", "Authorization: Bearer " + token}, {"", "Cookie: session=" + token}, {"?token=" + token, "X-None: 1"}} {
					for _, key := range []string{"small", "large"} {
						target := fmt.Sprint(prefix, i, key, by[0])
						for _, ask := range []struct {
							method, header string
							status         int
						}{
							{"HEAD", "", 200}, {"GET", "", 200}, {"GET", "", 200}, {"HEAD", "", 200}, // a miss, then hits
							{"GET", "Range: bytes=1-2", 206}, {"GET", "Range: bytes=0-0,5-6", 0}, {"GET", "Range: bytes=9999999-", 416},
							{"GET", "If-None-Match: " + etag, 304}, {"HEAD", "If-None-Match: " + etag, 304}, {"GET", `If-Match: "other"`, 412},
						} {
							lines := []string{by[1]}
							if ask.header != "" {
								lines = append(lines, ask.header)
							}
							r, _ := gw.do(ask.method, target, lines...)
							gw.settleFills(t)
							got := strings.Join(r.Header["Cache-Control"], ", ")
							want := want
							if r.StatusCode >= 400 {
								want = "private"
							}
							if ask.status != 0 && r.StatusCode != ask.status || got != want {
								t.Errorf("%s %s %s: %d (want %d), Cache-Control %q, want %q", ask.method, target[:min(len(target), 12)], ask.header, r.StatusCode, ask.status, got, want)
							}
						}
					}
				}
				if r, _ := gw.do("GET", prefix+"x"); r.StatusCode != 401 || r.Header.Get("Cache-Control") != "private" {
					t.Errorf("without a token: %d, %q", r.StatusCode, r.Header.Get("Cache-Control"))
				}
			}
			for _, target := range []string{"/public/small", "/kept/open/small", "/kept/open/small", "/raw/open/small"} {
				if r, _ := gw.do("GET", target, "Authorization: Bearer "+token); strings.Join(r.Header["Cache-Control"], ", ") != object {
					t.Errorf("%s, for which no token is needed: %q, want %q", target, r.Header["Cache-Control"], object)
				}
			}
		})
	}
}
