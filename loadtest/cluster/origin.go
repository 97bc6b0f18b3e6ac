package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// origin speaks enough S3 for the gateway. It looks at the version of an object before it
// thinks, so that answers cross purges.
type origin struct {
	url      string
	slow     bool // a quarter of the bodies take long
	requests atomic.Int64
	objects  map[string]*object // by path
	server   http.Server
}

// bodySize is that of every object: the version, then padding.
const bodySize = 1 << 10

func startOrigin(objects []*object, slow bool) (*origin, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot start the origin: %w", err)
	}
	o := &origin{url: "http://" + ln.Addr().String(), slow: slow, objects: make(map[string]*object)}
	for _, object := range objects {
		o.objects[object.path()] = object
	}
	o.server.Handler = o
	go o.server.Serve(ln) // ends with stop
	return o, nil
}

// stop closes the listener and all connections.
func (o *origin) stop() { o.server.Close() }

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	object, ok := o.objects[r.URL.Path]
	if strings.Contains(r.URL.Path, figurePrefix) {
		o.serveFigure(w)
		return
	}
	if !ok { // a probe
		return
	}
	o.requests.Add(1)
	version := object.version.Load()
	think := rand.N(2 * time.Millisecond)
	if rand.IntN(4) == 0 {
		think *= 10
	}
	time.Sleep(think) // what S3 takes; purges come meanwhile
	h := w.Header()
	etag := fmt.Sprintf(`"%d"`, version)
	h.Set("ETag", etag)
	h.Set("Last-Modified", "Mon, 05 Jan 2026 10:00:00 GMT")
	h.Set("Accept-Ranges", "bytes")
	h.Set("x-amz-meta-surrogate-key", object.tag+" all-objects")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "text/plain")
	h.Set("Content-Length", fmt.Sprint(bodySize))
	if r.Method == http.MethodHead {
		return
	}
	body := bodyOf(version)
	if o.slow && rand.IntN(4) == 0 {
		fmt.Fprint(w, body[:bodySize/2])
		http.NewResponseController(w).Flush()
		time.Sleep(20*time.Millisecond + rand.N(180*time.Millisecond)) // a slow body, which purges cross
		body = body[bodySize/2:]
	}
	fmt.Fprint(w, body)
}

// figurePrefix begins the keys of the objects that figures are measured with.
const figurePrefix = "/figure/"

// serveFigure answers with an object that never changes.
func (o *origin) serveFigure(w http.ResponseWriter) {
	o.requests.Add(1)
	time.Sleep(2 * time.Millisecond) // what S3 takes at least
	h := w.Header()
	h.Set("ETag", `"1"`)
	h.Set("Content-Type", "text/plain")
	h.Set("Content-Length", fmt.Sprint(bodySize))
	fmt.Fprint(w, bodyOf(1))
}

// bodyOf returns the body of a version of any object.
func bodyOf(version int64) string {
	text := fmt.Sprintf("version %d\n", version)
	return text + strings.Repeat("x", bodySize-len(text))
}

// versionOf returns the version of a whole body.
func versionOf(body string) (version int64, err error) {
	if _, err := fmt.Sscanf(body, "version %d\n", &version); err != nil || body != bodyOf(version) {
		return 0, fmt.Errorf("the body is of no object: %.60q", body)
	}
	return version, nil
}
