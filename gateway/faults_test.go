package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
	"yatagarasu/loadtest/rawserver"
	"yatagarasu/loadtest/s3server"
)

// faultProxy is a proxy whose faults are set over its API
// (https://github.com/Shopify/toxiproxy).
type faultProxy struct{ api string }

func startFaultProxy(t *testing.T) *faultProxy {
	t.Helper()
	path, err := process.Find("toxiproxy")
	if err != nil {
		t.Fatal(err)
	}
	at, err := port.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	p, err := process.Start(path, []string{"-host", "127.0.0.1", "-port", strconv.Itoa(at)}, nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(time.Second) })
	f := &faultProxy{"http://" + port.Address(at)}
	starts := polled(10*time.Second, func() bool {
		r, err := http.Get(f.api + "/version")
		if err == nil {
			r.Body.Close()
		}
		return err == nil
	})
	if !starts {
		t.Fatalf("the fault proxy does not start: %s", p.Output())
	}
	return f
}

func (f *faultProxy) post(t *testing.T, path string, document any) {
	t.Helper()
	body, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Post(f.api+path, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if text, _ := io.ReadAll(r.Body); r.StatusCode >= 300 {
		t.Fatalf("%s: %d %s", path, r.StatusCode, text)
	}
}

// between returns the endpoint of a proxy to upstream with a fault in what comes from
// there, or without any.
func (f *faultProxy) between(t *testing.T, upstream, fault string, attributes map[string]any) string {
	t.Helper()
	at, err := port.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	name := "p" + strconv.Itoa(at)
	address := port.Address(at)
	f.post(t, "/proxies", map[string]any{"name": name, "listen": address, "upstream": strings.TrimPrefix(upstream, "http://"), "enabled": true})
	if fault != "" {
		f.post(t, "/proxies/"+name+"/toxics", map[string]any{"type": fault, "stream": "downstream", "attributes": attributes})
	}
	return "http://" + address
}

// mangle returns the endpoint of a proxy that has change alter the responses of
// upstream. It reports whether the connection stays.
func mangle(t *testing.T, upstream string, change func(r *http.Response, body []byte, c net.Conn) bool) string {
	t.Helper()
	address := strings.TrimPrefix(upstream, "http://")
	s := rawserver.Start(t, nil, func(c net.Conn, _ int, head string) bool {
		up, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		defer up.Close()
		io.WriteString(up, head)
		r, err := http.ReadResponse(bufio.NewReader(up), nil)
		if err != nil {
			return false
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return false
		}
		return change(r, body, c)
	})
	return "http://" + s.Addr
}

// respond writes a response with a length of its own.
func respond(c net.Conn, r *http.Response, length int, body []byte) {
	r.Header.Set("Content-Length", strconv.Itoa(length))
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d X\r\n", r.StatusCode)
	r.Header.Write(&b)
	b.WriteString("\r\n")
	b.Write(body)
	c.Write(b.Bytes())
}

// faults are what can be wrong with an origin. Those that are not curable promise the
// client what no replica has.
var faults = []struct {
	name    string
	curable bool
	harmful bool // without a replica, some requests must fail
	start   func(t *testing.T, f *faultProxy, upstream string) string
}{
	{"none", true, false, func(t *testing.T, f *faultProxy, up string) string { return f.between(t, up, "", nil) }},
	{"latency", true, false, func(t *testing.T, f *faultProxy, up string) string {
		return f.between(t, up, "latency", map[string]any{"latency": 50, "jitter": 50})
	}},
	{"slices", true, false, func(t *testing.T, f *faultProxy, up string) string {
		return f.between(t, up, "slicer", map[string]any{"average_size": 1000, "size_variation": 900, "delay": 10})
	}},
	{"reset", true, true, func(t *testing.T, f *faultProxy, up string) string {
		return f.between(t, up, "reset_peer", map[string]any{"timeout": 15})
	}},
	{"cut after 200,000 bytes", true, true, func(t *testing.T, f *faultProxy, up string) string {
		return f.between(t, up, "limit_data", map[string]any{"bytes": 200_000})
	}},
	{"black hole", true, true, func(t *testing.T, f *faultProxy, up string) string {
		return f.between(t, up, "timeout", map[string]any{"timeout": 0})
	}},
	{"drip", true, false, func(t *testing.T, f *faultProxy, up string) string {
		return f.between(t, up, "bandwidth", map[string]any{"rate": 300})
	}},
	{"reset at byte 150,000", true, true, func(t *testing.T, _ *faultProxy, up string) string {
		return mangle(t, up, func(r *http.Response, body []byte, c net.Conn) bool {
			respond(c, r, len(body), body[:min(len(body), 150_000)])
			if len(body) > 150_000 {
				resetSent(c)
				return false
			}
			return true
		})
	}},
	{"bursts of 503", true, true, func(t *testing.T, _ *faultProxy, up string) string {
		return mangle(t, up, func(r *http.Response, body []byte, c net.Conn) bool {
			if time.Now().UnixMilli()%1000 < 600 {
				return says(503, "SlowDown")(c, "")
			}
			respond(c, r, len(body), body)
			return true
		})
	}},
	{"promises seven bytes too many", false, true, func(t *testing.T, _ *faultProxy, up string) string {
		return mangle(t, up, func(r *http.Response, body []byte, c net.Conn) bool {
			respond(c, r, len(body)+7, body)
			return false
		})
	}},
}

// faultSizes are those of the objects that are downloaded.
var faultSizes = []int{1, 1000, 70_000, 300_000, 1_000_000}

// TestFaults downloads objects of a real server through a proxy with one fault after
// another, with another server as a replica and without.
func TestFaults(t *testing.T) {
	t.Parallel()
	downloads := 120
	if s := os.Getenv("FAULT_DOWNLOADS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		downloads = n
	}
	proxy := startFaultProxy(t)
	var servers [2]*s3server.Server
	sums := make(map[string][32]byte)
	for i := range servers {
		var client *minio.Client
		servers[i], client = startS3(t, s3server.MinIO)
		for _, size := range faultSizes {
			body := object(size)
			key := "o" + strconv.Itoa(size)
			sums["/pub/"+key] = sha256.Sum256(body)
			if _, err := client.PutObject(t.Context(), s3Bucket, key, bytes.NewReader(body), int64(size), minio.PutObjectOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	targets := slices.Sorted(maps.Keys(sums))
	for _, fault := range faults {
		for _, replicated := range []bool{true, false} {
			name := fault.name
			if !replicated {
				name += ", no replica"
			}
			t.Run(name, func(t *testing.T) {
				endpoints := []string{fault.start(t, proxy, servers[0].Endpoint())}
				if replicated {
					endpoints = append(endpoints, servers[1].Endpoint())
				}
				yaml := strings.NewReplacer("AKmain", s3AccessKey, "secret-of-main", s3SecretKey, `"things"`, s3Bucket).
					Replace(replicasYAML(endpoints, "timeouts: {dial: 1, first_byte: 1, idle: 1}"))
				gw := startGateway(t, yaml, func(o *Options) { o.LogLevel = "error" })
				d := &downloader{gw: gw, sums: sums, targets: targets}
				begin := time.Now()
				d.run(t.Context(), downloads, 100, nil)
				t.Logf("%d downloads in %.1f s: %d whole, %d broken off, %v; %d wrong bodies; slowest %v", downloads, time.Since(begin).Seconds(), d.whole, d.broken, d.statuses, d.wrong, d.slowest.Round(time.Millisecond))
				switch failed := downloads - d.whole; {
				case d.wrong > 0:
					t.Errorf("%d wrong bodies", d.wrong)
				case failed > 0 && (fault.curable && replicated || !fault.harmful):
					t.Errorf("%d downloads fail", failed)
				case failed == 0 && fault.harmful && !replicated && downloads >= 100 && fault.name != "bursts of 503" && !strings.HasPrefix(fault.name, "cut") && !strings.HasPrefix(fault.name, "reset at"):
					t.Error("the fault has no effect")
				}
				for status := range d.statuses {
					if status < 500 || status == 500 {
						t.Errorf("status %d", status)
					}
				}
				gw.settle(t)
			})
		}
	}
}

// downloader downloads objects at a rate and compares them.
type downloader struct {
	gw      *testGateway
	sums    map[string][32]byte
	targets []string

	mu                   sync.Mutex // guards the following fields
	whole, broken, wrong int
	statuses             map[int]int // of those that got another status than 200
	slowest              time.Duration
}

// run begins at most n downloads, until enough is closed, and returns how many once all
// have ended.
func (d *downloader) run(ctx context.Context, n, rate int, enough <-chan struct{}) (begun int) {
	d.statuses = make(map[int]int)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	begin := time.Now()
	for i := range n {
		select {
		case <-time.After(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate)))):
		case <-enough:
			return i
		}
		wg.Go(func() { d.one(ctx, client, d.targets[i%len(d.targets)]) })
	}
	return n
}

func (d *downloader) one(ctx context.Context, client *http.Client, target string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	begin := time.Now()
	status, sum, err := 0, [32]byte{}, error(nil)
	request, err := http.NewRequestWithContext(ctx, "GET", d.gw.url(target), nil)
	if err == nil {
		var r *http.Response
		if r, err = client.Do(request); err == nil {
			h := sha256.New()
			_, err = io.Copy(h, r.Body)
			r.Body.Close()
			status, sum = r.StatusCode, [32]byte(h.Sum(nil))
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slowest = max(d.slowest, time.Since(begin))
	switch {
	case status != 0 && status != 200:
		d.statuses[status]++
	case err != nil:
		d.broken++
	case sum != d.sums[target]:
		d.wrong++
	default:
		d.whole++
	}
}

// TestPrimaryKilled kills the preferred replica under load, starts it again, and looks
// at who is asked.
func TestPrimaryKilled(t *testing.T) {
	var endpoints []string
	var servers [2]*s3server.Server
	body := object(100_000)
	for i := range servers {
		var client *minio.Client
		servers[i], client = startS3(t, s3server.MinIO)
		endpoints = append(endpoints, servers[i].Endpoint())
		if _, err := client.PutObject(t.Context(), s3Bucket, "o", bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	yaml := strings.NewReplacer("AKmain", s3AccessKey, "secret-of-main", s3SecretKey, `"things"`, s3Bucket, "ready: config", "ready: any").Replace(replicasYAML(endpoints))
	gw := startGateway(t, yaml, func(o *Options) {
		o.LogLevel = "error"
		o.HeaderTimeout = time.Minute // of these clients, which a busy machine may keep from writing
	})
	d := &downloader{gw: gw, sums: map[string][32]byte{"/pub/o": sha256.Sum256(body)}, targets: []string{"/pub/o"}}
	begun, enough := make(chan int, 1), make(chan struct{})
	stop := sync.OnceFunc(func() { close(enough) })
	defer stop()
	const longest = time.Minute // of what is waited for
	go func() {                 // ends with the last download after stop
		const rate = 100
		begun <- d.run(t.Context(), 5*int(longest.Seconds())*rate, rate, enough)
	}()
	answersOf := func(replica string) float64 {
		return gw.metricValue(`yatagarasu_upstream_requests_total{bucket="main",origin="` + replica + `",code="200"}`)
	}
	answers := func() float64 { return answersOf("r0") }
	state := func() float64 {
		return gw.metricValue(`yatagarasu_upstream_breaker_state{bucket="main",origin="r0"}`)
	}
	await := func(what string, done func() bool) time.Duration {
		begin := time.Now()
		if !polled(longest, done) {
			t.Fatalf("never: %s", what)
		}
		return time.Since(begin)
	}
	await("the first is asked", func() bool { return answers() > 100 })
	servers[0].Kill()
	left := await("the first is left", func() bool { return state() == 2 })
	before, others := answers(), answersOf("r1")
	await("downloads go on without the first", func() bool { return answersOf("r1") > others+100 })
	if err := servers[0].Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := await("the first is preferred again", func() bool { return state() == 0 && answers() > before+10 })
	stop()
	n := <-begun
	t.Logf("%d downloads: %d whole, %d broken off, %v; %d wrong; left after %v, preferred again %v after it answers", n, d.whole, d.broken, d.statuses, d.wrong, left.Round(time.Millisecond), back.Round(time.Millisecond))
	if d.whole != n {
		t.Error("downloads fail")
	}
}
