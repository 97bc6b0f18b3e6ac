package gateway

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// arrivingObject is a gateway to whose client half of an old version has come, while
// the origin has a new one already. land lets the rest come.
func arrivingObject(t *testing.T, lines []string, control string) (gw *testGateway, origin *scripted, clock *clock, land func()) {
	old := strings.Repeat("old!", 50<<10)
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	arriving := halting(old, gate)
	origin = startScripted(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", control)
		arriving(w, r)
	})
	gw = startGateway(t, cachedYAML(origin.URL, lines...))
	t.Cleanup(open)
	clock = gw.withClock()
	leader := beginDownload(t, gw, len(old))
	origin.set(version("new!", "Cache-Control: "+control))
	return gw, origin, clock, func() {
		open()
		if n, err := io.Copy(io.Discard, leader.Body); err != nil || n != int64(len(old)/2) {
			t.Errorf("the leader gets %d more bytes, %v", n, err)
		}
		leader.Body.Close()
		gw.settleFills(t)
	}
}

// TestArrivingBodyIsNotReused has a request come while the body of a response arrives
// that must not be used for it: it is one more answer of the origin, and what arrives is
// not stored in the place of that.
func TestArrivingBodyIsNotReused(t *testing.T) {
	heed := []string{"client_directives: true"}
	for name, c := range map[string]struct {
		lines   []string
		control string
		wait    time.Duration
		asks    []string
	}{
		"no-cache":                     {nil, "no-cache", 0, nil},
		"max-age=0":                    {nil, "max-age=0", 0, nil},
		"expired meanwhile":            {nil, "max-age=5", time.Hour, nil},
		"expired, and must-revalidate": {nil, "max-age=5, must-revalidate", time.Hour, nil},
		"to be revalidated meanwhile":  {nil, "max-age=5, stale-while-revalidate=9000", time.Hour, nil},
		"a client's no-cache":          {heed, "max-age=9000", 0, []string{"Cache-Control: no-cache"}},
		"a client's Pragma":            {heed, "max-age=9000", 0, []string{"Pragma: no-cache"}},
		"a client's max-age=0":         {heed, "max-age=9000", 0, []string{"Cache-Control: max-age=0"}},
		"a client's max-age":           {heed, "max-age=9000", time.Hour, []string{"Cache-Control: max-age=60"}},
		"a client's min-fresh":         {heed, "max-age=9000", time.Hour, []string{"Cache-Control: min-fresh=6000"}},
	} {
		t.Run(name, func(t *testing.T) {
			gw, origin, clock, land := arrivingObject(t, c.lines, c.control)
			clock.advance(c.wait)
			gw.expect(t, "/pub/x", 200, "new!", "MISS", c.asks...)
			land()
			if n := len(origin.seen()); n != 2 {
				t.Errorf("%d requests to the origin, want 2", n)
			}
			if _, body := gw.do("GET", "/pub/x"); string(body) != "new!" {
				t.Errorf("afterwards %.4q: the older version is in the place of the younger", body)
			}
		})
	}
}

// TestArrivingBodyHasAnAge has a request follow a fetch that has taken long already.
func TestArrivingBodyHasAnAge(t *testing.T) {
	gw, origin, clock, land := arrivingObject(t, nil, "max-age=60")
	clock.advance(30 * time.Second)
	r, err := http.Get(gw.url("/pub/x"))
	if err != nil {
		t.Fatal(err)
	}
	land()
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || !strings.HasPrefix(string(body), "old!") || cacheHeader(r) != "COALESCED" || r.Header.Get("Age") != "30" {
		t.Errorf("%.4q, %s, Age %q, %v", body, cacheHeader(r), r.Header.Get("Age"), err)
	}
	if n := len(origin.seen()); n != 1 {
		t.Errorf("%d requests to the origin, want 1", n)
	}
}

// TestAskingClientDoesNotWait has a client that wants the origin asked come while the
// origin has not answered another: its answer may be older than the wish.
func TestAskingClientDoesNotWait(t *testing.T) {
	gate, asked := make(chan struct{}), make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	origin := startScripted(t, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-gate
		version("old!")(w, r)
	})
	gw := startGateway(t, cachedYAML(origin.URL, "client_directives: true"))
	t.Cleanup(open)
	first := make(chan string, 1)
	go func() { // ends with the answer
		_, body := gw.do("GET", "/pub/x")
		first <- string(body)
	}()
	<-asked
	origin.set(version("new!"))
	gw.expect(t, "/pub/x", 200, "new!", "MISS", "Cache-Control: no-cache")
	open()
	if body := <-first; body != "old!" {
		t.Errorf("the first gets %q", body)
	}
	gw.expect(t, "/pub/x", 200, "new!", "HIT")
}
