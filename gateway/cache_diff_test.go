package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/fill"
)

// diffEnv returns the positive number in an environment variable.
func diffEnv(t *testing.T, name string, otherwise int) int {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q; want a positive number", name, v)
	}
	return n
}

// TestCacheAgainstModel sends sequences of random requests through the cache, while
// objects at the origin are replaced and deleted, the origin fails, time passes and
// purges come, and holds each answer, and what the origin was asked, against a naive
// model. CACHE_DIFF_CASES is the number of requests, CACHE_DIFF_SEED the first seed.
func TestCacheAgainstModel(t *testing.T) {
	const few, many = 4000, 20_000
	cases, first := many, diffEnv(t, "CACHE_DIFF_SEED", 1)
	if testing.Short() {
		cases = few
	}
	cases = diffEnv(t, "CACHE_DIFF_CASES", cases)
	const each = 500
	total, counts := 0, map[string]int{}
	for seed := first; total < cases; seed++ {
		w := newDiffWorld(t, uint64(seed))
		for w.requests < min(each, cases-total) {
			if err := w.step(); err != nil {
				t.Fatalf("with CACHE_DIFF_SEED=%d, request %d: %v\n%s", seed, w.requests, err, strings.Join(w.story, "\n"))
			}
		}
		if err := w.close(); err != nil {
			t.Fatalf("with CACHE_DIFF_SEED=%d: %v", seed, err)
		}
		total += w.requests
		for name, n := range w.counts {
			counts[name] += n
		}
	}
	t.Logf("%d requests, 0 divergences; %v", total, counts)
	if cases < few {
		return
	}
	for _, name := range []string{"HIT 200", "HIT 206", "HIT parts", "HIT 304", "HIT 404", "HIT 412", "HIT 416", "MISS 200", "MISS 206", "MISS 304", "MISS 404", "MISS 412", "MISS 416", "MISS 502", "MISS 503", "STALE 200", "STALE 304", "STALE on error", "REVALIDATED 200", "REVALIDATED 206", "BYPASS 200", "BYPASS 206", "BYPASS 504", "broken off"} {
		if counts[name] == 0 {
			t.Errorf("no answer was %q: the test does not test", name)
		}
	}
}

// diffWorld is a gateway, its origin and its client, and the model beside them.
type diffWorld struct {
	r       *rand.Rand
	gw      *testGateway
	server  *httptest.Server
	origin  *diffOrigin
	maker   *diffMaker
	model   *diffModel
	buckets []*diffBucket
	past    map[string][]*diffVersion // by path, the versions so far

	conn net.Conn // of the client; nil: none
	br   *bufio.Reader

	requests int
	story    []string
	counts   map[string]int
}

var diffKeys = []string{"a", "b", "dir/c", "dir/d e", "dir//c"}

func newDiffWorld(t *testing.T, seed uint64) *diffWorld {
	r := rand.New(rand.NewPCG(seed, 9111))
	one := func(chance int) bool { return r.IntN(chance) == 0 }
	base := time.Now().Truncate(time.Second)
	w := &diffWorld{r: r, past: map[string][]*diffVersion{}, counts: map[string]int{}}
	w.origin = &diffOrigin{
		clock: new(clock), base: base, objects: map[string]*diffVersion{},
		quirks: diffQuirks{noConditions: one(5), noRanges: one(5), bare304: one(4), full304: one(2), noSize: one(2), noDate: one(2)},
	}
	w.maker = &diffMaker{r: r, base: base, tagged: w.origin.quirks.bare304}
	w.model = &diffModel{origin: w.origin, entries: map[string]*diffEntry{}}
	w.server = httptest.NewServer(w.origin)
	t.Cleanup(w.server.Close)
	yaml := "server: {ready: config}\ncache: {max_size: 64MB}\nbuckets:\n"
	for i, name := range []string{"one", "two"} {
		seconds := func(n ...int) time.Duration { return time.Duration(pick(r, n...)) * time.Second }
		b := &diffBucket{
			name: name, prefix: "/" + name, things: "things-" + name,
			ttl: seconds(30, 60), negative: seconds(0, 10), whileRevalidate: seconds(0, 0, 20), onError: seconds(0, 0, 40), longest: seconds(60, 90, 720*3600),
			directives: one(2), fill: one(3), versions: one(2),
		}
		w.buckets = append(w.buckets, b)
		query := ""
		if b.versions {
			query = "allow_query: [versionId]"
		}
		yaml += strings.Replace(bucketYAML(name, b.prefix, w.server.URL, query), `"things"`, strconv.Quote(b.things), 1)
		yaml += fmt.Sprintf("    cache: {enabled: true, ttl: %v, max_ttl: %v, negative_ttl: %v, stale_while_revalidate: %v, stale_if_error: %v, client_directives: %t, fill_on_range: %t, max_object_size: %d",
			b.ttl, b.longest, b.negative, b.whileRevalidate, b.onError, b.directives, b.fill, diffMaxObject)
		if i == 1 && one(2) {
			yaml += ", max_size: 32MB" // memory of its own
		}
		yaml += "}\n"
		for _, key := range diffKeys {
			w.put(b.things+"/"+key, w.maker.version())
		}
	}
	w.gw = startGateway(t, onceYAML(yaml), func(o *Options) { o.LogLevel, o.StreamBuffer = "error", diffBuffer })
	w.gw.Now = w.origin.now
	w.tell("%+v", w.origin.quirks)
	for _, b := range w.buckets {
		w.tell("%+v", *b)
	}
	return w
}

func (w *diffWorld) close() error {
	if w.conn != nil {
		w.conn.Close()
	}
	defer w.server.Close()
	return w.gw.stop()
}

func (w *diffWorld) tell(format string, args ...any) {
	const settings = 3 // the first lines
	w.story = append(w.story, fmt.Sprintf("  at %v: ", time.Duration(w.origin.clock.offset.Load()))+fmt.Sprintf(format, args...))
	if len(w.story) > 60 {
		w.story = slices.Delete(w.story, settings, settings+1)
	}
}

// put has the origin have a version.
func (w *diffWorld) put(path string, v *diffVersion) {
	w.past[path] = append(w.past[path], v)
	w.origin.set(func() { w.origin.objects[path] = v })
}

// step changes something, or sends a request.
func (w *diffWorld) step() error {
	b, key := pick(w.r, w.buckets...), pick(w.r, diffKeys...)
	path := b.things + "/" + key
	switch n := w.r.IntN(100); {
	case n < 6:
		w.change(path)
	case n < 12:
		d := pick(w.r, -2*time.Second, 500*time.Millisecond, time.Second, 5*time.Second, 5*time.Second, 6*time.Second, 20*time.Second, 31*time.Second, 61*time.Second, 130*time.Second)
		w.tell("%v pass", d)
		w.origin.clock.advance(d)
	case n < 14:
		w.purge(b, key)
	case n < 16:
		fault := pick(w.r, "503", "503", "500", "403", "abort", "cut", "cut")
		w.tell("the origin fails: %s", fault)
		w.origin.set(func() { w.origin.fault = fault })
	case n < 22:
		w.tell("the origin is well")
		w.origin.set(func() { w.origin.fault = "" })
	default:
		return w.ask(b, path, key)
	}
	return nil
}

// change replaces an object, its metadata alone, deletes it, or brings back an
// earlier version.
func (w *diffWorld) change(path string) {
	now := w.origin.objects[path]
	v := w.maker.version()
	switch n := w.r.IntN(10); {
	case n < 1:
		v = w.maker.absent()
	case n < 4 && !now.gone:
		v = w.maker.touched(now)
	case n < 5:
		v = pick(w.r, w.past[path]...)
	}
	w.tell("%s is now %s, %d bytes, %v", path, v.name, len(v.body), v.head)
	w.put(path, v)
}

// purge purges objects of a bucket in one of the ways there are.
func (w *diffWorld) purge(b *diffBucket, key string) {
	soft, now := w.r.IntN(2) == 0, w.origin.now()
	caches := func(purge func(*fill.Budget)) {
		for _, budget := range w.gw.Generation.Load().Budgets {
			purge(budget)
		}
	}
	switch n := w.r.IntN(8); {
	case n < 4:
		key = pick(w.r, key, key, "/"+key, strings.ReplaceAll(key, "/", "//"))
		w.tell("purge the key %s of %s, soft: %t", key, b.name, soft)
		caches(func(c *fill.Budget) { c.Cache.PurgeKey(b.name, []byte(key), soft) })
		w.model.purge(b, soft, now, func(k string, _ *diffEntry) bool { return k == collapsed(key) })
	case n < 5:
		w.tell("purge the prefix dir/ of %s, soft: %t", b.name, soft)
		caches(func(c *fill.Budget) { c.Cache.PurgePrefix(b.name, []byte("dir/"), soft) })
		w.model.purge(b, soft, now, func(k string, _ *diffEntry) bool { return strings.HasPrefix(k, "dir/") })
	case n < 7:
		tag := pick(w.r, "red", "green", "blue")
		w.tell("purge the tag %s of %s, soft: %t", tag, b.name, soft)
		caches(func(c *fill.Budget) { c.Cache.PurgeTag(b.name, tag, soft) })
		w.model.purge(b, soft, now, func(_ string, e *diffEntry) bool { return slices.Contains(e.tags(), tag) })
	default:
		w.tell("purge all of %s, soft: %t", b.name, soft)
		caches(func(c *fill.Budget) { c.Cache.PurgeGroup(b.name, soft) })
		w.model.purge(b, soft, now, func(string, *diffEntry) bool { return true })
	}
}

// ask sends a request and holds the answer against the model.
func (w *diffWorld) ask(b *diffBucket, path, key string) error {
	w.requests++
	query, target := pick(w.r, "", "", "", "?utm_source=x", "?versionId=1&response-content-type=text/html"), path
	if b.versions && strings.Contains(query, "versionId") {
		target += "?versionId=1"
	}
	e := w.model.entries[target]
	versions := []*diffVersion{w.origin.objects[path]}
	if e != nil {
		versions = append(versions, e.version)
	}
	q := newDiffRequest(w.r, versions)
	delay := pick(w.r, 0, 0, 0, 3*time.Second)
	if name, _ := e.validator(); b.fill || name == "If-Modified-Since" {
		delay = 0 // two requests to the origin, and either may be the first
	}
	w.origin.set(func() { w.origin.delay = delay })
	now := w.origin.now()
	w.tell("%s %s %q, which has %v; the origin takes %v, fault %q", q.method, target, q.lines, e, delay, w.origin.fault)
	a := w.model.answer(b, target, q, now)
	r, err := w.send(q.method, b.prefix+"/"+strings.ReplaceAll(key, " ", "%20")+query, q.lines)
	if err != nil {
		return err
	}
	w.gw.awaitBackground()
	if err := errors.Join(a.verify(q, r, &w.origin.quirks), a.verifyCacheFields(r, now, w.origin.now())); err != nil {
		return fmt.Errorf("%s %s %q: the answer is %d %s: %w", q.method, target, q.lines, r.StatusCode, r.Header.Get("X-Cache"), err)
	}
	if err := a.verifyAsked(q, strings.ReplaceAll(target, " ", "%20"), w.origin.take()); err != nil {
		return fmt.Errorf("%s %s %q: the origin: %w", q.method, target, q.lines, err)
	}
	w.count(a, r)
	return nil
}

func (w *diffWorld) count(a *diffAnswer, r *diffResponse) {
	says := r.Header.Get("X-Cache")
	w.counts[fmt.Sprint(says, " ", r.StatusCode)]++
	for name, is := range map[string]bool{
		says + " parts":  r.StatusCode == 206 && r.Header.Get("Content-Range") == "",
		"STALE on error": says == "STALE" && w.origin.fault != "",
		"broken off":     r.err != nil,
	} {
		if is {
			w.counts[name]++
		}
	}
}

// send sends a request on a connection that is kept, and reads the answer.
func (w *diffWorld) send(method, target string, lines []string) (*diffResponse, error) {
	if w.conn == nil {
		c, err := net.Dial("tcp", w.gw.addr)
		if err != nil {
			return nil, err
		}
		w.conn, w.br = c, bufio.NewReader(c)
	}
	w.conn.SetDeadline(time.Now().Add(20 * time.Second))
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: gateway.test\r\n", method, target)
	for _, l := range lines {
		head += l + "\r\n"
	}
	if _, err := io.WriteString(w.conn, head+"\r\n"); err != nil {
		return nil, err
	}
	r, err := http.ReadResponse(w.br, &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if r.Close || err != nil {
		w.conn.Close()
		w.conn = nil
	}
	return &diffResponse{Response: r, body: body, err: err}, nil
}
