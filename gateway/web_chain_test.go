package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"yatagarasu/loadtest/s3server"
)

// TestWebRealOrigins has a site on real servers.
func TestWebRealOrigins(t *testing.T) {
	eachS3(t, func(t *testing.T, server *s3server.Server, client *minio.Client) {
		put := func(key, text string, o minio.PutObjectOptions) {
			t.Helper()
			o.ContentType, o.DisableContentSha256 = "text/html", true
			if _, err := client.PutObject(t.Context(), s3Bucket, key, strings.NewReader(text), int64(len(text)), o); err != nil {
				t.Fatalf("cannot store %q: %v", key, err)
			}
		}
		put("index.html", "home", minio.PutObjectOptions{})
		put("docs/index.html", "docs", minio.PutObjectOptions{})
		put("docs/start.html", "start", minio.PutObjectOptions{})
		put("a/b/index.html", strings.Repeat("deep", 100_000), minio.PutObjectOptions{})
		put("errors/404.html", "not found", minio.PutObjectOptions{})
		put("moved", "moved", minio.PutObjectOptions{WebsiteRedirectLocation: "/docs/"})
		eachCache(t, func(t *testing.T, cache string) {
			gw := startGateway(t, realBucket(server.Endpoint())+"    "+cache+"\n    website: {index: index.html, clean_urls: true, object_redirects: true, error_documents: [{status: 404, key: errors/404.html}]}\n")
			for _, c := range []siteCase{
				{"/pub", "", 302, "", []string{"Location: /pub/\r\n"}},
				{"/pub/", "", 200, "home", []string{"Content-Type: text/html"}},
				{"HEAD /pub/docs/", "", 200, "", []string{"Content-Length: 4"}},
				{"/pub/docs", "", 302, "", []string{"Location: /pub/docs/\r\n"}},
				{"HEAD /pub/docs", "", 302, "", []string{"Location: /pub/docs/\r\n"}},
				{"/pub/docs/start", "", 200, "start", nil},
				{"/pub/docs/start", "Range: bytes=0-1", 206, "st", nil},
				{"HEAD /pub/docs/start", "", 200, "", []string{"Content-Length: 5"}},
				{"/pub/a/b/", "", 200, strings.Repeat("deep", 100_000), nil},
				{"/pub/a/b", "Range: bytes=0-1", 302, "", []string{"Location: /pub/a/b/\r\n"}},
				{"/pub/a", "", 404, "not found", nil},
				{"/pub/a/", "If-None-Match: *", 404, "not found", nil},
				{"/pub/docs/none", "Range: bytes=0-1", 404, "not found", []string{"!Content-Range"}},
				{"HEAD /pub/none", "", 404, "", []string{"Content-Length: 9"}},
			} {
				c.check(t, gw)
			}
			if strings.Contains(t.Name(), string(s3server.VersityGW)) { // MinIO does not keep where an object redirects to
				(&siteCase{"/pub/moved", "", 301, "", []string{"Location: /pub/docs/\r\n"}}).check(t, gw)
			}
		})
	})
}

// TestWebLargeObjects has an index, a fallback and a document that are streamed, whether they are
// kept or not.
func TestWebLargeObjects(t *testing.T) {
	page := strings.Repeat("<p>page", 300_000)
	objects := map[string]string{"index.html": page, "dir/index.html": page, "404.html": page}
	for name, cache := range map[string]string{
		"from memory": "cache: {enabled: true, negative_ttl: 60}", "too large to keep": "cache: {enabled: true, max_object_size: 1KiB}", "streamed": "cache: {enabled: false}",
	} {
		t.Run(name, func(t *testing.T) {
			origin := siteOrigin(t, objects)
			gw := startGateway(t, siteYAML("/", origin, cache, "website: {index: index.html, spa: {fallback: index.html}, error_documents: [{status: 404, key: 404.html}]}"))
			length := fmt.Sprintf("Content-Length: %d\r\n", len(page))
			for _, c := range []siteCase{
				{"/", "", 200, page, []string{length}},
				{"/deep/link", "", 200, page, []string{length, "Cache-Control: no-cache"}},
				{"/deep/link", fmt.Sprintf("Range: bytes=%d-", len(page)-4), 206, "page", nil},
				{"/gone.js", "", 404, page, []string{length, "!Etag"}},
				{"HEAD /gone.js", "", 404, "", []string{length}},
				{"/dir", "", 302, "", []string{"Location: /dir/\r\n", "Content-Length: 0\r\n"}},
				{"/dir/", "", 200, page, []string{length}},
			} {
				c.check(t, gw)
			}
		})
	}
}

// TestWebManyLinks asks for many links of an application at once: its page is fetched once.
func TestWebManyLinks(t *testing.T) {
	origin := siteOrigin(t, map[string]string{"index.html": strings.Repeat("app", 50_000)})
	gw := startGateway(t, siteYAML("/", origin, "cache: {enabled: true}", "website: {index: index.html, spa: {fallback: index.html}}"))
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if r, body := gw.do("GET", fmt.Sprint("/link/", i)); r.StatusCode != 200 || len(body) != 150_000 {
				t.Errorf("status %d, %d bytes", r.StatusCode, len(body))
			}
		})
	}
	all.Wait()
	n := 0
	for _, r := range origin.seen() {
		if r.URL.Path == "/things/index.html" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the page was fetched %d times", n)
	}
}

// TestWebAudit has the audit log say what was decided in the end: a substitute may be refused
// where the path is not, and the page of a refusal grants nothing.
func TestWebAudit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	origin := siteOrigin(t, map[string]string{"index.html": "secret", "open/index.html": "top secret", "public/401.html": "log in", "public/x": "x"})
	yaml := privateSiteYAML(origin, "website: {index: index.html, error_documents: [{status: 401, key: public/401.html}]}")
	gw := startGateway(t, strings.Replace(yaml, "buckets:\n", "logging: {level: error, audit: {enabled: true, output: "+path+"}}\nbuckets:\n", 1))
	reader := "Cookie: session=" + goodToken(`"role":"reader"`)
	top := "Cookie: session=" + goodToken(`"role":"reader"`, `"level":"top"`)
	gw.do("GET", "/pub/")
	gw.do("GET", "/pub/", reader)
	gw.do("GET", "/pub/open/")
	gw.do("GET", "/pub/open/", reader)
	gw.do("GET", "/pub/open/", top)
	gw.do("GET", "/pub/public/x")
	if err := gw.stop(); err != nil {
		t.Error(err)
	}
	var got []string
	for _, l := range logLines(t, path) {
		subject := any("nobody")
		if auth, ok := l["auth"].(map[string]any); ok && auth["sub"] != nil {
			subject = auth["sub"]
		}
		got = append(got, fmt.Sprint(l["decision"], " ", subject, " ", l["path"], " ", l["status"], " ", l["reason"]))
	}
	slices.Sort(got)
	want := []string{
		"denied alice /pub/open/ 403 path_claim_refused", "denied nobody /pub/ 401 token_missing", "denied nobody /pub/open/ 401 token_missing",
		"granted alice /pub/ 200 ", "granted alice /pub/open/ 200 ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// TestWebSubjectRate counts a request against its token's subject where only the substitute asks for
// a token.
func TestWebSubjectRate(t *testing.T) {
	origin := siteOrigin(t, map[string]string{"open/index.html": "top secret", "open/x": "x"})
	gw := startGateway(t, privateSiteYAML(origin, "website: {index: index.html}", "limits: {requests_per_second_per_subject: 0.001}"))
	top := "Cookie: session=" + goodToken(`"role":"reader"`, `"level":"top"`)
	for i, want := range []int{200, 429, 429} {
		if r, _ := gw.do("GET", "/pub/open/", top); r.StatusCode != want {
			t.Errorf("request %d: status %d, want %d", i, r.StatusCode, want)
		}
	}
	(&siteCase{"/pub/open/x", top, 200, "x", nil}).check(t, gw)
}

// TestWebCompressedSubstitutes has what stands in come compressed, as it does at its own address.
func TestWebCompressedSubstitutes(t *testing.T) {
	page := strings.Repeat("<p>a page that compresses well", 500)
	origin := siteOrigin(t, map[string]string{"index.html": page, "dir/index.html": page, "404.html": page})
	gw := startGateway(t, siteYAML("/", origin, "cache: {enabled: true, negative_ttl: 60}", "compress: {enabled: true}",
		"website: {index: index.html, spa: {fallback: index.html}, error_documents: [{status: 404, key: 404.html}]}"))
	for _, c := range []struct {
		target string
		status int
		has    []string
	}{
		{"/", 200, []string{`Etag: W/"tag-of-index.html"`, "Vary: Accept-Encoding"}},
		{"/deep/link", 200, []string{`Etag: W/"tag-of-index.html"`, "Cache-Control: no-cache", "Vary: Accept-Encoding"}},
		{"/gone.js", 404, []string{"!Etag", "!Cache-Control", "Vary: Accept-Encoding"}},
	} {
		r := gw.awaitForm(c.target, "gzip")
		_, body := gw.do("GET", c.target, "Accept-Encoding: gzip")
		if plainOf(t, r, body) != page {
			t.Errorf("%s: another text", c.target)
		}
		(&siteCase{c.target, "Accept-Encoding: gzip", c.status, "", append(c.has, "Content-Encoding: gzip")}).check(t, gw)
		(&siteCase{c.target, "", c.status, page, []string{"!Content-Encoding", "Vary: Accept-Encoding"}}).check(t, gw)
	}
	(&siteCase{"/deep/link", "Accept-Encoding: gzip\r\n" + `If-None-Match: W/"tag-of-index.html"`, 304, "", []string{`Etag: W/"tag-of-index.html"`}}).check(t, gw)
	(&siteCase{"/dir", "Accept-Encoding: gzip", 302, "", []string{"Location: /dir/\r\n", "!Content-Encoding", "!Vary"}}).check(t, gw)
}

// TestWebRuleOfParts has a rule for a type change an answer of several parts, whose own type is
// another.
func TestWebRuleOfParts(t *testing.T) {
	origin := siteOrigin(t, map[string]string{"x": strings.Repeat("0123456789", 1000)})
	gw := startGateway(t, siteYAML("/", origin, "cache: {enabled: true}", "headers: [{match: {content_type: text/html}, set: {X-Own: y}}]"))
	(&siteCase{"/x", "", 200, "", []string{"X-Own: y"}}).check(t, gw)
	(&siteCase{"/x", "Range: bytes=0-0,5000-5000", 206, "", []string{"X-Own: y", "Content-Type: multipart/byteranges"}}).check(t, gw)
}

// TestWebListings has folders with an index and a listing: the index goes first, and what neither
// has goes on to the fallback.
func TestWebListings(t *testing.T) {
	objects := map[string]string{"a/index.html": "index of a", "b/x": "x", "app.html": "app", "404.html": "not found"}
	eachCache(t, func(t *testing.T, cache string) {
		site := siteOrigin(t, objects)
		origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("list-type") == "" {
				site.Config.Handler.ServeHTTP(w, r)
				return
			}
			fmt.Fprint(w, `<ListBucketResult><IsTruncated>false</IsTruncated>`)
			for key := range objects {
				if folder := r.URL.Query().Get("prefix"); strings.HasPrefix(key, folder) && !strings.Contains(key[len(folder):], "/") {
					fmt.Fprintf(w, "<Contents><Key>%s</Key><Size>1</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>", key)
				}
			}
			fmt.Fprint(w, `</ListBucketResult>`)
		})
		const listing, documents = "listing: {enabled: true, formats: [json]}", "error_documents: [{status: 404, key: 404.html}]"
		for _, c := range []struct {
			website string
			cases   []siteCase
		}{
			{"index: index.html, " + documents, []siteCase{
				{"/a/", "", 200, "index of a", nil},
				{"/a", "", 302, "", []string{"Location: /a/\r\n"}},
				{"/b/", "", 200, "", []string{"Content-Type: application/json"}},
				{"HEAD /b/", "", 200, "", []string{"Content-Type: application/json"}},
				{"/c/", "", 404, "not found", nil},
				{"/", "", 200, "", []string{"Content-Type: application/json"}},
			}},
			{"index: index.html, spa: {fallback: app.html}", []siteCase{
				{"/a/", "", 200, "index of a", nil},
				{"/b/", "", 200, "", []string{"Content-Type: application/json"}},
				{"/c/", "", 200, "app", []string{"Cache-Control: no-cache"}},
				{"/c/", `If-None-Match: "tag-of-app.html"`, 304, "", nil},
			}},
			{"spa: {fallback: app.html}, " + documents, []siteCase{
				{"/a/", "", 200, "", []string{"Content-Type: application/json"}},
				{"/c/", "", 200, "app", nil},
				{"/c/x.js", "", 404, "not found", nil},
			}},
			{documents, []siteCase{
				{"/b/", "", 200, "", []string{"Content-Type: application/json"}},
				{"/c/", "", 404, "not found", []string{"Content-Type: text/html"}},
			}},
		} {
			gw := startGateway(t, siteYAML("/", origin, cache, listing, "website: {"+c.website+"}"))
			for _, one := range c.cases {
				one.check(t, gw)
			}
		}
	})
}

// TestWebFirstByteOfASubstitute has a substitute that keeps the client waiting, after a 404 from
// memory that does not: the time to the first byte is that of the answer.
func TestWebFirstByteOfASubstitute(t *testing.T) {
	const wait = 100 * time.Millisecond
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/things/index.html" {
			s3Refusal(404, "NoSuchKey")(w, r)
			return
		}
		time.Sleep(wait) // what is measured
		s3Refusal(403, "AccessDenied")(w, r)
	})
	gw := startGateway(t, siteYAML("/", origin, "cache: {enabled: true, negative_ttl: 60}", "website: {spa: {fallback: index.html}}"))
	gw.do("GET", "/first")
	gw.do("GET", "/first")
	gw.stop()
	lines := 0
	for l := range strings.Lines(gw.log.String()) {
		var line struct {
			Path string
			TTFB float64 `json:"ttfb_ms"`
		}
		if json.Unmarshal([]byte(l), &line) != nil || line.Path != "/first" {
			continue
		}
		if lines++; line.TTFB < float64(wait.Milliseconds()) {
			t.Errorf("request %d: the first byte came after %v ms", lines, line.TTFB)
		}
	}
	if lines != 2 {
		t.Errorf("%d lines", lines)
	}
}
