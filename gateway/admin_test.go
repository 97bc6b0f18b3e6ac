package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/admin"
)

const adminToken = "0123456789abcdef-admin"

// adminYAML is a configuration with a cached bucket and a metrics listener; more
// are further top-level lines.
func adminYAML(endpoint string, more ...string) string {
	return oneBucket("/pub", endpoint) + "cache: {enabled: true, max_size: 8MB, max_object_size: 1MB}\n" +
		"metrics: {enabled: true, address: 127.0.0.1, port: 0}\n" + strings.Join(more, "\n") + "\n"
}

// admin makes an administrative call on the metrics listener, as localhost.
func (tg *testGateway) admin(method, target, body string, header ...string) (int, string) {
	tg.t.Helper()
	return tg.adminAt(tg.MetricsAddr().String(), method, target, body, header...)
}

func (tg *testGateway) adminAt(address, method, target, body string, header ...string) (int, string) {
	tg.t.Helper()
	r, err := http.NewRequest(method, "http://"+address+target, strings.NewReader(body))
	if err != nil {
		tg.t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		tg.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		tg.t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

// cacheSays tells what X-Cache says of an object.
func (tg *testGateway) cacheSays(target string) string {
	tg.t.Helper()
	r, _ := tg.do("GET", target)
	return r.Header.Get("X-Cache")
}

// TestMetricsListenerIsNotShutByIdleConnections has more silent connections than the
// metrics listener holds, of which half have had an answer.
func TestMetricsListenerIsNotShutByIdleConnections(t *testing.T) {
	gw := startGateway(t, adminYAML("http://127.0.0.1:1"))
	addr := gw.MetricsAddr().String()
	var conns []net.Conn
	for i := range boundOperatorConns + 20 {
		c := dial(t, addr)
		conns = append(conns, c)
		if i%2 == 0 {
			continue
		}
		io.WriteString(c, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
		b := make([]byte, 4096)
		if n, err := c.Read(b); err != nil || statusOf(string(b[:n])) != 200 {
			t.Fatalf("connection %d: %.100q, %v", i, b[:n], err)
		}
		// Its client has the answer before it is idle.
		eventually(t, "it is idle", func() bool { return gw.operators.Conns.Active() == 0 })
	}
	for range 3 {
		if raw := gw.rawAt(addr, 10*time.Second, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); statusOf(raw) != 200 {
			t.Fatalf("a scrape: %.200q", raw)
		}
	}
	for _, c := range conns[:20] {
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
			t.Fatalf("one of the oldest stays: %.100q, %v", b, err)
		}
	}
	if !polled(10*time.Second, func() bool { return gw.operators.Conns.Len() <= boundOperatorConns }) {
		t.Fatalf("%d connections are open", gw.operators.Conns.Len())
	}
	if n := gw.metricValue("yatagarasu_refused_connections_total"); n != 0 {
		t.Errorf("%v clients' connections count as refused", n)
	}
}

func TestMetricsListener(t *testing.T) {
	gw := startGateway(t, adminYAML(startOrigin(t, serveText("hello")).URL))
	gw.do("GET", "/pub/a")
	for _, c := range []struct {
		method, target string
		status         int
		has            string
	}{
		{"GET", "/metrics", 200, `yatagarasu_requests_total{bucket="main",method="GET",code="200"} 1`},
		{"HEAD", "/metrics", 200, ""},
		{"POST", "/metrics", 405, "method_not_allowed"},
		{"GET", "/health", 200, "healthy"},
		{"GET", "/ready", 200, "ready"},
		{"GET", "/pub/a", 404, "no_page"},
		{"GET", "/admin", 404, "no_such_call"},
		{"GET", "/admin/nothing", 404, "no_such_call"},
		{"GET", "/admin/cache/purge", 405, "another method"},
		{"GET", "/metrics/../admin", 400, ""},
	} {
		if status, body := gw.admin(c.method, c.target, ""); status != c.status || !strings.Contains(body, c.has) {
			t.Errorf("%s %s: %d %.300s", c.method, c.target, status, body)
		}
	}
	if n := gw.metricValue(`yatagarasu_requests_total{bucket="",method="GET",code="200"}`); n != 0 {
		t.Errorf("requests of the metrics listener are counted: %v", n)
	}
	if status, _ := gw.adminAt(gw.addr, "GET", "/metrics", ""); status != 404 {
		t.Errorf("/metrics on the main listener: %d", status)
	}
}

func TestAdminAccess(t *testing.T) { // T70
	origin := startOrigin(t, serveText("hello"))
	withToken := startGateway(t, adminYAML(origin.URL, `admin: {token: "`+adminToken+`"}`))
	keyless := startGateway(t, adminYAML(origin.URL))
	open := startGateway(t, strings.Replace(adminYAML(origin.URL), " address: 127.0.0.1,", "", 1))
	_, openPort, _ := net.SplitHostPort(open.MetricsAddr().String())
	bearer := "Authorization: Bearer " + adminToken
	for _, c := range []struct {
		name    string
		gw      *testGateway
		address string
		header  []string
		status  int
	}{
		{"token, metrics listener", withToken, withToken.MetricsAddr().String(), []string{bearer}, 200},
		{"token, main listener", withToken, withToken.addr, []string{bearer}, 200},
		{"the scheme's case does not matter", withToken, withToken.addr, []string{"Authorization: bearer " + adminToken}, 200},
		{"no token presented", withToken, withToken.MetricsAddr().String(), nil, 401},
		{"no token presented, main listener", withToken, withToken.addr, nil, 401},
		{"wrong token", withToken, withToken.addr, []string{bearer + "x"}, 401},
		{"part of the token", withToken, withToken.addr, []string{bearer[:len(bearer)-1]}, 401},
		{"empty token", withToken, withToken.addr, []string{"Authorization: Bearer "}, 401},
		{"another scheme", withToken, withToken.addr, []string{"Authorization: Basic " + adminToken}, 401},
		{"none configured, loopback", keyless, keyless.MetricsAddr().String(), nil, 200},
		{"none configured, main listener", keyless, keyless.addr, nil, 404},
		{"none configured, main listener, any token", keyless, keyless.addr, []string{bearer}, 404},
		{"none configured, by name", keyless, keyless.MetricsAddr().String(), []string{"Host: localhost:1"}, 200},
		{"none configured, by IPv6", keyless, keyless.MetricsAddr().String(), []string{"Host: [::1]:1"}, 200},
		{"none configured, by somebody else's name", keyless, keyless.MetricsAddr().String(), []string{"Host: rebound.example"}, 403},
		{"none configured, by another site's page", keyless, keyless.MetricsAddr().String(), []string{"Origin: https://example.com"}, 403},
		{"none configured, said to be another site's", keyless, keyless.MetricsAddr().String(), []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"none configured, own page", keyless, keyless.MetricsAddr().String(), []string{"Origin: http://" + keyless.MetricsAddr().String(), "Sec-Fetch-Site: same-origin"}, 200},
		{"none configured, every interface", open, "127.0.0.1:" + openPort, nil, 404},
	} {
		for _, method := range []string{"GET", "POST"} {
			target := map[string]string{"GET": "/admin/cache/stats", "POST": "/admin/cache/purge"}[method]
			status, body := c.gw.adminAt(c.address, method, target, "", c.header...)
			if status != c.status {
				t.Errorf("%s: %s: %d %s, want %d", c.name, method, status, body, c.status)
			}
		}
		// A body is read from those who may call, and changes nothing for the others.
		status, body := c.gw.adminAt(c.address, "POST", "/admin/cache/purge", `{"all": true}`, c.header...)
		if status != c.status {
			t.Errorf("%s: with a body: %d %s, want %d", c.name, status, body, c.status)
		}
	}
	if log := withToken.log.String(); strings.Contains(log, adminToken[:16]) {
		t.Errorf("the token is logged: %s", log)
	}
	withToken.log.waitFor(t, "an administrative call is refused")
}

func TestAdminBodies(t *testing.T) {
	gw := startGateway(t, adminYAML(startOrigin(t, serveText("hello")).URL))
	for _, c := range []struct {
		body, has string
		status    int
	}{
		{`{"bucket": "main", "all": true}`, `"purged":0`, 200},
		{`{"bucket": "other", "all": true}`, "no_such_bucket", 404},
		{`{"bucket": "main"}`, "say what goes", 400},
		{`{"bucket": "main", "key": "a", "tag": "b"}`, "say what goes", 400},
		{`{"key": "a"}`, "needs the", 400},
		{`{"bucket": "main", "key": ""}`, "must not be empty", 400},
		{`{"bucket": "main", "keys": "a"}`, "unknown field", 400},
		{`{"all": true} {}`, "more than one", 400},
		{`{"all": tr`, "not the JSON", 400},
	} {
		if status, body := gw.admin("POST", "/admin/cache/purge", c.body); status != c.status || !strings.Contains(body, c.has) {
			t.Errorf("%.60s: %d %.300s, want %d %s", c.body, status, body, c.status, c.has)
		}
	}
	// Refused for its length, before it is read.
	large := gw.rawAt(gw.MetricsAddr().String(), time.Second, fmt.Sprintf("POST /admin/cache/purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", boundAdminBody+1))
	if statusOf(large) != 413 || !strings.Contains(large, "body_too_large") {
		t.Errorf("a large body: %.300s", large)
	}
	for target, want := range map[string]int{
		"/admin/cache/purge?soft=yes": 400, "/admin/cache/purge?soft=true&x=1": 400, "/admin/cache/purge/main?soft=true": 200,
		"/admin/cache/purge/nobody": 404, "/admin/cache/purge/main/": 404, "/admin/cache/purge/main/a//b": 200,
	} {
		if status, body := gw.admin("POST", target, ""); status != want {
			t.Errorf("%s: %d %s, want %d", target, status, body, want)
		}
	}
}

// TestPurgeCalls fills the cache, purges, and looks at what is left.
func TestPurgeCalls(t *testing.T) {
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-amz-meta-surrogate-key", "all "+strings.Trim(r.URL.Path, "/0123456789things"))
		serveText(r.URL.Path)(w, r)
	})
	gw := startGateway(t, adminYAML(origin.URL))
	objects := []string{"/pub/a/1", "/pub/a/2", "/pub/b/1", "/pub/c%2Fd", "/pub/c%20%C3%A9"}
	for _, c := range []struct {
		target, body string
		says         string // of each object
		purged       int
	}{
		{"/admin/cache/purge", "", "MISS MISS MISS MISS MISS", 5},
		{"/admin/cache/purge/main", "", "MISS MISS MISS MISS MISS", 5},
		{"/admin/cache/purge/main/a/2", "", "HIT MISS HIT HIT HIT", 1},
		{"/admin/cache/purge/main/c%20%C3%A9", "", "HIT HIT HIT HIT MISS", 1},
		{"/admin/cache/purge/main/nothing", "", "HIT HIT HIT HIT HIT", 0},
		{"/admin/cache/purge", `{"bucket": "main", "key": "c/d"}`, "HIT HIT HIT MISS HIT", 1},
		{"/admin/cache/purge", `{"bucket": "main", "prefix": "a/"}`, "MISS MISS HIT HIT HIT", 2},
		{"/admin/cache/purge", `{"tag": "b"}`, "HIT HIT MISS HIT HIT", 1},
		{"/admin/cache/purge", `{"bucket": "main", "tag": "all"}`, "MISS MISS MISS MISS MISS", 5},
		{"/admin/cache/purge", `{"bucket": "main", "prefix": "b", "soft": true}`, "HIT HIT REVALIDATED HIT HIT", 1},
		{"/admin/cache/purge?soft=true", "", "REVALIDATED REVALIDATED REVALIDATED REVALIDATED REVALIDATED", 5},
		{"/admin/cache/purge", `{"all": true}`, "MISS MISS MISS MISS MISS", 5},
	} {
		for _, o := range objects {
			gw.do("GET", o)
		}
		status, body := gw.admin("POST", c.target, c.body)
		var reply admin.PurgeReply
		if err := json.Unmarshal([]byte(body), &reply); err != nil || status != 200 || reply.Purged != c.purged || reply.Buckets["main"] != c.purged {
			t.Errorf("%s %s: %d %s, want %d purged", c.target, c.body, status, body, c.purged)
		}
		var says []string
		for _, o := range objects {
			says = append(says, gw.cacheSays(o))
		}
		if got := strings.Join(says, " "); got != c.says {
			t.Errorf("%s %s: then %s, want %s", c.target, c.body, got, c.says)
		}
	}
}

// TestPurgeOfWhatIsNotStored purges an object of which the cache has but a note.
func TestPurgeOfWhatIsNotStored(t *testing.T) {
	origin := startScripted(t, version("v", "Cache-Control: no-store"))
	gw := startGateway(t, adminYAML(origin.URL))
	for _, target := range []string{"/admin/cache/purge?soft=true", "/admin/cache/purge"} {
		gw.do("GET", "/pub/x")
		if status, body := gw.admin("POST", target, ""); status != 200 || !strings.Contains(body, `"purged":0,`) {
			t.Errorf("%s: %d %s", target, status, body)
		}
	}
	if n := gw.Generation.Load().Budgets[""].Cache.Len(); n != 0 {
		t.Errorf("%d notes are left", n)
	}
}

// TestPurgeDuringFetch purges an object while its body is arriving.
func TestPurgeDuringFetch(t *testing.T) {
	for _, target := range []string{"/admin/cache/purge/main/x", "/admin/cache/purge/main"} {
		gate := make(chan struct{})
		const size = 200 << 10
		gw := startGateway(t, adminYAML(gatedOrigin(t, size, gate).URL))
		r := beginDownload(t, gw, size)
		if status, body := gw.admin("POST", target, ""); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		close(gate)
		expectRest(t, r, size)
		r.Body.Close()
		if says := gw.cacheSays("/pub/x"); says != "MISS" {
			t.Errorf("%s: what was fetched before is served: %s", target, says)
		}
	}
}

func TestCacheStats(t *testing.T) {
	gw := startGateway(t, adminYAML(startOrigin(t, serveText("hello")).URL))
	for range 4 {
		gw.do("GET", "/pub/a")
	}
	status, body := gw.admin("GET", "/admin/cache/stats", "")
	var reply struct {
		Budgets []admin.BudgetStats
		Buckets []admin.BucketCacheStats
	}
	if err := json.Unmarshal([]byte(body), &reply); err != nil || status != 200 || len(reply.Budgets) != 1 || len(reply.Buckets) != 1 {
		t.Fatalf("%d %s", status, body)
	}
	if b := reply.Budgets[0]; b.Entries != 1 || b.Bytes < 100 || b.Bytes > 2000 || b.Found != 3 || b.Lookups != 4 || b.Stored != 1 || b.MaxBytes != 8_000_000 || b.Policy != "tinylfu" {
		t.Errorf("budget: %+v", b)
	}
	if b := reply.Buckets[0]; b.Entries != 1 || b.Requests["hit"] != 3 || b.Requests["miss"] != 1 || b.HitRatio != 0.75 || !b.Enabled {
		t.Errorf("bucket: %+v", b)
	}
	if status, one := gw.admin("GET", "/admin/cache/stats/main", ""); status != 200 || one != body {
		t.Errorf("of the bucket: %d %s, want %s", status, one, body)
	}
	if status, _ := gw.admin("GET", "/admin/cache/stats/nobody", ""); status != 404 {
		t.Errorf("of no bucket: %d", status)
	}
}

func TestCacheEntry(t *testing.T) {
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=100")
		serveText(r.URL.RawQuery)(w, r)
	})
	gw := startGateway(t, strings.Replace(adminYAML(origin.URL), "access_key", "allow_query: [versionId]\n      access_key", 1))
	at := time.Now()
	gw.Now = func() time.Time { return at }
	gw.do("GET", "/pub/a/b")
	gw.do("GET", "/pub/a/b?versionId=v%2F1")
	at = at.Add(30 * time.Second)
	gw.do("GET", "/pub/a/b")
	for query, want := range map[string]admin.EntryReply{
		"key=a/b":                   {BodyBytes: 0, Hits: 1},
		"key=a%2Fb&versionId=v/1":   {BodyBytes: len("versionId=v%2F1")},
		"key=a/b&versionId=v%2F1":   {BodyBytes: len("versionId=v%2F1")},
		"versionId=v%2F1&key=a%2fb": {BodyBytes: len("versionId=v%2F1")},
	} {
		status, body := gw.admin("GET", "/admin/cache/entry?bucket=main&"+query, "")
		var got admin.EntryReply
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
			t.Errorf("%s: %d %s", query, status, body)
			continue
		}
		if got.BodyBytes != want.BodyBytes || got.Hits != want.Hits || got.Age != 30 || got.TTL != 70 || got.State != "fresh" || got.ETag != `"e1"` || got.Key != "a/b" || got.Status != 200 {
			t.Errorf("%s: %s", query, body)
		}
	}
	gw.Generation.Load().Budgets[""].Cache.PurgeGroup("main", true)
	at = at.Add(10 * time.Second)
	if _, body := gw.admin("GET", "/admin/cache/entry?bucket=main&key=a/b", ""); !strings.Contains(body, `"state":"expired","soft_purged":true,"age_seconds":40,"ttl_seconds":-10,`) {
		t.Errorf("after a soft purge: %s", body)
	}
	for query, want := range map[string]int{
		"bucket=main&key=a/c": 404, "bucket=main&key=a/b&versionId=v2": 404, "bucket=nobody&key=a/b": 404, "bucket=main&key=a/b&x=1": 400,
		"bucket=main&key=a/b&versionId=": 400, "": 404,
	} {
		if status, body := gw.admin("GET", "/admin/cache/entry?"+query, ""); status != want {
			t.Errorf("%s: %d %s, want %d", query, status, body, want)
		}
	}
}

// MetricsAddr returns the metrics listener's address; nil without one, and before Run has
// opened it.
func (g *Gateway) MetricsAddr() net.Addr {
	if ln := g.operators.Listener.Load(); ln != nil {
		return ln.Addr()
	}
	return nil
}
