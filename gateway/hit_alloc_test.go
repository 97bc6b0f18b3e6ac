//go:build !race

package gateway

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/generation"
	"yatagarasu/loadtest/rawserver"
)

// allLimits are all that hold a request up, set so that none does.
const (
	allRates   = "max_in_flight: 100, requests_per_second: 1000000, requests_per_second_per_address: 1000000, requests_per_second_per_subject: 1000000"
	allLimits  = "limits: {" + allRates + "}, allow: [127.0.0.0/8, \"2001:db8::/32\"], deny: [127.0.0.2]"
	bucketAlso = "    limits: {" + allRates + "}\n    allow: [127.0.0.0/8]\n    deny: [127.0.0.3]\n"
)

// siteLines are what a bucket that pages of other sites read has beside.
const siteLines = `    cors: {origins: ["https://app.example.com", "https://*.example.org", "http://localhost:3000"]}
    headers:
      - {match: {path: "/dir/*"}, set: {Cache-Control: "public, max-age=31536000, immutable"}}
      - {set: {X-Content-Type-Options: nosniff}, remove: [x-amz-version-id], when: always}
`

// TestHitAllocs guards the whole handler on a cache hit, with metrics: without a
// log, with the access line, with a token and rules, with all limits, with a
// validator that still holds, with a part, through trusted proxies, and where gateways share purges
// and objects.
func TestHitAllocs(t *testing.T) {
	token := "Authorization: Bearer " + goodToken(`"role":"reader"`, `"folder":"dir"`) + "\r\n"
	for _, c := range []struct {
		name, level, header string
		private, limited    bool
		status              int
		want                float64
	}{
		{"plain", "warn", "", false, false, 200, 0},
		{"with the access line", "info", "", false, false, 200, 0},
		{"with a token", "warn", token, true, false, 200, 0},
		{"with a token and all limits", "warn", token, true, true, 200, 0},
		{"with a token that its issuer judged", "info", "Authorization: Bearer " + opaqueToken + "\r\n", true, false, 200, 0},
		{"compressed", "info", "Accept-Encoding: gzip, deflate, br, zstd\r\n", false, false, 200, 0},
		{"compressed, with Zstandard", "warn", "Accept-Encoding: zstd;q=1, br;q=0.5\r\n", false, false, 200, 0},
		{"compressed, to who does not want it", "warn", "Accept-Encoding: identity;q=1, *;q=0\r\n", false, false, 200, 0},
		{"compressed, 304", "warn", "Accept-Encoding: br\r\nIf-None-Match: W/\"0123456789abcdef\"\r\n", false, false, 304, 0},
		{"of a site", "info", "Origin: https://a.example.org\r\n", false, false, 200, 0},
		{"of a site, by nobody's page", "warn", "Origin: https://a.example.org.evil.net\r\n", false, false, 200, 0},
		{"of a site, 304", "warn", "Origin: https://app.example.com\r\nIf-None-Match: \"0123456789abcdef\"\r\n", false, false, 304, 0},
		{"of several gateways", "warn", "", false, false, 200, 0},
		{"304", "warn", "If-None-Match: \"0123456789abcdef\"\r\n", false, false, 304, 0},
		{"a part", "warn", "Range: bytes=10-19\r\n", false, false, 206, 0},
		{"a part of a large object", "warn", "Range: bytes=20-29\r\n", false, false, 206, 0},
		{"through a trusted proxy", "info", "X-Forwarded-For: 192.0.2.7\r\n", false, false, 200, 0},
		{"through two, over IPv6", "info", "X-Forwarded-For: 198.51.100.1, 2001:db8:1:2:3:4:5:6, 10.9.9.9\r\n", false, false, 200, 0},
		{"through one that writes ports", "info", "X-Forwarded-For: [2001:db8::1]:4711, 10.9.9.9:80\r\n", false, false, 200, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			size := 1 << 10
			if strings.HasSuffix(c.name, "large object") { // which is pinned meanwhile
				size = 100 << 10
			}
			object := s3Response(size)
			if c.limited { // beside a token: the answer says private, and what the object says
				object = bytes.Replace(object, []byte("\r\nETag:"), []byte("\r\nCache-Control: max-age=3600\r\nETag:"), 1)
			}
			endpoint := "http://" + rawserver.StartQuiet(t, object).Addr
			yaml := bucketYAML("main", "/pub", endpoint)
			if strings.HasPrefix(c.name, "of a site") {
				yaml += siteLines
			}
			if strings.HasPrefix(c.name, "compressed") {
				yaml += "    compress: {enabled: true, types: text/*}\n"
			}
			if c.private {
				yaml = privateYAML("main", "/pub", endpoint, `claims: [{claim: role, operator: equals, value: reader}, {claim: folder, operator: equals, value: "${path.0}"}]`)
			}
			if strings.HasSuffix(c.name, "its issuer judged") {
				yaml = judgedYAML(t, "main", "/pub", endpoint, `claims: [{claim: role, operator: equals, value: reader}, {claim: folder, operator: equals, value: "${path.0}"}]`)
			}
			server := "ready: config, trusted_proxies: [127.0.0.1, 10.0.0.0/8]"
			if c.limited {
				server, yaml = server+", "+allLimits, yaml+bucketAlso
			}
			cache, cluster := "{enabled: true}", ""
			if c.name == "of several gateways" {
				cache, cluster = "{enabled: true, shared: true}", "cluster: {valkey: {addresses: \"127.0.0.1:1\"}, secret: "+clusterSecret+", store: {enabled: true}}\n"
			}
			g := configuredGateway(t, cluster+"server: {"+server+"}\nbuckets:\n"+yaml+"    cache: "+cache+"\n", c.level)
			if (g.node != nil) != (cluster != "") {
				t.Fatal("the gateway is not among others as it should be")
			}
			first := token
			if strings.HasPrefix(c.header, "Authorization: ") {
				first = c.header
			}
			warm := request(t, strings.TrimSuffix(proxyHead, "\r\n")+first+"\r\n")
			g.Handle(warm)
			eventually(t, "the object is stored", func() bool { return g.Generation.Load().Budgets[""].Cache.Len() == 1 })
			ctx := request(t, strings.TrimSuffix(proxyHead, "\r\n")+c.header+"\r\n")
			var head []byte
			serve := func() {
				g.Handle(ctx)
				head = ctx.Response.Header.AppendBytes(head[:0])
				if ctx.Response.StatusCode() != c.status || !bytes.Contains(head, []byte("\r\nX-Cache: HIT\r\n")) || c.limited && !bytes.Contains(head, []byte("\r\nCache-Control: private, max-age=3600\r\n")) {
					t.Fatalf("status %d, %s", ctx.Response.StatusCode(), head)
				}
				ctx.ResetUserValues()
				ctx.Response.Reset()
			}
			if g.node != nil {
				g.node.Lease.Renew(time.Now())
			}
			for range 10 {
				serve()
				g.Origins.Background.Wait() // for what is compressed
			}
			if coded := bytes.Contains(head, []byte("\r\nContent-Encoding: ")); coded != (c.name == "compressed" || strings.HasSuffix(c.name, "Zstandard")) {
				t.Fatalf("%s", head)
			}
			if n := testing.AllocsPerRun(500, serve); n > c.want {
				t.Errorf("%v allocations per hit, want at most %v", n, c.want)
			}
		})
	}
}

// TestRefuseAllocs guards the answer to a request beyond a limit, with metrics, without a log
// and with one: a flood costs no memory.
func TestRefuseAllocs(t *testing.T) {
	const rate, deny = "limits: {requests_per_second_per_address: 0.001}", "deny: [127.0.0.0/8]"
	long := strings.Replace(proxyHead, "/pub/", "/pub/%00"+strings.Repeat("\xff", 1000), 1)
	for name, c := range map[string]struct {
		limit  string
		status int
		head   string
		level  string
	}{
		"rate":                    {rate, 429, proxyHead, "warn"},
		"address":                 {deny, 403, proxyHead, "warn"},
		"no bucket":               {rate, 429, strings.Replace(proxyHead, "/pub/", "/nowhere/", 1), "warn"},
		"bad target":              {deny, 403, long, "warn"},
		"rate, with the log":      {rate, 429, proxyHead, "info"},
		"bad target, and the log": {rate, 429, long, "info"},
	} {
		t.Run(name, func(t *testing.T) {
			g := configuredGateway(t, "server: {ready: config, "+c.limit+"}\nbuckets:\n"+bucketYAML("main", "/pub", "http://127.0.0.1:1"), c.level)
			ctx := request(t, c.head)
			g.Handle(ctx) // which takes what there is
			ctx.Response.Reset()
			refused := func() {
				g.Handle(ctx)
				if ctx.Response.StatusCode() != c.status {
					t.Fatalf("status %d", ctx.Response.StatusCode())
				}
				ctx.Response.Reset()
			}
			refused()
			if n := testing.AllocsPerRun(500, refused); n > 0 {
				t.Errorf("%v allocations, want none", n)
			}
		})
	}
}

// TestPreflightAllocs guards the answers to preflights: who floods with them costs no memory.
func TestPreflightAllocs(t *testing.T) {
	for name, c := range map[string]struct {
		lines  string
		status int
	}{
		"permitted":      {"Origin: https://a.example.org\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: range,authorization\r\n", 204},
		"another page":   {"Origin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\n", 403},
		"8 KiB of names": {"Origin: https://a.example.org\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: " + strings.Repeat(",", 8<<10) + "\r\n", 403},
	} {
		t.Run(name, func(t *testing.T) {
			g := configuredGateway(t, "server: {ready: config}\nbuckets:\n"+bucketYAML("main", "/pub", "http://127.0.0.1:1")+siteLines, "info")
			ctx := request(t, strings.Replace(strings.TrimSuffix(proxyHead, "\r\n"), "GET", "OPTIONS", 1)+c.lines+"\r\n")
			serve := func() {
				g.Handle(ctx)
				if ctx.Response.StatusCode() != c.status {
					t.Fatalf("status %d", ctx.Response.StatusCode())
				}
				ctx.Response.Reset()
			}
			serve()
			if n := testing.AllocsPerRun(500, serve); n > 0 {
				t.Errorf("%v allocations, want none", n)
			}
		})
	}
}

// withoutSubjects leaves out the limits that need a token.
func withoutSubjects(yaml string) string {
	return strings.ReplaceAll(yaml, ", requests_per_second_per_subject: 1000000", "")
}

// BenchmarkHit is a hit inside the process, with route and metrics: alone, and with what
// a gateway in use has beside.
func BenchmarkHit(b *testing.B) {
	token := "Authorization: Bearer " + goodToken() + "\r\n"
	for _, c := range []struct {
		name, header             string
		private, limited, logged bool
	}{
		{"1KiB", "", false, false, false},
		{"1KiB/with the log", "", false, false, true},
		{"1KiB/with all limits", "", false, true, false},
		{"1KiB/with all limits and the log", "", false, true, true},
		{"1KiB/compressed", "Accept-Encoding: gzip, deflate, br, zstd\r\n", false, false, false},
		{"1KiB/of several gateways", "", false, false, false},
		{"1KiB/of a site", "Origin: https://a.example.org\r\n", false, false, false},
		{"1KiB/with a token", token, true, false, false},
		{"1KiB/with a token and all limits", token, true, true, false},
		{"1KiB/with a token that its issuer judged", "Authorization: Bearer " + opaqueToken + "\r\n", true, false, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			endpoint := "http://" + rawserver.StartQuiet(b, s3Response(1<<10)).Addr
			server, yaml := "ready: config", bucketYAML("main", "/pub", endpoint)
			global := ""
			if strings.HasSuffix(c.name, "of several gateways") {
				global = "cluster: {valkey: {addresses: '127.0.0.1:1'}, secret: 0123456789abcdef0123456789abcdef, purge: {within: 1h}}\n"
			}
			if strings.HasSuffix(c.name, "of a site") {
				yaml += siteLines
			}
			if strings.HasSuffix(c.name, "compressed") {
				yaml += "    compress: {enabled: true, types: text/*}\n"
			}
			if c.private {
				yaml = privateYAML("main", "/pub", endpoint)
			}
			if strings.HasSuffix(c.name, "its issuer judged") {
				yaml = judgedYAML(b, "main", "/pub", endpoint)
			}
			if c.limited {
				server, yaml = server+", "+allLimits, yaml+bucketAlso
				if !c.private {
					server, yaml = withoutSubjects(server), withoutSubjects(yaml)
				}
			}
			level := "warn"
			if c.logged {
				level = "info"
			}
			o := NewOptions()
			o.LogLevel = level
			g, err := newGateway(o, mustConfig(b, global+"server: {"+server+"}\nlogging: {output: /dev/null}\nbuckets:\n"+yaml+"    cache: {enabled: true}\n"))
			if err != nil {
				b.Fatal(err)
			}
			defer g.Logs.Close()
			defer generation.Close(g.Generation.Load())
			ctx := request(b, strings.TrimSuffix(proxyHead, "\r\n")+c.header+"\r\n")
			b.ReportAllocs()
			for b.Loop() {
				g.Handle(ctx)
				if ctx.Response.StatusCode() != 200 {
					b.Fatal(ctx.Response.StatusCode())
				}
				ctx.ResetUserValues()
				ctx.Response.Reset()
			}
		})
	}
}
