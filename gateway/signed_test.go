package gateway

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsv4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"yatagarasu/gateway/inspect"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/probe"
)

// refusedSignature says what is wrong with the signature of a request, by AWS's own
// signer, over what arrived; empty if nothing is.
func refusedSignature(r *http.Request, key, secret string) string {
	auth := r.Header.Get("Authorization")
	_, rest, ok := strings.Cut(auth, "SignedHeaders=")
	names, _, _ := strings.Cut(rest, ",")
	now, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if !ok || err != nil {
		return "it is not signed"
	}
	again := &http.Request{Method: r.Method, Host: r.Host, Header: http.Header{}}
	path, query, _ := strings.Cut(r.RequestURI, "?")
	decoded, _ := url.PathUnescape(path)
	again.URL = &url.URL{Scheme: "http", Host: r.Host, Path: decoded, RawPath: path, RawQuery: query}
	for name := range strings.SplitSeq(names, ";") {
		if v := r.Header.Get(name); name != "host" {
			again.Header.Set(name, v)
		}
	}
	s := awsv4.NewSigner(func(o *awsv4.SignerOptions) { o.DisableURIPathEscaping = true })
	err = s.SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, again, r.Header.Get("X-Amz-Content-Sha256"), "s3", "us-east-1", now)
	if err != nil {
		return err.Error()
	}
	if want := again.Header.Get("Authorization"); want != auth {
		return "Authorization is " + auth + ", want " + want
	}
	return ""
}

// behindPath is a server with one bucket, things, below a path, which verifies
// signatures over all of it.
func behindPath(t *testing.T, base string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		bad := refusedSignature(r, "AKmain", "secret-of-main")
		switch {
		case bad != "":
			t.Errorf("%s %s: %s", r.Method, r.RequestURI, bad)
			w.WriteHeader(403)
		case r.URL.Query().Has("list-type"):
			if path != base+"/things" {
				t.Errorf("%s is listed", path)
			}
			w.Write([]byte("<ListBucketResult><Contents><Key>a b</Key><Size>5</Size></Contents></ListBucketResult>"))
		case path == base+"/things/a%20b":
			serveText("hello")(w, r)
		case path != base+"/things":
			t.Errorf("%s %s is asked for", r.Method, path)
			w.WriteHeader(404)
		}
	}
}

// TestEndpointWithPath asks an origin behind a path for objects, for the bucket and for
// a list.
func TestEndpointWithPath(t *testing.T) {
	for _, c := range []struct{ name, path, base string }{
		{"one of several segments", "/storage/v1/s3", "/storage/v1/s3"},
		{"with a slash at its end", "/s3/", "/s3"},
		{"in another encoding", "/a+b/%7Ec%2fd", "/a%2Bb/~c%2Fd"},
		{"none", "/", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := startOrigin(t, behindPath(t, c.base))
			gw := startGateway(t, oneBucket("/pub", o.URL+c.path))
			if r, body := gw.do("GET", "/pub/a%20b"); r.StatusCode != 200 || string(body) != "hello" {
				t.Errorf("%d %s", r.StatusCode, body)
			}
			r := gw.Generation.Load().Buckets[0].Origin.Replicas[0]
			if reason, _ := probe.Probe(r); reason != "" {
				t.Errorf("the probe finds %s", reason)
			}
			var out strings.Builder
			if code := inspect.Doctor(gw.Generation.Load(), "", &out, &out); code != 0 {
				t.Errorf("the doctor finds\n%s", out.String())
			}
			out.Reset()
			if !inspect.Explain(gw.Generation.Load(), &out, "/pub/a%20b", "") || !strings.Contains(out.String(), "GET "+o.URL+c.base+"/things/a%20b\n") {
				t.Errorf("explained as\n%s", out.String())
			}
		})
	}
}

// TestEndpointWithDot reaches origins by absolute names, over TLS by the name that is in
// the certificate.
func TestEndpointWithDot(t *testing.T) {
	plain := startOrigin(t, behindPath(t, ""))
	secure := httptest.NewUnstartedServer(behindPath(t, ""))
	secure.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if h.ServerName != "example.com" {
			t.Errorf("the certificate is asked for %q", h.ServerName)
		}
		return nil, nil
	}}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	port := func(s *httptest.Server) string { _, p, _ := net.SplitHostPort(s.Listener.Addr().String()); return p }
	t.Run("plain", func(t *testing.T) {
		gw := startGateway(t, oneBucket("/pub", "http://localhost.:"+port(plain.Server)))
		if r, body := gw.do("GET", "/pub/a%20b"); r.StatusCode != 200 || string(body) != "hello" {
			t.Errorf("%d %s", r.StatusCode, body)
		}
		if host := plain.seen()[0].Host; host != "localhost:"+port(plain.Server) {
			t.Errorf("the origin is asked for %s", host)
		}
	})
	t.Run("TLS", func(t *testing.T) {
		c := mustConfig(t, oneBucket("/pub", "https://example.com.:443", "ca_file: "+ca))
		o, err := origin.NewAddress(&c.Buckets[0].S3)
		if err != nil {
			t.Fatal(err)
		}
		conf, _, err := origin.ClientTLS(o, ca)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", secure.Listener.Addr().String(), conf)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	})
}

// TestPathTellsOriginsApart keeps a reload to another path from answering with what is
// stored of the old one.
func TestPathTellsOriginsApart(t *testing.T) {
	key := func(path string) string {
		g := configuredGateway(t, oneBucket("/pub", "http://127.0.0.1:9"+path)+"    cache: {enabled: true}\n", "error")
		return string(g.Generation.Load().Buckets[0].Cached.AppendKey(nil, []byte("a"), nil))
	}
	if key("/a") == key("/b") || key("/a") != key("/a/") {
		t.Error("objects of different paths have the same key, or those of one have two")
	}
}
