package gateway

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// object returns n bytes that tell where in the object they are.
func object(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// copyOf is a replica of an object that breaks off each answer after some bytes of the
// body, by closing or resetting the connection, or by falling silent.
type copyOf struct {
	body  []byte
	etag  string
	after func(asked int64) int // bytes of the body; negative: all
	how   string                // close, reset or silent
	asked atomic.Int64
	odd   string // what is wrong with parts
}

func (o *copyOf) script(c net.Conn, head string) bool {
	n := o.asked.Add(1)
	first, last := 0, len(o.body)-1
	etag := o.etag
	if i := strings.Index(head, "range: bytes="); i >= 0 {
		fmt.Sscanf(head[i:], "range: bytes=%d-%d", &first, &last)
		if m := strings.Index(head, "if-match: "); m >= 0 && !strings.HasPrefix(head[m+len("if-match: "):], etag+"\r\n") {
			return says(412, "PreconditionFailed")(c, head)
		}
		switch o.odd {
		case "whole":
			first, last = 0, len(o.body)-1
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nETag: %s\r\nContent-Length: %d\r\n\r\n", etag, len(o.body))
		case "shifted":
			first--
			fallthrough
		default:
			size := len(o.body)
			if o.odd == "grown" {
				size++
			}
			if o.odd == "tag" {
				etag = `"another"`
			}
			fmt.Fprintf(c, "HTTP/1.1 206 Partial Content\r\nETag: %s\r\nContent-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n\r\n", etag, first, last, size, last-first+1)
		}
	} else {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nETag: %s\r\nContent-Length: %d\r\n\r\n", etag, len(o.body))
	}
	body := o.body[first : last+1]
	most := o.after(n)
	if most < 0 || most >= len(body) {
		c.Write(body)
		return true
	}
	c.Write(body[:most])
	switch o.how {
	case "reset":
		resetSent(c)
	case "silent":
		io.Copy(io.Discard, c)
	}
	return false
}

func always(n int) func(int64) int { return func(int64) int { return n } }

// until breaks off the first answers.
func until(asked int64, n int) func(int64) int {
	return func(i int64) int {
		if i <= asked {
			return n
		}
		return -1
	}
}

const resumable = 1_000_050

// TestResume has bodies break off, at one origin or two.
func TestResume(t *testing.T) {
	whole := object(resumable)
	for _, c := range []struct {
		name          string
		first, second *copyOf // second may be nil
		ok            bool
		asked         int64 // of the first; 0: whatever
	}{
		{"once", &copyOf{after: until(1, 300_000)}, nil, true, 2},
		{"with progress each time", &copyOf{after: always(100_000)}, nil, true, 11},
		{"little progress, five times", &copyOf{after: until(5, 10_000)}, nil, true, 6},
		{"little progress for ever", &copyOf{after: always(10_000)}, nil, false, 6},
		{"falls silent once", &copyOf{after: until(1, 300_000), how: "silent"}, nil, true, 2},
		{"by a reset", &copyOf{after: until(2, 300_000), how: "reset"}, nil, true, 3},
		{"no strong tag", &copyOf{after: until(1, 300_000), etag: `W/"e"`}, nil, false, 1},
		{"parts are the whole", &copyOf{after: until(1, 300_000), odd: "whole"}, nil, false, 2},
		{"parts are shifted", &copyOf{after: until(1, 300_000), odd: "shifted"}, nil, false, 2},
		{"parts are of a larger object", &copyOf{after: until(1, 300_000), odd: "grown"}, nil, false, 2},
		{"parts have another tag", &copyOf{after: until(1, 300_000), odd: "tag"}, nil, false, 2},
		{"at the other replica", &copyOf{after: until(1, 300_000), how: "silent"}, &copyOf{after: always(-1)}, true, 1},
		{"at the other replica, back and forth", &copyOf{after: always(200_000), how: "silent"}, &copyOf{after: always(150_000), how: "silent"}, true, 0},
		{"the other replica has another object", &copyOf{after: until(1, 300_000), how: "silent"}, &copyOf{after: always(-1), etag: `"x"`}, true, 2},
	} {
		modes := []string{"stream", "cache", "range"}
		if c.first.etag != "" || c.first.odd != "" {
			modes = modes[:2] // of whole objects
		}
		for _, mode := range modes {
			t.Run(c.name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				var endpoints []string
				var origins []*copyOf
				for _, o := range []*copyOf{c.first, c.second} {
					if o != nil {
						own := &copyOf{body: whole, etag: o.etag, after: o.after, how: o.how, odd: o.odd}
						if own.etag == "" {
							own.etag = `"e"`
						}
						origins = append(origins, own)
						endpoints = append(endpoints, startFaulty(t, own.script).endpoint)
					}
				}
				yaml := oneBucket("/pub", endpoints[0], shortTimeouts)
				if len(endpoints) > 1 {
					yaml = replicasYAML(endpoints, shortTimeouts)
				}
				if mode == "cache" {
					yaml += "    cache: {enabled: true}\n"
				}
				gw := startGateway(t, yaml)
				request, err := http.NewRequest("GET", gw.url("/pub/x"), nil)
				if err != nil {
					t.Fatal(err)
				}
				want, asked := whole, c.asked
				if mode == "range" {
					request.Header.Set("Range", "bytes=7-")
					want = whole[7:]
				}
				r, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(r.Body)
				r.Body.Close()
				switch {
				case c.ok && (err != nil || !bytes.Equal(body, want)):
					t.Errorf("%v, %d bytes of %d, equal %t", err, len(body), len(want), bytes.Equal(body, want))
				case !c.ok && (err == nil || !bytes.HasPrefix(want, body)):
					t.Errorf("%v, %d bytes: want a part that ends in an error", err, len(body))
				}
				if n := origins[0].asked.Load(); asked != 0 && n != asked {
					t.Errorf("the first is asked %d times, want %d", n, asked)
				}
				if c.ok && mode != "cache" {
					gw.log.waitFor(t, `"resumes":`)
				}
				gw.settle(t)
				if mode == "cache" {
					gw.settleFills(t)
					if !c.ok {
						return
					}
					if again, stored := gw.do("GET", "/pub/x"); cacheHeader(again) != "HIT" || !bytes.Equal(stored, whole) {
						t.Errorf("then %s", cacheHeader(again))
					}
				}
			})
		}
	}
}

// TestResumeBudget has every body break off, at an origin without a replica.
func TestResumeBudget(t *testing.T) {
	t.Parallel()
	o := &copyOf{body: object(200_000), etag: `"e"`, after: func(n int64) int { return 150_000 }}
	origin := startFaulty(t, o.script)
	gw := startGateway(t, oneBucket("/pub", origin.endpoint, "breaker: {enabled: false}"))
	begin := time.Now()
	got := gw.load(100, 3*time.Second, "/pub/x")
	// Of the 20 in a second that are always allowed, one key has 15.
	most := 300 + 15 + int64(20*time.Since(begin).Seconds())
	if n := o.asked.Load(); n > most || got[200] == 0 || got[0] == 0 || got[200]+got[0] != 300 {
		t.Errorf("%v, %d requests", got, n)
	}
	t.Logf("%v, %d requests", got, o.asked.Load())
}

// TestResumeBudgetIsOfRequests has every tenth body break off, which is half of what the
// budget allows for, and several times a fifth of those that break off.
func TestResumeBudgetIsOfRequests(t *testing.T) {
	var asked atomic.Int64
	body := object(200_000)
	origin := startFaulty(t, func(c net.Conn, head string) bool {
		o := &copyOf{body: body, etag: `"e"`, after: always(-1)}
		if !strings.Contains(head, "range: ") && asked.Add(1)%10 == 0 {
			o.after = always(150_000)
		}
		return o.script(c, head)
	})
	gw := startGateway(t, oneBucket("/pub", origin.endpoint))
	// Each client waits for its answer, so that on a busy machine no more bodies break off
	// in a second than requests are made.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if r, got := gw.do("GET", "/pub/x"); r.StatusCode != 200 || !bytes.Equal(got, body) {
					t.Errorf("status %d, %d bytes", r.StatusCode, len(got))
				}
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 400 {
		t.Errorf("%d requests, want 400", n)
	}
}

// TestBrokenOffBodiesOpenTheBreaker where they cannot be continued, or bring little, and
// only there.
func TestBrokenOffBodiesOpenTheBreaker(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		resumes int
		after   int // bytes, of four bodies in five
		open    bool
	}{
		{"not continued", 0, 150_000, true},
		{"continued", 5, 150_000, false},
		{"continued with little progress", 5, 10_000, true},
	} {
		o := &copyOf{body: object(200_000), etag: `"e"`, after: func(n int64) int {
			if n%5 == 0 {
				return -1
			}
			return c.after
		}}
		origin := startFaulty(t, o.script)
		gw := startGateway(t, oneBucket("/pub", origin.endpoint, fmt.Sprintf("retry: {budget: 100%%, resumes: %d}", c.resumes)))
		gw.load(40, time.Second, "/pub/x%d")
		if _, opens := gw.Generation.Load().Buckets[0].Origin.Replicas[0].Health.Breaker.State(); (opens > 0) != c.open {
			t.Errorf("%s: the breaker opened %d times", c.name, opens)
		}
	}
}

// TestBrokenOffBodiesAreOfTheirReplica has the rest of a body asked for where there is
// another object.
func TestBrokenOffBodiesAreOfTheirReplica(t *testing.T) {
	whole := object(200_000)
	first := startFaulty(t, (&copyOf{body: whole, etag: `"e"`, after: always(150_000)}).script)
	second := startFaulty(t, (&copyOf{body: whole, etag: `"x"`, after: always(-1)}).script)
	gw := startGateway(t, replicasYAML([]string{first.endpoint, second.endpoint}))
	gw.load(100, 2*time.Second, "/pub/x%d")
	if n := second.Requests.Load(); n == 0 {
		t.Fatal("the second is never asked")
	}
	for i, r := range gw.Generation.Load().Buckets[0].Origin.Replicas {
		if _, opens := r.Health.Breaker.State(); (opens > 0) != (i == 0) {
			t.Errorf("the breaker of %s opened %d times", r.Name, opens)
		}
	}
}

// TestRefusedResume has the rest of a body refused where it came from.
func TestRefusedResume(t *testing.T) {
	whole := object(resumable)
	read := func(t *testing.T, gw *testGateway) error {
		t.Helper()
		r, err := http.Get(gw.url("/pub/x"))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err == nil && !bytes.Equal(body, whole) {
			t.Errorf("%d bytes of %d, or others", len(body), len(whole))
		}
		return err
	}
	for _, c := range []struct {
		status int
		code   string
	}{
		{403, "AccessDenied"}, {403, "SignatureDoesNotMatch"}, {404, "NoSuchKey"}, {412, "PreconditionFailed"},
	} {
		t.Run(c.code, func(t *testing.T) {
			o := &copyOf{body: whole, etag: `"e"`, after: always(300_000)}
			first := startFaulty(t, func(conn net.Conn, head string) bool {
				if strings.Contains(head, "range: ") {
					return says(c.status, c.code)(conn, head)
				}
				return o.script(conn, head)
			})
			second := startFaulty(t, (&copyOf{body: whole, etag: `"e"`, after: always(-1)}).script)
			gw := startGateway(t, replicasYAML([]string{first.endpoint, second.endpoint}))
			if err := read(t, gw); err != nil || first.Requests.Load() != 2 || second.Requests.Load() != 1 {
				t.Errorf("%v; asked %d and %d times", err, first.Requests.Load(), second.Requests.Load())
			}
			alone := startGateway(t, oneBucket("/pub", first.endpoint))
			if err := read(t, alone); err == nil {
				t.Error("half a body ends well")
			}
			if c.status == 412 {
				alone.log.waitFor(t, "the object has changed since its body began")
			}
		})
	}
	t.Run("for another credential", func(t *testing.T) {
		i := startIssuer(t, numbered(time.Hour))
		o := &copyOf{body: whole, etag: `"e"`, after: until(1, 300_000)}
		origin := startFaulty(t, func(c net.Conn, head string) bool {
			good := "AK1"
			if o.asked.Load() > 0 {
				good = "AK2"
			}
			if credentialOf.FindStringSubmatch(head)[1] != good {
				return says(400, "ExpiredToken")(c, head)
			}
			return o.script(c, head)
		})
		if err := read(t, startGateway(t, credentialsYAML(origin.endpoint, "source: instance, endpoint: "+i.URL))); err != nil {
			t.Error(err)
		}
	})
}

// TestResumesThatMakeProgressAreFree has all downloads break off again and again: those of
// which a megabyte arrives each time end whole, however many there are; the others share
// a budget.
func TestResumesThatMakeProgressAreFree(t *testing.T) {
	whole := object(30 << 20)
	for _, c := range []struct {
		name   string
		each   int // bytes until an answer breaks off
		size   int
		cached bool
		free   bool
	}{
		{"after 3 MiB", 3 << 20, len(whole), false, true},
		{"after just 1 MiB", 1 << 20, len(whole), false, true},
		{"after 3 MiB, into the cache", 3 << 20, len(whole), true, true},
		{"after a little less than 1 MiB", 1<<20 - 1, 10 << 20, false, false},
		{"after 100 KB", 100_000, 5 << 20, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := whole[:c.size]
			origin := startFaulty(t, (&copyOf{body: body, etag: `"e"`, after: always(c.each)}).script)
			yaml := oneBucket("/pub", origin.endpoint)
			if !c.free { // a download that begins after others have broken off must not be refused
				yaml = oneBucket("/pub", origin.endpoint, "breaker: {enabled: false}")
			}
			if c.cached {
				yaml += "    cache: {enabled: true, max_size: 1GB, max_object_size: 100MB}\n"
			}
			gw := startGateway(t, yaml)
			var broken atomic.Int64
			var wg sync.WaitGroup
			downloads := 20 // as many resumes as the budget has in 20 seconds
			if c.free {
				downloads = 5
			}
			for i := range downloads {
				wg.Go(func() {
					r, err := http.Get(gw.url(fmt.Sprint("/pub/x", i)))
					if err != nil {
						t.Error(err)
						return
					}
					got, err := io.ReadAll(r.Body)
					r.Body.Close()
					switch {
					case err != nil:
						broken.Add(1)
					case !bytes.Equal(got, body):
						t.Errorf("status %d, and %d bytes that are others: %.200s", r.StatusCode, len(got), got)
					}
				})
			}
			wg.Wait()
			gw.settle(t)
			denied := gw.metricValue(fmt.Sprintf(`yatagarasu_upstream_resumes_denied_total{bucket="main",origin=%q}`, strings.TrimPrefix(origin.endpoint, "http://")))
			if c.free && (broken.Load() > 0 || denied > 0) {
				t.Errorf("%d of %d broken off, %v resumes denied", broken.Load(), downloads, denied)
			}
			if !c.free && denied == 0 {
				t.Errorf("%d of %d broken off, and no resume was denied", broken.Load(), downloads)
			}
		})
	}
}
