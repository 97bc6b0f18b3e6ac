package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/admin"
	"yatagarasu/loadtest/s3server"
)

// startPrewarm makes the call and returns the id of the job.
func (tg *testGateway) startPrewarm(body string) string {
	tg.t.Helper()
	status, text := tg.admin("POST", "/admin/cache/prewarm", body)
	var s admin.PrewarmState
	if err := json.Unmarshal([]byte(text), &s); err != nil || status != 200 {
		tg.t.Fatalf("%s: %d %s", body, status, text)
	}
	return s.ID
}

// prewarmState asks for a job until it has the state.
func (tg *testGateway) prewarmState(id, state string) (s admin.PrewarmState) {
	tg.t.Helper()
	var text string
	reached := polled(10*time.Second, func() bool {
		var status int
		status, text = tg.admin("GET", "/admin/cache/prewarm/"+id, "")
		if err := json.Unmarshal([]byte(text), &s); err != nil || status != 200 {
			tg.t.Fatalf("job %s: %d %s", id, status, text)
		}
		return s.State == state
	})
	if !reached {
		tg.t.Fatalf("job %s is never %s: %s", id, state, text)
	}
	return s
}

// TestPrewarm fills the cache from a real server's list.
func TestPrewarm(t *testing.T) {
	server, client := startS3(t, s3server.MinIO)
	for i := range 20 {
		putObject(t, client, fmt.Sprintf("site/%d page+é.html", i), int64(1+5000*i))
	}
	putObject(t, client, "site/large", 2<<20)
	putObject(t, client, "other", 10)
	gw := startGateway(t, strings.Replace(adminYAML(server.Endpoint()), oneBucket("/pub", server.Endpoint()), realBucket(server.Endpoint()), 1))

	gw.do("GET", "/pub/site/3%20page%2B%C3%A9.html")
	s := gw.prewarmState(gw.startPrewarm(`{"bucket": "main", "prefix": "site/", "rate": 1000}`), "done")
	if s.Found != 21 || s.Fetched != 19 || s.Skipped != 2 || s.Failed != 0 || s.Error != "" || s.Finished.IsZero() {
		t.Errorf("by prefix: %+v", s)
	}
	for i := range 20 {
		if says := gw.cacheSays(fmt.Sprintf("/pub/site/%d%%20page+%%C3%%A9.html", i)); says != "HIT" {
			t.Errorf("object %d: %s", i, says)
		}
	}
	if says := gw.cacheSays("/pub/other"); says != "MISS" {
		t.Errorf("what was not asked for: %s", says)
	}
	s = gw.prewarmState(gw.startPrewarm(`{"bucket": "main", "keys": ["other", "site/large", "missing"]}`), "done")
	if s.Found != 3 || s.Fetched != 0 || s.Skipped != 2 || s.Failed != 1 || !strings.Contains(s.Error, "missing: cannot fetch the object: not_found") {
		t.Errorf("by keys: %+v", s)
	}
	gw.admin("POST", "/admin/cache/purge", `{"all": true, "soft": true}`)
	if s = gw.prewarmState(gw.startPrewarm(`{"bucket": "main", "keys": ["other"]}`), "done"); s.Fetched != 1 || gw.cacheSays("/pub/other") != "HIT" {
		t.Errorf("after a soft purge: %+v", s)
	}
	server.Stop()
	if s = gw.prewarmState(gw.startPrewarm(`{"bucket": "main", "prefix": ""}`), "failed"); !strings.Contains(s.Error, "cannot list the bucket") {
		t.Errorf("without an origin: %+v", s)
	}
}

// serveBehind answers when gate is closed.
func serveBehind(gate <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-gate:
		case <-r.Context().Done():
		}
		serveText("hello")(w, r)
	}
}

func TestPrewarmJobs(t *testing.T) {
	gate := make(chan struct{})
	origin := startOrigin(t, serveBehind(gate))
	gw := startGateway(t, adminYAML(origin.URL))
	for body, want := range map[string]int{
		`{}`: 400, `{"bucket": "main"}`: 400, `{"bucket": "main", "keys": ["a"], "prefix": ""}`: 400, `{"bucket": "nobody", "keys": ["a"]}`: 404,
		`{"bucket": "main", "keys": [""]}`: 400, `{"bucket": "main", "keys": ["a"], "rate": -1}`: 400, `{"bucket": "main", "keys": ["a"], "speed": 1}`: 400,
	} {
		if status, text := gw.admin("POST", "/admin/cache/prewarm", body); status != want {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("%q", fmt.Sprint("k", i)))
	}
	call := `{"bucket": "main", "rate": 10000, "keys": [` + strings.Join(many, ",") + `]}`
	var ids []string
	for range boundPrewarmJobs {
		ids = append(ids, gw.startPrewarm(call))
	}
	if status, text := gw.admin("POST", "/admin/cache/prewarm", call); status != 429 {
		t.Errorf("one too many: %d %s", status, text)
	}
	for i, id := range ids {
		if i > 0 {
			if status, text := gw.admin("DELETE", "/admin/cache/prewarm/"+id, ""); status != 200 {
				t.Errorf("cancel: %d %s", status, text)
			}
		}
	}
	close(gate)
	for i, id := range ids {
		if i > 0 {
			gw.prewarmState(id, "cancelled")
		}
	}
	if s := gw.prewarmState(ids[0], "done"); s.Found != 100 || s.Fetched+s.Skipped != 100 || s.Bytes != int64(5*s.Fetched) {
		t.Errorf("%+v", s)
	}
	for range 2 * boundKeptJobs {
		gw.prewarmState(gw.startPrewarm(`{"bucket": "main", "keys": ["k1"]}`), "done")
	}
	var all struct{ Jobs []admin.PrewarmState }
	_, text := gw.admin("GET", "/admin/cache/prewarm", "")
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all.Jobs) != boundKeptJobs {
		t.Errorf("%d jobs: %s", len(all.Jobs), text)
	}
	if status, _ := gw.admin("GET", "/admin/cache/prewarm/"+ids[0], ""); status != 404 {
		t.Errorf("a job long gone: %d", status)
	}
}

// TestPrewarmRate has a job that would take hours end with the gateway.
func TestPrewarmRate(t *testing.T) {
	gw := startGateway(t, adminYAML(startOrigin(t, serveText("hello")).URL))
	keys := strings.TrimSuffix(strings.Repeat(`"a",`, 10_000), ",")
	id := gw.startPrewarm(`{"bucket": "main", "rate": 1, "keys": [` + keys + `]}`)
	if s := gw.prewarmState(id, "running"); s.Found > 2 {
		t.Errorf("faster than allowed: %+v", s)
	}
	if err := gw.stop(); err != nil {
		t.Error(err)
	}
	gw.log.waitFor(t, `"state":"cancelled"`)
}

// TestPrewarmOfAFullCache has every object that is reported as fetched be stored, though
// those that are there are asked for more often.
func TestPrewarmOfAFullCache(t *testing.T) {
	for _, size := range []int{30 << 10, 90 << 10} { // at once, and as it arrives
		origin := startScripted(t, version(sixteens(size)))
		gw := startGateway(t, strings.Replace(adminYAML(origin.URL), "max_size: 8MB, max_object_size: 1MB", "max_size: 1MB, max_object_size: 100KB", 1))
		for range 4 {
			for i := range 40 {
				gw.do("GET", fmt.Sprintf("/pub/hot%d", i))
			}
			gw.settleFills(t)
		}
		s := gw.prewarmState(gw.startPrewarm(`{"bucket": "main", "rate": 10000, "keys": ["w1","w2","w3"]}`), "done")
		if s.Fetched != 3 || s.Skipped != 0 || s.Bytes != int64(3*size) {
			t.Errorf("%d bytes each: %+v", size, s)
		}
		for i := range 3 {
			if says := gw.cacheSays(fmt.Sprintf("/pub/w%d", i+1)); says != "HIT" {
				t.Errorf("w%d of %d bytes: %s", i+1, size, says)
			}
		}
	}
}

// TestPrewarmWithoutRoom prewarms bodies of which only two may arrive at once: the others
// wait until those are there.
func TestPrewarmWithoutRoom(t *testing.T) {
	const size = 120 << 10
	asked, gate := make(chan struct{}, 99), make(chan struct{})
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		io.WriteString(w, strings.Repeat("x", size/2))
		w.(http.Flusher).Flush()
		asked <- struct{}{}
		<-gate
		io.WriteString(w, strings.Repeat("x", size/2))
	})
	gw := startGateway(t, strings.Replace(adminYAML(origin.URL), "max_size: 8MB, max_object_size: 1MB", "max_size: 1MB, max_object_size: 200KB", 1))
	id := gw.startPrewarm(`{"bucket": "main", "rate": 10000, "keys": ["a","b","c","d"]}`)
	for range 4 {
		<-asked
	}
	close(gate)
	if s := gw.prewarmState(id, "done"); s.Fetched != 4 || s.Skipped != 0 || s.Failed != 0 || s.Bytes != 4*size {
		t.Errorf("%+v", s)
	}
}

// TestPrewarmReport has what is not stored count as skipped, and what is only validated
// bring no bytes.
func TestPrewarmReport(t *testing.T) {
	asked, gate := make(chan struct{}, 9), make(chan struct{})
	origin := startScripted(t, version("0123456789"))
	gw := startGateway(t, adminYAML(origin.URL))
	clock := gw.withClock()
	gw.expect(t, "/pub/x", 200, "0123456789", "MISS")
	clock.advance(2 * time.Hour)
	if s := gw.prewarmState(gw.startPrewarm(`{"bucket": "main", "keys": ["x"]}`), "done"); s.Fetched != 1 || s.Bytes != 0 {
		t.Errorf("validated: %+v", s)
	}
	origin.set(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-gate
		version("0123456789")(w, r)
	})
	id := gw.startPrewarm(`{"bucket": "main", "keys": ["y"]}`)
	<-asked
	gw.admin("POST", "/admin/cache/purge", `{"all": true}`)
	close(gate)
	if s := gw.prewarmState(id, "done"); s.Fetched != 0 || s.Skipped != 1 || s.Bytes != 0 {
		t.Errorf("purged meanwhile: %+v", s)
	}
}

// TestPrewarmCancel cancels a job while the origin hangs.
func TestPrewarmCancel(t *testing.T) {
	gate := make(chan struct{})
	origin := startOrigin(t, serveBehind(gate))
	gw := startGateway(t, adminYAML(origin.URL))
	id := gw.startPrewarm(`{"bucket": "main", "rate": 10000, "keys": ["a","b","c","d","e","f","g"]}`)
	under := func() bool {
		return len(origin.seen()) >= boundPrewarmFetches && gw.prewarmState(id, "running").Found > boundPrewarmFetches
	}
	if !polled(10*time.Second, under) {
		t.Fatalf("%d requests to the origin", len(origin.seen()))
	}
	gw.admin("DELETE", "/admin/cache/prewarm/"+id, "")
	if s := gw.prewarmState(id, "cancelling"); !s.Finished.IsZero() {
		t.Errorf("%+v", s)
	}
	close(gate)
	if s := gw.prewarmState(id, "cancelled"); s.Fetched != boundPrewarmFetches || s.Finished.IsZero() {
		t.Errorf("%+v", s)
	}
	if n := len(origin.seen()); n != boundPrewarmFetches {
		t.Errorf("%d requests to the origin, want %d", n, boundPrewarmFetches)
	}
}
