package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// threatMeant proves that tokens which were made for something else are refused.
func threatMeant(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+privateYAML("plain", "/plain", origin.URL)+
		privateYAML("any", "/any", origin.URL, "audience: any")+privateYAML("files", "/files", origin.URL, "audience: [files]")+
		privateYAML("access", "/access", origin.URL, "typ: at+jwt"))
	typed := func(typ string) string {
		return handmade(`{"alg":"HS256","typ":"`+typ+`"}`, `{"exp":`+in(3600)+`}`)
	}
	for _, c := range []struct {
		name, path, token string
		status            int
		reason            string
	}{
		{"T96_no_audience", "/plain/x", goodToken(), 200, ""},
		{"T96_for_others", "/plain/x", goodToken(`"aud":"another-service"`), 403, "audience_refused"},
		{"T96_for_several_others", "/plain/x", goodToken(`"aud":["another-service","a-third"]`), 403, "audience_refused"},
		{"T96_any", "/any/x", goodToken(`"aud":"another-service"`), 200, ""},
		{"T96_configured", "/files/x", goodToken(`"aud":["another-service","files"]`), 200, ""},
		{"T96_configured_and_absent", "/files/x", goodToken(), 403, "audience_refused"},
		{"T104_the_type", "/access/x", typed("at+jwt"), 200, ""},
		{"T104_the_type_in_full", "/access/x", typed("application/AT+JWT"), 200, ""},
		{"T104_another_type", "/access/x", typed("JWT"), 403, "type_refused"},
		{"T104_an_id_token", "/access/x", handmade(`{"alg":"HS256"}`, `{"exp":`+in(3600)+`,"nonce":"n"}`), 403, "type_refused"},
		{"T104_no_type_is_asked_for", "/plain/x", typed("at+jwt"), 200, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 {
				before := len(origin.seen())
				r, body := gw.do("GET", c.path, "Authorization: Bearer "+c.token)
				if r.StatusCode != c.status || len(origin.seen())-before != map[int]int{200: 1, 403: 0}[c.status] {
					t.Fatalf("status %d, want %d, the origin was asked %d times: %s", r.StatusCode, c.status, len(origin.seen())-before, body)
				}
				if c.reason != "" {
					line := `"request_id":"` + r.Header.Get("X-Request-ID") + `"`
					gw.log.waitFor(t, line)
					if got := lineWith(gw.log.String(), line); !strings.Contains(got, `"reason":"`+c.reason+`"`) || !strings.Contains(string(body), `"error":"invalid_token"`) {
						t.Errorf("%s, and the log has %s", body, got)
					}
				}
			}
		})
	}
}

// threatTokens proves what the gateway as a whole makes of tokens that are meant to cost it
// something; gateway/auth has the rest.
func threatTokens(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	exp := in(3600) // once: the token of a number is the same one in the next second
	forged := func(n int) string {
		return "Authorization: Bearer " + sign256(strings.Repeat("x", 32), b64(`{"alg":"HS256"}`)+"."+b64(`{"n":`+fmt.Sprint(n)+`,"exp":`+exp+`}`))
	}
	const attacker, other = "192.0.2.66", "198.51.100.1"

	threatMeant(t)
	t.Run("T90a_a_burst_of_invalid_tokens", func(t *testing.T) {
		audit := filepath.Join(t.TempDir(), "audit.log")
		gw := startGateway(t, limitedYAML("limits: {token_failures_per_second: 0.001, burst_token_failures: 10, requests_per_second: 0.001, burst: 40}", privateYAML("a", "/a", origin.URL))+
			"logging: {audit: {enabled: true, output: "+audit+"}}\n")
		known := bearer(`"sub":"alice"`)
		ask := func(client, header string, want int) {
			t.Helper()
			r, body := gw.do("GET", "/a/x", from(client), header)
			if r.StatusCode != want {
				t.Errorf("status %d, want %d: %s", r.StatusCode, want, body)
			}
			if want == 429 && (r.Header.Get("Retry-After") == "" || r.Header.Get("WWW-Authenticate") != "" || !strings.Contains(string(body), `"error":"too_many_requests"`)) {
				t.Errorf("a 429 with %v and %s", r.Header, body)
			}
		}
		ask(attacker, known, 200)
		for i := range 10 {
			ask(attacker, forged(i), 403)
		}
		ask(attacker, forged(9), 403) // remembered: one more that is verified gets 429
		before := len(origin.seen())
		for i := range 60 { // of which none counts against the rate that all share
			ask(attacker, forged(100+i), 429)
		}
		ask(attacker, bearer(`"sub":"alice"`, `"n":1`), 429) // good, but not remembered
		if n := len(origin.seen()) - before; n != 0 {
			t.Errorf("the origin was asked %d times", n)
		}
		ask(attacker, known, 200) // remembered, too
		ask(other, bearer(`"sub":"bob"`), 200)
		for name, want := range map[string]float64{
			`yatagarasu_rejected_total{bucket="a",limit="token_failures"}`:                  61,
			`yatagarasu_auth_total{bucket="a",outcome="denied",reason="token_failures"}`:    61,
			`yatagarasu_auth_total{bucket="a",outcome="denied",reason="signature_invalid"}`: 11,
		} {
			if got := gw.metricValue(name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		gw.log.waitFor(t, `"reason":"token_failures"`)
		if err := gw.stop(); err != nil {
			t.Error(err)
		}
		if text, err := os.ReadFile(audit); err != nil || strings.Count(string(text), `"auth":{"outcome":"denied","reason":"token_failures"}`) != 61 || !strings.Contains(string(text), attacker) {
			t.Errorf("%v, the audit log has %s", err, text)
		}
	})
	t.Run("T90a_no_limit", func(t *testing.T) {
		gw := startGateway(t, limitedYAML("limits: {token_failures_per_second: 0}", privateYAML("a", "/a", origin.URL)), func(o *Options) { o.LogLevel = "error" })
		for i := range 100 {
			if r, _ := gw.do("GET", "/a/x", from(attacker), forged(i)); r.StatusCode != 403 {
				t.Fatalf("%d: status %d", i, r.StatusCode)
			}
		}
	})
	t.Run("T90a_a_reload_forgets_no_failures", func(t *testing.T) {
		yaml := limitedYAML("limits: {token_failures_per_second: 0.001, burst_token_failures: 2}", privateYAML("a", "/a", origin.URL))
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		gw := startGateway(t, yaml, func(o *Options) { o.LogLevel, o.ConfigPath = "error", file })
		var got []int
		for i := range 6 {
			r, _ := gw.do("GET", "/a/x", from(attacker), forged(i))
			if got = append(got, r.StatusCode); i == 2 {
				if errs := gw.requestReload().Errors; len(errs) > 0 {
					t.Fatal(errs)
				}
			}
		}
		if fmt.Sprint(got) != "[403 403 429 429 429 429]" {
			t.Errorf("statuses %v", got)
		}
	})
}
