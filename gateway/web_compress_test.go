package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// compressYAML is a bucket with a cache whose objects are compressed.
const compressYAML = "    compress: {enabled: true}\n" + both

// plainOf returns what a client makes of an answer's body.
func plainOf(t *testing.T, r *http.Response, body []byte) string {
	t.Helper()
	var from io.Reader = bytes.NewReader(body)
	var err error
	switch r.Header.Get("Content-Encoding") {
	case "br":
		from = brotli.NewReader(from)
	case "zstd":
		from, err = zstd.NewReader(from)
	case "gzip":
		from, err = gzip.NewReader(from)
	}
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// awaitForm asks for an object until it comes in a coding.
func (tg *testGateway) awaitForm(target, coding string) (r *http.Response) {
	tg.t.Helper()
	eventually(tg.t, target+" comes as "+coding, func() bool {
		r, _ = tg.do("GET", target, "Accept-Encoding: "+coding)
		return r.Header.Get("Content-Encoding") == coding
	})
	return r
}

// TestWebCompress has objects in memory come compressed. The numbers are those of the cases that
// bit others.
func TestWebCompress(t *testing.T) {
	text := strings.Repeat("some text that compresses well, ", 500)
	const etag = `"0123456789abcdef"`
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		h, body := w.Header(), text
		h.Set("ETag", etag)
		h.Set("Content-Type", "text/css")
		h.Set("X-Amz-Checksum-Sha256", "of the whole")
		switch name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]; {
		case strings.HasSuffix(name, ".tar.gz"):
			h.Set("Content-Type", "application/gzip")
		case name == "coded":
			h.Set("Content-Encoding", "gzip")
			h.Set("Content-Length", fmt.Sprint(len(text))) // which ServeContent leaves out then
		case name == "asis":
			h.Set("Cache-Control", "max-age=60, No-Transform")
		case name == "small":
			body = text[:1023]
		case name == "uncacheable":
			h.Set("Cache-Control", "no-store")
		case name == "noise":
			random, _ := io.ReadAll(noise(20_000))
			body = string(random)
		case name == "none":
			s3Refusal(404, "NoSuchKey")(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Unix(1700000000, 0), strings.NewReader(body))
	})
	gw := startGateway(t, oneBucket("/pub", origin.URL)+"    cors: {origins: [\"https://app.example.com\"]}\n"+compressYAML)

	for _, coding := range []string{"br", "zstd", "gzip"} {
		gw.awaitForm("/pub/x", coding)
		r, body := gw.do("GET", "/pub/x", "Accept-Encoding: "+coding)
		if plainOf(t, r, body) != text || len(body) > len(text)/2 || r.ContentLength != int64(len(body)) {
			t.Errorf("%s: %d bytes for %d", coding, len(body), len(text))
		}
		if r.Header.Get("ETag") != "W/"+etag || r.Header["Accept-Ranges"] != nil || r.Header["X-Amz-Checksum-Sha256"] != nil || r.Header.Get("X-Cache") != "HIT" || fmt.Sprint(r.Header["Vary"]) != "[Accept-Encoding Origin]" {
			t.Errorf("%s: %v", coding, r.Header)
		}
	}
	if r := gw.awaitForm("/pub/x", "br"); len(origin.seen()) != 1 {
		t.Errorf("the origin is asked %d times: %v", len(origin.seen()), r.Header)
	}

	identity := func(what string, r *http.Response, status int, varies bool) {
		t.Helper()
		if r.StatusCode != status || strings.Contains(r.Header.Get("Content-Encoding"), "br") || strings.Contains(strings.Join(r.Header["Vary"], ","), "Accept-Encoding") != varies {
			t.Errorf("%s: status %d, %v", what, r.StatusCode, r.Header)
		}
	}
	// asked returns the answer to a request that would take br, once there has been time for it.
	asked := func(method, target string, header ...string) *http.Response {
		t.Helper()
		r, _ := gw.do(method, target, header...)
		return r
	}
	t.Run("22 a part is of the object as it is", func(t *testing.T) {
		r, body := gw.do("GET", "/pub/x", "Accept-Encoding: br", "Range: bytes=5-8")
		identity("part", r, 206, true)
		if string(body) != text[5:9] || r.Header.Get("ETag") != etag {
			t.Errorf("%q, %v", body, r.Header)
		}
		r, body = gw.do("GET", "/pub/x", "Accept-Encoding: br, identity;q=0", "Range: bytes=5-8")
		if r.StatusCode != 200 || plainOf(t, r, body) != text || r.Header.Get("Content-Encoding") != "br" {
			t.Errorf("without identity: status %d, %v", r.StatusCode, r.Header)
		}
		r, body = gw.do("GET", "/pub/x", "Accept-Encoding: br", "Range: bytes=5-8", "If-Range: W/"+etag)
		if r.StatusCode != 200 || plainOf(t, r, body) != text {
			t.Errorf("If-Range with a form's tag: status %d, %v", r.StatusCode, r.Header)
		}
	})
	t.Run("23 who does not want it does not get it", func(t *testing.T) {
		for _, accept := range []string{"", "br ;q=0", "bbr", "identity;q=1, *;q=0", "deflate"} {
			identity(accept, asked("GET", "/pub/x", "Accept-Encoding: "+accept), 200, true)
		}
	})
	t.Run("24 a form's tag comes back", func(t *testing.T) {
		for _, tag := range []string{"W/" + etag, etag, "*", `"other", W/` + etag} {
			r := asked("GET", "/pub/x", "Accept-Encoding: br", "If-None-Match: "+tag)
			if r.StatusCode != 304 || r.Header.Get("ETag") != "W/"+etag || fmt.Sprint(r.Header["Vary"]) != "[Accept-Encoding Origin]" || r.Header["Content-Encoding"] != nil {
				t.Errorf("%s: status %d, %v", tag, r.StatusCode, r.Header)
			}
		}
		if r := asked("GET", "/pub/x", "If-None-Match: W/"+etag); r.StatusCode != 304 || r.Header.Get("ETag") != etag {
			t.Errorf("as it is: status %d, %v", r.StatusCode, r.Header)
		}
		for _, tag := range []string{`"y--gzip"`, `"0123456789abcdef--br"`} {
			if r := asked("GET", "/pub/x", "Accept-Encoding: br", "If-None-Match: "+tag); r.StatusCode != 200 {
				t.Errorf("%s: status %d", tag, r.StatusCode)
			}
		}
		if r := asked("GET", "/pub/x", "Accept-Encoding: br", "If-Match: W/"+etag); r.StatusCode != 412 {
			t.Errorf("If-Match: status %d", r.StatusCode)
		}
		if r := asked("GET", "/pub/x", "Accept-Encoding: br", "If-Match: "+etag); r.StatusCode != 200 || r.Header.Get("ETag") != etag {
			t.Errorf("If-Match with the tag of the first answer: status %d, %v", r.StatusCode, r.Header)
		}
	})
	t.Run("25 an answer as it is varies too", func(t *testing.T) {
		identity("miss", asked("GET", "/pub/new"), 200, true)
		identity("hit", asked("GET", "/pub/new"), 200, true)
		identity("not stored", asked("GET", "/pub/uncacheable", "Accept-Encoding: br"), 200, true)
		identity("a part that is not stored", asked("GET", "/pub/newer", "Range: bytes=1-2"), 206, true)
		identity("the head of what is not stored", asked("HEAD", "/pub/newest", "Accept-Encoding: br"), 200, true)
		identity("304 of the origin's", asked("GET", "/pub/uncacheable", "If-None-Match: "+etag), 304, false) // it has no type
		identity("404", asked("GET", "/pub/none", "Accept-Encoding: br"), 404, false)
	})
	t.Run("26 HEAD has the lines of GET", func(t *testing.T) {
		get, _ := gw.do("GET", "/pub/x", "Accept-Encoding: br")
		head, _ := gw.do("HEAD", "/pub/x", "Accept-Encoding: br")
		if without(get.Header) != without(head.Header) || get.ContentLength != head.ContentLength {
			t.Errorf("GET  %v\nHEAD %v", get.Header, head.Header)
		}
	})
	t.Run("27 what is coded stays as it is", func(t *testing.T) {
		for target, varies := range map[string]bool{"/pub/coded": false, "/pub/a.tar.gz": false, "/pub/asis": false, "/pub/small": true} {
			for range 3 {
				identity(target, asked("GET", target, "Accept-Encoding: br"), 200, varies)
			}
			if r := asked("GET", target, "Accept-Encoding: br"); r.Header.Get("Content-Encoding") != map[bool]string{true: "gzip"}[target == "/pub/coded"] {
				t.Errorf("%s: %v", target, r.Header)
			}
		}
	})
	t.Run("a form that saves nothing is not kept", func(t *testing.T) {
		for range 3 {
			r := asked("GET", "/pub/noise", "Accept-Encoding: br")
			gw.awaitBackground()
			identity("noise", r, 200, true)
		}
	})
}

// TestWebSiblings has objects beside which the bucket has compressed forms: right ones, one of an
// earlier version, one that is none, and none at all.
func TestWebSiblings(t *testing.T) {
	text := func(name string) string { return strings.Repeat("the text of "+name+", ", 2000) }
	coded := func(body string) string {
		var b bytes.Buffer
		w := brotli.NewWriter(&b)
		io.WriteString(w, body)
		w.Close()
		return b.String()
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	io.WriteString(w, text("a"))
	w.Close()
	bodies := map[string]string{
		"a": text("a"), "a.br": coded(text("a")), "a.gz": zipped.String(), "old": text("old"), "old.br": coded(text("older")), "longer": text("longer"), "longer.br": coded(text("longer") + "."),
		"shorter": text("shorter"), "shorter.br": coded(text("shorter")[1:]), "junk": text("junk"), "junk.br": "no brotli at all", "bomb": text("bomb"), "bomb.br": coded(strings.Repeat("\x00", 2<<20)),
		"large": text("large"), "large.br": string(make([]byte, 30_000)), "none": text("none"), "cut": text("cut"), "cut.br": coded(text("cut"))[:20], "x.tar.gz": text("tar"),
	}
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		body, ok := bodies[name]
		if !ok {
			s3Refusal(404, "NoSuchKey")(w, r)
			return
		}
		w.Header().Set("ETag", `"0123456789abcdef"`)
		w.Header().Set("Content-Type", map[bool]string{true: "application/gzip", false: "text/css"}[strings.HasSuffix(name, ".gz")])
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		io.WriteString(w, body)
	})
	gw := startGateway(t, oneBucket("/pub", origin.URL, "allow_query: [versionId]")+"    compress: {enabled: true, precompressed: [br, gzip]}\n"+both)
	for name, own := range map[string]bool{"a": true, "old": false, "longer": false, "shorter": false, "junk": false, "bomb": false, "large": false, "none": false, "cut": false} {
		gw.awaitForm("/pub/"+name, "br")
		r, body := gw.do("GET", "/pub/"+name, "Accept-Encoding: br")
		if plainOf(t, r, body) != bodies[name] {
			t.Errorf("%s: another text", name)
		}
		if taken := string(body) == bodies[name+".br"]; taken != own {
			t.Errorf("%s: the form beside it is taken: %t", name, taken)
		}
		if kind := r.Header.Get("Content-Type"); kind != "text/css" {
			t.Errorf("%s: %s", name, kind)
		}
	}
	gw.awaitForm("/pub/a", "gzip")
	if r, body := gw.do("GET", "/pub/a", "Accept-Encoding: gzip"); string(body) != zipped.String() || r.Header.Get("ETag") != `W/"0123456789abcdef"` {
		t.Errorf("gzip: %d bytes, %v", len(body), r.Header)
	}
	gw.awaitForm("/pub/a?versionId=1", "br")
	asked := make(map[string]int)
	for _, r := range origin.seen() {
		asked[r.URL.Path+"?"+r.URL.RawQuery]++
	}
	for path, n := range asked {
		if n != 1 || strings.HasSuffix(path, ".br?versionId=1") {
			t.Errorf("the origin is asked for %s %d times", path, n)
		}
	}
	if r, body := gw.do("GET", "/pub/x.tar.gz", "Accept-Encoding: gzip, br"); string(body) != bodies["x.tar.gz"] || r.Header["Content-Encoding"] != nil {
		t.Errorf("x.tar.gz: %v", r.Header)
	}
}
