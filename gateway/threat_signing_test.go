package gateway

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

func threatSigning(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	gw := startGateway(t, "server: {ready: config, trusted_proxies: [\"10.0.0.0/8\"]}\nbuckets:\n"+
		bucketYAML("pub", "/pub", origin.URL)+bucketYAML("versions", "/versions", origin.URL, "allow_query: [versionId, partNumber]"))

	last := func() *http.Request {
		seen := origin.seen()
		return seen[len(seen)-1]
	}
	t.Run("T23_special_keys", func(t *testing.T) {
		for _, key := range []string{"a b+c%2Fd~é.txt", "*'()!;=&@:,$%?#", "日本/ü.txt", `back\slash`, `"quoted"<>`} {
			r, body := gw.do("GET", "/pub/"+url.PathEscape(key))
			if r.StatusCode != 200 || string(body) != "hello" {
				t.Fatalf("key %q: status %d, body %q", key, r.StatusCode, body)
			}
			got := last().RequestURI
			decoded, err := url.PathUnescape(got)
			if err != nil || decoded != "/things/"+key {
				t.Errorf("key %q arrives as %q (%s)", key, decoded, got)
			}
		}
	})
	t.Run("T24_slashes_in_keys", func(t *testing.T) {
		for _, key := range []string{"x//y", "/leading", "trailing/", "//"} {
			if r, _ := gw.do("GET", "/pub/"+key); r.StatusCode != 200 {
				t.Fatalf("key %q: status %d", key, r.StatusCode)
			}
			if got := last().RequestURI; got != "/things/"+key {
				t.Errorf("key %q arrives as %s", key, got)
			}
		}
	})
	t.Run("T25_T27_queries_stay_here", func(t *testing.T) {
		for _, q := range []string{"uploads", "acl", "policy", "list-type=2", "location", "X-Amz-Signature=x", "response-content-type=text/html", "versionId=v1", "partNumber=1", "version%49d=v1", "&&&", "a=b?c"} {
			if r, _ := gw.do("GET", "/pub/x?"+q); r.StatusCode != 200 {
				t.Fatalf("?%s: status %d", q, r.StatusCode)
			}
			if got := last().RequestURI; got != "/things/x" {
				t.Errorf("?%s: the origin got %s", q, got)
			}
		}
	})
	t.Run("T26_allowed_query", func(t *testing.T) {
		for q, want := range map[string]string{
			"versionId=v1":                              "?versionId=v1",
			"versionId=a%2Fb%20c&acl&partNumber=3":      "?partNumber=3&versionId=a%2Fb%20c",
			"token=secret&versionId=v1&list-type=2":     "?versionId=v1",
			"response-content-type=text/html&uploads":   "",
			"versionId=%26acl%3D1&X-Amz-Security-Token": "?versionId=%26acl%3D1",
		} {
			if r, _ := gw.do("GET", "/versions/x?"+q); r.StatusCode != 200 {
				t.Fatalf("?%s: status %d", q, r.StatusCode)
			}
			if got := last().RequestURI; got != "/things/x"+want {
				t.Errorf("?%s: the origin got %s", q, got)
			}
		}
		for _, q := range []string{"versionId=a&versionId=b", "versionId=", "partNumber=0", "partNumber=x", "versionId=%zz"} {
			if r, _ := gw.do("GET", "/versions/x?"+q); r.StatusCode != 400 {
				t.Errorf("?%s: status %d, want 400", q, r.StatusCode)
			}
		}
	})
	t.Run("T26_part_of_an_object", func(t *testing.T) {
		parts := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" || r.URL.Query().Get("partNumber") != "2" {
				w.WriteHeader(416)
				fmt.Fprint(w, "<Error><Code>InvalidPartNumber</Code></Error>")
				return
			}
			w.Header().Set("Content-Range", "bytes 4-7/8")
			w.Header().Set("Content-Length", "4")
			w.WriteHeader(206)
			fmt.Fprint(w, "part")
		})
		gw := startGateway(t, oneBucket("/pub", parts.URL, "allow_query: [partNumber]"))
		for _, m := range []string{"GET", "HEAD"} {
			r, body := gw.do(m, "/pub/x?partNumber=2", "Range: bytes=0-1")
			if r.StatusCode != 206 || r.Header.Get("Content-Range") != "bytes 4-7/8" || m == "GET" && string(body) != "part" {
				t.Errorf("%s: status %d, %q, body %q", m, r.StatusCode, r.Header.Get("Content-Range"), body)
			}
			if r, _ := gw.do(m, "/pub/x?partNumber=3"); r.StatusCode != 416 {
				t.Errorf("%s of a missing part: status %d", m, r.StatusCode)
			}
		}
	})
	t.Run("T28_client_headers_stay_here", func(t *testing.T) {
		r, _ := gw.do("GET", "/pub/x", "Authorization: Bearer client", "Cookie: c=1", "X-Auth-Token: t", "X-Amz-Date: 1", "x-amz-acl: public-read",
			"X-Amz-Security-Token: mine", "Forwarded: for=1.2.3.4", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: evil", "Accept-Encoding: gzip", "Origin: http://evil")
		if r.StatusCode != 200 {
			t.Fatalf("status %d", r.StatusCode)
		}
		got := last()
		if names := foreignHeaders(got); len(names) != 0 {
			t.Errorf("the origin got the headers %v", names)
		}
		if a := got.Header.Get("Authorization"); !strings.HasPrefix(a, "AWS4-HMAC-SHA256 Credential=AKpub/") {
			t.Errorf("the origin got Authorization %.40q", a)
		}
		if got.Host != strings.TrimPrefix(origin.URL, "http://") {
			t.Errorf("the origin got Host %q", got.Host)
		}
	})
	t.Run("T29_token_in_query", func(t *testing.T) {
		r, _ := gw.do("GET", "/pub/secret-holder?token=s3cr3t-t0ken")
		if r.StatusCode != 200 || r.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("status %d, Referrer-Policy %q", r.StatusCode, r.Header.Get("Referrer-Policy"))
		}
		gw.do("GET", "/nowhere?token=s3cr3t-t0ken")
		gw.do("GET", "/pub/../x?token=s3cr3t-t0ken")
		gw.raw("GET /pub/x?token=s3cr3t-t0ken HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n")
		gw.raw("GET /pub/x?token=s3cr3t-t0ken HTTP/1.1\r\nHost: x\r\nContent-Length: nonsense\r\n\r\n")
		gw.log.waitFor(t, "secret-holder")
		var metrics strings.Builder
		gw.operators.WriteMetrics(&metrics)
		for what, text := range map[string]string{"the log": gw.log.String(), "a metric": metrics.String(), "the upstream request": fmt.Sprint(last().RequestURI, last().Header)} {
			if strings.Contains(text, "s3cr3t") {
				t.Errorf("%s holds the token", what)
			}
		}
	})
	t.Run("T31_clock_skew", func(t *testing.T) {
		skewed := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(403)
			fmt.Fprint(w, `<Error><Code>RequestTimeTooSkewed</Code><Message>AKIA secret text</Message></Error>`)
		})
		gw := startGateway(t, oneBucket("/pub", skewed.URL))
		r, body := gw.do("GET", "/pub/x")
		if r.StatusCode != 502 || strings.Contains(string(body), "AKIA") {
			t.Errorf("status %d, body %s", r.StatusCode, body)
		}
		name := fmt.Sprintf(`yatagarasu_upstream_errors_total{bucket="main",origin=%q,reason="clock_skew"}`, strings.TrimPrefix(skewed.URL, "http://"))
		if v := gw.metricValue(name); v != 1 {
			t.Errorf("%s is %v, want 1", name, v)
		}
	})
	t.Run("T32_redirects", func(t *testing.T) {
		elsewhere := startOrigin(t, serveText("stolen"))
		for _, status := range []int{301, 302, 307, 308} {
			redirecting := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", elsewhere.URL+r.RequestURI)
				w.WriteHeader(status)
				fmt.Fprint(w, `<Error><Code>PermanentRedirect</Code><Endpoint>elsewhere</Endpoint></Error>`)
			})
			gw := startGateway(t, oneBucket("/pub", redirecting.URL))
			for _, m := range []string{"GET", "HEAD"} {
				if r, _ := gw.do(m, "/pub/x"); r.StatusCode != 502 || r.Header.Get("Location") != "" {
					t.Errorf("%s, origin says %d: status %d, Location %q", m, status, r.StatusCode, r.Header.Get("Location"))
				}
			}
		}
		if n := len(elsewhere.seen()); n != 0 {
			t.Errorf("the redirect was followed %d times", n)
		}
	})
	t.Run("T33_error_documents", func(t *testing.T) {
		for code, want := range map[string]int{"NoSuchKey": 404, "AccessDenied": 403, "InvalidObjectState": 403, "NoSuchBucket": 502, "InvalidAccessKeyId": 502,
			"SignatureDoesNotMatch": 502, "ExpiredToken": 502, "KMS.DisabledException": 502, "SlowDown": 503, "InternalError": 502, "SomethingNew": 502} {
			status := map[int]int{404: 404, 403: 403, 502: 403, 503: 503}[want]
			if code == "InternalError" || code == "SomethingNew" {
				status = 500
			}
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>inner words</Message><BucketName>things</BucketName><AWSAccessKeyId>AKmain</AWSAccessKeyId></Error>`, code)
			})
			gw := startGateway(t, oneBucket("/pub", o.URL))
			r, body := gw.do("GET", "/pub/x")
			if r.StatusCode != want {
				t.Errorf("%s: status %d, want %d", code, r.StatusCode, want)
			}
			for _, leak := range []string{"inner words", "things", "AKmain", "<"} {
				if strings.Contains(string(body), leak) {
					t.Errorf("%s: the body holds %q: %s", code, leak, body)
				}
			}
			if r.Header.Get("Content-Type") != "application/json" || !strings.Contains(string(body), `"request_id":"`+r.Header.Get("X-Request-ID")) {
				t.Errorf("%s: %s %s", code, r.Header.Get("Content-Type"), body)
			}
			if want == 503 && r.Header.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", code)
			}
		}
	})
}

// TestThreatCredentials sends requests for several buckets over shared client
// connections, one after the other and from many clients at once.
func TestThreatCredentials(t *testing.T) {
	t.Run("T30_each_bucket_has_its_own_credential", func(t *testing.T) {
		requests := 100_000
		if testing.Short() || raceEnabled {
			requests = 10_000
		}
		names := []string{"a", "b", "c"}
		var wrong sync.Map
		origin := startBareOrigin(t, func(bucket, accessKey string) {
			if accessKey != "AK"+bucket {
				wrong.Store(bucket+" under "+accessKey, true)
			}
		})
		yaml := "server: {ready: config}\nbuckets:\n"
		for _, n := range names {
			yaml += strings.Replace(bucketYAML(n, "/"+n, origin), `"things"`, fmt.Sprintf("%q", "bucket-"+n), 1)
		}
		gw := startGateway(t, yaml, func(o *Options) { o.LogLevel = "error" })
		var wg sync.WaitGroup
		const clients = 8
		for c := range clients {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(c), 1))
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
				defer client.CloseIdleConnections()
				for range requests / clients {
					n := names[rnd.IntN(len(names))]
					method := []string{"GET", "HEAD"}[rnd.IntN(2)]
					req, _ := http.NewRequest(method, gw.url("/"+n+"/key"), nil)
					r, err := client.Do(req)
					if err != nil {
						t.Error(err)
						return
					}
					if r.StatusCode != 200 || r.Header.Get("X-Amz-Meta-Bucket") != "bucket-"+n {
						t.Errorf("/%s: status %d from bucket %q", n, r.StatusCode, r.Header.Get("X-Amz-Meta-Bucket"))
					}
					var b [8]byte
					for err == nil {
						_, err = r.Body.Read(b[:])
					}
					r.Body.Close()
				}
			})
		}
		wg.Wait()
		wrong.Range(func(k, _ any) bool { t.Errorf("the origin was asked for bucket %v", k); return true })
	})
}
