package gateway

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"yatagarasu/loadtest/s3server"
	"yatagarasu/pool"
)

// rot damages what MinIO has stored under a key in its folder, as a failing disk does.
func rot(t *testing.T, dir, key string) {
	t.Helper()
	damaged := 0
	err := filepath.WalkDir(filepath.Join(dir, s3Bucket, key), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasPrefix(d.Name(), "part.") {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		for at := int64(1000); at < info.Size(); at += 64 << 10 {
			if _, err := f.WriteAt([]byte("rotten"), at); err != nil {
				return err
			}
		}
		damaged++
		return nil
	})
	if err != nil || damaged == 0 {
		t.Fatalf("%d files damaged: %v", damaged, err)
	}
}

// breakerOf returns the state of the breaker of a bucket's replica.
func (tg *testGateway) breakerOf(replica int) (pool.BreakerState, uint64) {
	return tg.Generation.Load().Buckets[0].Origin.Replicas[replica].Health.Breaker.State()
}

// part asks for a range of an object, whose body may break off, and returns the status; 0: it
// breaks off after the head of a good answer.
func (tg *testGateway) part(target string, first, last int) int {
	tg.t.Helper()
	q, err := http.NewRequest("GET", tg.url(target), nil)
	if err != nil {
		tg.t.Fatal(err)
	}
	q.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, last))
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		tg.t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return 0
	}
	return r.StatusCode
}

func threatKeys(t *testing.T) {
	t.Run("T87a_bit_rot_in_one_object", func(t *testing.T) {
		dir := t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		server, err := s3server.Start(ctx, s3server.Options{Kind: s3server.MinIO, Dir: dir, AccessKey: s3AccessKey, SecretKey: s3SecretKey, Region: "us-east-1"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Stop() })
		client, err := server.Client()
		if err != nil {
			t.Fatal(err)
		}
		if err := client.MakeBucket(ctx, s3Bucket, minio.MakeBucketOptions{}); err != nil {
			t.Fatal(err)
		}
		putObject(t, client, "rotten", 8<<20)
		putObject(t, client, "sound", 1000)
		rot(t, dir, "rotten")
		for _, cached := range []string{"", "    cache: {enabled: true}\n"} {
			gw := startGateway(t, realBucket(server.Endpoint())+cached)
			for i := range 30 {
				if status := gw.part("/pub/rotten", i*100_000, i*100_000+200_000); status == 206 {
					t.Fatal("the damage does not show")
				}
				if sound, text := gw.do("GET", "/pub/sound"); sound.StatusCode != 200 {
					t.Fatalf("after %d requests for the rotten object: %d %s", i+1, sound.StatusCode, text)
				}
			}
			if state, opens := gw.breakerOf(0); state != pool.BreakerClosed || opens > 0 {
				t.Errorf("the breaker is %v, and has opened %d times", state, opens)
			}
		}
	})
	ok := func(c net.Conn, _ string) bool {
		io.WriteString(c, okHead+"Content-Length: 4\r\n\r\nbody")
		return true
	}
	for _, c := range []struct {
		name   string
		script func(net.Conn, string) bool
		status int
	}{
		{"T87a_malformed_head_of_one_object", hangsUp(okHead + "Content-Type: text/plain\x01\r\nContent-Length: 4\r\n\r\nbody"), 502},
		{"T87a_no_length_of_one_object", hangsUp(okHead + "\r\nbody"), 502},
		{"T87a_no_answer_for_one_object", hangsUp(""), 502},
		{"T87a_an_error_for_one_object", says(500, "InternalError"), 502},
		{"T87a_overload_for_one_object", says(503, "SlowDown"), 503},
		{"T87a_a_small_body_of_one_object_breaks_off", hangsUp(okHead + "Content-Length: 9\r\n\r\nbod"), 502},
		{"T87a_a_large_body_of_one_object_breaks_off", hangsUp(okHead + "Content-Length: 900000\r\n\r\nbod"), 0},
	} {
		for _, cached := range []string{"", "    cache: {enabled: true}\n"} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				var mended atomic.Bool
				var asked atomic.Int64
				origin := startFaulty(t, func(conn net.Conn, head string) bool {
					if strings.Contains(head, "/things/bad ") {
						asked.Add(1)
						if !mended.Load() {
							return c.script(conn, head)
						}
					}
					return ok(conn, head)
				})
				gw := startGateway(t, oneBucket("/pub", origin.endpoint)+cached)
				for i := range suspectedAfter {
					if status := gw.part("/pub/bad", 0, 1<<20); status != c.status && status != 502 && status != 0 {
						t.Fatalf("request %d for the bad object: %d", i+1, status)
					}
				}
				gw.settle(t)
				gw.settleFills(t)
				before := asked.Load()
				for i := range 100 {
					r, body := gw.do("GET", "/pub/bad")
					if again := asked.Load() - before; again > 0 { // a pause has passed: it is slow here
						if i == 0 {
							t.Fatalf("it is asked for %d times, and nobody has waited", again)
						}
						break
					}
					if r.StatusCode != 502 || !strings.Contains(string(body), `"object_failing"`) || r.Header.Get("Retry-After") == "" {
						t.Fatalf("%d %v %s", r.StatusCode, r.Header, body)
					}
				}
				for i := range 30 {
					if r, body := gw.do("GET", fmt.Sprint("/pub/good", i)); r.StatusCode != 200 {
						t.Fatalf("another object: %d %s", r.StatusCode, body)
					}
				}
				if state, opens := gw.breakerOf(0); state != pool.BreakerClosed || opens > 0 {
					t.Errorf("the breaker is %v, and has opened %d times", state, opens)
				}
				gw.log.waitFor(t, `"reason":"object_failing"`)
				mended.Store(true)
				served := polled(15*time.Second, func() bool {
					r, _ := gw.do("GET", "/pub/bad")
					return r.StatusCode == 200
				})
				if !served {
					t.Error("it is mended, and not served")
				}
			})
		}
	}
	t.Run("T87a_one_object_in_many_spellings", func(t *testing.T) {
		origin := startFaulty(t, func(c net.Conn, head string) bool { // which drops empty segments, as MinIO does
			target, _, _ := strings.Cut(head, " HTTP/")
			return !strings.HasSuffix(target, "/bad") && ok(c, head)
		})
		gw := startGateway(t, oneBucket("/pub", origin.endpoint))
		for i := range 40 {
			gw.do("GET", "/pub/"+strings.Repeat("/", i)+"bad")
		}
		if state, opens := gw.breakerOf(0); state != pool.BreakerClosed || opens > 0 {
			t.Errorf("the breaker is %v, and has opened %d times", state, opens)
		}
	})
	t.Run("T87b_one_object_asked_first_at_each_trial", func(t *testing.T) {
		origin := startFaulty(t, func(c net.Conn, head string) bool {
			return !strings.Contains(head, "/things/bad ") && ok(c, head)
		})
		gw := startGateway(t, oneBucket("/pub", origin.endpoint))
		b := gw.Generation.Load().Buckets[0].Origin.Replicas[0].Health.Breaker
		for range 10 {
			ticket, _, _ := b.Allow(pool.Key{}, time.Now())
			b.Done(ticket, pool.ResultUnreachable, time.Now())
		}
		if state, _ := b.State(); state != pool.BreakerOpen {
			t.Fatalf("the breaker is %v", state)
		}
		asked := 0
		recovered := polled(10*time.Second, func() bool {
			gw.do("GET", "/pub/bad")
			asked++
			gw.do("GET", fmt.Sprint("/pub/good", asked))
			state, _ := b.State()
			return state == pool.BreakerClosed
		})
		if _, opens := b.State(); !recovered || opens != 1 {
			t.Errorf("it has recovered: %t, and opened %d times", recovered, opens)
		}
	})
	t.Run("T87c_a_stale_copy_of_the_object", func(t *testing.T) {
		var down atomic.Bool
		origin := startScripted(t, func(w http.ResponseWriter, r *http.Request) {
			if down.Load() {
				s3Answer(500, "InternalError")(w, r)
				return
			}
			version("v1", "Cache-Control: max-age=0, stale-if-error=600")(w, r)
		})
		gw := startGateway(t, oneBucket("/pub", origin.URL, "retry: {tries: 0}")+"    cache: {enabled: true}\n")
		gw.do("GET", "/pub/x")
		down.Store(true)
		for range 50 {
			if r, body := gw.do("GET", "/pub/x"); r.StatusCode != 200 || cacheHeader(r) != "STALE" || string(body) != "v1" {
				t.Fatalf("%d %s %s", r.StatusCode, cacheHeader(r), body)
			}
		}
		if n := len(origin.seen()); n > 40 {
			t.Errorf("the origin is asked %d times", n)
		}
	})
	t.Run("T87e_a_replica_that_fails_for_one_object", func(t *testing.T) {
		var bad, good atomic.Int64
		first := startFaulty(t, func(c net.Conn, head string) bool {
			if strings.Contains(head, "/things/bad ") {
				bad.Add(1)
				return hangsUp("")(c, head)
			}
			good.Add(1)
			return ok(c, head)
		})
		second := startFaulty(t, ok)
		gw := startGateway(t, replicasYAML([]string{first.endpoint, second.endpoint}))
		for range 40 {
			if r, _ := gw.do("GET", "/pub/bad"); r.StatusCode != 200 {
				t.Fatalf("the bad object, which the second has: %d", r.StatusCode)
			}
		}
		if n := bad.Load(); n > 20 {
			t.Errorf("the first is asked %d times for what it fails for", n)
		}
		before := second.Requests.Load()
		for i := range 40 {
			gw.do("GET", fmt.Sprint("/pub/good", i))
		}
		if good.Load() != 40 || second.Requests.Load() != before {
			t.Errorf("the first is asked %d times for other objects, the second %d times", good.Load(), second.Requests.Load()-before)
		}
	})
	t.Run("T87d_retries_for_one_object", func(t *testing.T) {
		var tries sync.Map // of *atomic.Int64, by head
		origin := startFaulty(t, func(c net.Conn, head string) bool {
			target, _, _ := strings.Cut(head, " HTTP/")
			n, _ := tries.LoadOrStore(target, new(atomic.Int64))
			if strings.Contains(target, "/things/bad") || n.(*atomic.Int64).Add(1) == 1 {
				return says(500, "InternalError")(c, head)
			}
			return ok(c, head)
		})
		gw := startGateway(t, oneBucket("/pub", origin.endpoint))
		for round := range 3 {
			var wg sync.WaitGroup
			for range 60 { // at once, before it is known to fail
				wg.Go(func() { gw.do("GET", fmt.Sprint("/pub/bad", round)) })
			}
			wg.Wait()
			if r, body := gw.do("GET", fmt.Sprint("/pub/once", round)); r.StatusCode != 200 {
				t.Errorf("an object that fails once: %d %s", r.StatusCode, body)
			}
		}
	})
}

// suspectedAfter is after how many failed requests an object is not asked for.
const suspectedAfter = 3
