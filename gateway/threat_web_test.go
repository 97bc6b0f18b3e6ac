package gateway

import (
	"strings"
	"testing"
	"time"
)

// TestThreatWeb has the inputs about sites that no test of their own has.
func TestThreatWeb(t *testing.T) {
	t.Run("T113_preflights_count_as_requests", func(t *testing.T) {
		origin := webOrigin(t)
		yaml := strings.Replace(oneBucket("/pub", origin.URL), "ready: config", "ready: config, limits: {"+ratePerAddress(3)+"}", 1)
		gw := startGateway(t, yaml+corsLines)
		for i, c := range []struct {
			origin string
			status int
		}{{app, 204}, {evil, 403}, {app, 204}, {app, 429}, {evil, 429}} {
			if r := gw.page("OPTIONS", "/pub/x", c.origin, "Access-Control-Request-Method: GET"); r.StatusCode != c.status {
				t.Errorf("preflight %d: status %d, want %d", i, r.StatusCode, c.status)
			}
		}
		if n := len(origin.seen()); n > 0 {
			t.Errorf("S3 is asked %d times", n)
		}
	})
	t.Run("T114_a_host_that_leads_elsewhere", func(t *testing.T) {
		gw := redirectGateway(t, "", oneBucket("/pub", "http://127.0.0.1:1"))
		at := gw.redirects.Load().Addr().String()
		for host, want := range map[string]string{
			"files.example\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example": "https://files.example/pub/a",
			"files.example/evil":         "",
			"files.example@evil.example": "",
			`files.example\evil`:         "",
			"files.example?evil":         "",
			"files.example#evil":         "",
			"files.example evil":         "",
			"files.example:1:2":          "",
			"files.example:evil":         "",
			"files.example\x0bevil":      "",
			"":                           "",
		} {
			raw := gw.rawAt(at, 5*time.Second, "GET /pub/a HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
			_, location, _ := strings.Cut(raw, "\r\nLocation: ")
			location, _, _ = strings.Cut(location, "\r\n")
			if status := statusOf(raw); location != want || (status == 308) != (want != "") || want == "" && status != 400 {
				t.Errorf("%q: status %d, to %q, want %q", host, status, location, want)
			}
		}
	})
}
