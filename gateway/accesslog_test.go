package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestSlowAndSampled has few of the quick requests logged, and all of the others.
func TestSlowAndSampled(t *testing.T) {
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "slow"):
			// Slow: only both waits together are longer than what the log takes for slow.
			time.Sleep(60 * time.Millisecond)
			w.Header().Set("Content-Length", "200000")
			w.Write(make([]byte, 100_000))
			w.(http.Flusher).Flush()
			time.Sleep(60 * time.Millisecond) // see above
			w.Write(make([]byte, 100_000))
		case strings.HasSuffix(r.URL.Path, "missing"):
			s3Answer(404, "NoSuchKey")(w, r)
		default:
			serveText("hello")(w, r)
		}
	})
	gw := startGateway(t, oneBucket("/pub", origin.URL)+"logging: {slow: 100ms, sample: 0.1}\n")
	for range 200 {
		gw.do("GET", "/pub/quick")
	}
	for range 5 {
		gw.do("GET", "/pub/missing")
	}
	gw.do("GET", "/pub/slow")
	gw.log.waitFor(t, `"slow":true`)
	log := gw.log.String()
	quick := strings.Count(log, `"path":"/pub/quick"`) - strings.Count(log, `"slow":true`) + 1
	if quick < 3 || quick > 60 || strings.Count(log, `"path":"/pub/missing"`) != 5 {
		t.Errorf("%d quick lines of 200, %d of 5 that fail", quick, strings.Count(log, `"path":"/pub/missing"`))
	}
	for line := range strings.Lines(log) {
		if !strings.Contains(line, `"path":"/pub/slow"`) {
			continue
		}
		var l struct {
			Level  string
			Phases struct {
				Wait      float64 `json:"wait_ms"`
				Connect   float64 `json:"connect_ms"`
				FirstByte float64 `json:"first_byte_ms"`
				Body      float64 `json:"body_ms"`
			}
			Duration float64 `json:"duration_ms"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		sum := l.Phases.Wait + l.Phases.Connect + l.Phases.FirstByte + l.Phases.Body
		if l.Level != "warn" || l.Phases.FirstByte < 55 || l.Phases.Body < 55 || sum < l.Duration-0.01 || sum > l.Duration+0.01 {
			t.Errorf("%s", line)
		}
	}
}

// TestFailuresAreNotSampled has requests fail that have a status of success.
func TestFailuresAreNotSampled(t *testing.T) {
	var down atomic.Bool
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case down.Load():
			panic(http.ErrAbortHandler)
		case strings.HasSuffix(r.URL.Path, "cut"):
			w.Header().Set("Content-Length", "900000")
			w.Write(make([]byte, 300_000))
			panic(http.ErrAbortHandler)
		}
		serveText("hello")(w, r)
	})
	gw := startGateway(t, onceYAML("server: {ready: config}\nlogging: {sample: 0}\nbuckets:\n"+
		bucketYAML("plain", "/plain", origin.URL)+
		under(bucketYAML("kept", "/kept", origin.URL), "cache: {enabled: true, ttl: 60, stale_if_error: 3600}")))
	clock := gw.withClock()
	for _, target := range []string{"/plain/cut", "/kept/cut"} {
		r, err := http.Get(gw.url(target))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r.Body); r.StatusCode != 200 || err == nil {
			t.Errorf("%s: %d, %d bytes", target, r.StatusCode, n)
		}
		r.Body.Close()
	}
	gw.expect(t, "/kept/x", 200, "hello", "MISS")
	down.Store(true)
	clock.advance(2 * time.Minute)
	gw.expect(t, "/kept/x", 200, "hello", "STALE")
	if err := gw.stop(); err != nil { // which writes what is left of the log
		t.Error(err)
	}
	for path, n := range map[string]int{"/plain/cut": 1, "/kept/cut": 1, "/kept/x": 1} {
		if got := strings.Count(gw.log.String(), `"path":"`+path+`"`); got != n {
			t.Errorf("%s: %d lines, want %d", path, got, n)
		}
	}
}

// TestTracesArePassedOn has a trace come from a proxy, trusted or not.
func TestTracesArePassedOn(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	origin := startOrigin(t, serveText("hello"))
	for _, c := range []struct {
		trusted, forward bool
	}{{true, true}, {true, false}, {false, true}} {
		yaml := oneBucket("/pub", origin.URL, fmt.Sprintf("forward_traceparent: %t", c.forward))
		if c.trusted {
			yaml = strings.Replace(yaml, "ready: config", "ready: config, trusted_proxies: [127.0.0.1]", 1)
		}
		gw := startGateway(t, yaml)
		gw.do("GET", "/pub/x", "traceparent: "+good)
		if err := gw.stop(); err != nil { // which writes what is left of the log
			t.Error(err)
		}
		seen := origin.seen()
		if got := seen[len(seen)-1].Header.Get("Traceparent"); (got == good) != (c.trusted && c.forward) {
			t.Errorf("%+v: the origin gets %q", c, got)
		}
		if logged := strings.Contains(gw.log.String(), `"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","parent_span_id":"00f067aa0ba902b7"`); logged != c.trusted {
			t.Errorf("%+v: logged %t", c, logged)
		}
	}
}
