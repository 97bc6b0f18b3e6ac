package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/loadtest/redisserver"
)

const clusterSecret = "0123456789abcdef-cluster-secret-0123456789"

// clusterYAML is a configuration of gateways that share purges. purge is further lines of that block.
func clusterYAML(endpoint string, server *redisserver.Server, purge string) string {
	return adminYAML(endpoint, fmt.Sprintf("cluster: {valkey: {addresses: %q}, secret: %s, purge: {%s}}", server.Address(), clusterSecret, purge))
}

// startFollowing starts a gateway that follows the log when it is returned.
func startFollowing(t *testing.T, yaml string) *testGateway {
	t.Helper()
	gw := startGateway(t, yaml)
	eventually(t, "the gateway follows the log", func() bool {
		s := gw.node.Status()
		return s.Connected && s.Position > 0 && s.Unverified >= 0
	})
	return gw
}

// versioned is an origin whose objects have the number of the version as text.
func versioned(t *testing.T) (o *testOrigin, version *atomic.Int64) {
	version = new(atomic.Int64)
	return startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amz-Meta-Surrogate-Key", "news")
		w.Header().Set("Cache-Control", "max-age=3600")
		etag := fmt.Sprintf("%q", fmt.Sprint("v", version.Load()))
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "v", version.Load())
	}), version
}

// TestPurgeReachesEveryGateway has a purge of each kind at one gateway, and all of them asked when it
// is confirmed.
func TestPurgeReachesEveryGateway(t *testing.T) {
	server := redisserver.ForTest(t, redisserver.Options{})
	origin, version := versioned(t)
	yaml := clusterYAML(origin.URL, server, "wait: 20s")
	var gateways []*testGateway
	for range 3 {
		gateways = append(gateways, startFollowing(t, yaml))
	}
	paths := []string{"/pub/news/a", "/pub/a%C3%A4%20b"}
	gets := func(gw *testGateway, path string) string {
		r, body := gw.do("GET", path)
		return r.Header.Get("X-Cache") + " " + string(body)
	}
	for i, c := range []struct {
		call   string
		path   string // of an object that is purged
		purges bool   // the other one, too
	}{
		{`{"bucket": "main", "key": "news/a"}`, paths[0], false},
		{`{"bucket": "main", "prefix": "news/"}`, paths[0], false},
		{`{"tag": "news"}`, paths[0], true},
		{`{"bucket": "main", "tag": "news", "soft": true}`, paths[0], true},
		{`{"bucket": "main", "all": true}`, paths[1], true},
		{`{"all": true}`, paths[1], true},
	} {
		for _, gw := range gateways {
			for _, path := range paths {
				gets(gw, path)
				if got := gets(gw, path); !strings.HasPrefix(got, "HIT ") {
					t.Fatalf("%s: before: %s", c.call, got)
				}
			}
		}
		now := version.Add(1)
		status, reply := gateways[i%3].admin("POST", "/admin/cache/purge", c.call)
		if status != 200 || !strings.Contains(reply, fmt.Sprintf(`"position":%d,"nodes":3,"confirmed":3`, i+2)) {
			t.Fatalf("%s: %d %s", c.call, status, reply)
		}
		for j, gw := range gateways {
			for _, path := range paths {
				got := gets(gw, path)
				if fresh := strings.HasSuffix(got, fmt.Sprint(" v", now)); (path == c.path || c.purges) != fresh {
					t.Errorf("%s: gateway %d has %s at %s, of v%d", c.call, j, got, path, now)
				}
			}
		}
	}
	if status, reply := gateways[0].admin("POST", "/admin/cache/purge/main/a%C3%A4%20b", ""); status != 200 || !strings.Contains(reply, `"confirmed":3`) {
		t.Errorf("%d %s", status, reply)
	}
	version.Add(1)
	if got := gets(gateways[1], paths[1]); !strings.HasPrefix(got, "MISS ") {
		t.Errorf("a spelled name in the path: %s", got)
	}
}

// TestPurgeWithoutValkey has the server stop answering: gateways serve on, and a purge is in effect
// on all of them within purge.within.
func TestPurgeWithoutValkey(t *testing.T) {
	server := redisserver.ForTest(t, redisserver.Options{})
	origin, version := versioned(t)
	yaml := clusterYAML(origin.URL, server, "within: 2s")
	first, second := startFollowing(t, yaml), startFollowing(t, yaml)
	for _, gw := range []*testGateway{first, second} {
		gw.do("GET", "/pub/a")
		if says := gw.cacheSays("/pub/a"); says != "HIT" {
			t.Fatalf("before: %s", says)
		}
	}
	server.Freeze()
	version.Add(1)
	status, reply := first.admin("POST", "/admin/cache/purge", `{"bucket": "main", "key": "a"}`)
	if status != 503 || !strings.Contains(reply, "purge_not_shared") {
		t.Fatalf("%d %s", status, reply)
	}
	if _, body := first.do("GET", "/pub/a"); string(body) != "v1" {
		t.Errorf("where it was purged: %s", body)
	}
	eventually(t, "the purge is in effect at the other gateway", func() bool {
		r, body := second.do("GET", "/pub/a")
		if r.StatusCode != 200 {
			t.Fatalf("an error for a client: %d %s", r.StatusCode, body)
		}
		return string(body) == "v1"
	})
	if status, _ := second.do("GET", "/ready"); status.StatusCode != 200 {
		t.Errorf("/ready: %d", status.StatusCode)
	}
	server.Thaw()
	eventually(t, "the purge is shared", func() bool { return second.node.Status().Applied == 1 })
	eventually(t, "the lease holds", func() bool { return second.node.Status().Connected && first.node.Status().Waiting == 0 })
	second.do("GET", "/pub/a")
	if says := second.cacheSays("/pub/a"); says != "HIT" {
		t.Errorf("afterwards: %s", says)
	}
	for _, gw := range []*testGateway{first, second} {
		if log := gw.log.String(); strings.Contains(log, clusterSecret) {
			t.Errorf("the secret is logged: %s", log)
		}
	}
	first.log.waitFor(t, "a purge is not shared as it should be")
}

// TestStopWithoutValkey has a gateway stop while the server does not answer.
func TestStopWithoutValkey(t *testing.T) {
	server := redisserver.ForTest(t, redisserver.Options{})
	gw := startFollowing(t, clusterYAML(startOrigin(t, serveText("hello")).URL, server, ""))
	server.Freeze()
	begun := time.Now()
	if err := gw.stop(); err != nil || time.Since(begun) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}

// TestPurgeNotReplicated has fewer replicas of the server than a purge needs.
func TestPurgeNotReplicated(t *testing.T) {
	server := redisserver.ForTest(t, redisserver.Options{})
	gw := startFollowing(t, clusterYAML(startOrigin(t, serveText("hello")).URL, server, "replicas: 1"))
	if status, reply := gw.admin("POST", "/admin/cache/purge", `{"all": true}`); status != 503 || !strings.Contains(reply, "purge_not_replicated") {
		t.Errorf("%d %s", status, reply)
	}
}
