package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// objects answers with headers by the last segment of the path, and 404 where it has none.
func objects(t *testing.T, heads map[string]string) *testOrigin {
	return startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		head, ok := heads[name]
		if !ok {
			s3Refusal(404, "NoSuchKey")(w, r)
			return
		}
		w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
		for line := range strings.SplitSeq(head, "\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				w.Header().Add(name, value)
			}
		}
		body := "0123456789"
		if strings.Contains(head, "large") {
			body = strings.Repeat(body, 30<<10)
		}
		if w.Header()["Content-Type"] == nil {
			w.Header()["Content-Type"] = nil // none
		}
		http.ServeContent(w, r, "", time.Unix(1700000000, 0), strings.NewReader(body))
	})
}

// lines returns the lines of a header in an answer, joined.
func lines(r *http.Response, name string) string { return strings.Join(r.Header[name], " | ") }

// TestWebHeaders has header rules, by path, by type and for errors, where the object comes from
// memory, from the origin in one piece, and as a stream.
func TestWebHeaders(t *testing.T) {
	const rules = `    headers:
      - {match: {path: "/assets/*"}, set: {cache-control: "public, max-age=31536000, immutable"}}
      - {match: {content_type: text/html}, set: {Content-Security-Policy: "default-src 'self'", Cache-Control: no-cache}}
      - {match: {content_type: "image/*", path: "*.png"}, set: {X-Picture: "yes"}}
      - {set: {X-Content-Type-Options: nosniff, Referrer-Policy: same-origin, Strict-Transport-Security: max-age=9}, remove: [X-Amz-Version-Id, x-amz-meta-secret], when: always}
      - {match: {path: /exact}, remove: cache-control, set: {X-Content-Type-Options: last}}
`
	heads := map[string]string{
		"a.css": "Content-Type: text/css\nCache-Control: max-age=60\nX-Amz-Version-Id: v1\nX-Amz-Meta-Secret: s\nX-Amz-Meta-Kept: k",
		"large": "Content-Type: text/css\nCache-Control: max-age=60\nCache-Control: no-transform\nX-Amz-Meta-Is: large",
		"page":  "Content-Type: Text/HTML; charset=utf-8\nCache-Control: max-age=60",
		"pages": "Content-Type: text/html5",
		"x.png": "Content-Type: image/png",
		"exact": "Cache-Control: max-age=60\nContent-Type: image/png",
	}
	for name, more := range map[string]string{"cached": rules + both, "streamed": rules} {
		t.Run(name, func(t *testing.T) {
			gw := startGateway(t, "server: {ready: config, trusted_proxies: [127.0.0.1]}\nbuckets:\n"+bucketYAML("pub", "/pub", objects(t, heads).URL)+more+
				privateYAML("priv", "/priv", objects(t, heads).URL)+more)
			for _, c := range []struct {
				name, target string
				ask          string
				status       int
				want         string // Cache-Control, CSP, X-Content-Type-Options, X-Picture
			}{
				{"by path", "/pub/assets/a.css", "", 200, "public, max-age=31536000, immutable//nosniff/"},
				{"by path, another", "/pub/a.css", "", 200, "max-age=60//nosniff/"},
				{"all lines are replaced", "/pub/assets/large", "", 200, "public, max-age=31536000, immutable//nosniff/"},
				{"all lines stay", "/pub/large", "", 200, "max-age=60 | no-transform//nosniff/"},
				{"the path is that below the prefix", "/pub/x/assets/a.css", "", 200, "max-age=60//nosniff/"},
				{"by type, in any case and with parameters; the last rule counts", "/pub/assets/page", "", 200, "no-cache/default-src 'self'/nosniff/"},
				{"another type that begins so", "/pub/pages", "", 200, "//nosniff/"},
				{"by both", "/pub/x.png", "", 200, "//nosniff/yes"},
				{"of two only one holds", "/pub/exact", "", 200, "//last/"},
				{"404 is no success", "/pub/assets/none", "", 404, "//nosniff/"},
				{"a part", "/pub/assets/a.css", "Range: bytes=1-2", 206, "public, max-age=31536000, immutable//nosniff/"},
				{"parts", "/pub/assets/page", "Range: bytes=1-2,4-5", 0, "no-cache/default-src 'self'/nosniff/"},
				{"304", "/pub/assets/page", `If-None-Match: "0123456789abcdef0123456789abcdef"`, 304, "no-cache/default-src 'self'/nosniff/"},
				{"412 is no success", "/pub/assets/a.css", `If-Match: "x"`, 412, "//nosniff/"},
				{"private", "/priv/a.css", "", 200, "private, max-age=60//nosniff/"},
				{"the rule's word of public counts", "/priv/assets/a.css", "", 200, "public, max-age=31536000, immutable//nosniff/"},
				{"private, and the rule says nothing of it", "/priv/page", "", 200, "private, no-cache/default-src 'self'/nosniff/"},
				{"a private 404", "/priv/none", "", 404, "private//nosniff/"},
			} {
				t.Run(c.name, func(t *testing.T) {
					for _, method := range []string{"GET", "GET", "HEAD"} {
						if method == "HEAD" && strings.HasPrefix(c.ask, "Range") {
							continue // which means the whole
						}
						ask := []string{"Authorization: Bearer " + goodToken()}
						if c.ask != "" {
							ask = append(ask, c.ask)
						}
						if name == "streamed" && c.name == "304" {
							c.want = strings.Replace(c.want, "no-cache/default-src 'self'", "public, max-age=31536000, immutable/", 1) // it has no type
						}
						r, _ := gw.do(method, c.target, ask...)
						gw.settleFills(t)
						got := fmt.Sprint(lines(r, "Cache-Control"), "/", lines(r, "Content-Security-Policy"), "/", lines(r, "X-Content-Type-Options"), "/", lines(r, "X-Picture"))
						if got != c.want || c.status != 0 && r.StatusCode != c.status {
							t.Errorf("%s: status %d, %s, want %s", method, r.StatusCode, got, c.want)
						}
						if r.Header["X-Amz-Version-Id"] != nil || r.Header["X-Amz-Meta-Secret"] != nil || r.StatusCode == 200 && strings.HasSuffix(c.target, "a.css") != (lines(r, "X-Amz-Meta-Kept") == "k") {
							t.Errorf("%s: %v", method, r.Header)
						}
						if r.Header["Strict-Transport-Security"] != nil || lines(r, "Referrer-Policy") != "same-origin" {
							t.Errorf("%s: %v", method, r.Header)
						}
					}
				})
			}
			t.Run("a rule by path for errors is for those before the key is known, too", func(t *testing.T) {
				gw := startGateway(t, strings.Replace(oneBucket("/pub", objects(t, heads).URL), "ready: config", "ready: config, deny: [192.0.2.1], trusted_proxies: [127.0.0.1]", 1)+
					"    headers: [{match: {path: \"/a/*\"}, set: {X-A: b}, when: always}]\n")
				for target, want := range map[string]string{"/pub/a/x": "b", "/pub/b/x": "", "/pub": "", "/pub/": ""} {
					for method, header := range map[string]string{"POST": "X-None: 1", "GET": "X-Forwarded-For: 192.0.2.1"} {
						if r, _ := gw.do(method, target, header); r.StatusCode < 400 || lines(r, "X-A") != want {
							t.Errorf("%s %s: status %d, %v", method, target, r.StatusCode, r.Header)
						}
					}
				}
			})
			t.Run("a token in a query outweighs the rule", func(t *testing.T) {
				if r, _ := gw.do("GET", "/pub/a.css?token=x"); lines(r, "Referrer-Policy") != "no-referrer" {
					t.Errorf("%v", r.Header)
				}
			})
			t.Run("a proxy that ends TLS says so", func(t *testing.T) {
				for _, target := range []string{"/pub/a.css", "/pub/none"} {
					if r, _ := gw.do("GET", target, "X-Forwarded-Proto: https"); lines(r, "Strict-Transport-Security") != "max-age=9" {
						t.Errorf("%s: %v", target, r.Header)
					}
				}
			})
		})
	}
}

// TestWebTypes has types by keys, for objects from memory, as a stream, and in parts.
func TestWebTypes(t *testing.T) {
	const types = `    content_types: {guess: true, map: {".YAML": text/plain, .tar: "a/b; c=d"}}` + "\n"
	heads := map[string]string{
		"a.js": "Content-Type: application/octet-stream", "b.JS": "", "c.js": "Content-Type: text/own", "d.yaml": "Content-Type: application/yaml",
		"e.tar": "Content-Type: binary/octet-stream", "f": "", "g.none": "Content-Type: binary/octet-stream", "h.gz": "Content-Encoding: gzip", "i.svg": "X-Amz-Meta-Is: large",
	}
	for name, more := range map[string]string{"cached": types + both, "streamed": types} {
		t.Run(name, func(t *testing.T) {
			gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+bucketYAML("pub", "/pub", objects(t, heads).URL)+more+bucketYAML("plain", "/plain", objects(t, heads).URL))
			for key, want := range map[string]string{
				"a.js": "text/javascript; charset=utf-8", "b.JS": "text/javascript; charset=utf-8", "c.js": "text/own", "d.yaml": "text/plain",
				"e.tar": "a/b; c=d", "f": "", "g.none": "binary/octet-stream", "h.gz": "application/gzip", "i.svg": "image/svg+xml",
			} {
				for _, header := range []string{"X-None: 1", "X-None: 2", "Range: bytes=2-3"} {
					r, _ := gw.do("GET", "/pub/x/"+key, header)
					gw.settleFills(t)
					if got := lines(r, "Content-Type"); got != want {
						t.Errorf("%s, %s: %q, want %q", key, header, got, want)
					}
				}
				if r, _ := gw.do("HEAD", "/pub/x/"+key); lines(r, "Content-Type") != want {
					t.Errorf("HEAD %s: %q, want %q", key, lines(r, "Content-Type"), want)
				}
			}
			if r, _ := gw.do("GET", "/plain/a.js"); lines(r, "Content-Type") != "application/octet-stream" {
				t.Errorf("a bucket without types: %v", r.Header)
			}
		})
	}
}

// TestWebKeyPrefix has clients' keys behind a prefix, at replicas of different ones, with a rule
// for a path, which is of the client's key.
func TestWebKeyPrefix(t *testing.T) {
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/things/old/") {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
		io.WriteString(w, r.URL.EscapedPath())
	})
	gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+
		strings.Replace(privateYAML("one", "/one", origin.URL), "bucket: \"things\"", "bucket: \"things\"\n      key_prefix: \"v 1/é/\"", 1)+"      rules: [{path: /site, enabled: false}]\n"+both+
		bucketYAML("two", "/two", origin.URL, "key_prefix: new/", "replicas: [{name: a, bucket: things, key_prefix: old/}, {name: b, bucket: things, priority: 1}]"))
	for range 2 {
		for target, want := range map[string]string{
			"/one/site/x": "/things/v%201/%C3%A9/site/x",
			"/two/x":      "/things/new/x", // once the first has failed
		} {
			if r, body := gw.do("GET", target); r.StatusCode != 200 || string(body) != want {
				t.Errorf("%s: status %d, the origin is asked for %s, want %s", target, r.StatusCode, body, want)
			}
		}
	}
	for target, status := range map[string]int{
		"/one/" + strings.Repeat("k", 1024-len("v 1/é/")): 401,
		"/one/" + strings.Repeat("k", 1025-len("v 1/é/")): 400, // too long for S3
		"/one/v%201/%C3%A9/site/x":                        401, // of the whole bucket, no rule knows it
		"/one/../x":                                       400,
	} {
		if r, _ := gw.do("GET", target); r.StatusCode != status {
			t.Errorf("%.40s: status %d, want %d", target, r.StatusCode, status)
		}
	}
}

// TestWebIgnored has objects that say how long they are fresh, where that does not count.
func TestWebIgnored(t *testing.T) {
	heads := map[string]string{
		"control": "Cache-Control: no-store", "private": "Cache-Control: private, max-age=0\nExpires: Thu, 01 Jan 1970 00:00:00 GMT",
		"expires": "Expires: Thu, 01 Jan 1970 00:00:00 GMT", "expires never": "Expires: 0", "cookie": "Set-Cookie: a=b",
	}
	for _, c := range []struct {
		name, ignore, key string
		ttl               string // of the second answer; empty: none is stored, or it is stale
	}{
		{"nothing is ignored", "", "control", ""},
		{"no-store", "cache-control", "control", "60"},
		{"Expires still counts", "cache-control", "private", ""},
		{"both", "[cache-control, expires]", "private", "60"},
		{"Expires", "expires", "expires", "60"},
		{"Cache-Control still counts", "expires", "control", ""},
		{"a cookie is never for others", "[cache-control, expires]", "cookie", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			origin, ignore := objects(t, heads), ""
			if c.ignore != "" {
				ignore = ", ignore: " + c.ignore
			}
			gw := startGateway(t, oneBucket("/pub", origin.URL)+"    cache: {enabled: true, ttl: 60"+ignore+"}\n")
			gw.do("GET", "/pub/"+c.key)
			r, _ := gw.do("GET", "/pub/"+c.key)
			_, ttl, hit := strings.Cut(lines(r, "Cache-Status"), "; hit; ttl=")
			if n := len(origin.seen()); hit != (c.ttl != "") || hit && ttl != c.ttl && ttl != "59" || hit != (n == 1) {
				t.Errorf("%s; %d requests to the origin", lines(r, "Cache-Status"), n)
			}
			want, _, _ := strings.Cut(strings.TrimPrefix(heads[c.key], "Cache-Control: "), "\n")
			if strings.HasPrefix(heads[c.key], "Cache-Control") && lines(r, "Cache-Control") != want {
				t.Errorf("clients get %v", r.Header)
			}
		})
	}
}

// TestWebTypesAfterReload has a reload that changes types reach the objects in memory.
func TestWebTypesAfterReload(t *testing.T) {
	origin := objects(t, map[string]string{"a.css": ""})
	yaml := oneBucket("/pub", origin.URL) + both
	gw, write := fileGateway(t, yaml)
	for i, c := range []struct{ types, want string }{
		{"", ""}, {"    content_types: {guess: true}\n", "text/css; charset=utf-8"}, {"    content_types: {guess: true}\n", "text/css; charset=utf-8"}, {"    content_types: {map: {.css: a/b}}\n", "a/b"},
	} {
		if i > 0 {
			write(yaml + c.types)
			if r := gw.requestReload(); len(r.Errors) > 0 || len(r.Emptied) != len(r.Changed) {
				t.Fatalf("%+v", r)
			}
		}
		if r, _ := gw.do("GET", "/pub/a.css"); lines(r, "Content-Type") != c.want {
			t.Errorf("with %q: %q, want %q", c.types, lines(r, "Content-Type"), c.want)
		}
	}
	if n := len(origin.seen()); n != 3 {
		t.Errorf("the origin is asked %d times, want once for each of the types", n)
	}
}
