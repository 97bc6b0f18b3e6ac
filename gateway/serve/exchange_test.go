package serve

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
)

// TestStoredStatuses keeps what is served from memory to what can be.
func TestStoredStatuses(t *testing.T) {
	g := newTestServer(t, "server: {ready: config}\nbuckets:\n"+bucketOf("pub", "/pub", "http://127.0.0.1:1", "cache: {enabled: true}"))
	x := g.Acquire(time.Now())
	x.bucket = g.Generation.Load().Buckets[0]
	defer func() {
		if recover() == nil {
			t.Error("a status of neither an object nor its absence is served")
		}
	}()
	ctx := new(fasthttp.RequestCtx)
	x.answerCached(ctx, &cache.Object{Status: 403}, nil, observe.Hit, time.Now())
}

// An exchange forgets its client: the next one is not charged for its subject.
func TestExchangeForgetsItsVerdict(t *testing.T) {
	x := &Exchange{verdict: auth.Verdict{Public: true, Subject: "alice", SubjectID: 7}, private: true}
	x.reset()
	if x.verdict != (auth.Verdict{}) || x.private {
		t.Errorf("%+v, private %v", x.verdict, x.private)
	}
}

// TestPanicAfterHandOver has the handler panic when fasthttp was told to close the exchange:
// it is finished once, as a 500, whatever kind of body it was handed over with.
func TestPanicAfterHandOver(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(path.Base(r.URL.Path))
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Content-Length", fmt.Sprint(size))
		io.WriteString(w, strings.Repeat("x", size))
	}))
	defer origin.Close()
	gw := newTestServer(t, "server: {ready: config}\nbuckets:\n"+bucketOf("pub", "/pub", origin.URL, "cache: {enabled: true}")+bucketOf("raw", "/raw", origin.URL))
	for _, size := range []int{10, 100_000, 500_000} { // what is stored is sent as bytes, with the head, in pieces
		gw.fetched(t, fmt.Sprint("/pub/", size))
	}
	for _, c := range []struct {
		name, target, header string
		handedOver           bool
	}{
		{"a small object from the origin", "/raw/10", "", true},
		{"a large one", "/raw/500000", "", true},
		{"a stored one, in pieces", "/pub/500000", "", true},
		{"a stored one, with its head", "/pub/100000", "", true},
		{"parts of a stored one", "/pub/500000", "Range: bytes=0-1,400000-400001\r\n", true},
		{"one that arrives", "/pub/600000", "", true},
		{"a small stored one", "/pub/10", "", false},
		{"an error", "/nowhere", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := requestOf(t, "GET "+c.target+" HTTP/1.1\r\nHost: g\r\n"+c.header+"\r\n")
			before := gw.Metrics.Panics.Get()
			x := gw.Acquire(time.Now())
			gw.serve(ctx, x)
			if x.closedByServer != c.handedOver {
				t.Fatalf("handed over: %t", x.closedByServer)
			}
			x.Panicked(ctx, "late") // as handle does
			if x.closedByServer || ctx.UserValue(exchangeKey{}) != nil || ctx.Response.IsBodyStream() || ctx.Response.StatusCode() != 500 || !strings.Contains(string(ctx.Response.Body()), `"error":"internal"`) {
				t.Errorf("ending %t, status %d, body %q", x.closedByServer, ctx.Response.StatusCode(), ctx.Response.Body())
			}
			x.finish()
			ctx.Response.Reset() // as fasthttp does in the end
			ctx.ResetUserValues()
			if after := gw.Metrics.Panics.Get(); after != before+1 {
				t.Errorf("%v panics", after-before)
			}
		})
	}
	gw.Origins.Background.Wait()
	if n := gw.Origins.Buffers.InUse(); n != 0 {
		t.Errorf("%d buffers are still in use", n)
	}
	t.Run("twice", func(t *testing.T) {
		defer func() {
			if p := recover(); fmt.Sprint(p) != "BUG: an exchange is finished twice" {
				t.Errorf("%v", p)
			}
		}()
		x := gw.Acquire(time.Now())
		x.finish()
		x.finish()
	})
}

// TestFailAfterHandOver has an error take the place of a body.
func TestFailAfterHandOver(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "500000")
		w.Write(make([]byte, 500_000))
	}))
	defer origin.Close()
	gw := newTestServer(t, "server: {ready: config}\nbuckets:\n"+bucketOf("pub", "/pub", origin.URL))
	ctx := requestOf(t, "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n")
	x := gw.Acquire(time.Now())
	gw.serve(ctx, x)
	if !x.closedByServer {
		t.Fatal("the body is not handed over")
	}
	x.Fail(ctx, problem.Broken)
	if x.closedByServer || x.finished || ctx.Response.IsBodyStream() || ctx.Response.StatusCode() != 502 || len(ctx.Response.Body()) == 0 {
		t.Errorf("ending %t, finished %t, status %d, %q", x.closedByServer, x.finished, ctx.Response.StatusCode(), ctx.Response.Body())
	}
	x.finish()
	if n := gw.Origins.Buffers.InUse(); n != 0 {
		t.Errorf("%d buffers are still in use", n)
	}
}

// TestExchangeForgets fills every field of an exchange, and has only those left that do not
// belong to a request.
func TestExchangeForgets(t *testing.T) {
	kept := map[string]bool{
		".s": true, ".lifecycle.finished": true,
		".Target.encodedSlash": true, ".Target.value": true, ".control": true, // set before they are read
		".admittedTo": true, ".delivery.pinned": true, ".delivery.listed": true, ".fetch": true, // given back before the exchange is
	}
	s := newTestServer(t, "server: {ready: config}\nbuckets:\n"+bucketOf("pub", "/pub", "http://127.0.0.1:1"))
	x := s.Acquire(time.Now())
	each(reflect.ValueOf(x).Elem(), "", func(v reflect.Value, path string) {
		switch v.Kind() {
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			v.SetInt(1)
		case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			v.SetUint(1)
		case reflect.String:
			v.SetString("x")
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case reflect.Pointer:
			if !kept[path] {
				v.Set(reflect.New(v.Type().Elem()))
			}
		}
	})
	x.reset()
	each(reflect.ValueOf(x).Elem(), "", func(v reflect.Value, path string) {
		if left := v.Kind() == reflect.Slice && v.Len() > 0 || v.Kind() != reflect.Slice && !v.IsZero(); left && !kept[path] {
			t.Errorf("%s is left of the request before", path)
		}
	})
}

// each calls f for each field of v that is no struct, unexported ones among them.
func each(v reflect.Value, path string, f func(v reflect.Value, path string)) {
	for i := range v.NumField() {
		field := v.Field(i)
		field = reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
		name := path + "." + v.Type().Field(i).Name
		if field.Kind() == reflect.Struct && field.Type() != reflect.TypeFor[cache.Control]() {
			each(field, name, f)
			continue
		}
		f(field, name)
	}
}
