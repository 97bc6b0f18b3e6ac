package gateway

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"yatagarasu/gateway/fill"
	"yatagarasu/loadtest/s3server"
)

// spellings are keys that some origin takes for the key d/a.txt.
var spellings = []string{"/d/a.txt", "///d/a.txt", "d//a.txt", "/d//a.txt", "d///a.txt"}

const metricsOn = "metrics: {enabled: true, address: 127.0.0.1, port: 0}\n"

// caches calls f for each budget of the gateway.
func (tg *testGateway) caches(f func(*fill.Budget)) {
	for _, b := range tg.Generation.Load().Budgets {
		f(b)
	}
}

// TestThreatSpellings has the inputs that spell one key in several ways, before origins that
// take them for the same.
func TestThreatSpellings(t *testing.T) {
	t.Run("T93_purges_reach_all_spellings", func(t *testing.T) {
		for _, c := range []struct {
			name, body string
			purged     string // those of spellings that go; "all"
		}{
			{"the key", `{"bucket": "main", "key": "d/a.txt"}`, "all"},
			{"another spelling", `{"bucket": "main", "key": "//d/a.txt"}`, "all"},
			{"a prefix", `{"bucket": "main", "prefix": "d/"}`, "all"},
			{"a prefix within a segment", `{"bucket": "main", "prefix": "d/a"}`, "all"},
			{"another spelling of a prefix", `{"bucket": "main", "prefix": "/d//"}`, "all"},
			{"a tag", `{"bucket": "main", "tag": "red"}`, "all"},
			{"a longer key", `{"bucket": "main", "key": "d/a.txt2"}`, ""},
			{"a key without its slash", `{"bucket": "main", "key": "da.txt"}`, ""},
			{"the folder", `{"bucket": "main", "key": "d/"}`, ""},
			{"another prefix", `{"bucket": "main", "prefix": "a"}`, ""},
		} {
			for _, spelling := range append([]string{"d/a.txt"}, spellings...) {
				origin := startScripted(t, version("old", "X-Amz-Meta-Surrogate-Key: red"))
				gw := startGateway(t, cachedYAML(origin.URL)+metricsOn)
				gw.expect(t, "/pub/"+spelling, 200, "old", "MISS")
				gw.expect(t, "/pub/"+spelling, 200, "old", "HIT")
				origin.set(version("new"))
				if status, reply := gw.admin("POST", "/admin/cache/purge", c.body); status != 200 {
					t.Fatalf("%s: %d %s", c.name, status, reply)
				}
				if c.purged == "all" {
					gw.expect(t, "/pub/"+spelling, 200, "new", "MISS")
				} else {
					gw.expect(t, "/pub/"+spelling, 200, "old", "HIT")
				}
			}
		}
	})
	t.Run("T93_a_purge_while_another_spelling_is_fetched", func(t *testing.T) {
		asked, gate := make(chan struct{}, 9), make(chan struct{})
		origin := startScripted(t, func(w http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			<-gate
			version("old")(w, r)
		})
		gw := startGateway(t, cachedYAML(origin.URL))
		first := make(chan string)
		go func() {
			_, got := gw.do("GET", "/pub/d//a.txt")
			first <- string(got)
		}()
		<-asked
		gw.caches(func(b *fill.Budget) { b.Cache.PurgeKey("main", []byte("d/a.txt"), false) })
		origin.set(version("new"))
		gw.expect(t, "/pub/d//a.txt", 200, "new", "MISS") // it does not join what began before
		close(gate)
		if got := <-first; got != "old" {
			t.Errorf("%q", got)
		}
		gw.settleFills(t)
		gw.expect(t, "/pub/d//a.txt", 200, "new", "HIT")
	})
	t.Run("T93_few_spellings_are_stored", func(t *testing.T) {
		for _, c := range []struct {
			name, lines string
			h           http.HandlerFunc
			status      int
			stored      int
		}{
			{"objects", "ttl: 60s", version("v"), 200, 4},
			{"objects that are too large", "max_object_size: 1", version("large"), 200, 4},
			{"absent ones", "negative_ttl: 60s", s3Answer(404, "NoSuchKey"), 404, 1},
		} {
			origin := startScripted(t, c.h)
			gw := startGateway(t, cachedYAML(origin.URL, c.lines))
			for i := range 50 {
				gw.expect(t, "/pub/"+strings.Repeat("/", i%7)+"d"+strings.Repeat("/", i%8+1)+"a.txt", c.status, "", "MISS")
			}
			gw.expect(t, "/pub/d/b.txt", c.status, "", "MISS")
			gw.caches(func(b *fill.Budget) {
				if n := b.Cache.Len(); n != c.stored+1 {
					t.Errorf("%s: %d entries, want %d of one key and one of another", c.name, n, c.stored)
				}
			})
		}
	})
	t.Run("T93_real_servers", func(t *testing.T) {
		eachS3(t, func(t *testing.T, server *s3server.Server, client *minio.Client) {
			put := func(body string) {
				t.Helper()
				_, err := client.PutObject(t.Context(), s3Bucket, "d/a.txt", strings.NewReader(body), int64(len(body)), minio.PutObjectOptions{
					UserMetadata: map[string]string{"Cache-Tag": "red"}, DisableContentSha256: true,
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			gw := startGateway(t, realBucket(server.Endpoint())+both+metricsOn)
			for i, body := range []string{`{"bucket": "main", "key": "d/a.txt"}`, `{"bucket": "main", "prefix": "d/"}`, `{"bucket": "main", "tag": "red"}`} {
				for n, spelling := range append([]string{"d/a.txt"}, spellings...) {
					old, fresh := fmt.Sprint("old ", i, n), fmt.Sprint("new ", i, n)
					put(old)
					if r, got := gw.do("GET", "/pub/"+spelling); r.StatusCode == 400 {
						continue // the server knows no such key
					} else if string(got) != old {
						t.Fatalf("%s: status %d, %.60q, want %q", spelling, r.StatusCode, got, old)
					}
					put(fresh)
					gw.expect(t, "/pub/"+spelling, 200, old, "HIT")
					if status, reply := gw.admin("POST", "/admin/cache/purge", body); status != 200 {
						t.Fatalf("%d %s", status, reply)
					}
					gw.expect(t, "/pub/"+spelling, 200, fresh, "MISS")
					gw.admin("POST", "/admin/cache/purge", `{"all": true}`)
				}
			}
		})
	})
	t.Run("T94a_names_of_a_servers_own", func(t *testing.T) {
		origin := startOrigin(t, serveText("secret"))
		gw := startGateway(t, oneBucket("/pub", origin.URL))
		for _, key := range []string{
			"teams__XLDIR__", "a/teams__XLDIR__", "teams__XLDIR__/", "teams__XLDIR__/x", "/teams__XLDIR__", "teams__xldir__", "teams%5F%5FXLDIR%5f%5f", "teams__XLDIR__%2Fx", "__XLDIR__",
			".sgwtmp/multipart/0/1/1", ".sgwtmp", "//.sgwtmp/x", ".SGWTMP/x", "%2Esgwtmp%2Fx",
		} {
			for _, method := range []string{"GET", "HEAD"} {
				if r, _ := gw.do(method, "/pub/"+key); r.StatusCode != 400 {
					t.Errorf("%s %s: status %d", method, key, r.StatusCode)
				}
			}
			explains(t, gw.Gateway, "/pub/"+key, "", false, []string{"answer:    400: "})
		}
		if n := len(origin.seen()); n != 0 {
			t.Errorf("the origin was asked %d times", n)
		}
		for _, key := range []string{"XLDIR", "a__XLDIR__b", "a/.sgwtmp", ".sgwtmpx"} {
			if r, _ := gw.do("GET", "/pub/"+key); r.StatusCode != 200 {
				t.Errorf("%s: status %d", key, r.StatusCode)
			}
		}
	})
	t.Run("T94a_uploads_under_way", func(t *testing.T) {
		server, client := startS3(t, s3server.VersityGW)
		core := minio.Core{Client: client}
		upload, err := core.NewMultipartUpload(t.Context(), s3Bucket, "private/x", minio.PutObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := core.PutObjectPart(t.Context(), s3Bucket, "private/x", upload, 1, strings.NewReader("part"), 4, minio.PutObjectPartOptions{DisableContentSha256: true}); err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprintf(".sgwtmp/multipart/%x/%s/1", sha256.Sum256([]byte("private/x")), upload)
		if got := answerOf(t, client, key); got != "the object" {
			t.Fatalf("versitygw answers %s: there is nothing to refuse any more", got)
		}
		gw := startGateway(t, realBucket(server.Endpoint()))
		for _, slashes := range []string{"", "/", "//"} {
			if r, body := gw.do("GET", "/pub/"+slashes+key); r.StatusCode != 400 {
				t.Errorf("status %d, %s", r.StatusCode, body)
			}
		}
	})
	t.Run("T94b_spellings_of_real_servers", func(t *testing.T) {
		rows := spellingRows(t)
		eachS3(t, func(t *testing.T, server *s3server.Server, client *minio.Client) {
			for key, body := range map[string]string{"d/a.txt": "secret", "d/é.txt": "secret", "e/": ""} {
				if _, err := client.PutObject(t.Context(), s3Bucket, key, strings.NewReader(body), int64(len(body)), minio.PutObjectOptions{DisableContentSha256: true}); err != nil {
					t.Fatal(err)
				}
			}
			column := 1
			if strings.HasSuffix(t.Name(), string(s3server.VersityGW)) {
				column = 2
			}
			real := func(yaml string) string { // with the server's credential, and no breaker
				return onceYAML(strings.NewReplacer("AKmain", s3AccessKey, "secret-of-main", s3SecretKey).Replace(yaml))
			}
			gw := startGateway(t, real(oneBucket("/pub", server.Endpoint())))
			rules := "      rules:\n"
			for _, path := range []string{"/d", "/e"} {
				rules += "        - {path: " + path + ", claims: [{claim: role, operator: equals, value: admin}]}\n"
			}
			ruled := startGateway(t, real("server: {ready: config}\nbuckets:\n"+privateYAML("main", "/pub", server.Endpoint())+rules)+both)
			admin, guest := "Authorization: Bearer "+goodToken(`"role":"admin"`), "Authorization: Bearer "+goodToken()
			for _, row := range rows {
				for _, key := range row.keys {
					decoded, err := url.PathUnescape(key)
					if err != nil {
						t.Fatal(err)
					}
					if got := answerOf(t, client, decoded); got != row.cells[column] {
						t.Errorf("%s: the server answers with %s, the table says %s", key, got, row.cells[column])
					}
					want := map[string]int{"the object": 200, "nothing": 404, "400": 400}[row.cells[column]]
					if strings.HasPrefix(row.cells[3], "400") {
						want = 400
					}
					if r, body := gw.do("GET", "/pub/"+key); r.StatusCode != want {
						t.Errorf("%s: the gateway answers %d, want %d: %.200s", key, r.StatusCode, want, body)
					}
					for range 2 { // the second time from the cache
						ruled.do("GET", "/pub/"+key, admin)
						if r, _ := ruled.do("GET", "/pub/"+key, guest); r.StatusCode == 200 || want == 200 && r.StatusCode != 403 {
							t.Errorf("%s: status %d for a token that the rule refuses", key, r.StatusCode)
						}
					}
				}
			}
		})
	})
	t.Run("T94c_empty_segments_are_refused", func(t *testing.T) {
		origin := startOrigin(t, serveText("v"))
		gw := startGateway(t, oneBucket("/pub", origin.URL, "empty_segments: refuse")+both+metricsOn)
		for _, key := range append([]string{"%2Fa", "a%2F%2Fb", "a/%2Fb", "a//", "//", "a/b//?token=x"}, spellings...) {
			r, body := gw.do("GET", "/pub/"+key)
			if r.StatusCode != 400 || !strings.Contains(string(body), `"error":"empty_segment"`) {
				t.Errorf("%s: status %d, %s", key, r.StatusCode, body)
			}
			explains(t, gw.Gateway, "/pub/"+key, "", false, []string{"answer:    400: the object key begins with a slash, or has two in a row"})
		}
		if status, reply := gw.admin("POST", "/admin/cache/prewarm", `{"bucket": "main", "keys": ["a//b", "/a", "a__XLDIR__"]}`); status != 202 && status != 200 {
			t.Errorf("%d %s", status, reply)
		}
		if !polled(10*time.Second, func() bool {
			_, reply := gw.admin("GET", "/admin/cache/prewarm/1", "")
			return strings.Contains(reply, `"state":"done"`) && strings.Contains(reply, `"skipped":3`)
		}) {
			t.Error("keys for which nobody can ask are not skipped")
		}
		if n := len(origin.seen()); n != 0 {
			t.Errorf("the origin was asked %d times", n)
		}
		for _, key := range []string{"a", "a/", "a/b/", "a/b"} {
			if r, _ := gw.do("GET", "/pub/"+key); r.StatusCode != 200 {
				t.Errorf("%s: status %d", key, r.StatusCode)
			}
		}
	})
}

// answerOf returns what a server answers to a GET of a key, in the words of the table.
func answerOf(t *testing.T, client *minio.Client, key string) string {
	t.Helper()
	o, err := client.GetObject(t.Context(), s3Bucket, key, minio.GetObjectOptions{})
	if err == nil {
		defer o.Close()
		_, err = io.ReadAll(o)
	}
	switch status := minio.ToErrorResponse(err).StatusCode; {
	case err == nil:
		return "the object"
	case status == http.StatusNotFound:
		return "nothing"
	case status == http.StatusBadRequest:
		return "400"
	}
	t.Fatalf("%q: %v", key, err)
	return ""
}

// spellingRow is a line of the table in docs/RESILIENCE.md.
type spellingRow struct {
	keys  []string
	cells []string
}

// spellingRows returns the table.
func spellingRows(t *testing.T) (rows []spellingRow) {
	t.Helper()
	text, err := os.ReadFile("../docs/RESILIENCE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Spellings of a key\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || !strings.HasPrefix(line, "| `") {
			continue
		}
		row := spellingRow{}
		for _, c := range cells {
			row.cells = append(row.cells, strings.TrimSpace(c))
		}
		for i, part := range strings.Split(cells[0], "`") {
			if i%2 == 1 {
				row.keys = append(row.keys, part)
			}
		}
		rows = append(rows, row)
	}
	if len(rows) < 10 {
		t.Fatalf("the table has %d rows", len(rows))
	}
	return rows
}
