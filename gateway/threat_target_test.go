package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestThreat has a subtest for each numbered input that must not break the
// gateway; the numbers and outcomes are those of docs/THREATS.md.
func TestThreat(t *testing.T) {
	t.Parallel()
	t.Run("Target", threatTarget)
	t.Run("Framing", threatFraming)
	t.Run("Signing", threatSigning)
	t.Run("Origin", threatOrigin)
	t.Run("JWT", threatJWT)
	t.Run("Tokens", threatTokens)
	t.Run("Limits", threatLimits)
	t.Run("Cache", threatCache)
	t.Run("Keys", threatKeys)
}

func threatTarget(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+
		bucketYAML("pub", "/pub", origin.URL)+bucketYAML("priv", "/priv", origin.URL)+bucketYAML("products", "/products", origin.URL))

	for _, c := range []struct {
		name   string
		target string
		status int
		key    string // path at the origin after the bucket; only with 200
	}{
		{"T01_dot_dot", "/pub/../priv/x", 400, ""},
		{"T01_encoded_dot_dot", "/pub/%2e%2e/priv/x", 400, ""},
		{"T01_dot_dot_encoded_slash", "/pub/..%2Fpriv", 400, ""},
		{"T01_all_encoded", "/pub/%2e%2e%2fpriv", 400, ""},
		{"T02_dot_segment", "/pub/./x", 400, ""},
		{"T02_trailing_dot_dot", "/pub/a/..", 400, ""},
		{"T02_encoded_dot", "/pub/%2e/x", 400, ""},
		{"T03_prefix_is_not_a_segment", "/products-secret/x", 404, ""},
		{"T04_prefix_alone", "/pub", 403, ""},
		{"T04_prefix_with_slash", "/pub/", 403, ""},
		{"T05_encoded_slash_in_prefix", "/pub%2Fx", 400, ""},
		{"T06_double_slash_prefix", "//pub/x", 400, ""},
		{"T06_double_slash_in_key", "/pub/a//b", 200, "/a//b"},
		{"T07_nul", "/pub/a%00b", 400, ""},
		{"T07_crlf", "/pub/a%0d%0aX: y", 400, ""},
		{"T07_delete", "/pub/a%7fb", 400, ""},
		{"T08_lone_percent", "/pub/a%", 400, ""},
		{"T08_bad_hex", "/pub/%zz", 400, ""},
		{"T09_double_encoding", "/pub/%252e%252e", 200, "/%252e%252e"},
		{"T10_invalid_utf8", "/pub/%ff", 400, ""},
		{"T11_case", "/PUB/x", 404, ""},
		{"T12_absolute_form", "http://evil/pub/x", 200, "/x"},
		{"T12_absolute_form_with_https", "HTTPS://[2001:db8::1]:8443/pub/a%20b", 200, "/a%20b"},
		{"T12_absolute_form_is_read_as_any_path", "http://evil/pub/../priv/x", 400, ""},
		{"T12_absolute_form_without_a_path", "http://evil?/pub/x", 404, ""},
		{"T12_absolute_form_with_two_slashes", "http://evil//pub/x", 400, ""},
		{"T12_another_scheme", "ftp://evil/pub/x", 400, ""},
		{"T12_userinfo", "http://user:pass@evil/pub/x", 400, ""},
		{"T12_empty_host", "http:///pub/x", 400, ""},
		{"T12_empty_host_with_a_port", "http://:80/pub/x", 400, ""},
		{"T12_port_too_large", "http://evil:65536/pub/x", 400, ""},
		{"T12_authority_in_path", "//evil/priv/x?u=http://", 400, ""},
		{"T13_backslash", `/pub/\..\x`, 200, "/%5C..%5Cx"},
		{"T14_long_target", "/pub/x?" + strings.Repeat("q", 9<<10), 414, ""},
		{"T14_long_key", "/pub/" + strings.Repeat("k", 1025), 400, ""},
		{"T14_longest_key", "/pub/" + strings.Repeat("k", 1024), 200, "/" + strings.Repeat("k", 1024)},
		{"T15_health_is_reserved", "/health", 200, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(origin.seen())
			target := strings.ReplaceAll(c.target, " ", "%20")
			r, body := gw.do("GET", target)
			if r.StatusCode != c.status {
				t.Fatalf("GET %.80s: status %d, want %d; body %s", target, r.StatusCode, c.status, body)
			}
			asked := origin.seen()[before:]
			if c.key == "" {
				if len(asked) != 0 {
					t.Fatalf("the origin was asked for %s", asked[0].RequestURI)
				}
				return
			}
			if len(asked) != 1 || asked[0].RequestURI != "/things"+c.key {
				t.Fatalf("the origin was asked %v, want one request for %s", asked, c.key)
			}
		})
	}

	t.Run("T15_root_bucket_does_not_shadow_reserved_paths", func(t *testing.T) {
		root := startGateway(t, oneBucket("/", origin.URL, ""), func(o *Options) {})
		before := len(origin.seen())
		for path, want := range map[string]int{"/health": 200, "/ready": 200, "/metrics": 404, "/admin/reload": 404, "/admin": 404} {
			if r, _ := root.do("GET", path); r.StatusCode != want {
				t.Errorf("GET %s: status %d, want %d", path, r.StatusCode, want)
			}
		}
		if n := len(origin.seen()) - before; n != 0 {
			t.Errorf("the origin was asked %d times", n)
		}
		if r, body := root.do("GET", "/healthy"); r.StatusCode != 200 || string(body) != "hello" {
			t.Errorf("a key beside the reserved path: %d %q", r.StatusCode, body)
		}
	})

	t.Run("T16_other_methods", func(t *testing.T) {
		before := len(origin.seen())
		for _, m := range []string{"PUT", "POST", "DELETE", "PATCH", "TRACE", "OPTIONS", "get", "BREW"} {
			r, _ := gw.do(m, "/pub/x")
			if r.StatusCode != 405 || r.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s: status %d, Allow %q", m, r.StatusCode, r.Header.Get("Allow"))
			}
		}
		for _, head := range []string{
			"CONNECT gateway.test:443 HTTP/1.1\r\nHost: gateway.test:443\r\n\r\n",
			"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
			"PUT /pub/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
			"POST /pub/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		} {
			got := gw.raw(head)
			if statusOf(got) != 405 || !strings.Contains(got, "\r\nAllow: GET, HEAD\r\n") {
				t.Errorf("%.20q: %.200q", head, got)
			}
		}
		if n := len(origin.seen()) - before; n != 0 {
			t.Errorf("the origin was asked %d times", n)
		}
	})
}

func threatFraming(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	gw := startGateway(t, oneBucket("/pub", origin.URL), func(o *Options) { o.HeaderTimeout = time.Second })

	const smuggled = "GET /pub/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	refused := func(name, request string, statuses ...int) {
		t.Run(name, func(t *testing.T) {
			before := len(origin.seen())
			got := gw.raw(request)
			status := statusOf(got)
			ok := false
			for _, want := range statuses {
				ok = ok || status == want
			}
			if !ok {
				t.Errorf("status %d, want one of %v; got %.300q", status, statuses, got)
			}
			if n := strings.Count(got, "X-Request-ID: "); n > 1 {
				t.Errorf("%d responses to one request: %.400q", n, got)
			}
			for _, r := range origin.seen()[before:] {
				t.Errorf("the origin was asked for %s", r.RequestURI)
			}
		})
	}
	const get = "GET /pub/x HTTP/1.1\r\n"
	const host = "Host: x\r\n"
	refused("T17_te_and_cl", get+host+"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+smuggled, 400, 413)
	refused("T17_te", get+host+"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+smuggled, 400, 413)
	refused("T17_te_identity", get+host+"Transfer-Encoding: identity\r\n\r\n"+smuggled, 400)
	refused("T17_body", get+host+"Content-Length: 5\r\n\r\nhello"+smuggled, 400, 413)
	refused("T17_one_byte_body", get+host+"Content-Length: 1\r\n\r\nh"+smuggled, 400, 413)
	refused("T17_duplicate_cl", get+host+"Content-Length: 0\r\nContent-Length: 0\r\n\r\n"+smuggled, 400)
	refused("T17_signed_cl", get+host+"Content-Length: +0\r\n\r\n"+smuggled, 400)
	refused("T17_negative_cl", get+host+"Content-Length: -1\r\n\r\n"+smuggled, 400)
	refused("T18_bare_lf", get+host+"A: b\nC: d\r\n\r\n"+smuggled, 400)
	refused("T18_obs_fold", get+host+"A: b\r\n c\r\n\r\n"+smuggled, 400)
	refused("T18_space_before_colon", get+host+"A : b\r\n\r\n"+smuggled, 400)
	refused("T18_space_in_name", get+host+"A B: c\r\n\r\n"+smuggled, 400)
	refused("T18_nul_in_value", get+host+"A: b\x00c\r\n\r\n"+smuggled, 400)
	refused("T18_cr_in_value", get+host+"A: b\rc\r\n\r\n"+smuggled, 400)
	t.Run("T18_head_of_bare_lf_is_closed_by_the_timeout", func(t *testing.T) {
		got := gw.rawFor(10*time.Second, "GET /pub/x HTTP/1.1\nHost: x\n\n")
		if s := statusOf(got); s != 408 && s != 400 {
			t.Errorf("status %d: %.200q", s, got)
		}
	})
	refused("T19_http09", "GET /pub/x\r\n\r\n", 400, 505)
	refused("T19_http12", "GET /pub/x HTTP/1.2\r\n"+host+"\r\n", 400, 505)
	refused("T19_http20", "GET /pub/x HTTP/2.0\r\n"+host+"\r\n", 400, 505)
	refused("T19_http2_preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 405, 505)
	refused("T20_expect", get+host+"Expect: a-miracle\r\n\r\n", 417)
	refused("T21_large_header", get+host+"A: "+strings.Repeat("b", 20<<10)+"\r\n\r\n", 431)
	refused("T21_many_headers", get+host+strings.Repeat("A: bcdefgh\r\n", 3000)+"\r\n", 431)
	refused("T21_large_target", "GET /pub/"+strings.Repeat("b", 20<<10)+" HTTP/1.1\r\n"+host+"\r\n", 431)
	refused("T21_two_authorizations", get+host+"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", 400)
	refused("T21_two_hosts", get+host+host+"\r\n", 400)
	refused("T21_host_with_userinfo", get+"Host: u@x\r\n\r\n"+smuggled, 400)
	refused("T21_host_with_a_port_too_large", get+"Host: x:65536\r\n\r\n"+smuggled, 400)
	refused("T21_host_with_quotes", get+"Host: \"x\"\r\n\r\n"+smuggled, 400)

	for name, header := range map[string]string{
		"T20_upgrade_h2c":       "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
		"T20_upgrade_websocket": "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\nSec-WebSocket-Version: 13\r\n",
		"T20_connection_names":  "Connection: Authorization, Host\r\n",
		"T20_underscore_twins":  "Content_Length: 5\r\nTransfer_Encoding: chunked\r\nHost_: y\r\n",
		"T20_expect_continue":   "Expect: 100-continue\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := gw.raw(get + host + header + "\r\n")
			if statusOf(got) != 200 || !strings.HasSuffix(got, "hello") || strings.Contains(got, " 101 ") {
				t.Errorf("got %.300q", got)
			}
		})
	}
	for name, c := range map[string]struct {
		lines  string
		status int
	}{
		"T99a_expectation_without_a_body":       {"Expect: 100-continue\r\n", 200},
		"T99a_expectation_of_an_empty_body":     {"Expect: 100-continue\r\nContent-Length: 0\r\n", 200},
		"T99a_expectation_twice":                {"Expect: 100-continue\r\nExpect: 100-continue\r\n", 200},
		"T99a_another_in_the_same_line":         {"Expect: 100-continue, x\r\n", 417},
		"T99a_another_after_it":                 {"Expect: 100-continue\r\nExpect: x\r\n", 417},
		"T99a_another_before_it":                {"Expect: x\r\nExpect: 100-continue\r\n", 417},
		"T99a_another_and_a_body":               {"Expect: 100-continue\r\nExpect: x\r\nContent-Length: 5\r\n", 417},
		"T99a_expectation_of_a_body":            {"Expect: 100-continue\r\nContent-Length: 5\r\n", 413},
		"T99a_expectation_of_chunks":            {"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", 413},
		"T99a_expectation_of_a_body_in_a_trap":  {"Expect: 100-continue\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400},
		"T99a_expectation_and_nothing_is_right": {"Expect: 100-continue\r\nHost: y\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
				if version == "HTTP/1.0" && strings.Contains(c.lines, "chunked") {
					continue // refused for another reason
				}
				got := gw.raw("GET /pub/x " + version + "\r\n" + host + c.lines + "\r\n")
				if statusOf(got) != c.status || strings.Contains(got, "100 Continue") || strings.Count(got, "HTTP/1.1 ") != 1 {
					t.Errorf("%s: %.300q, want one %d", version, got, c.status)
				}
			}
		})
	}
	for name, c := range map[string]struct {
		lines    string
		statuses []int
	}{
		"T99b_and_nothing_else":         {host + "\r\n", []int{200}},
		"T99b_and_another_request":      {host + "\r\n" + smuggled, []int{200, 200}},
		"T99b_and_a_bare_LF_in_a_line":  {host + "A: b\nC: d\r\n\r\n" + smuggled, []int{400}},
		"T99b_and_a_line_of_it_alone":   {"\n" + host + "\r\n" + smuggled, []int{400}},
		"T99b_and_a_folded_line":        {" x\r\n" + host + "\r\n" + smuggled, []int{400}},
		"T99b_and_a_body":               {host + "Content-Length: 5\r\n\r\nhello" + smuggled, []int{413}},
		"T99b_and_two_framings":         {host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, []int{400}},
		"T99b_and_another_request_line": {"GET /pub/smuggled HTTP/1.1\r\n" + host + "\r\n", []int{400}},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(origin.seen())
			got := gw.raw("GET /pub/x HTTP/1.1\n" + c.lines)
			var statuses []int
			for _, answer := range strings.Split(got, "HTTP/1.1 ")[1:] {
				statuses = append(statuses, statusOf("HTTP/1.1 "+answer))
			}
			if !slices.Equal(statuses, c.statuses) {
				t.Errorf("%v, want %v: %.400q", statuses, c.statuses, got)
			}
			asked := origin.seen()[before:]
			if n := len(asked); n != strings.Count(fmt.Sprint(statuses), "200") || n > 0 && asked[0].URL.Path != "/things/x" {
				t.Errorf("the origin was asked %d times", n)
			}
		})
	}
	t.Run("T22_pipelined", func(t *testing.T) {
		before := len(origin.seen())
		var b strings.Builder
		for _, k := range []string{"a", "b", "c", "d"} {
			b.WriteString("GET /pub/" + k + " HTTP/1.1\r\nHost: x\r\n\r\n")
		}
		got := gw.raw(b.String())
		if n := strings.Count(got, "HTTP/1.1 200 OK"); n != 4 {
			t.Errorf("%d responses: %.400q", n, got)
		}
		var order []string
		for _, r := range origin.seen()[before:] {
			order = append(order, r.URL.Path)
		}
		if s := strings.Join(order, " "); s != "/things/a /things/b /things/c /things/d" {
			t.Errorf("the origin was asked in the order %s", s)
		}
	})
}

// header returns the header lines of a recorded request that are not known to
// be the gateway's own.
func foreignHeaders(r *http.Request) []string {
	var names []string
	for name := range r.Header {
		switch name {
		case "User-Agent", "Accept-Encoding", "Authorization", "X-Amz-Date", "X-Amz-Content-Sha256":
		default:
			names = append(names, name)
		}
	}
	return names
}
