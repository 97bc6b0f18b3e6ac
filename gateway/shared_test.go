package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"yatagarasu/loadtest/redisserver"
)

// sharing is the configuration of gateways that share their small objects.
type sharing struct {
	*testing.T
	yaml     string
	gateways []*testGateway
}

// startSharing starts gateways over one Redis. lines are of the bucket, which is private with a third
// one.
func startSharing(t *testing.T, count int, endpoint, cache string, lines ...string) *sharing {
	server := redisserver.ForTest(t, redisserver.Options{})
	bucket := bucketYAML("main", "/pub", endpoint)
	if len(lines) > 0 {
		bucket = privateYAML("main", "/pub", endpoint)
	}
	s := &sharing{T: t, yaml: "server: {ready: config}\nmetrics: {enabled: true, address: 127.0.0.1, port: 0}\n" +
		"cluster: {valkey: {addresses: '" + server.Address() + "'}, secret: 0123456789abcdef0123456789abcdef, purge: {wait: 10s}, store: {enabled: true, timeout: 500ms}}\n" +
		"buckets:\n" + bucket + "    cache: {enabled: true, shared: true" + cache + "}\n"}
	for range count {
		s.join()
	}
	return s
}

// join starts one more gateway.
func (s *sharing) join() *testGateway {
	gw := startGateway(s.T, s.yaml)
	s.gateways = append(s.gateways, gw)
	eventually(s.T, "the gateway follows the log", func() bool {
		d, ever := gw.node.Lease.Unverified(time.Now())
		return ever && d < time.Second && gw.node.Status().Position > 0
	})
	return gw
}

// get asks a gateway, and returns the body with what the cache had to do with it.
func (s *sharing) get(gw *testGateway, header ...string) string {
	r, body := gw.do("GET", "/pub/a", header...)
	return fmt.Sprint(r.StatusCode, " ", r.Header.Get("X-Cache"), " ", string(body))
}

// written waits until what gw has fetched is stored for all.
func (s *sharing) written(gw *testGateway, objects uint64) {
	s.Helper()
	eventually(s.T, "an object is written", func() bool { return gw.node.Status().Store.Write["written"] >= objects })
}

func (s *sharing) want(gw *testGateway, want string, header ...string) {
	s.Helper()
	if got := s.get(gw, header...); got != want {
		s.Errorf("%q, want %q", got, want)
	}
}

// versions is an origin whose object has a new version for each request that wants its body.
func versions(t *testing.T, head ...string) *testOrigin {
	n := 0
	return startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		for _, line := range head {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Set(name, value)
		}
		if r.Header.Get("If-None-Match") != "" {
			w.Header().Set("ETag", `"v"`)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		n++
		w.Header().Set("ETag", `"v"`)
		fmt.Fprint(w, "v", n)
	})
}

// TestShared has one gateway fetch an object for all, and one that starts later find it.
func TestShared(t *testing.T) {
	origin := versions(t, "X-Amz-Meta-Surrogate-Key: t")
	s := startSharing(t, 2, origin.URL, "")
	s.want(s.gateways[0], "200 MISS v1")
	s.written(s.gateways[0], 1)
	r, body := s.gateways[1].do("GET", "/pub/a")
	if string(body) != "v1" || r.Header.Get("X-Cache") != "SHARED" || r.Header.Get("Cache-Status") != "yatagarasu-shared; hit, yatagarasu; fwd=miss" || r.Header.Get("X-Amz-Meta-Surrogate-Key") != "t" {
		t.Errorf("%q %v", body, r.Header)
	}
	s.want(s.gateways[1], "200 HIT v1")
	late := s.join()
	s.want(late, "200 SHARED v1")
	if n := len(origin.seen()); n != 1 {
		t.Errorf("%d requests to the origin, want 1", n)
	}
	for i, call := range []string{`{"bucket": "main", "key": "a"}`, `{"tag": "t"}`, `{"all": true}`} {
		if status, reply := s.gateways[i%2].admin("POST", "/admin/cache/purge", call); status != 200 || !strings.Contains(reply, `"nodes":3,"confirmed":3`) {
			t.Fatalf("%s: %d %s", call, status, reply)
		}
		version := fmt.Sprint("v", i+2)
		s.want(late, "200 MISS "+version)
		s.written(late, uint64(i+1))
		for _, gw := range s.gateways[:2] {
			s.want(gw, "200 SHARED "+version)
			s.want(gw, "200 HIT "+version)
		}
	}
}

// TestSharedIsJudged has a private object shared: each request is judged before it is looked for.
func TestSharedIsJudged(t *testing.T) {
	s := startSharing(t, 2, versions(t).URL, "", "private")
	token := "Authorization: Bearer " + goodToken()
	s.want(s.gateways[0], "200 MISS v1", token)
	s.written(s.gateways[0], 1)
	if got := s.get(s.gateways[1]); !strings.HasPrefix(got, "401  {") {
		t.Errorf("without a token: %q", got)
	}
	s.want(s.gateways[1], "200 SHARED v1", token)
}

// TestSharedDirectives has clients that want the origin asked.
func TestSharedDirectives(t *testing.T) {
	s := startSharing(t, 2, versions(t).URL, ", client_directives: true")
	s.want(s.gateways[0], "200 MISS v1")
	s.written(s.gateways[0], 1)
	s.want(s.gateways[1], "200 SHARED v1")
	s.want(s.gateways[1], "200 REVALIDATED v1", "Cache-Control: no-cache")
	s.want(s.join(), "200 MISS v2", "Cache-Control: no-cache") // nothing in memory: what is shared is no answer to it either
}

// TestSharedRenewal has one gateway validate an object, and another take its word.
func TestSharedRenewal(t *testing.T) {
	t.Parallel()
	origin := versions(t, "Cache-Control: max-age=3")
	s := startSharing(t, 2, origin.URL, ", stale_while_revalidate: 0")
	s.want(s.gateways[0], "200 MISS v1")
	s.written(s.gateways[0], 1)
	s.want(s.gateways[1], "200 SHARED v1")
	eventually(t, "the object is validated", func() bool { return s.get(s.gateways[0]) == "200 REVALIDATED v1" })
	s.written(s.gateways[0], 2)
	asked := len(origin.seen())
	eventually(t, "another takes its word", func() bool {
		got := s.get(s.gateways[1])
		return got == "200 SHARED v1" || got == "200 REVALIDATED v1"
	})
	if r, _ := s.gateways[1].do("GET", "/pub/a"); len(origin.seen()) != asked || r.Header.Get("X-Cache") != "HIT" {
		t.Errorf("%s, %d requests to the origin, want %d", r.Header.Get("X-Cache"), len(origin.seen()), asked)
	}
}

// TestSharedPrivate has an object become private by the answer to another gateway's validation.
func TestSharedPrivate(t *testing.T) {
	t.Parallel()
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v"`)
		if r.Header.Get("If-None-Match") != "" {
			w.Header().Set("Cache-Control", "max-age=60")
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=3")
		fmt.Fprint(w, "v1")
	})
	s := startSharing(t, 2, origin.URL, ", stale_while_revalidate: 0", "private")
	token := "Authorization: Bearer " + goodToken()
	s.want(s.gateways[0], "200 MISS v1", token)
	s.written(s.gateways[0], 1)
	s.want(s.gateways[1], "200 SHARED v1", token)
	eventually(t, "the object is validated", func() bool { return s.get(s.gateways[0], token) == "200 REVALIDATED v1" })
	s.written(s.gateways[0], 2)
	eventually(t, "another takes its word", func() bool { return s.get(s.gateways[1], token) == "200 SHARED v1" })
	for i, gw := range s.gateways {
		if r, _ := gw.do("GET", "/pub/a", token); r.Header.Get("X-Cache") != "HIT" || r.Header.Get("Cache-Control") != "private, max-age=60" {
			t.Errorf("gateway %d: %s, %q", i, r.Header.Get("X-Cache"), r.Header.Get("Cache-Control"))
		}
	}
}

// TestSharedAbsence has what is absent, and what is too large to share.
func TestSharedAbsence(t *testing.T) {
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/a") {
			s3Refusal(404, "NoSuchKey")(w, r)
			return
		}
		w.Header().Set("ETag", `"v"`)
		w.Header().Set("Content-Length", "300000")
		fmt.Fprint(w, strings.Repeat("x", 300_000))
	})
	s := startSharing(t, 2, origin.URL, ", negative_ttl: 60")
	for _, gw := range s.gateways {
		if r, body := gw.do("GET", "/pub/large"); len(body) != 300_000 || r.Header.Get("X-Cache") != "MISS" {
			t.Errorf("%d bytes, %s", len(body), r.Header.Get("X-Cache"))
		}
	}
	if got := s.get(s.gateways[0]); !strings.HasPrefix(got, "404 MISS") {
		t.Error(got)
	}
	s.written(s.gateways[0], 1)
	if got := s.get(s.gateways[1]); !strings.HasPrefix(got, "404 SHARED") {
		t.Error(got)
	}
	if n := len(origin.seen()); n != 3 {
		t.Errorf("%d requests to the origin, want 3", n)
	}
}

// heldOrigin is an origin that answers once release is called. asked waits for a request to it.
func heldOrigin(t *testing.T) (origin *testOrigin, asked, release func()) {
	begins, releases := make(chan bool, 9), make(chan bool)
	origin = startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		begins <- true
		<-releases
		serveText("hello")(w, r)
	})
	release = sync.OnceFunc(func() { close(releases) })
	t.Cleanup(release) // before the origin ends
	return origin, func() {
		t.Helper()
		select {
		case <-begins:
		case <-time.After(10 * time.Second):
			t.Fatal("the origin is not asked")
		}
	}, release
}

// TestSharedFollowers has a request that says how old an answer may be come while another one's is
// awaited: it gets no answer of an age that it does not want.
func TestSharedFollowers(t *testing.T) {
	origin, asked, release := heldOrigin(t)
	s := startSharing(t, 1, origin.URL, ", client_directives: true")
	done := make(chan string, 2)
	go func() { done <- s.get(s.gateways[0]) }() // ends with the origin's answer
	asked()
	go func() { done <- s.get(s.gateways[0], "Cache-Control: max-age=1") }() // the same
	asked()                                                                  // it asks by itself
	release()
	for range 2 {
		if got := <-done; !strings.HasPrefix(got, "200 MISS hello") {
			t.Error(got)
		}
	}
}

// TestMissedPurgesOfFetches has purges missed while an object is fetched: who asks for it later does
// not get what was asked for before.
func TestMissedPurgesOfFetches(t *testing.T) {
	origin, asked, release := heldOrigin(t)
	s := startSharing(t, 1, origin.URL, "")
	gw := s.gateways[0]
	done := make(chan string, 2)
	go func() { done <- s.get(gw) }() // ends with the origin's answer
	asked()
	gw.node.Lease.Distrust(time.Now())
	gw.outdate()
	go func() { done <- s.get(gw) }() // the same
	asked()                           // it asks by itself
	release()
	for range 2 {
		if got := <-done; !strings.HasPrefix(got, "200 MISS hello") {
			t.Error(got)
		}
	}
}
