package gateway

import (
	"strings"
	"testing"
)

func TestRequestID(t *testing.T) {
	origin := startOrigin(t, serveText("x"))
	for _, c := range []struct {
		name, trusted, id string
		taken             bool
	}{
		{"from a trusted proxy", "127.0.0.0/8", "caller-1", true},
		{"from anybody else", "192.0.2.0/24", "caller-1", false},
		{"malformed", "127.0.0.0/8", "caller 1", false},
		{"too long", "127.0.0.0/8", strings.Repeat("a", 129), false},
		{"a line of its own for the log", "127.0.0.0/8", `x","level":"fatal`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			gw := startGateway(t, strings.Replace(oneBucket("/pub", origin.URL), "ready: config", "ready: config, trusted_proxies: [\""+c.trusted+"\"]", 1))
			for _, path := range []string{"/pub/x", "/nowhere", "/health"} {
				r, _ := gw.do("GET", path, "X-Request-ID: "+c.id, "X-Forwarded-For: 192.0.2.99")
				if got := r.Header.Get("X-Request-ID"); (got == c.id) != c.taken || !c.taken && len(got) != 36 {
					t.Errorf("%s: X-Request-ID %q", path, got)
				}
			}
			client := "127.0.0.1"
			if c.trusted == "127.0.0.0/8" {
				client = "192.0.2.99"
			}
			gw.log.waitFor(t, `"client":"`+client+`"`)
		})
	}
}
