package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/inspect"
	"yatagarasu/gateway/probe"
)

// asksForAll has the gateway make each kind of request to an origin, and returns the
// doctor's report.
func asksForAll(t *testing.T, gw *testGateway) string {
	t.Helper()
	for _, c := range []struct {
		method string
		lines  []string
		status int
	}{
		{"GET", nil, 200},
		{"HEAD", nil, 200},
		{"GET", []string{"Range: bytes=1-2", `If-Match: "e"`}, 206},
		{"GET", []string{`If-None-Match: "e"`}, 304},
	} {
		if r, body := gw.do(c.method, "/pub/a", c.lines...); r.StatusCode != c.status {
			t.Errorf("%s %q: %d %s", c.method, c.lines, r.StatusCode, body)
		}
	}
	for _, r := range gw.Generation.Load().Buckets[0].Origin.Replicas {
		if reason, _ := probe.Probe(r); reason != "" {
			t.Errorf("the probe finds %s", reason)
		}
	}
	var out strings.Builder
	inspect.Doctor(gw.Generation.Load(), "", &out, &out)
	return out.String()
}

// serveBucket serves one object, a, and the list of it.
func serveBucket(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Query().Has("list-type"):
		w.Write([]byte("<ListBucketResult><Contents><Key>a</Key><Size>5</Size></Contents></ListBucketResult>"))
	case r.URL.Path == "/things":
	default:
		w.Header().Set("ETag", `"e"`)
		http.ServeContent(w, r, "", time.Unix(1767323045, 0), strings.NewReader("hello"))
	}
}

func TestRequestPayer(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"the requester", "request_payer: requester", "requester"},
		{"the owner", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				if bad := refusedSignature(r, "AKmain", "secret-of-main"); bad != "" {
					t.Errorf("%s %s: %s", r.Method, r.RequestURI, bad)
				}
				signed := strings.Contains(r.Header.Get("Authorization"), ";x-amz-request-payer,")
				if got := r.Header.Get("X-Amz-Request-Payer"); got != c.want || signed != (c.want != "") {
					t.Errorf("%s %s: %q pays, signed: %v", r.Method, r.RequestURI, got, signed)
				}
				serveBucket(w, r)
			})
			gw := startGateway(t, oneBucket("/pub", o.URL, c.line))
			if found := asksForAll(t, gw); !strings.Contains(found, "all is well") {
				t.Errorf("the doctor finds\n%s", found)
			}
			if n := len(o.seen()); n < 8 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// anonymousYAML is a bucket that everybody may read.
func anonymousYAML(endpoint string) string { return credentialsYAML(endpoint, "source: anonymous") }

func TestAnonymousBucket(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			if name == "Authorization" || strings.HasPrefix(name, "X-Amz-") {
				t.Errorf("%s %s has the header %s", r.Method, r.RequestURI, name)
			}
		}
		serveBucket(w, r)
	})
	gw := startGateway(t, anonymousYAML(o.URL))
	if found := asksForAll(t, gw); !strings.Contains(found, "all is well") || !strings.Contains(found, "none needed") {
		t.Errorf("the doctor finds\n%s", found)
	}
	if c := probe.CredentialStateOf(gw.Generation.Load().Buckets[0].Origin.Replicas[0]); c == nil || c.Source != "anonymous" || c.Error != "" {
		t.Errorf("the status has %+v", c)
	}
}

// TestDeniedAnonymously says what forbids, and what to do about it by who was refused.
func TestDeniedAnonymously(t *testing.T) {
	denied := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(403)
		w.Write([]byte("<Error><Code>AccessDenied</Code></Error>"))
	})
	for _, c := range []struct{ name, yaml, fix string }{
		{"anonymous", anonymousYAML(denied.URL), "fix: let everybody read the objects"},
		{"signed", oneBucket("/pub", denied.URL), "fix: let the credential read the objects: allow s3:GetObject on them; if the reader pays"},
		{"signed, for the requester", oneBucket("/pub", denied.URL, "request_payer: requester"), "fix: let the credential read the objects: allow s3:GetObject on them\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			gw := startGateway(t, c.yaml)
			if r, body := gw.do("GET", "/pub/a"); r.StatusCode != 403 || !strings.Contains(string(body), "access_denied") {
				t.Errorf("%d %s", r.StatusCode, body)
			}
			gw.log.waitFor(t, `"reason":"access_denied"`)
			var out strings.Builder
			if inspect.Doctor(gw.Generation.Load(), "a", &out, &out) != 1 || !strings.Contains(out.String(), c.fix) {
				t.Errorf("the doctor says\n%s", out.String())
			}
		})
	}
}
