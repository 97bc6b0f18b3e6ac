package gateway

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestConfigCall has secrets of every kind in the configuration, none of which may
// come out, and flags over it, which must.
func TestConfigCall(t *testing.T) {
	const mark = "distinctive"
	origin := startOrigin(t, serveText("hello"))
	yaml := strings.NewReplacer("secret-of-main", mark+"-main", "AKmain", "AKIA"+mark+"TAIL").Replace(oneBucket("/pub", origin.URL, "session_token: "+mark+"-session")) +
		strings.ReplaceAll(protectedYAML("private", "/private", origin.URL, "algorithm: HS256", `secret: "`+mark+strings.Repeat("x", 32)+`"`, `keys: [{kid: a, algorithm: HS256, secret: "`+mark+strings.Repeat("y", 32)+`"}]`), "secret-of-private", mark+"-private") +
		"cache: {enabled: true, max_size: 8MB, ttl: 90}\nlogging: {level: info}\n" + metricsYAML + "admin: {token: \"" + mark + "-admin-token\"}\n"
	gw := startGateway(t, yaml, func(o *Options) {
		o.LogLevel, o.MaxInFlight, o.ShutdownTimeout, o.StreamBuffer = "warn", 77, 90*time.Second, 128<<10
	})
	status, body := gw.admin("GET", "/admin/config", "", "Authorization: Bearer "+mark+"-admin-token")
	if status != 200 || strings.Contains(body, mark) {
		t.Errorf("%d, or a secret is in %s", status, body)
	}
	for _, want := range []string{
		`"generation":1,`, `"secret_key":"***"`, `"session_token":"***"`, `"access_key":"***TAIL"`, `"admin":{"token":"***"}`,
		`"keys":[{"algorithm":"HS256","secret":"***"},{"kid":"a","algorithm":"HS256","secret":"***"}]`,
		`"ttl":"1m30s","max_ttl":"720h0m0s","max_size":"8MB"`, `"name":"main","path_prefix":"/pub"`, `"endpoint":"` + origin.URL + `"`, `"dial":"3s"`,
		`"level":"warn"`, `"max_in_flight":77`, `"address":"127.0.0.1:0"`,
		`"shutdown.timeout":"1m30s"`, `"stream.buffer-size":"128KiB"`, `"log.level":"warn"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %s: %s", want, body)
		}
	}
	if !json.Valid([]byte(body)) {
		t.Errorf("not JSON: %s", body)
	}
	if status, _ := gw.admin("GET", "/admin/config", ""); status != 401 {
		t.Errorf("without the token: %d", status)
	}
}
