package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

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
}
