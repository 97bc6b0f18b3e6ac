package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"yatagarasu/loadtest/rawserver"
)

// TestOddHeads has an object with headers that come twice, empty, folded or in odd case,
// and asks for it with a cache and without: a miss, a hit and an answer past any cache
// have the same, and a 304 has what they have of it.
func TestOddHeads(t *testing.T) {
	const modified = "Fri, 02 Jan 2026 03:04:05 GMT"
	usual := "Last-Modified: " + modified + "\r\nCache-Control: max-age=60\r\n"
	for _, c := range []struct {
		name, head string
		want       map[string][]string // nil: none
	}{
		{"two versions", usual + "ETag: \"a\"\r\nX-Amz-Version-Id: v\r\nX-Amz-Version-Id: w\r\n", map[string][]string{"X-Amz-Version-Id": {"v"}}},
		{"an empty version first", usual + "ETag: \"a\"\r\nX-Amz-Version-Id:\r\nX-Amz-Version-Id: w\r\n", map[string][]string{"X-Amz-Version-Id": {"w"}}},
		{"odd case", usual + "eTaG: \"a\"\r\nx-aMz-meta-B: v\r\n", map[string][]string{"Etag": {`"a"`}, "X-Amz-Meta-B": {"v"}}},
		{"empty ranges", usual + "ETag: \"a\"\r\nAccept-Ranges:\r\n", map[string][]string{"Accept-Ranges": {"bytes"}}},
		{"empty ranges, then none", usual + "ETag: \"a\"\r\nAccept-Ranges:\r\nAccept-Ranges: none\r\n", map[string][]string{"Accept-Ranges": {"none"}}},
		{"lists", usual + "ETag: \"a\"\r\nCache-Control:\r\nCache-Control: no-transform\r\nContent-Language: de\r\nContent-Language: en\r\n",
			map[string][]string{"Cache-Control": {"max-age=60", "no-transform"}, "Content-Language": {"de", "en"}}},
		{"metadata", usual + "ETag: \"a\"\r\nX-Amz-Meta-A:\r\nX-Amz-Meta-B: v\r\nX-Amz-Meta-B: w\r\nX-Amz-Meta-Bc: x: y\r\n", map[string][]string{"X-Amz-Meta-A": {""}, "X-Amz-Meta-B": {"v"}, "X-Amz-Meta-Bc": {"x: y"}}},
		{"folded", usual + "ETag: \"a\"\r\nX-Amz-Meta-A: one\r\n two\r\n", map[string][]string{"X-Amz-Meta-A": {"one two"}}},
		{"an empty encoding", usual + "ETag: \"a\"\r\nContent-Encoding:\r\nContent-Disposition:\r\n", map[string][]string{"Content-Encoding": nil, "Content-Disposition": nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := rawserver.Start(t, nil, func(conn net.Conn, _ int, head string) bool {
				status, body := "200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4", "body"
				if strings.Contains(head, "\r\nif-none-match:") {
					status, body = "304 Not Modified", ""
				} else if strings.HasPrefix(head, "HEAD ") {
					body = ""
				}
				io.WriteString(conn, "HTTP/1.1 "+status+"\r\n"+c.head+"\r\n"+body)
				return true
			})
			url := "http://" + s.Addr
			gw := startGateway(t, cachedYAML(url)+bucketYAML("raw", "/raw", url))
			var whole []http.Header
			for _, target := range []string{"/pub/x", "/pub/x", "/raw/x"} {
				r, body := gw.do("GET", target)
				if string(body) != "body" {
					t.Fatalf("%s: status %d, %q", target, r.StatusCode, body)
				}
				whole = append(whole, r.Header)
			}
			if a, b := without(whole[0]), without(whole[1]); a != b || whole[1].Get("X-Cache") != "HIT" {
				t.Errorf("the miss has\n%s, the hit\n%s", a, b)
			}
			if a, b := without(whole[2]), without(whole[1]); a != b {
				t.Errorf("past the cache it is\n%s, the hit\n%s", a, b)
			}
			for name, want := range c.want {
				if got := whole[2][name]; fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			for _, target := range []string{"/pub/x", "/raw/x"} {
				r, _ := gw.do("GET", target, `If-None-Match: "a"`)
				if r.StatusCode != 304 {
					t.Fatalf("%s: status %d", target, r.StatusCode)
				}
				for _, name := range []string{"Etag", "Last-Modified", "Cache-Control"} {
					if got, want := r.Header[name], whole[1][name]; fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("%s: the 304 has %s %q, want %q", target, name, got, want)
					}
				}
			}
		})
	}
}
