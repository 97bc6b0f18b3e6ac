//go:build !race

// The program that make has built is what is tried, so the race detector would see the test alone.

package balance

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/loadtest/gateway"
)

const (
	objects = 200
	workers = 8 // who ask at once where there is load

	slowSize  = 1 << 20  // of an object that the origin sends in two halves
	largeSize = 16 << 20 // more than sockets hold
)

// origin counts what it is asked for. Safe for concurrent use.
type origin struct {
	*httptest.Server
	gate chan struct{} // closed: slow objects are sent to their end

	mu      sync.Mutex // guards fetches
	fetches []fetch
}

// fetch is a request of a gateway for an object.
type fetch struct{ gateway, object string }

var credential = regexp.MustCompile(`Credential=([\w-]+)/`)

func startOrigin(t *testing.T) *origin {
	o := &origin{gate: make(chan struct{})}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		by := credential.FindStringSubmatch(r.Header.Get("Authorization"))
		object, ok := strings.CutPrefix(r.URL.Path, "/things/")
		if by == nil || !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		o.mu.Lock()
		o.fetches = append(o.fetches, fetch{by[1], object})
		o.mu.Unlock()
		w.Header().Set("ETag", `"1"`)
		if strings.HasPrefix(object, "large") {
			w.Header().Set("Content-Length", fmt.Sprint(largeSize))
			w.Write(make([]byte, largeSize))
			return
		}
		if !strings.HasPrefix(object, "slow") {
			fmt.Fprintf(w, "this is %s", object)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(slowSize))
		w.Write(make([]byte, slowSize/2))
		w.(http.Flusher).Flush()
		select {
		case <-o.gate:
			w.Write(make([]byte, slowSize/2))
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(o.Close)
	return o
}

// since returns the fetches after the first n of them, and how many there are in all.
func (o *origin) since(n int) ([]fetch, int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.fetches[n:len(o.fetches):len(o.fetches)], len(o.fetches)
}

// by returns how many of the fetches each gateway made.
func by(fetches []fetch) map[string]int {
	n := make(map[string]int)
	for _, f := range fetches {
		n[f.gateway]++
	}
	return n
}

// log is what a gateway writes. Safe for concurrent use.
type log struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// field is three gateways between an origin and a balancer.
type field struct {
	origin   *origin
	configs  [3]string // paths
	gateways [3]*gateway.Gateway
	logs     [3]*log
	balancer *Balancer
	client   *http.Client
}

// name returns what a gateway calls itself at the origin.
func name(gateway int) string { return fmt.Sprint("gateway-", gateway+1) }

// writeConfig writes the configuration of a gateway with that name. server is more of its block.
func writeConfig(t *testing.T, path, endpoint, name, server string) {
	t.Helper()
	text := fmt.Sprintf(`
server: {trusted_proxies: ["127.0.0.1"], ready: config%s}
cache: {enabled: true, max_size: 64MB}
buckets:
  - name: pub
    path_prefix: /pub
    s3: {bucket: things, region: us-east-1, endpoint: %q, access_key: %s, secret_key: secret-text}
`, server, endpoint, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newField starts everything. further is what else is replaced in the recipe, as Start has it.
func newField(t *testing.T, r Recipe, binary string, further ...string) *field {
	t.Helper()
	t.Setenv("GOMAXPROCS", "1") // of the gateways
	f := &field{origin: startOrigin(t), client: clientFrom(t, "127.0.0.2")}
	addresses := make([]string, len(f.gateways))
	for i := range f.gateways {
		f.configs[i] = filepath.Join(t.TempDir(), "config.yaml")
		writeConfig(t, f.configs[i], f.origin.URL, name(i), "")
		f.logs[i] = new(log)
		f.start(t, i, 0)
		t.Cleanup(func() { f.gateways[i].Kill() })
		addresses[i] = strings.TrimPrefix(f.gateways[i].URL, "http://")
	}
	var err error
	if f.balancer, err = r.Start(t.Context(), binary, t.TempDir(), addresses, nil, further...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.balancer.Kill)
	for i := range f.gateways {
		f.await(t, i)
	}
	return f
}

// start starts a gateway at a port; 0: any.
func (f *field) start(t *testing.T, i, at int) {
	t.Helper()
	var err error
	if f.gateways[i], err = gateway.Start(t.Context(), f.configs[i], f.origin.URL, at, f.logs[i], "-shutdown.drain", "5s"); err != nil {
		t.Fatal(err)
	}
}

// await waits until the balancer asks a gateway.
func (f *field) await(t *testing.T, i int) {
	t.Helper()
	_, before := f.origin.since(0)
	eventually(t, "the balancer asks "+name(i), func() bool {
		f.ask(fmt.Sprintf("await-%d", time.Now().UnixNano()))
		now, _ := f.origin.since(before)
		return by(now)[name(i)] > 0
	})
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(10 * time.Millisecond) { // other processes tell nobody
		if time.Now().After(deadline) {
			t.Fatal("never:", what)
		}
	}
}

// clientFrom returns a client with an address of its own.
func clientFrom(t *testing.T, address string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// ask asks the balancer for an object, and returns what is wrong with the answer.
func (f *field) ask(object string) error {
	r, err := f.client.Get(f.balancer.URL + "/pub/" + object)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	object, _, _ = strings.Cut(object, "?")
	if err == nil && (r.StatusCode != http.StatusOK || string(body) != "this is "+object) {
		err = fmt.Errorf("%s: %d: %s", object, r.StatusCode, body)
	}
	return err
}

// askAll asks for the objects, one after the other, and returns what the origin was asked for meanwhile.
func (f *field) askAll(t *testing.T) []fetch {
	t.Helper()
	_, before := f.origin.since(0)
	for i := range objects {
		if err := f.ask(fmt.Sprint("object-", i)); err != nil {
			t.Fatal(err)
		}
	}
	fetches, _ := f.origin.since(before)
	return fetches
}

// load is clients that go on asking until it ends.
type load struct {
	done     chan struct{}
	wg       sync.WaitGroup
	answered atomic.Int64

	mu       sync.Mutex // guards failures
	failures []failure
}

type failure struct {
	at  time.Time
	err error
}

// load begins to ask for 1,000 objects, over and over.
func (f *field) load() *load {
	l := &load{done: make(chan struct{})}
	for w := range workers {
		l.wg.Go(func() { // ends with done
			for n := w; ; n += workers {
				select {
				case <-l.done:
					return
				case <-time.After(2 * time.Millisecond): // leave something of two cores to others
				}
				if err := f.ask(fmt.Sprint("load-", n%1000)); err != nil {
					l.mu.Lock()
					l.failures = append(l.failures, failure{time.Now(), err})
					l.mu.Unlock()
				}
				l.answered.Add(1)
			}
		})
	}
	return l
}

// reach waits until n more requests are answered.
func (l *load) reach(t *testing.T, n int64) {
	t.Helper()
	want := l.answered.Load() + n
	eventually(t, "requests are answered", func() bool { return l.answered.Load() >= want })
}

// end ends the load and returns what failed.
func (l *load) end() []failure {
	close(l.done)
	l.wg.Wait()
	return l.failures
}

// halfOf begins a download of a slow object by a gateway, and reads the first half.
func (f *field) halfOf(t *testing.T, i int, prefix string) (r *http.Response, object string) {
	t.Helper()
	for n := range 100 {
		_, before := f.origin.since(0)
		object = fmt.Sprintf("%s-%d", prefix, n)
		r, err := f.client.Get(f.balancer.URL + "/pub/" + object)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Body.Close() })
		if _, err := io.CopyN(io.Discard, r.Body, slowSize/2); err != nil {
			t.Fatal(err)
		}
		if fetches, _ := f.origin.since(before); by(fetches)[name(i)] > 0 {
			return r, object
		}
	}
	t.Fatalf("the balancer asks %s for no slow object", name(i))
	return nil, ""
}
