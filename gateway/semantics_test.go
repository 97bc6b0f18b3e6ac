package gateway

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

var objectTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// dialect is how an S3 server deviates from HTTP.
type dialect struct {
	ignoresIfRange   bool // answers 206 whatever If-Range says
	bareNotModified  bool // 304 without validators
	datesNeverEqual  bool // the object is newer than its Last-Modified: 200 and 412 for equal dates
	tagListsUnknown  bool // If-None-Match with a list or a weak tag: 200
	bareRangeError   bool // 416 without Content-Range
	sizeInDocument   bool // ActualObjectSize in the 416's document
	ignoresRange     bool // always the whole object
	ignoresCondition bool // evaluates no condition at all
	headErrorLength  bool // HEAD of a missing key has a Content-Length
}

// serveDialect is an origin of one object, "things/obj", in a dialect.
func serveDialect(d dialect, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Vary", "Origin")
		h.Add("Vary", "Accept-Encoding")
		h.Set("Strict-Transport-Security", "max-age=1")
		h.Set("X-Ratelimit-Limit", "1")
		h.Set("X-Amz-Request-Id", "RID1")
		h.Set("Server", "Origin/1")
		if r.URL.Path != "/things/obj" {
			if r.Method == "HEAD" && d.headErrorLength {
				h.Set("Content-Length", "200")
			}
			s3Refusal(404, "NoSuchKey")(w, r)
			return
		}
		inm, ims := r.Header.Get("If-None-Match"), r.Header.Get("If-Modified-Since")
		switch {
		case d.ignoresCondition:
			for _, n := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"} {
				r.Header.Del(n)
			}
		case d.tagListsUnknown && (strings.Contains(inm, ",") || strings.HasPrefix(inm, "W/")):
			r.Header.Del("If-None-Match")
		case d.datesNeverEqual && ims == objectTime.Format(http.TimeFormat):
			r.Header.Del("If-Modified-Since")
		}
		if d.datesNeverEqual && r.Header.Get("If-Unmodified-Since") == objectTime.Format(http.TimeFormat) {
			w.WriteHeader(412)
			return
		}
		if d.ignoresIfRange {
			r.Header.Del("If-Range")
		}
		if d.ignoresRange {
			r.Header.Del("Range")
		}
		h.Set("Content-Type", "text/x-test; charset=utf-8")
		h.Set("Content-Disposition", `attachment; filename="o"`)
		h.Set("Content-Language", "de")
		h.Set("Cache-Control", "max-age=7")
		h.Set("Expires", "Fri, 02 Jan 2027 03:04:05 GMT")
		h.Set("ETag", `"e1"`)
		h.Set("X-Amz-Meta-Color", "blue")
		h.Set("X-Amz-Version-Id", "v7")
		h.Set("X-Amz-Storage-Class", "STANDARD")
		dw := &dialectWriter{ResponseWriter: w, d: d, size: len(body)}
		http.ServeContent(dw, r, "", objectTime, strings.NewReader(body))
	}
}

// dialectWriter bends the responses of http.ServeContent.
type dialectWriter struct {
	http.ResponseWriter
	d       dialect
	size    int
	swallow bool
}

func (w *dialectWriter) WriteHeader(code int) {
	h := w.Header()
	h.Set("Content-Encoding", "x-odd") // not earlier: http.ServeContent would then leave out Content-Length
	switch {
	case code == 304 && !w.d.bareNotModified:
		h.Set("Last-Modified", objectTime.Format(http.TimeFormat))
	case code == 304 && w.d.bareNotModified:
		h.Del("ETag")
		h.Del("Last-Modified")
	case code == 416:
		if w.d.bareRangeError {
			h.Del("Content-Range")
		}
		doc := "<Error><Code>InvalidRange</Code></Error>"
		if w.d.sizeInDocument {
			doc = "<Error><Code>InvalidRange</Code><ActualObjectSize>" + strconv.Itoa(w.size) + "</ActualObjectSize></Error>"
		}
		h.Set("Content-Type", "application/xml")
		h.Set("Content-Length", strconv.Itoa(len(doc)))
		w.ResponseWriter.WriteHeader(code)
		fmt.Fprint(w.ResponseWriter, doc)
		w.swallow = true
		return
	case code == 412:
		h.Del("Content-Length")
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *dialectWriter) Write(b []byte) (int, error) {
	if w.swallow {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// TestSemantics demands the same, correct HTTP over every dialect.
func TestSemantics(t *testing.T) {
	small := "0123456789"
	large := strings.Repeat("0123456789", 20_000)
	same := objectTime.Format(http.TimeFormat)
	before := objectTime.Add(-time.Hour).Format(http.TimeFormat)
	after := objectTime.Add(time.Hour).Format(http.TimeFormat)

	dialects := map[string]dialect{
		"correct":           {},
		"minio":             {ignoresIfRange: true, tagListsUnknown: true, bareRangeError: true, sizeInDocument: true},
		"versitygw":         {ignoresIfRange: true, tagListsUnknown: true, bareRangeError: true, bareNotModified: true, datesNeverEqual: true, headErrorLength: true},
		"ignores all":       {ignoresRange: true, ignoresCondition: true},
		"ignores condition": {ignoresCondition: true, bareRangeError: true},
	}
	cases := []struct {
		name    string
		method  string
		headers []string
		status  int
		rng     string // Content-Range with the small object
		body    string // of the small object
	}{
		{"whole", "GET", nil, 200, "", small},
		{"head", "HEAD", nil, 200, "", ""},
		{"head ignores range", "HEAD", []string{"Range: bytes=0-1"}, 200, "", ""},
		{"first bytes", "GET", []string{"Range: bytes=0-3"}, 206, "bytes 0-3/10", "0123"},
		{"open range", "GET", []string{"Range: bytes=4-"}, 206, "bytes 4-9/10", "456789"},
		{"suffix", "GET", []string{"Range: bytes=-2"}, 206, "bytes 8-9/10", "89"},
		{"last beyond the end", "GET", []string{"Range: bytes=8-99"}, 206, "bytes 8-9/10", "89"},
		{"suffix beyond the start", "GET", []string{"Range: bytes=-99"}, 206, "bytes 0-9/10", small},
		{"huge last", "GET", []string{"Range: bytes=8-99999999999999999999999"}, 206, "bytes 8-9/10", "89"},
		{"beyond the end", "GET", []string{"Range: bytes=10-"}, 416, "bytes */10", ""},
		{"empty suffix", "GET", []string{"Range: bytes=-0"}, 416, "bytes */10", ""},
		{"last before first", "GET", []string{"Range: bytes=5-2"}, 200, "", small},
		{"two ranges", "GET", []string{"Range: bytes=0-1,4-5"}, 200, "", small},
		{"a hundred ranges", "GET", []string{"Range: bytes=0-1" + strings.Repeat(",2-3", 99)}, 200, "", small},
		{"other unit", "GET", []string{"Range: lines=0-1"}, 200, "", small},
		{"nonsense range", "GET", []string{"Range: bytes=a-b"}, 200, "", small},

		{"if-none-match same", "GET", []string{`If-None-Match: "e1"`}, 304, "", ""},
		{"if-none-match weak", "GET", []string{`If-None-Match: W/"e1"`}, 304, "", ""},
		{"if-none-match list", "GET", []string{`If-None-Match: "x", W/"e1"`}, 304, "", ""},
		{"if-none-match lines", "GET", []string{`If-None-Match: "x"`, `If-None-Match: "e1"`}, 304, "", ""},
		{"if-none-match star", "GET", []string{`If-None-Match: *`}, 304, "", ""},
		{"if-none-match other", "GET", []string{`If-None-Match: "x"`}, 200, "", small},
		{"if-none-match head", "HEAD", []string{`If-None-Match: "e1"`}, 304, "", ""},
		{"if-modified-since same", "GET", []string{"If-Modified-Since: " + same}, 304, "", ""},
		{"if-modified-since after", "GET", []string{"If-Modified-Since: " + after}, 304, "", ""},
		{"if-modified-since before", "GET", []string{"If-Modified-Since: " + before}, 200, "", small},
		{"if-modified-since invalid", "GET", []string{"If-Modified-Since: yesterday"}, 200, "", small},
		{"if-none-match wins over if-modified-since", "GET", []string{`If-None-Match: "x"`, "If-Modified-Since: " + after}, 200, "", small},
		{"both hold", "GET", []string{`If-None-Match: "e1"`, "If-Modified-Since: " + before}, 304, "", ""},
		{"if-match same", "GET", []string{`If-Match: "e1"`}, 200, "", small},
		{"if-match list", "GET", []string{`If-Match: "x", "e1"`}, 200, "", small},
		{"if-match star", "GET", []string{`If-Match: *`}, 200, "", small},
		{"if-match weak never holds", "GET", []string{`If-Match: W/"e1"`}, 412, "", ""},
		{"if-match other", "GET", []string{`If-Match: "x"`}, 412, "", ""},
		{"if-match other head", "HEAD", []string{`If-Match: "x"`}, 412, "", ""},
		{"if-unmodified-since same", "GET", []string{"If-Unmodified-Since: " + same}, 200, "", small},
		{"if-unmodified-since before", "GET", []string{"If-Unmodified-Since: " + before}, 412, "", ""},
		{"if-match wins over if-unmodified-since", "GET", []string{`If-Match: "e1"`, "If-Unmodified-Since: " + before}, 200, "", small},
		{"if-match then if-none-match", "GET", []string{`If-Match: "e1"`, `If-None-Match: "e1"`}, 304, "", ""},

		{"if-range same", "GET", []string{"Range: bytes=0-3", `If-Range: "e1"`}, 206, "bytes 0-3/10", "0123"},
		{"if-range other", "GET", []string{"Range: bytes=0-3", `If-Range: "x"`}, 200, "", small},
		{"if-range weak", "GET", []string{"Range: bytes=0-3", `If-Range: W/"e1"`}, 200, "", small},
		{"if-range date same", "GET", []string{"Range: bytes=0-3", "If-Range: " + same}, 206, "bytes 0-3/10", "0123"},
		{"if-range date after", "GET", []string{"Range: bytes=0-3", "If-Range: " + after}, 200, "", small},
		{"if-range date before", "GET", []string{"Range: bytes=0-3", "If-Range: " + before}, 200, "", small},
		{"if-range without range", "GET", []string{`If-Range: "x"`}, 200, "", small},
		{"if-range other and if-none-match", "GET", []string{"Range: bytes=0-3", `If-Range: "x"`, `If-None-Match: "e1"`}, 304, "", ""},
		{"if-range same and if-match other", "GET", []string{"Range: bytes=0-3", `If-Range: "e1"`, `If-Match: "x"`}, 412, "", ""},
		{"range and if-none-match", "GET", []string{"Range: bytes=0-3", `If-None-Match: "e1"`}, 304, "", ""},
		{"range beyond the end and if-none-match", "GET", []string{"Range: bytes=99-", `If-None-Match: "e1"`}, 304, "", ""},
		{"range beyond the end and if-match other", "GET", []string{"Range: bytes=99-", `If-Match: "x"`}, 412, "", ""},
		{"range and if-match", "GET", []string{"Range: bytes=0-3", `If-Match: "e1"`}, 206, "bytes 0-3/10", "0123"},
	}
	for name, d := range dialects {
		t.Run(name, func(t *testing.T) {
			origin := startOrigin(t, serveDialect(d, small))
			gw := startGateway(t, oneBucket("/pub", origin.URL))
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					status, rng, body := c.status, c.rng, c.body
					if d.ignoresRange && status == 206 {
						status, rng, body = 200, "", small // whole instead of a part is correct too
					}
					if d.ignoresRange && status == 416 && c.name == "beyond the end" {
						status, rng, body = 200, "", small
					}
					r, got := gw.do(c.method, "/pub/obj", c.headers...)
					if r.StatusCode != status {
						t.Fatalf("status %d, want %d; body %q", r.StatusCode, status, got)
					}
					if v := r.Header.Get("Content-Range"); v != rng {
						t.Errorf("Content-Range %q, want %q", v, rng)
					}
					if status < 300 && string(got) != body {
						t.Errorf("body %q, want %q", got, body)
					}
					if c.method == "HEAD" && status == 200 && r.ContentLength != int64(len(small)) {
						t.Errorf("Content-Length %d", r.ContentLength)
					}
					checkObjectHeaders(t, r)
				})
			}
			t.Run("missing", func(t *testing.T) {
				for _, m := range []string{"GET", "HEAD"} {
					r, body := gw.do(m, "/pub/missing")
					if r.StatusCode != 404 || m == "GET" && !strings.Contains(string(body), `"error":"not_found"`) {
						t.Errorf("%s: status %d, body %s", m, r.StatusCode, body)
					}
				}
			})
		})
	}
	t.Run("large", func(t *testing.T) {
		origin := startOrigin(t, serveDialect(dialect{}, large))
		gw := startGateway(t, oneBucket("/pub", origin.URL))
		for _, h := range []string{"", `If-None-Match: "x"`, "Range: bytes=1000-", "Range: bytes=100000-199998"} {
			var headers []string
			if h != "" {
				headers = append(headers, h)
			}
			r, body := gw.do("GET", "/pub/obj", headers...)
			want := large
			if h == "Range: bytes=1000-" {
				want = large[1000:]
			} else if strings.HasPrefix(h, "Range") {
				want = large[100000:199999]
			}
			if r.StatusCode != 200 && r.StatusCode != 206 || string(body) != want {
				t.Errorf("%s: status %d, %d bytes, want %d", h, r.StatusCode, len(body), len(want))
			}
		}
		if r, _ := gw.do("GET", "/pub/obj", `If-None-Match: "y", "e1"`); r.StatusCode != 304 {
			t.Errorf("a 304 decided here over a large body: status %d", r.StatusCode)
		}
	})
}

// checkObjectHeaders checks what every answer with a success or 304 must and
// must not carry.
func checkObjectHeaders(t *testing.T, r *http.Response) {
	t.Helper()
	must := map[string]string{}
	switch r.StatusCode {
	case 200, 206:
		must = map[string]string{
			"Content-Type": "text/x-test; charset=utf-8", "Content-Encoding": "x-odd", "Content-Disposition": `attachment; filename="o"`,
			"Content-Language": "de", "Cache-Control": "max-age=7", "Expires": "Fri, 02 Jan 2027 03:04:05 GMT", "Etag": `"e1"`,
			"Last-Modified": objectTime.Format(http.TimeFormat), "Accept-Ranges": "bytes", "X-Amz-Meta-Color": "blue", "X-Amz-Version-Id": "v7",
		}
	case 304:
		must = map[string]string{"Etag": `"e1"`, "Last-Modified": objectTime.Format(http.TimeFormat), "Cache-Control": "max-age=7"}
	}
	for name, want := range must {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"Vary", "Strict-Transport-Security", "X-Ratelimit-Limit", "X-Amz-Request-Id", "X-Amz-Storage-Class", "Server"} {
		if got := r.Header.Get(name); got != "" {
			t.Errorf("%s is %q, want none", name, got)
		}
	}
	if r.Header.Get("X-Request-Id") == "" {
		t.Error("no X-Request-ID")
	}
}
