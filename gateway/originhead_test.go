package gateway

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// rawObject is an origin of one object, whose head has the lines of head beside its length.
// It heeds If-None-Match, If-Match and single ranges, and compares tags without quotes.
func rawObject(t *testing.T, body, tag, head string) *faultyOrigin {
	t.Helper()
	return startFaulty(t, func(c net.Conn, request string) bool {
		field := func(name string) string {
			_, rest, _ := strings.Cut(strings.ToLower(request), "\r\n"+name+": ")
			value, _, _ := strings.Cut(rest, "\r\n")
			return strings.Trim(value, `"`)
		}
		head := head
		if tag != "" {
			head += "ETag: " + tag + "\r\n"
		}
		bare := strings.ToLower(strings.Trim(tag, `"`))
		switch {
		case field("if-match") != "" && field("if-match") != bare:
			io.WriteString(c, "HTTP/1.1 412 X\r\nContent-Length: 0\r\n\r\n")
			return true
		case field("if-none-match") != "" && field("if-none-match") == bare:
			io.WriteString(c, "HTTP/1.1 304 X\r\n"+head+"\r\n")
			return true
		}
		status, part := "200 OK", body
		if r := field("range"); r != "" {
			var first, last int
			if n, _ := fmt.Sscanf(r, "bytes=%d-%d", &first, &last); n < 2 {
				last = len(body) - 1
			}
			last = min(last, len(body)-1)
			status, part = "206 Partial Content", body[first:last+1]
			head += fmt.Sprintf("Content-Range: bytes %d-%d/%d\r\n", first, last, len(body))
		}
		fmt.Fprintf(c, "HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n", status, head, len(part))
		if !strings.HasPrefix(request, "HEAD ") {
			io.WriteString(c, part)
		}
		return true
	})
}

const both = "    cache: {enabled: true}\n"

// cachedAndNot mounts the origin at /pub with a cache and at /raw without.
func cachedAndNot(endpoint string) string {
	return oneBucket("/pub", endpoint) + both + bucketYAML("raw", "/raw", endpoint)
}

// TestDates holds that an object has the origin's Date, wherever it comes from, and that
// only what the gateway makes has its own.
func TestDates(t *testing.T) {
	const date = "Fri, 02 Jan 2026 03:04:05 GMT"
	for _, size := range []int{5, 200_000} {
		body := strings.Repeat("x", size)
		origin := rawObject(t, body, `"e"`, "Date: "+date+"\r\n")
		gw := startGateway(t, cachedAndNot(origin.endpoint))
		for _, c := range []struct{ method, target, header string }{
			{"GET", "/raw/x", ""}, {"HEAD", "/raw/x", ""}, {"GET", "/raw/x", "Range: bytes=1-2"}, {"GET", "/raw/x", `If-None-Match: "e"`}, {"GET", "/raw/x", `If-None-Match: *`},
			{"GET", "/pub/x", "Range: bytes=1-2"}, {"GET", "/pub/x", ""}, {"GET", "/pub/x", ""}, {"HEAD", "/pub/x", ""}, {"GET", "/pub/x", "Range: bytes=1-2"},
			{"GET", "/pub/x", "Range: bytes=0-0,2-2"}, {"GET", "/pub/x", `If-None-Match: "e"`},
		} {
			r, _ := gw.do(c.method, c.target, c.header)
			if got := r.Header["Date"]; r.StatusCode > 304 || len(got) != 1 || got[0] != date {
				t.Errorf("%s %s %s: status %d, %s, Date %q", c.method, c.target, c.header, r.StatusCode, r.Header.Get("X-Cache"), got)
			}
		}
		gw.settle(t)
	}
	t.Run("renewed by a validation", func(t *testing.T) {
		const later = "Fri, 02 Jan 2026 04:04:05 GMT"
		at := date
		origin := startScripted(t, func(w http.ResponseWriter, r *http.Request) {
			if w.Header()["Date"] = nil; at != "" { // else net/http adds one
				w.Header().Set("Date", at)
			}
			w.Header().Set("ETag", `"e"`)
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(304)
				return
			}
			io.WriteString(w, "v1")
		})
		gw := startGateway(t, cachedYAML(origin.URL, "ttl: 60s"))
		clock := gw.withClock()
		gw.expect(t, "/pub/x", 200, "v1", "MISS")
		clock.advance(61 * time.Second)
		at = later
		gw.expect(t, "/pub/x", 200, "v1", "REVALIDATED")
		if r, _ := gw.do("GET", "/pub/x"); r.Header.Get("Date") != later {
			t.Errorf("Date %q", r.Header.Get("Date"))
		}
		clock.advance(61 * time.Second)
		at = "" // then it is when the 304 was received
		gw.expect(t, "/pub/x", 200, "v1", "REVALIDATED")
		if r, _ := gw.do("GET", "/pub/x"); r.Header.Get("Date") == later || len(r.Header["Date"]) != 1 {
			t.Errorf("Date %q", r.Header["Date"])
		}
	})
	ours := func(t *testing.T, name string, dates []string) {
		t.Helper()
		if len(dates) != 1 {
			t.Errorf("%s: Date %q", name, dates)
			return
		}
		if at, err := http.ParseTime(dates[0]); err != nil || time.Since(at) > time.Minute || time.Since(at) < -time.Second {
			t.Errorf("%s: Date %q", name, dates[0])
		}
	}
	for name, head := range map[string]string{"an origin without a clock": "", "a date in no valid form": "Date: yesterday\r\n"} {
		t.Run(name, func(t *testing.T) {
			origin := rawObject(t, "hello", `"e"`, head)
			gw := startGateway(t, cachedAndNot(origin.endpoint))
			for _, target := range []string{"/raw/x", "/pub/x", "/pub/x"} {
				r, _ := gw.do("GET", target)
				ours(t, target, r.Header["Date"])
				r, _ = gw.do("GET", target, `If-None-Match: "e"`)
				ours(t, target+", 304", r.Header["Date"])
			}
		})
	}
	t.Run("answers of the gateway's own", func(t *testing.T) {
		origin := rawObject(t, "hello", `"e"`, "Date: "+date+"\r\n")
		gw := startGateway(t, metricsYAML+cachedAndNot(origin.endpoint))
		gw.do("GET", "/pub/x")
		for _, c := range []struct{ method, target, header string }{
			{"GET", "/nowhere", ""}, {"GET", "/pub", ""}, {"POST", "/pub/x", ""}, {"GET", "/health", ""}, {"GET", "/ready", ""}, {"GET", "/admin/status", ""}, {"HEAD", "/nowhere", ""},
			{"GET", "/pub/x", `If-Match: "f"`}, {"GET", "/pub/x", "Range: bytes=9-"},
		} {
			r, _ := gw.do(c.method, c.target, c.header)
			ours(t, c.method+" "+c.target, r.Header["Date"])
			if len(r.Header["X-Request-Id"]) != 1 {
				t.Errorf("%s %s: ids %q", c.method, c.target, r.Header["X-Request-Id"])
			}
		}
		for _, raw := range []string{"GET / HTTP/9\r\n\r\n", "nonsense\r\n\r\n", "GET /pub/%zz HTTP/1.1\r\nHost: g\r\n\r\n"} {
			answer := gw.raw(raw)
			if strings.Count(answer, "\r\nDate: ") != 1 || strings.Count(answer, "\r\nX-Request-ID: ") != 1 {
				t.Errorf("%q: %q", raw, answer)
			}
		}
	})
}

// TestTagsAreQuoted has origins write their ETag as they like: a miss, a hit, conditions
// and ranges agree on what it is.
func TestTagsAreQuoted(t *testing.T) {
	for _, c := range []struct{ sent, want string }{
		{`9b2cf5`, `"9b2cf5"`},
		{`"9b2cf5"`, `"9b2cf5"`},
		{`"9b2cf5`, `"9b2cf5"`},
		{`9b2cf5"`, `"9b2cf5"`},
		{`9b2cf5-2`, `"9b2cf5-2"`},
		{`W/9b2cf5`, `W/"9b2cf5"`},
		{`W/"9b2cf5"`, `W/"9b2cf5"`},
		{`W/"9b2cf5`, `W/"9b2cf5"`},
		{`""`, `""`},
		{`9b 2c`, ``},
		{`9b"2c`, ``},
	} {
		t.Run(c.sent, func(t *testing.T) {
			origin := rawObject(t, "hello", c.sent, "Last-Modified: Fri, 02 Jan 2026 03:04:05 GMT\r\n")
			gw := startGateway(t, cachedAndNot(origin.endpoint))
			for _, target := range []string{"/raw/x", "/pub/x", "/pub/x"} {
				if r, _ := gw.do("GET", target); r.Header.Get("ETag") != c.want {
					t.Errorf("%s, %s: ETag %q, want %q", target, r.Header.Get("X-Cache"), r.Header.Get("ETag"), c.want)
				}
				if c.want == "" {
					continue
				}
				if r, _ := gw.do("GET", target, "If-None-Match: "+c.want); r.StatusCode != 304 || r.Header.Get("ETag") != c.want {
					t.Errorf("%s: If-None-Match: status %d, ETag %q", target, r.StatusCode, r.Header.Get("ETag"))
				}
				if strings.HasPrefix(c.want, "W/") || c.want == `""` {
					continue
				}
				for _, header := range []string{"If-Match: " + c.want, "If-Range: " + c.want} {
					if r, body := gw.do("GET", target, header, "Range: bytes=1-2"); r.StatusCode != 206 || string(body) != "el" {
						t.Errorf("%s: %s: status %d, %q", target, header, r.StatusCode, body)
					}
				}
			}
		})
	}
	t.Run("a body that breaks off is resumed", func(t *testing.T) {
		body := sixteens(300_000)
		broken := false
		origin := startFaulty(t, func(c net.Conn, head string) bool {
			if !broken {
				broken = true
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nETag: 9b2cf5\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:200_000])
				return false
			}
			fmt.Fprintf(c, "HTTP/1.1 206 X\r\nETag: 9b2cf5\r\nContent-Range: bytes 200000-%d/%d\r\nContent-Length: %d\r\n\r\n%s", len(body)-1, len(body), len(body)-200_000, body[200_000:])
			return true
		})
		gw := startGateway(t, oneBucket("/pub", origin.endpoint))
		if r, got := gw.do("GET", "/pub/x"); r.StatusCode != 200 || string(got) != body {
			t.Errorf("status %d, %d bytes", r.StatusCode, len(got))
		}
	})
}

// TestPartsHaveNoChecksumOfTheWhole asks for parts in every way there is.
func TestPartsHaveNoChecksumOfTheWhole(t *testing.T) {
	fields := "X-Amz-Checksum-Crc32: AAAA\r\nX-Amz-Checksum-Type: FULL_OBJECT\r\nX-Amz-Checksum-Crc64nvme: BBBB\r\nContent-Type: text/plain\r\nX-Amz-Meta-A: b\r\n"
	for _, size := range []int{20, 200_000} {
		origin := rawObject(t, strings.Repeat("0123456789", size/10), `"e"`, fields)
		gw := startGateway(t, cachedAndNot(origin.endpoint))
		for _, target := range []string{"/raw/x", "/pub/y", "/pub/x", "/pub/x"} {
			if target == "/pub/x" {
				if r, _ := gw.do("GET", target); r.StatusCode != 200 || r.Header.Get("X-Amz-Checksum-Crc32") != "AAAA" || r.Header.Get("X-Amz-Checksum-Crc64nvme") != "BBBB" || r.Header.Get("X-Amz-Checksum-Type") != "FULL_OBJECT" {
					t.Errorf("the whole: status %d, %v", r.StatusCode, r.Header)
				}
			}
			for _, header := range []string{"", `If-Range: "e"`, `If-Match: "e"`} {
				r, body := gw.do("GET", target, "Range: bytes=3-5", header)
				if r.StatusCode != 206 || string(body) != "345" || r.Header.Get("X-Amz-Meta-A") != "b" || r.Header.Get("Content-Type") != "text/plain" {
					t.Errorf("%s: status %d, %q, %v", target, r.StatusCode, body, r.Header)
				}
				for name := range r.Header {
					if strings.HasPrefix(name, "X-Amz-Checksum-") {
						t.Errorf("%s, %s %s: a part with %s", target, r.Header.Get("X-Cache"), header, name)
					}
				}
			}
		}
		if size < 1000 {
			continue // parts that are close together are one
		}
		r, body := gw.do("GET", "/pub/x", "Range: bytes=0-1,150000-150001")
		kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if r.StatusCode != 206 || kind != "multipart/byteranges" || err != nil || r.Header.Get("X-Amz-Checksum-Crc32") != "" {
			t.Errorf("several parts: status %d, %v", r.StatusCode, r.Header)
		}
		if p, err := multipart.NewReader(strings.NewReader(string(body)), params["boundary"]).NextPart(); err != nil || len(p.Header) != 2 {
			t.Errorf("%v, %v", p, err)
		}
		gw.settle(t)
	}
}

// TestHeadWithoutLength has the origin leave out what it may in an answer to HEAD.
func TestHeadWithoutLength(t *testing.T) {
	for _, c := range []struct {
		name, more, target, head string
		want                     int
		field, value             string
	}{
		{"no length", "", "/pub/x", "200 OK\r\nETag: \"e\"\r\n", 200, "Etag", `"e"`},
		{"neither length nor validators", "", "/pub/x", "200 OK\r\n", 200, "Accept-Ranges", "bytes"},
		{"a coding", "", "/pub/x", "200 OK\r\nTransfer-Encoding: chunked\r\n", 200, "Accept-Ranges", "bytes"},
		{"of a part", "allow_query: [partNumber]", "/pub/x?partNumber=1", "206 X\r\nX-Amz-Mp-Parts-Count: 3\r\n", 206, "X-Amz-Mp-Parts-Count", "3"},
		{"of a part, with its range", "allow_query: [partNumber]", "/pub/x?partNumber=1", "206 X\r\nContent-Range: bytes 0-4/9\r\n", 206, "Content-Range", "bytes 0-4/9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			origin := startFaulty(t, func(conn net.Conn, _ string) bool {
				io.WriteString(conn, "HTTP/1.1 "+c.head+"\r\n")
				return true
			})
			gw := startGateway(t, oneBucket("/pub", origin.endpoint, c.more))
			r, _ := gw.do("HEAD", c.target)
			if r.StatusCode != c.want || r.Header.Get(c.field) != c.value || r.Header["Content-Length"] != nil || r.Header["Transfer-Encoding"] != nil || r.ContentLength != -1 {
				t.Errorf("status %d, length %d, %v", r.StatusCode, r.ContentLength, r.Header)
			}
			one := "HEAD " + c.target + " HTTP/1.1\r\nHost: g\r\n"
			if answer := gw.raw(one + "\r\n" + one + "Connection: close\r\n\r\n"); strings.Count(answer, "HTTP/1.1 2") != 2 {
				t.Errorf("two on one connection: %q", answer)
			}
		})
	}
	t.Run("a 416 whose size nobody tells", func(t *testing.T) {
		origin := startFaulty(t, func(conn net.Conn, head string) bool {
			if strings.HasPrefix(head, "HEAD ") {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\n\r\n")
				return true
			}
			io.WriteString(conn, "HTTP/1.1 416 X\r\nContent-Length: 0\r\n\r\n")
			return true
		})
		gw := startGateway(t, oneBucket("/pub", origin.endpoint))
		if r, _ := gw.do("GET", "/pub/x", "Range: bytes=9-"); r.StatusCode != 416 || r.Header["Content-Range"] != nil {
			t.Errorf("status %d, %v", r.StatusCode, r.Header)
		}
	})
}

// TestPartsCount asks for a part of a multipart object, which tells how many there are.
func TestPartsCount(t *testing.T) {
	origin := startFaulty(t, func(conn net.Conn, head string) bool {
		io.WriteString(conn, "HTTP/1.1 206 X\r\nETag: \"e-3\"\r\nContent-Range: bytes 0-4/9\r\nContent-Length: 5\r\nX-Amz-Mp-Parts-Count: 3\r\nX-Amz-Checksum-Crc32: AAAA\r\n\r\n")
		if strings.HasPrefix(head, "GET ") {
			io.WriteString(conn, "hello")
		}
		return true
	})
	gw := startGateway(t, oneBucket("/pub", origin.endpoint, "allow_query: [partNumber]"))
	for _, method := range []string{"GET", "HEAD"} {
		r, _ := gw.do(method, "/pub/x?partNumber=1")
		if r.StatusCode != 206 || r.Header.Get("X-Amz-Mp-Parts-Count") != "3" || r.Header.Get("X-Amz-Checksum-Crc32") != "AAAA" { // the part's own
			t.Errorf("%s: status %d, %v", method, r.StatusCode, r.Header)
		}
	}
}
