package gateway

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/loadtest/s3server"
)

// TestThousandMisses has 1,000 clients ask at once for an object of 5 MB that is not
// stored. The origin sends the beginning once all have asked, and the rest only once every
// client has read its first byte: they get the bytes as they arrive.
func TestThousandMisses(t *testing.T) { // T57
	const clients, size, beginning = 1000, 5 << 20, 100 << 10
	body := []byte(sixteens(size))
	var asked atomic.Int64
	all, gate := make(chan struct{}), make(chan struct{})
	origin := startScripted(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-all
		w.Header().Set("Content-Length", fmt.Sprint(size))
		w.Header().Set("ETag", `"e"`)
		w.Write(body[:beginning])
		w.(http.Flusher).Flush()
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
		w.Write(body[beginning:])
	})
	gw := startGateway(t, cachedYAML(origin.URL), func(o *Options) {
		o.LogLevel = "warn"
		o.MinRate = 0 // on a busy machine a thousand clients can be that slow
	})
	want := sha256.Sum256(body)
	var wg, begun sync.WaitGroup
	var wrong, leader atomic.Int64
	firsts := make([]time.Duration, clients)
	begun.Add(clients)
	start := make(chan struct{})
	for i := range clients {
		wg.Go(func() {
			var once sync.Once
			defer once.Do(begun.Done) // also where the client fails
			c, err := net.Dial("tcp", gw.addr)
			if err != nil {
				t.Error(err)
				wrong.Add(1)
				return
			}
			defer c.Close()
			<-start
			sent := time.Now()
			// The connection stays open: of those that the gateway has closed, the kernel
			// kills some when so many full buffers exceed its memory for TCP.
			fmt.Fprint(c, "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n")
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			first := make([]byte, 1)
			if err == nil {
				_, err = io.ReadFull(r.Body, first)
			}
			if err != nil {
				t.Errorf("client %d: %v", i, err)
				wrong.Add(1)
				return
			}
			firsts[i] = time.Since(sent)
			if r.Header.Get("X-Cache") == "MISS" {
				leader.Store(int64(firsts[i]))
			}
			once.Do(begun.Done)
			h := sha256.New()
			h.Write(first)
			if n, err := io.Copy(h, r.Body); err != nil || n != size-1 || [32]byte(h.Sum(nil)) != want {
				t.Errorf("client %d: %d bytes, %v", i, n+1, err)
				wrong.Add(1)
			}
		})
	}
	close(start)
	gw.awaitInFlight(clients)
	close(all)
	begun.Wait()
	close(gate)
	wg.Wait()
	slices.Sort(firsts)
	t.Logf("%d fetches, %d wrong bodies; first byte of the leader after %v, of followers after %v to %v, median %v", asked.Load(), wrong.Load(), time.Duration(leader.Load()), firsts[0], firsts[clients-1], firsts[clients/2])
	if asked.Load() != 1 || wrong.Load() != 0 {
		t.Errorf("%d fetches, %d wrong bodies", asked.Load(), wrong.Load())
	}
	if says := gw.cacheSays("/pub/x"); says != "HIT" {
		t.Errorf("afterwards: %s", says)
	}
}

// TestStaleWhileTheOriginIsDown stops a real S3 server and starts it again.
func TestStaleWhileTheOriginIsDown(t *testing.T) {
	server, client := startS3(t, s3server.VersityGW)
	putObject(t, client, "x", 1000)
	yaml := realBucket(server.Endpoint()) + "    cache: {enabled: true, stale_if_error: 60s}\n"
	gw := startGateway(t, yaml)
	clock := gw.withClock()
	ask := func(when string, status int, says string) {
		t.Helper()
		r, body := gw.do("GET", "/pub/x")
		if r.StatusCode != status || r.Header.Get("X-Cache") != says || status == 200 && len(body) != 1000 {
			t.Errorf("%s: %d %s, %d bytes; want %d %s", when, r.StatusCode, r.Header.Get("X-Cache"), len(body), status, says)
		}
	}
	ask("first", 200, "MISS")
	ask("again", 200, "HIT")
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	ask("stopped, and fresh", 200, "HIT")
	clock.advance(10 * time.Second) // putObject says max-age=9
	ask("stopped, within the window", 200, "STALE")
	clock.advance(60 * time.Second)
	ask("stopped, after the window", 502, "MISS")
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask("started again", 200, "REVALIDATED")
	ask("and then", 200, "HIT")
}
