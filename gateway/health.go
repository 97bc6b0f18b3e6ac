package gateway

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/pool"
)

// serveReserved answers the paths that are the gateway's own; they win over
// buckets. It reports whether it did.
func (g *Gateway) serveReserved(ctx *fasthttp.RequestCtx, x *exchange) bool {
	switch path := string(x.target.path); {
	case path == "/health":
		g.serveStatus(ctx, x, fasthttp.StatusOK, map[string]any{
			"status":         "healthy",
			"uptime_seconds": int64(time.Since(g.started).Seconds()),
			"version":        g.opts.Version,
		})
	case path == "/ready":
		code, report := g.ready.report(g.draining.Load())
		g.serveStatus(ctx, x, code, report)
	case path == "/metrics", path == "/admin", strings.HasPrefix(path, "/admin/"):
		x.fail(ctx, problemNoRoute) // never on the main listener without an admin token
	default:
		return false
	}
	return true
}

func (g *Gateway) serveStatus(ctx *fasthttp.RequestCtx, x *exchange, code int, v any) {
	if x.method == methodOther {
		x.fail(ctx, problemMethod)
		return
	}
	body, err := json.Marshal(v)
	if err != nil {
		panic("BUG: status cannot be encoded: " + err.Error())
	}
	h := &ctx.Response.Header
	h.SetContentType("application/json")
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	h.SetCanonical(headerRequestID, x.id)
	ctx.SetStatusCode(code)
	ctx.SetBody(append(body, '\n'))
	x.status, x.bytes = code, int64(len(body)+1)
	if x.method == methodHead {
		x.bytes = 0
	}
}

const (
	probeInterval = 10 * time.Second
	probeRetry    = time.Second // while a bucket is not reachable
)

// readiness knows which buckets can be reached, by probes in the background:
// one at a time per origin and credential, whatever the number of buckets there.
type readiness struct {
	mode   string // any, all or config
	groups [][]*bucket
	done   chan struct{}
	wg     sync.WaitGroup

	mu     sync.Mutex // guards states
	order  []*bucket
	states map[*bucket]*bucketState
}

// bucketState is what the last probe of a bucket found.
type bucketState struct {
	Name      string    `json:"name"`
	Reachable bool      `json:"reachable"`
	Reason    string    `json:"reason,omitempty"`
	Checked   time.Time `json:"checked,omitzero"`
}

func newReadiness(gen *generation, mode string) *readiness {
	r := &readiness{mode: mode, done: make(chan struct{}), order: gen.buckets, states: make(map[*bucket]*bucketState)}
	index := make(map[string]int)
	for i, b := range gen.buckets {
		r.states[b] = &bucketState{Name: b.name, Reason: "not probed yet"}
		id := b.origin.address + "\x00" + gen.config.Buckets[i].S3.AccessKey
		n, ok := index[id]
		if !ok {
			n = len(r.groups)
			index[id] = n
			r.groups = append(r.groups, nil)
		}
		r.groups[n] = append(r.groups[n], b)
	}
	return r
}

// start begins to probe, one goroutine per origin and credential; stop ends
// them. In mode config nothing is probed.
func (r *readiness) start(g *Gateway) {
	if r.mode == "config" {
		return
	}
	for _, group := range r.groups {
		r.wg.Go(func() { r.run(g, group) })
	}
}

func (r *readiness) stop() {
	close(r.done)
	r.wg.Wait()
}

// run probes the buckets of a group in turn: all at start, then one each
// interval, or each second while the last one failed.
func (r *readiness) run(g *Gateway, group []*bucket) {
	for i := 0; ; i++ {
		b := group[i%len(group)]
		reason, shared := b.probe()
		if reason == pool.ReasonQueue.String() || reason == pool.ReasonBuffers.String() {
			reason, shared = r.last(b), false // it never left: no news of the origin
		}
		r.record(group, b, reason, shared)
		if reason != "" {
			g.log.Debug().Str("bucket", b.name).Str("reason", reason).Msg("bucket is not reachable")
		}
		pause := probeInterval
		switch {
		case i+1 < len(group) && !shared:
			pause = 0
		case reason != "":
			pause = probeRetry
		}
		if pause > 0 {
			pause = pause*4/5 + rand.N(pause*2/5) // so that edge nodes do not probe in step
		}
		select {
		case <-time.After(pause):
		case <-r.done:
			return
		}
	}
}

// last returns the reason that the last probe of b found.
func (r *readiness) last(b *bucket) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.states[b].Reason
}

// record notes the result of probing b. A fault of the origin or the credential
// holds for the whole group.
func (r *readiness) record(group []*bucket, b *bucket, reason string, shared bool) {
	now := time.Now().UTC()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range group {
		if o == b || shared {
			s := r.states[o]
			s.Reachable, s.Reason, s.Checked = reason == "", reason, now
		}
	}
}

// report returns the status and the document of /ready.
func (r *readiness) report(draining bool) (int, any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	buckets := make([]bucketState, 0, len(r.order))
	reachable := 0
	for _, b := range r.order {
		s := *r.states[b]
		if r.mode == "config" {
			s.Reason = ""
		}
		if s.Reachable {
			reachable++
		}
		buckets = append(buckets, s)
	}
	ready := false
	switch r.mode {
	case "config":
		ready = true
	case "all":
		ready = reachable == len(buckets)
	default:
		ready = reachable > 0
	}
	code, status := fasthttp.StatusOK, "ready"
	switch {
	case draining:
		code, status = fasthttp.StatusServiceUnavailable, "stopping"
	case !ready:
		code, status = fasthttp.StatusServiceUnavailable, "not ready"
	}
	doc := map[string]any{"status": status}
	if r.mode != "config" {
		doc["buckets"] = buckets
	}
	return code, doc
}

// probe asks the origin for the bucket. An empty reason means that it is
// reachable; shared, that the fault is not the bucket's own.
func (b *bucket) probe() (reason string, shared bool) {
	code, doc, err := b.ask(fasthttp.MethodHead, "")
	if err == nil && (code == fasthttp.StatusForbidden || code == fasthttp.StatusBadRequest) {
		// A HEAD does not say why; a list request of no keys does.
		code, doc, err = b.ask(fasthttp.MethodGet, "list-type=2&max-keys=0")
	}
	if err != nil {
		return pool.Of(err).String(), true
	}
	if code < 300 {
		return "", false
	}
	o := classify(code, doc.Code)
	switch o.reason {
	case "access_denied":
		return "", false // the key may read objects, only not list them
	case "no_such_bucket", "no_such_key":
		return "no_such_bucket", false // a HEAD of a bucket says 404 alone
	case "redirect_region":
		return o.reason, false
	}
	return o.reason, true
}

// ask sends a request about the bucket itself and returns status and error
// document.
func (b *bucket) ask(method, query string) (int, s3ErrorDoc, error) {
	var x pool.Exchange
	path := []byte(b.origin.basePath)
	if len(path) == 0 {
		path = append(path, '/')
	}
	head := b.appendHead(nil, method, path, []byte(query), nil, time.Now())
	err := b.upstream.Do(&x, head, method == fasthttp.MethodHead)
	if err != nil {
		return 0, s3ErrorDoc{}, err
	}
	defer x.Close()
	code := x.Header.StatusCode()
	if method == fasthttp.MethodHead {
		return code, s3ErrorDoc{}, nil
	}
	raw, err := x.Document(documentLimit)
	var e *pool.Error
	if errors.As(err, &e) && len(raw) == 0 {
		return code, s3ErrorDoc{}, err
	}
	return code, parseS3Error(raw), nil
}
