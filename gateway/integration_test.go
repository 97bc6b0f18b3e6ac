package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"yatagarasu/loadtest/s3server"
)

const (
	s3AccessKey = "gateway-test"
	s3SecretKey = "gateway-test-secret"
	s3Bucket    = "things"
)

// startS3 starts a real S3 server with the test bucket in it.
func startS3(t *testing.T, kind s3server.Kind) (*s3server.Server, *minio.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := s3server.Start(ctx, s3server.Options{Kind: kind, Dir: t.TempDir(), AccessKey: s3AccessKey, SecretKey: s3SecretKey, Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	client, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.MakeBucket(ctx, s3Bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return s, client
}

// eachS3 runs a test before a real server of each kind.
func eachS3(t *testing.T, test func(t *testing.T, server *s3server.Server, client *minio.Client)) {
	for _, kind := range []s3server.Kind{s3server.MinIO, s3server.VersityGW} {
		t.Run(string(kind), func(t *testing.T) {
			server, client := startS3(t, kind)
			test(t, server, client)
		})
	}
}

// realBucket mounts the test bucket of a real server at /pub.
func realBucket(endpoint string, more ...string) string {
	s := oneBucket("/pub", endpoint, more...)
	s = strings.Replace(s, "AKmain", s3AccessKey, 1)
	return strings.Replace(s, "secret-of-main", s3SecretKey, 1)
}

// putObject stores size pseudo-random bytes under key.
func putObject(t *testing.T, c *minio.Client, key string, size int64) {
	t.Helper()
	_, err := c.PutObject(t.Context(), s3Bucket, key, noise(size), size, minio.PutObjectOptions{
		ContentType: "text/x-test", CacheControl: "max-age=9", ContentLanguage: "de", ContentDisposition: `inline; filename="x"`,
		UserMetadata: map[string]string{"Color": "blue"}, PartSize: 64 << 20, DisableMultipart: size < 64<<20,
		DisableContentSha256: true, // versitygw leaves the end of an empty signed upload unread
	})
	if err != nil {
		t.Fatalf("cannot store %q: %v", key, err)
	}
}

// noise returns the same size bytes for the same size.
func noise(size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{byte(size), byte(size >> 8), byte(size >> 16)}), size)
}

func sumOf(t *testing.T, r io.Reader) (sum [32]byte, n int64) {
	t.Helper()
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil)), n
}

// TestRealOrigins runs the gateway before real, strictly verifying S3 servers.
func TestRealOrigins(t *testing.T) {
	t.Parallel()
	eachS3(t, testRealOrigin)
}

func testRealOrigin(t *testing.T, server *s3server.Server, client *minio.Client) {
	gw := startGateway(t, realBucket(server.Endpoint()))

	t.Run("sizes", func(t *testing.T) {
		sizes := []int64{0, 1, 1 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20, 100 << 20}
		if !testing.Short() && !raceEnabled {
			sizes = append(sizes, 1<<30)
		}
		for _, size := range sizes {
			key := fmt.Sprintf("size-%d", size)
			putObject(t, client, key, size)
			r, err := http.Get(gw.url("/pub/" + key))
			if err != nil {
				t.Fatal(err)
			}
			got, n := sumOf(t, r.Body)
			r.Body.Close()
			want, _ := sumOf(t, noise(size))
			if r.StatusCode != 200 || n != size || got != want {
				t.Errorf("%d bytes: status %d, %d bytes, equal %t", size, r.StatusCode, n, got == want)
			}
			h, err := http.Head(gw.url("/pub/" + key))
			if err != nil || h.StatusCode != 200 || h.ContentLength != size {
				t.Errorf("HEAD of %d bytes: %v, status %d, length %d", size, err, h.StatusCode, h.ContentLength)
			}
			if v := r.Header.Get("Content-Encoding"); v != "" {
				t.Errorf("Content-Encoding %q: the framing of the upload is not the object's", v)
			}
			for name, want := range map[string]string{"Content-Type": "text/x-test", "Cache-Control": "max-age=9", "Content-Language": "de", "Content-Disposition": `inline; filename="x"`, "X-Amz-Meta-Color": "blue", "Accept-Ranges": "bytes"} {
				if r.Header.Get(name) != want || h.Header.Get(name) != want {
					t.Errorf("%s is %q with GET, %q with HEAD, want %q", name, r.Header.Get(name), h.Header.Get(name), want)
				}
			}
		}
	})
	t.Run("T23_T24_special_keys", func(t *testing.T) {
		keys := []string{"a b+c%2Fd~é.txt", "*'()!;=&@:,$%?#", "日本/ü.txt", "plus+plus", "per%cent%20", "dots...", "dir/inner"}
		for _, key := range keys {
			putObject(t, client, key, 100)
			r, body := gw.do("GET", "/pub/"+escapeKey(key))
			want, _ := io.ReadAll(noise(100))
			if r.StatusCode != 200 || !bytes.Equal(body, want) {
				t.Errorf("key %q: status %d, %d bytes", key, r.StatusCode, len(body))
			}
		}
		// Neither server stores such keys; the request must be signed as sent all
		// the same, so the answer is about the key, not about the signature.
		for _, key := range []string{"x//y", "/leading", "trailing/"} {
			r, body := gw.do("GET", "/pub/"+key)
			if r.StatusCode != 404 && r.StatusCode != 400 {
				t.Errorf("key %q: status %d, body %s", key, r.StatusCode, body)
			}
		}
	})
	t.Run("conditionals and ranges", func(t *testing.T) { testRealSemantics(t, gw, client) })
	t.Run("errors", func(t *testing.T) {
		for _, c := range []struct {
			method, target string
			status         int
			code           string
		}{
			{"GET", "/pub/missing", 404, "not_found"},
			{"GET", "/elsewhere/x", 404, "no_route"},
			{"PUT", "/pub/x", 405, "method_not_allowed"},
			{"GET", "/pub/%zz", 400, "bad_target"},
		} {
			r, body := gw.do(c.method, c.target)
			if r.StatusCode != c.status || !strings.Contains(string(body), fmt.Sprintf(`"error":%q`, c.code)) {
				t.Errorf("%s %s: status %d, body %s", c.method, c.target, r.StatusCode, body)
			}
		}
		if r, _ := gw.do("HEAD", "/pub/missing"); r.StatusCode != 404 {
			t.Errorf("HEAD of a missing key: status %d", r.StatusCode)
		}
		wrong := startGateway(t, strings.Replace(realBucket(server.Endpoint()), s3SecretKey, "not-the-secret", 1))
		putObject(t, client, "there", 10)
		for _, m := range []string{"GET", "HEAD"} {
			if r, body := wrong.do(m, "/pub/there"); r.StatusCode != 502 {
				t.Errorf("%s under a wrong secret: status %d, body %s", m, r.StatusCode, body)
			}
		}
		wrong.log.waitFor(t, `"reason":"signature"`)
	})
	t.Run("stopped origin", func(t *testing.T) {
		server.Kill()
		r, body := gw.do("GET", "/pub/size-1")
		if r.StatusCode != 502 || !strings.Contains(string(body), "upstream_unreachable") {
			t.Errorf("status %d, body %s", r.StatusCode, body)
		}
	})
}

// escapeKey percent-encodes what a client must encode in a path.
func escapeKey(key string) string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// testRealSemantics asks what S3 servers answer differently.
func testRealSemantics(t *testing.T, gw *testGateway, client *minio.Client) {
	putObject(t, client, "sem", 1000)
	info, err := client.StatObject(t.Context(), s3Bucket, "sem", minio.StatObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tag := `"` + info.ETag + `"`
	same := info.LastModified.UTC().Format(http.TimeFormat)
	before := info.LastModified.Add(-time.Hour).UTC().Format(http.TimeFormat)
	whole, _ := io.ReadAll(noise(1000))
	for _, c := range []struct {
		name    string
		headers []string
		status  int
		rng     string
		body    []byte
	}{
		{"range", []string{"Range: bytes=10-19"}, 206, "bytes 10-19/1000", whole[10:20]},
		{"suffix", []string{"Range: bytes=-10"}, 206, "bytes 990-999/1000", whole[990:]},
		{"last before first", []string{"Range: bytes=5-2"}, 200, "", whole},
		{"two ranges", []string{"Range: bytes=0-1,5-6"}, 200, "", whole},
		{"beyond the end", []string{"Range: bytes=1000-"}, 416, "bytes */1000", nil},
		{"if-range same", []string{"Range: bytes=0-9", "If-Range: " + tag}, 206, "bytes 0-9/1000", whole[:10]},
		{"if-range other", []string{"Range: bytes=0-9", `If-Range: "other"`}, 200, "", whole},
		{"if-range date", []string{"Range: bytes=0-9", "If-Range: " + same}, 206, "bytes 0-9/1000", whole[:10]},
		{"if-range older date", []string{"Range: bytes=0-9", "If-Range: " + before}, 200, "", whole},
		{"if-none-match", []string{"If-None-Match: " + tag}, 304, "", nil},
		{"if-none-match list", []string{`If-None-Match: "x", ` + tag}, 304, "", nil},
		{"if-none-match weak", []string{"If-None-Match: W/" + tag}, 304, "", nil},
		{"if-none-match other", []string{`If-None-Match: "x"`}, 200, "", whole},
		{"if-modified-since same", []string{"If-Modified-Since: " + same}, 304, "", nil},
		{"if-modified-since before", []string{"If-Modified-Since: " + before}, 200, "", whole},
		{"if-match other", []string{`If-Match: "x"`}, 412, "", nil},
		{"if-match", []string{"If-Match: " + tag}, 200, "", whole},
		{"if-unmodified-since same", []string{"If-Unmodified-Since: " + same}, 200, "", whole},
		{"if-unmodified-since before", []string{"If-Unmodified-Since: " + before}, 412, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, body := gw.do("GET", "/pub/sem", c.headers...)
			if r.StatusCode != c.status || r.Header.Get("Content-Range") != c.rng {
				t.Fatalf("status %d, Content-Range %q; want %d, %q", r.StatusCode, r.Header.Get("Content-Range"), c.status, c.rng)
			}
			if c.body != nil && !bytes.Equal(body, c.body) {
				t.Errorf("%d bytes, want %d", len(body), len(c.body))
			}
			if c.status < 400 && (r.Header.Get("ETag") != tag || r.Header.Get("Last-Modified") != same) {
				t.Errorf("ETag %q, Last-Modified %q", r.Header.Get("ETag"), r.Header.Get("Last-Modified"))
			}
			for _, name := range []string{"Vary", "Strict-Transport-Security", "X-Ratelimit-Limit", "Server"} {
				if v := r.Header.Get(name); v != "" {
					t.Errorf("%s: %s", name, v)
				}
			}
		})
	}
}

// TestHeadIsDenied asks MinIO for what a credential may not read: 403, for HEAD without a
// word why.
func TestHeadIsDenied(t *testing.T) {
	server, client := startS3(t, s3server.MinIO)
	putObject(t, client, "there", 10)
	session, err := (&credentials.STSAssumeRole{STSEndpoint: server.Endpoint(), Options: credentials.STSAssumeRoleOptions{
		AccessKey: s3AccessKey, SecretKey: s3SecretKey, Location: "us-east-1", DurationSeconds: 3600,
		Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::` + s3Bucket + `/there"}]}`,
	}}).RetrieveWithCredContext(&credentials.CredContext{Client: http.DefaultClient})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		more string
		want int
	}{{"access_denied: 403", 403}, {"access_denied: 404", 404}} {
		t.Run(c.more, func(t *testing.T) {
			yaml := strings.NewReplacer("AKmain", session.AccessKeyID, "secret-of-main", session.SecretAccessKey).
				Replace(oneBucket("/pub", server.Endpoint(), c.more, fmt.Sprintf("session_token: %q", session.SessionToken)))
			gw := startGateway(t, yaml)
			var wg sync.WaitGroup
			for i := range 40 {
				method := [...]string{"HEAD", "GET"}[i%2]
				wg.Go(func() {
					if r, _ := gw.do(method, fmt.Sprint("/pub/denied-", i)); r.StatusCode != c.want {
						t.Errorf("%s: status %d", method, r.StatusCode)
					}
				})
			}
			wg.Wait()
			for _, method := range []string{"HEAD", "GET"} {
				if r, _ := gw.do(method, "/pub/there"); r.StatusCode != 200 {
					t.Errorf("%s of what is there: status %d", method, r.StatusCode)
				}
			}
			gw.settle(t)
		})
	}
}

// TestHeadUnderAWrongKey asks real servers for what is there and what is not under a wrong
// key and a wrong secret: never 404, although versitygw says that of an unknown key.
func TestHeadUnderAWrongKey(t *testing.T) {
	eachS3(t, func(t *testing.T, server *s3server.Server, client *minio.Client) {
		putObject(t, client, "there", 10)
		for name, yaml := range map[string]string{
			"key":    strings.Replace(oneBucket("/pub", server.Endpoint()), "secret-of-main", s3SecretKey, 1),
			"secret": strings.Replace(oneBucket("/pub", server.Endpoint()), "AKmain", s3AccessKey, 1),
			"bucket": strings.Replace(realBucket(server.Endpoint()), `"`+s3Bucket+`"`, `"nothings"`, 1),
		} {
			t.Run("wrong "+name, func(t *testing.T) {
				gw := startGateway(t, yaml)
				for _, method := range []string{"HEAD", "GET", "HEAD"} {
					for _, key := range []string{"there", "absent"} {
						if r, body := gw.do(method, "/pub/"+key); r.StatusCode != 502 {
							t.Errorf("%s %s: status %d, %s", method, key, r.StatusCode, body)
						}
					}
				}
				gw.settle(t)
			})
		}
	})
}

// TestRealHeads asks real servers for what their heads tell: how many parts there are, and
// the date of a stored object.
func TestRealHeads(t *testing.T) {
	eachS3(t, func(t *testing.T, server *s3server.Server, client *minio.Client) {
		const size = 6 << 20
		_, err := client.PutObject(t.Context(), s3Bucket, "parts", noise(size), size, minio.PutObjectOptions{PartSize: 5 << 20, DisableContentSha256: true})
		if err != nil {
			t.Fatal(err)
		}
		putObject(t, client, "small", 100)
		gw := startGateway(t, realBucket(server.Endpoint(), "allow_query: [partNumber]", "request_payer: requester")+both)
		for _, method := range []string{"GET", "HEAD"} {
			r, body := gw.do(method, "/pub/parts?partNumber=2")
			if r.StatusCode != 206 || r.Header.Get("X-Amz-Mp-Parts-Count") != "2" || r.ContentLength != 1<<20 || method == "GET" && len(body) != 1<<20 {
				t.Errorf("%s: status %d, %d bytes, %v", method, r.StatusCode, len(body), r.Header)
			}
		}
		miss, _ := gw.do("GET", "/pub/small")
		time.Sleep(1100 * time.Millisecond) // dates have whole seconds
		hit, _ := gw.do("GET", "/pub/small")
		part, _ := gw.do("GET", "/pub/small", "Range: bytes=1-2")
		unchanged, _ := gw.do("GET", "/pub/small", "If-None-Match: "+hit.Header.Get("ETag"))
		for _, r := range []*http.Response{hit, part, unchanged} {
			if r.Header.Get("X-Cache") != "HIT" || r.Header.Get("Date") != miss.Header.Get("Date") || miss.Header.Get("Date") == "" {
				t.Errorf("%d: %s, Date %q, want %q", r.StatusCode, r.Header.Get("X-Cache"), r.Header.Get("Date"), miss.Header.Get("Date"))
			}
		}
		if raw := gw.raw("GET http://elsewhere.test/pub/small HTTP/1.1\r\nHost: ignored\r\nConnection: close\r\n\r\n"); statusOf(raw) != 200 {
			t.Errorf("absolute form: %.100s", raw)
		}
		gw.settle(t)
	})
}

// TestRealPublicBuckets asks real servers anonymously: for what everybody may read, and for
// what nobody without a key may.
func TestRealPublicBuckets(t *testing.T) {
	eachS3(t, func(t *testing.T, server *s3server.Server, client *minio.Client) {
		putObject(t, client, "small", 100)
		gw := startGateway(t, anonymousYAML(server.Endpoint()))
		check := func(key string, want int) {
			t.Helper()
			for _, method := range []string{"GET", "HEAD"} {
				if r, body := gw.do(method, "/pub/"+key); r.StatusCode != want {
					t.Errorf("%s %s: status %d, want %d, %.300s", method, key, r.StatusCode, want, body)
				}
			}
		}
		check("small", 403)
		check("absent", 403)
		err := client.SetBucketPolicy(t.Context(), s3Bucket, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::`+s3Bucket+`/*"}]}`)
		if err != nil {
			t.Fatal(err)
		}
		check("small", 200)
		gw.settle(t)
	})
}
