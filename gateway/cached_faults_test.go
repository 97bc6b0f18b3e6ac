package gateway

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/gateway/admin"
)

const hexes = "0123456789abcdef"

// sixteens is a body of which each place can be told from its neighbours.
func sixteens(size int) string { return strings.Repeat(hexes, size/len(hexes)) }

// halting is an origin of v2: of the whole it sends the first half, and the rest
// after gate.
func halting(body string, gate chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v2"`)
		if r.Header.Get("Range") != "" {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		io.WriteString(w, body[:len(body)/2])
		w.(http.Flusher).Flush()
		<-gate
		io.WriteString(w, body[len(body)/2:])
	}
}

// TestRangeOfArrivingBody asks for parts of a new version while it arrives: by the
// request that leads, and by one that follows. They do not wait for the rest.
func TestRangeOfArrivingBody(t *testing.T) {
	body := sixteens(1 << 20)
	for _, c := range []struct {
		rng, want string
		status    int
	}{
		{"bytes=1000000-1000015", body[1000000:1000016], 206},
		{"bytes=-5", body[len(body)-5:], 206},
		{"bytes=100000-900000", body[100000:900001], 206},
		{"bytes=0-9", body[:10], 206},
		{"bytes=0-0,1000000-1000001", body, 200}, // parts that are not there yet: the whole
	} {
		gate := make(chan struct{})
		origin, gw := staleGateway(t, version("v1"), "v1")
		origin.set(halting(body, gate))
		if c.status == 200 {
			close(gate)
		}
		for range 2 { // the second one follows, or finds it stored
			r, got := gw.do("GET", "/pub/x", "Range: "+c.rng)
			if c.status != r.StatusCode && r.Header.Get("X-Cache") != "HIT" || c.status == 206 && string(got) != c.want || c.status == 200 && r.StatusCode == 200 && string(got) != c.want {
				t.Errorf("%s: %d, %d bytes, begins %.20q", c.rng, r.StatusCode, len(got), got)
			}
		}
		if c.status != 200 {
			close(gate)
		}
		gw.settleFills(t)
	}
}

// TestNotFoundByOtherStatus has an origin say by other means than a plain 404 that
// there is no object.
func TestNotFoundByOtherStatus(t *testing.T) {
	origin := startScripted(t, s3Answer(403, "AccessDenied"))
	hidden := startGateway(t, oneBucket("/pub", origin.URL, "access_denied: 404")+"    cache: {enabled: true, negative_ttl: 60}\n")
	if r, body := hidden.do("GET", "/pub/x"); r.StatusCode != 404 || !strings.Contains(string(body), "not_found") {
		t.Errorf("a hidden denial: %d %s", r.StatusCode, body)
	}
	origin.set(version("repaired"))
	hidden.expect(t, "/pub/x", 200, "repaired", "MISS")

	origin.set(s3Answer(405, "MethodNotAllowed"))
	versions := startGateway(t, oneBucket("/pub", origin.URL, "allow_query: [versionId]")+"    cache: {enabled: true}\n")
	if r, body := versions.do("GET", "/pub/x?versionId=dm"); r.StatusCode != 404 {
		t.Errorf("a delete marker: %d %s", r.StatusCode, body)
	}
}

// TestPrewarmLeadsOn has the fetch that a prewarm job follows fail.
func TestPrewarmLeadsOn(t *testing.T) {
	asked, gate := make(chan struct{}, 9), make(chan struct{})
	origin := startScripted(t, func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-gate
		panic(http.ErrAbortHandler)
	})
	gw := startGateway(t, onceYAML(adminYAML(origin.URL)))
	done := make(chan int, 1)
	go func() { // ends with the answer
		r, _ := gw.do("GET", "/pub/x")
		done <- r.StatusCode
	}()
	<-asked
	id := gw.startPrewarm(`{"bucket": "main", "keys": ["x"]}`)
	eventually(t, "the job has the key", func() bool { return gw.prewarmState(id, "running").Found > 0 })
	eventually(t, "the job waits", func() bool { return goroutinesIn("yatagarasu/cache.(*Flight).Await(") == 1 })
	origin.set(version("good"))
	close(gate)
	if s := gw.prewarmState(id, "done"); s.Fetched != 1 {
		t.Errorf("%+v", s)
	}
	if status := <-done; status != 502 {
		t.Errorf("the client is answered %d", status)
	}
	if r, body := gw.do("GET", "/pub/x"); r.StatusCode != 200 || string(body) != "good" {
		t.Errorf("afterwards: %d %s", r.StatusCode, body)
	}
	gw.settleFills(t)
}

// TestPrewarmDuringReload has a bucket come and go.
func TestPrewarmDuringReload(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	yaml := func(names ...string) string {
		s := "server: {ready: config}\ncache: {enabled: true}\nbuckets:\n"
		for _, n := range names {
			s += bucketYAML(n, "/"+n, origin.URL)
		}
		return s
	}
	gw := startGateway(t, yaml("a", "b", "c")+metricsYAML, func(o *Options) { o.LogLevel = "error" })
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() { // ends with stop
		for i := 0; !stop.Load(); i++ {
			swapGeneration(t, gw, yaml([][]string{{"a"}, {"a", "b", "c"}}[i%2]...))
		}
	})
	keys := make([]string, 500)
	for i := range keys {
		keys[i] = fmt.Sprintf("%q", fmt.Sprint(i))
	}
	for {
		code, reply := gw.admin("POST", "/admin/cache/prewarm", `{"bucket": "c", "keys": [`+strings.Join(keys, ",")+`], "rate": 10000}`)
		if code == 200 { // the bucket was there at that moment
			var s admin.PrewarmState
			if err := json.Unmarshal([]byte(reply), &s); err != nil {
				t.Fatal(err)
			}
			gw.prewarmState(s.ID, "done")
			break
		}
	}
	stop.Store(true)
	wg.Wait()
}

// TestDrippingFill has an origin send a body for the cache slower than is allowed.
func TestDrippingFill(t *testing.T) {
	origin := startFaulty(t, func(c net.Conn, _ string) bool {
		io.WriteString(c, okHead+"Content-Length: 900000\r\n\r\n")
		return drip(c, strings.Repeat("x", 900000))
	})
	gw := startGateway(t, oneBucket("/pub", origin.endpoint)+"    cache: {enabled: true}\n", func(o *Options) { o.MinRate, o.MinRateWindow = 10<<10, 200*time.Millisecond })
	gw.raw("GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n")
	gw.settleFills(t)
	b := gw.Generation.Load().Budgets[""]
	if !polled(5*time.Second, func() bool { return b.Cache.Pinned() == 0 && gw.Origins.Buffers.InUse() == 0 }) {
		t.Fatalf("%d bytes pinned, %d buffers in use", b.Cache.Pinned(), gw.Origins.Buffers.InUse())
	}
}

// TestSlowReadersArePinned has clients that hardly read hold bodies: at some point
// further ones pass the cache by, and the memory is that of the cache and a quarter.
func TestSlowReadersArePinned(t *testing.T) {
	origin := startScripted(t, version(sixteens(8<<20)))
	gw := startGateway(t, cachedYAML(origin.URL, "max_size: 20MB", "max_object_size: 10MB"))
	var conns []net.Conn
	for i := range 30 {
		c := dial(t, gw.addr)
		conns = append(conns, c)
		c.(*net.TCPConn).SetReadBuffer(4096)
		fmt.Fprintf(c, "GET /pub/x%d HTTP/1.1\r\nHost: g\r\n\r\n", i)
		if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		gw.settleFills(t)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b := gw.Generation.Load().Budgets["main"]
	t.Logf("heap %d MB, cache %d MB, pinned %d MB", m.HeapAlloc/1e6, b.Cache.Bytes()/1e6, b.Cache.Pinned()/1e6)
	if b.Cache.Pinned() > 30e6 || m.HeapAlloc > 100e6 {
		t.Error("slow readers hold more than the cache may")
	}
	for _, c := range conns {
		c.Close()
	}
	if !polled(10*time.Second, func() bool { return b.Cache.Pinned() == 0 }) {
		t.Fatalf("%d bytes stay pinned", b.Cache.Pinned())
	}
}

// TestHeadersInSeveralLines has an origin repeat a header that is a list.
func TestHeadersInSeveralLines(t *testing.T) {
	several := version("v", "Cache-Control: private", "Cache-Control: max-age=60", "Content-Language: de", "Content-Language: en")
	origin := startScripted(t, several)
	for _, yaml := range []string{oneBucket("/pub", origin.URL), cachedYAML(origin.URL)} {
		r, _ := startGateway(t, yaml).do("GET", "/pub/x")
		if got := strings.Join(r.Header["Cache-Control"], ", "); got != "private, max-age=60" || strings.Join(r.Header["Content-Language"], ", ") != "de, en" {
			t.Errorf("%q, %q", got, r.Header["Content-Language"])
		}
	}
	origin.set(version("v", "Cache-Control: max-age=1", "Cache-Control: public", "Content-Language: de", "Content-Language: en"))
	gw := startGateway(t, cachedYAML(origin.URL))
	clock := gw.withClock()
	miss := gw.expect(t, "/pub/x", 200, "v", "MISS")
	hit := gw.expect(t, "/pub/x", 200, "v", "HIT")
	if without(miss.Header) != without(hit.Header) || len(hit.Header["Cache-Control"]) != 2 {
		t.Errorf("the miss has\n%s, the hit\n%s", without(miss.Header), without(hit.Header))
	}
	clock.advance(2 * time.Second)
	origin.set(version("v", "Cache-Control: max-age=60", "Cache-Control: no-store"))
	gw.expect(t, "/pub/x", 200, "v", "REVALIDATED")
	gw.expect(t, "/pub/x", 200, "v", "BYPASS")
}

// TestBrokenBodiesAreCounted has origins that fail in the middle be counted once.
func TestBrokenBodiesAreCounted(t *testing.T) {
	origin := startFaulty(t, func(c net.Conn, head string) bool {
		switch {
		case strings.HasPrefix(head, "HEAD "):
			io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
			return true
		case strings.Contains(head, "/head "):
			io.WriteString(c, "HTTP/9")
			return false
		}
		io.WriteString(c, okHead+"Content-Length: 900000\r\n\r\n"+strings.Repeat("x", 300000))
		return false
	})
	for _, yaml := range []string{oneBucket("/pub", origin.endpoint), oneBucket("/pub", origin.endpoint) + "    cache: {enabled: true}\n"} {
		gw := startGateway(t, onceYAML(yaml))
		count := func(reason string) float64 {
			return gw.metricValue(fmt.Sprintf(`yatagarasu_upstream_errors_total{bucket="main",origin=%q,reason=%q}`, strings.TrimPrefix(origin.endpoint, "http://"), reason))
		}
		gw.do("HEAD", "/pub/head") // first: afterwards the credential is known to be taken
		if n := count("reset") + count("protocol"); n != 1 {
			t.Errorf("a look-up that fails is counted %v times", n)
		}
		before := count("truncated") + count("reset")
		gw.raw("GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n")
		gw.settle(t)
		if n := count("truncated") + count("reset") - before; n != 1 {
			t.Errorf("a body that breaks off is counted %v times", n)
		}
	}
}

// TestFailedReloadLeavesTheCache has a reload fail after it came by the caches.
func TestFailedReloadLeavesTheCache(t *testing.T) {
	origin := startScripted(t, version("v1"))
	base := func(size string) string {
		return "server: {ready: config}\n" + metricsYAML + "buckets:\n" + bucketYAML("main", "/pub", origin.URL) + "    cache: {enabled: true, max_size: " + size + "}\n"
	}
	gw, write := fileGateway(t, base("20MB"))
	gw.expect(t, "/pub/x", 200, "v1", "MISS")
	write(base("30MB") + bucketYAML("other", "/other", origin.URL) + "    auth: {enabled: true, jwt: {jwks_url: \"http://127.0.0.1:1/jwks\", algorithm: RS256}}\n")
	if status, r := gw.reloadCall(); status != 400 {
		t.Fatalf("%d %+v", status, r)
	}
	origin.set(version("v2"))
	if status, body := gw.admin("POST", "/admin/cache/purge/main/x", ""); status != 200 || !strings.Contains(body, `"purged":1`) {
		t.Errorf("%d %s", status, body)
	}
	gw.expect(t, "/pub/x", 200, "v2", "MISS")

	for i := range 5 {
		write("server: {ready: config}\n" + metricsYAML + "buckets:\n" + bucketYAML(fmt.Sprint("b", i), "/pub", origin.URL) + "    cache: {enabled: true, max_size: 20MB}\n")
		gw.reloadCall()
		if n := len(gw.Generation.Load().Budgets); n != 1 {
			t.Errorf("%d budgets after %d reloads", n, i+1)
		}
	}
}

// stuckClock stops the first that reads it until gate is closed.
func stuckClock(gw *testGateway) (stuck, gate chan struct{}) {
	stuck, gate = make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	now := gw.Now
	gw.Now = func() time.Time {
		if calls.Add(1) == 1 {
			close(stuck)
			<-gate
		}
		return now()
	}
	return stuck, gate
}

// TestStoredSinceTheLookUp has an object stored between the look-up of a request and
// its fetch.
func TestStoredSinceTheLookUp(t *testing.T) {
	origin := startScripted(t, version("v"))
	gw := startGateway(t, cachedYAML(origin.URL))
	stuck, gate := stuckClock(gw)
	done := make(chan string, 1)
	go func() { // ends with the answer
		r, _ := gw.do("GET", "/pub/x")
		done <- r.Header.Get("X-Cache")
	}()
	<-stuck
	gw.expect(t, "/pub/x", 200, "v", "MISS")
	close(gate)
	if says := <-done; says != "HIT" || len(origin.seen()) != 1 {
		t.Errorf("%s, %d requests to the origin", says, len(origin.seen()))
	}
}

// TestPurgedSinceTheLookUp has an object purged between the look-up of a request and
// its validation, because its headers changed and its bytes did not.
func TestPurgedSinceTheLookUp(t *testing.T) {
	origin, gw := staleGateway(t, version("v", "Content-Disposition: inline"), "v")
	stuck, gate := stuckClock(gw)
	done := make(chan struct{})
	go func() { // ends with the answer
		gw.do("GET", "/pub/x")
		close(done)
	}()
	<-stuck
	origin.set(version("v"))
	for _, b := range gw.Generation.Load().Budgets {
		b.Cache.PurgeKey("main", []byte("x"), false)
	}
	close(gate)
	<-done
	if r, _ := gw.do("GET", "/pub/x"); r.Header.Get("Content-Disposition") != "" {
		t.Errorf("%s: what was purged is back: %v", r.Header.Get("X-Cache"), r.Header)
	}
}

// TestUncalledFor304 has an origin say that something has not changed which it was
// not asked about.
func TestUncalledFor304(t *testing.T) {
	unchanged := func(etag string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") == "" {
				version("new")(w, r)
				return
			}
			w.Header().Set("ETag", etag)
			w.WriteHeader(304)
		}
	}
	origin := startScripted(t, version("v"))
	gw := startGateway(t, cachedYAML(origin.URL, "ttl: 60s"))
	clock := gw.withClock()
	gw.expect(t, "/pub/x", 200, "v", "MISS")
	clock.advance(61 * time.Second)
	origin.set(unchanged(`"another"`))
	gw.expect(t, "/pub/x", 200, "new", "MISS")

	origin.set(s3Answer(404, "NoSuchKey"))
	negative := startGateway(t, cachedYAML(origin.URL, "negative_ttl: 10s"))
	clock = negative.withClock()
	negative.do("GET", "/pub/x")
	clock.advance(11 * time.Second)
	origin.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) })
	if r, _ := negative.do("GET", "/pub/x"); r.StatusCode != 502 {
		t.Errorf("a 304 to no condition: %d", r.StatusCode)
	}
	origin.set(version("there"))
	negative.expect(t, "/pub/x", 200, "there", "MISS")
}

// TestTagsOfValidation has a validation bring other metadata.
func TestTagsOfValidation(t *testing.T) {
	origin := startScripted(t, version("v", "X-Amz-Meta-Surrogate-Key: old", "X-Amz-Version-Id: 1"))
	gw := startGateway(t, adminYAML(origin.URL))
	gw.expect(t, "/pub/x", 200, "v", "MISS")
	gw.admin("POST", "/admin/cache/purge?soft=true", "")
	origin.set(version("v", "X-Amz-Meta-Surrogate-Key: new", "X-Amz-Version-Id: 2", "X-Amz-Meta-More: 1"))
	r := gw.expect(t, "/pub/x", 200, "v", "REVALIDATED")
	if r.Header.Get("X-Amz-Version-Id") != "2" || r.Header.Get("X-Amz-Meta-More") != "1" || r.Header.Get("X-Amz-Meta-Surrogate-Key") != "new" {
		t.Errorf("%v", r.Header)
	}
	for tag, want := range map[string]string{"old": `"purged":0`, "new": `"purged":1`} {
		if _, body := gw.admin("POST", "/admin/cache/purge", `{"tag": "`+tag+`"}`); !strings.Contains(body, want) {
			t.Errorf("%s: %s", tag, body)
		}
	}
}

// TestOnlyIfCached has a client ask the cache alone, where clients are heeded.
func TestOnlyIfCached(t *testing.T) {
	origin := startScripted(t, version("v", "Cache-Control: no-store"))
	gw := startGateway(t, cachedYAML(origin.URL, "client_directives: true"))
	gw.do("GET", "/pub/pass")
	origin.set(version("v"))
	gw.expect(t, "/pub/x", 200, "v", "MISS")
	for _, b := range gw.Generation.Load().Budgets {
		b.Cache.PurgeKey("main", []byte("x"), true)
	}
	n := len(origin.seen())
	for _, target := range []string{"/pub/pass", "/pub/x", "/pub/none"} {
		if r, _ := gw.do("GET", target, "Cache-Control: only-if-cached"); r.StatusCode != 504 {
			t.Errorf("%s: %d", target, r.StatusCode)
		}
	}
	if len(origin.seen()) != n {
		t.Error("the origin was asked")
	}
}

// TestAgeOfTheOrigin has a cache between the gateway and the origin.
func TestAgeOfTheOrigin(t *testing.T) {
	origin := startScripted(t, version("v", "Cache-Control: max-age=100", "Age: 90"))
	gw := startGateway(t, cachedYAML(origin.URL))
	if r := gw.expect(t, "/pub/x", 200, "v", "MISS"); r.Header.Get("Age") != "90" {
		t.Errorf("on the miss: %q", r.Header.Get("Age"))
	}
	if r, _ := startGateway(t, oneBucket("/pub", origin.URL)).do("GET", "/pub/x"); r.Header.Get("Age") != "90" {
		t.Errorf("without a cache: %q", r.Header.Get("Age"))
	}
}

// TestNoContentType has an origin that does not say what an object is.
func TestNoContentType(t *testing.T) {
	origin := startFaulty(t, func(c net.Conn, _ string) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")
		return true
	})
	for _, yaml := range []string{oneBucket("/pub", origin.endpoint), oneBucket("/pub", origin.endpoint) + "    cache: {enabled: true}\n"} {
		gw := startGateway(t, yaml)
		for range 2 {
			if r, body := gw.do("GET", "/pub/x"); string(body) != "body" || r.Header["Content-Type"] != nil {
				t.Errorf("%s %q", body, r.Header["Content-Type"])
			}
		}
	}
}

// TestResetBehindTheHead has an origin fail before the first byte of a large body.
func TestResetBehindTheHead(t *testing.T) {
	origin := startFaulty(t, func(c net.Conn, _ string) bool {
		io.WriteString(c, okHead+"Content-Length: 900000\r\n\r\n")
		return false
	})
	gw := startGateway(t, oneBucket("/pub", origin.endpoint)+"    cache: {enabled: true}\n")
	if r, body := gw.do("GET", "/pub/x"); r.StatusCode != 502 {
		t.Errorf("%d %s", r.StatusCode, body)
	}
}

// TestKeyFileIsReadAtReload takes a key out of a jwks_file.
func TestKeyFileIsReadAtReload(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	file := filepath.Join(t.TempDir(), "jwks.json")
	ours, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	put := func(k *rsa.PrivateKey) {
		n := base64.RawURLEncoding.EncodeToString(k.N.Bytes())
		if err := os.WriteFile(file, []byte(`{"keys":[{"kty":"RSA","alg":"RS256","e":"AQAB","n":"`+n+`"}]}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(ours)
	gw, _ := fileGateway(t, oneBucket("/pub", origin.URL)+fmt.Sprintf("    auth: {enabled: true, jwt: {jwks_file: %q}}\n", file)+metricsYAML)
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, time.Now().Unix()+3600))
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, ours, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	token := "Authorization: Bearer " + text + "." + base64.RawURLEncoding.EncodeToString(signature)
	for _, want := range []int{200, 403} {
		if r, body := gw.do("GET", "/pub/x", token); r.StatusCode != want {
			t.Errorf("%d %s, want %d", r.StatusCode, body, want)
		}
		put(theirs)
		if status, r := gw.reloadCall(); status != 200 {
			t.Fatalf("%d %+v", status, r)
		}
	}
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, r := gw.reloadCall(); status != 400 {
		t.Errorf("a key file that is none: %d %+v", status, r)
	}
}

// TestEveryAnswerHasAnOutcome asks a cached bucket for what is not stored, and what
// is.
func TestEveryAnswerHasAnOutcome(t *testing.T) {
	gw := startGateway(t, cachedYAML(startOrigin(t, serveText("0123456789")).URL))
	for _, stored := range []bool{false, true} {
		for _, header := range []string{"Range: bytes=0-1", "Range: bytes=90-", "If-None-Match: \"e1\"", "If-Match: \"no\"", "Range: bytes=-0"} {
			if stored {
				gw.do("GET", "/pub/x")
			} else {
				gw.Generation.Load().Budgets[""].Cache.PurgeGroup("main", false)
			}
			r, _ := gw.do("GET", "/pub/x", header)
			if r.Header.Get("X-Cache") == "" || r.Header.Get("Cache-Status") == "" || stored && r.Header.Get("X-Cache") != "HIT" {
				t.Errorf("stored %t, %s: %d %q %q", stored, header, r.StatusCode, r.Header.Get("X-Cache"), r.Header.Get("Cache-Status"))
			}
		}
	}
}

// TestFullPoolIsAnsweredOnce has misses of one key wait for the only connection: each
// as long as one may wait.
func TestFullPoolIsAnsweredOnce(t *testing.T) {
	origin := startScripted(t, s3Answer(503, "SlowDown"))
	gw := startGateway(t, cachedYAML(origin.URL))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if r, _ := gw.do("GET", "/pub/x"); r.StatusCode != 503 {
				t.Errorf("%d", r.StatusCode)
			}
		})
	}
	wg.Wait()
	one, err := http.Get(gw.url("/pub/x"))
	if err != nil {
		t.Fatal(err)
	}
	one.Body.Close()
	if n := len(origin.seen()); n > 21 {
		t.Errorf("%d requests of an overloaded origin for 21 of clients", n)
	}
}

// TestSurplusIsNotStored has an origin send more than it said.
func TestSurplusIsNotStored(t *testing.T) {
	for _, size := range []int{5, 200_000} {
		var asked atomic.Int64
		origin := startFaulty(t, func(c net.Conn, _ string) bool {
			asked.Add(1)
			fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%sSURPLUS", okHead, size, strings.Repeat("x", size))
			return true
		})
		gw := startGateway(t, oneBucket("/pub", origin.endpoint)+"    cache: {enabled: true}\n")
		for range 3 {
			if r, body := gw.do("GET", "/pub/x"); r.StatusCode != 200 || len(body) != size {
				t.Errorf("%d, %d bytes", r.StatusCode, len(body))
			}
			gw.settleFills(t)
		}
		if n := asked.Load(); n != 3 {
			t.Errorf("%d bytes and more: the origin was asked %d times", size, n)
		}
	}
}

// TestIfRangeBehindTheEnd resumes a download of an object that became shorter: the
// range lies behind its end, and If-Range says that it is another.
func TestIfRangeBehindTheEnd(t *testing.T) {
	body := sixteens(640)
	origin := startOrigin(t, serveText(body))
	for _, yaml := range []string{oneBucket("/pub", origin.URL), cachedYAML(origin.URL)} {
		gw := startGateway(t, yaml)
		for range 2 {
			for rng, status := range map[string]int{"bytes=640-": 200, "bytes=-0": 200} {
				for _, other := range []string{"Fri, 02 Jan 2026 04:04:05 GMT", `"e2"`, `W/"e1"`, "junk"} {
					if r, got := gw.do("GET", "/pub/x", "Range: "+rng, "If-Range: "+other); r.StatusCode != status || string(got) != body {
						t.Errorf("%s, If-Range %s: %d, %d bytes", rng, other, r.StatusCode, len(got))
					}
				}
				for _, same := range []string{"Fri, 02 Jan 2026 03:04:05 GMT", `"e1"`} {
					if r, _ := gw.do("GET", "/pub/x", "Range: "+rng, "If-Range: "+same); r.StatusCode != 416 {
						t.Errorf("%s, If-Range %s: %d", rng, same, r.StatusCode)
					}
				}
			}
			gw.do("GET", "/pub/x")
		}
	}
}

// TestStopDoesNotWaitForPrewarming has a job fetch from an origin that drips.
func TestStopDoesNotWaitForPrewarming(t *testing.T) {
	asked := make(chan struct{}, 1)
	origin := startFaulty(t, func(c net.Conn, _ string) bool {
		io.WriteString(c, okHead+"Content-Length: 900000\r\n\r\nx")
		asked <- struct{}{}
		io.Copy(io.Discard, c) // until it is given up
		return false
	})
	gw := startGateway(t, strings.Replace(adminYAML(origin.endpoint), "ready: any", "ready: config", 1), func(o *Options) { o.ShutdownTimeout = 100 * time.Millisecond })
	gw.startPrewarm(`{"bucket": "main", "keys": ["x"]}`)
	<-asked
	began := time.Now()
	gw.stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

// TestReadersOfClones has slow readers of an object that is validated at each use.
func TestReadersOfClones(t *testing.T) {
	origin := startScripted(t, version(sixteens(4<<20), "Cache-Control: no-cache"))
	gw := startGateway(t, cachedYAML(origin.URL, "max_size: 20MB", "max_object_size: 10MB"))
	gw.do("GET", "/pub/x")
	gw.settleFills(t)
	for range 20 {
		c := dial(t, gw.addr)
		c.(*net.TCPConn).SetReadBuffer(4096)
		fmt.Fprint(c, "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n")
		if _, err := io.ReadFull(c, make([]byte, 300)); err != nil {
			t.Fatal(err)
		}
	}
	if n := gw.Generation.Load().Budgets["main"].Cache.Pinned(); n > 8<<20 {
		t.Errorf("one body of 4 MB is counted as %d bytes", n)
	}
	origin.set(version(strings.Repeat("y", 200<<10)))
	gw.do("GET", "/pub/other")
	gw.settleFills(t)
	if says := gw.cacheSays("/pub/other"); says != "HIT" {
		t.Errorf("another object: %s", says)
	}
}
