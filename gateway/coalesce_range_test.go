package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestMissesOfSeveralParts has many clients ask at once for what only the whole object
// can answer, by a Range: it is fetched once, and stored.
func TestMissesOfSeveralParts(t *testing.T) {
	const clients = 20
	for name, headers := range map[string][]string{
		"several parts":                  {"Range: bytes=0-1,5000-5001"},
		"several parts that are one":     {"Range: bytes=0-1,2-3"},
		"one part of several that is":    {"Range: bytes=0-1,9000000-"},
		"another unit":                   {"Range: items=1-2"},
		"no range":                       {"Range: x"},
		"backwards":                      {"Range: bytes=5-2"},
		"an If-Range that is weak":       {"Range: bytes=0-1", `If-Range: W/"e1"`},
		"an If-Range that is not a date": {"Range: bytes=0-1", "If-Range: yesterday"},
	} {
		for _, size := range []int{1000, 300 << 10} {
			t.Run(fmt.Sprintf("%s of %d bytes", name, size), func(t *testing.T) {
				gate := make(chan struct{})
				origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
					select {
					case <-gate:
					case <-r.Context().Done():
					}
					version(sixteens(size))(w, r)
				})
				gw := startGateway(t, cachedYAML(origin.URL))
				var wg sync.WaitGroup
				for range clients {
					wg.Go(func() {
						if r, body := gw.do("GET", "/pub/x", headers...); r.StatusCode != 200 && r.StatusCode != 206 || len(body) == 0 {
							t.Errorf("%d, %d bytes", r.StatusCode, len(body))
						}
					})
				}
				gw.awaitInFlight(clients)
				close(gate)
				wg.Wait()
				gw.settleFills(t)
				gw.expect(t, "/pub/x", 200, sixteens(size), "HIT")
				if n := len(origin.seen()); n != 1 {
					t.Errorf("%d requests to the origin", n)
				}
			})
		}
	}
}

// TestSeveralPartsPastTheCache has an object that is not for the cache: the answer to
// who asks for the whole is the client's, not a second one.
func TestSeveralPartsPastTheCache(t *testing.T) {
	big := strings.Repeat("b", 300<<10)
	origin := startOrigin(t, version(big))
	gw := startGateway(t, cachedYAML(origin.URL, "max_object_size: 200KiB"))
	gw.expect(t, "/pub/x", 200, big, "MISS", "Range: bytes=0-1,5000-5001")
	if n := len(origin.seen()); n != 1 {
		t.Errorf("%d requests to the origin", n)
	}
}

// TestFillsAreFew has a client ask for a byte of each of many objects, whose whole the
// origin begins and does not end: that takes few connections from the clients' requests.
func TestFillsAreFew(t *testing.T) {
	const size, beginning, objects = 300 << 10, 100 << 10, 40
	body := sixteens(size)
	gate := make(chan struct{})
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			version(body)(w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		io.WriteString(w, body[:beginning])
		w.(http.Flusher).Flush()
		select {
		case <-gate:
		case <-r.Context().Done():
		}
		io.WriteString(w, body[beginning:])
	})
	yaml := bucketYAML("main", "/pub", origin.URL, fmt.Sprintf("max_connections: %d", boundFills+1)) + "    cache: {enabled: true, fill_on_range: true}\n"
	gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+yaml)
	wholes := func() (n int) {
		for _, r := range origin.seen() {
			if r.Header.Get("Range") == "" {
				n++
			}
		}
		return n
	}
	for i := range objects {
		gw.expect(t, fmt.Sprint("/pub/", i), 206, body[:1], "MISS", "Range: bytes=0-0")
	}
	if n := wholes(); n > boundFills {
		t.Errorf("%d whole objects are fetched", n)
	}
	close(gate)
	gw.awaitBackground()
	gw.expect(t, "/pub/0", 206, body[:1], "HIT", "Range: bytes=0-0")
	gw.expect(t, "/pub/39", 206, body[:1], "MISS", "Range: bytes=0-0")
	gw.awaitBackground()
	gw.expect(t, "/pub/39", 206, body[:1], "HIT", "Range: bytes=0-0")
}
