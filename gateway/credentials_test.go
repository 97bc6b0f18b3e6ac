package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"yatagarasu/gateway/probe"
	"yatagarasu/loadtest/rawserver"
	"yatagarasu/loadtest/s3server"
)

// issuer stands for the services that issue credentials: the metadata service of an
// instance or a container, and an STS.
type issuer struct {
	*httptest.Server
	issue func() credentials.Value
	down  atomic.Bool
	asked atomic.Int64

	mu   sync.Mutex // guards form
	form map[string]string
}

func startIssuer(t *testing.T, issue func() credentials.Value) *issuer {
	t.Helper()
	i := &issuer{issue: issue, form: map[string]string{}}
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

// numbered returns credentials AK1, AK2 and so on that live for a time.
func numbered(life time.Duration) func() credentials.Value {
	var n atomic.Int64
	return func() credentials.Value {
		return credentials.Value{AccessKeyID: fmt.Sprintf("AK%d", n.Add(1)), SecretAccessKey: "secret", SessionToken: "session", Expiration: time.Now().Add(life)}
	}
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const role = "/latest/meta-data/iam/security-credentials/"
	if i.down.Load() {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	switch {
	case r.URL.Path == "/latest/api/token" && r.Method == http.MethodPut:
		io.WriteString(w, "metadata-token")
	case r.URL.Path == role:
		io.WriteString(w, "reader")
	case r.URL.Path == role+"reader" && r.Header.Get("X-Aws-Ec2-Metadata-Token") != "metadata-token":
		http.Error(w, "version 2 only", http.StatusUnauthorized)
	case r.URL.Path == role+"reader", r.URL.Path == "/container" && r.Header.Get("Authorization") == "container-token":
		i.asked.Add(1)
		c := i.issue()
		json.NewEncoder(w).Encode(map[string]any{
			"Code": "Success", "AccessKeyId": c.AccessKeyID, "SecretAccessKey": c.SecretAccessKey, "Token": c.SessionToken, "Expiration": c.Expiration.UTC().Format(time.RFC3339Nano),
		})
	case r.URL.Path == "/" && r.Method == http.MethodPost:
		i.asked.Add(1)
		r.ParseForm()
		i.mu.Lock()
		for key := range r.PostForm {
			i.form[key] = r.PostForm.Get(key)
		}
		i.form["authorization"] = r.Header.Get("Authorization")
		i.mu.Unlock()
		c, action := i.issue(), r.PostForm.Get("Action")
		fmt.Fprintf(w, "<%sResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><%sResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials></%sResult></%sResponse>",
			action, action, c.AccessKeyID, c.SecretAccessKey, c.SessionToken, c.Expiration.UTC().Format(time.RFC3339Nano), action, action)
	default:
		http.NotFound(w, r)
	}
}

func (i *issuer) sent(key string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.form[key]
}

// credentialsYAML is a configuration with a bucket whose credentials come from
// elsewhere.
func credentialsYAML(endpoint, credentials string, more ...string) string {
	yaml := oneBucket("/pub", endpoint, append(more, "credentials: {"+credentials+"}")...)
	return strings.NewReplacer("      access_key: \"AKmain\"\n", "", "      secret_key: \"secret-of-main\"\n", "").Replace(yaml)
}

var credentialOf = regexp.MustCompile(`Credential=([^/]*)/`)

var stampOf = regexp.MustCompile(`X-Amz-Date: (\w+)`)

// signedAt returns the time by which a head was signed, in whole seconds.
func signedAt(head string) (time.Time, error) {
	return time.Parse("20060102T150405Z", stampOf.FindStringSubmatch(head)[1])
}

func TestCredentialSources(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	i := startIssuer(t, numbered(time.Hour))
	token := file("token", "a.b.c\n")
	shared := file("shared", "[default]\naws_access_key_id = AKdefault\naws_secret_access_key = s\n[other]\naws_access_key_id = AKother\naws_secret_access_key = s\naws_session_token = session\n")
	for _, c := range []struct {
		name, yaml string
		env        map[string]string
		key        string // what requests are signed with begins with it
		session    string
	}{
		{"environment", "source: environment", map[string]string{"AWS_ACCESS_KEY_ID": "AKenv", "AWS_SECRET_ACCESS_KEY": "s"}, "AKenv", ""},
		{"environment with a token", "source: environment", map[string]string{"AWS_ACCESS_KEY_ID": "AKenv", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "session"}, "AKenv", "session"},
		{"shared file", "source: shared_file, file: " + shared, nil, "AKdefault", ""},
		{"profile", "source: shared_file, profile: other, file: " + shared, nil, "AKother", "session"},
		{"instance", "source: instance, endpoint: " + i.URL, nil, "AK", "session"},
		{"container", "source: instance", map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": i.URL + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "container-token"}, "AK", "session"},
		{"web identity", "source: web_identity, role_arn: role-1, token_file: " + token + ", endpoint: " + i.URL, nil, "AK", "session"},
		{"web identity of the environment", "source: web_identity, endpoint: " + i.URL, map[string]string{"AWS_ROLE_ARN": "role-2", "AWS_WEB_IDENTITY_TOKEN_FILE": token}, "AK", "session"},
		{"role of the environment", "source: assume_role, role_arn: role-3, external_id: external, duration: 20m, endpoint: " + i.URL, map[string]string{"AWS_ACCESS_KEY_ID": "AKenv", "AWS_SECRET_ACCESS_KEY": "s"}, "AK", "session"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			origin := startOrigin(t, serveText("hello"))
			gw := startGateway(t, credentialsYAML(origin.URL, c.yaml))
			if r, body := gw.do("GET", "/pub/x"); r.StatusCode != 200 {
				t.Fatalf("%d %s\n%s", r.StatusCode, body, gw.log.String())
			}
			h := origin.seen()[0].Header
			m := credentialOf.FindStringSubmatch(h.Get("Authorization"))
			if m == nil || !strings.HasPrefix(m[1], c.key) || h.Get("X-Amz-Security-Token") != c.session {
				t.Errorf("%v", h)
			}
			switch {
			case strings.HasPrefix(c.name, "web"):
				if i.sent("WebIdentityToken") != "a.b.c" || !strings.HasPrefix(i.sent("RoleArn"), "role-") || i.sent("Action") != "AssumeRoleWithWebIdentity" {
					t.Errorf("%v", i.form)
				}
			case strings.HasPrefix(c.name, "role"):
				if i.sent("RoleArn") != "role-3" || i.sent("ExternalId") != "external" || i.sent("DurationSeconds") != "1200" || !strings.Contains(i.sent("authorization"), "AKenv") {
					t.Errorf("%v", i.form)
				}
			}
		})
	}
}

// TestNoCredential has a source that has none: the bucket says so, and others serve on.
func TestNoCredential(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	i := startIssuer(t, numbered(time.Hour))
	i.down.Store(true)
	yaml := strings.Replace(credentialsYAML(origin.URL, "source: instance, endpoint: "+i.URL), "ready: config", "ready: any", 1) + bucketYAML("other", "/other", origin.URL)
	gw := startGateway(t, yaml)
	r, body := gw.do("GET", "/pub/x")
	if r.StatusCode != 503 || !strings.Contains(string(body), "no_credential") || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	if r, _ := gw.do("GET", "/other/x"); r.StatusCode != 200 {
		t.Errorf("the other bucket: %d", r.StatusCode)
	}
	gw.log.waitFor(t, `"reason":"credentials"`)
	gw.log.waitFor(t, "a credential could not be retrieved")
	if _, ready := gw.ready(); !strings.Contains(string(ready), `"source":"instance"`) || !strings.Contains(string(ready), `"error":"`+probe.CredentialFault+`"`) {
		t.Errorf("%s", ready)
	}
	if c := gw.operators.StatusAt(time.Now()).Buckets[0].Upstream.Credentials; c == nil || c.Source != "instance" || !strings.Contains(c.Error, "503") {
		t.Errorf("the status has %+v", c)
	}
	i.down.Store(false)
	eventually(t, "it recovers", func() bool { r, _ := gw.do("GET", "/pub/x"); return r.StatusCode == 200 })
}

// TestRefusedCredentials has an origin that no longer takes a credential before it
// expires: many requests at once, and none of their clients notices.
func TestRefusedCredentials(t *testing.T) {
	for _, code := range []string{"ExpiredToken", "InvalidAccessKeyId"} {
		i := startIssuer(t, numbered(time.Hour))
		var good atomic.Value
		good.Store("AK1")
		origin := startFaulty(t, func(c net.Conn, head string) bool {
			if m := credentialOf.FindStringSubmatch(head); m[1] != good.Load() {
				return says(400, code)(c, "")
			}
			return failing(0, "hello", nil)(c, head)
		})
		gw := startGateway(t, credentialsYAML(origin.endpoint, "source: instance, endpoint: "+i.URL))
		for round := range 2 {
			good.Store(fmt.Sprintf("AK%d", round+1))
			var wg sync.WaitGroup
			for range 200 {
				wg.Go(func() {
					if r, err := http.Get(gw.url("/pub/x")); err != nil || r.StatusCode != 200 {
						t.Errorf("%s, round %d: %v", code, round, r)
					} else {
						r.Body.Close()
					}
				})
			}
			wg.Wait()
		}
		if n := i.asked.Load(); n != 2 {
			t.Errorf("%s: %d credentials", code, n)
		}
	}
	// One that is written down cannot be replaced.
	origin := startFaulty(t, says(403, "InvalidAccessKeyId"))
	gw := startGateway(t, oneBucket("/pub", origin.endpoint))
	if r, _ := gw.do("GET", "/pub/x"); r.StatusCode != 502 || origin.Requests.Load() != 1 {
		t.Errorf("%d after %d requests", r.StatusCode, origin.Requests.Load())
	}
}

// TestClockSkew has an origin whose clock is ahead by an hour, or behind.
func TestClockSkew(t *testing.T) {
	for _, skew := range []time.Duration{time.Hour, -time.Hour, 2 * time.Second} {
		origin := startFaulty(t, func(c net.Conn, head string) bool {
			now := time.Now().Add(skew).UTC()
			at, err := signedAt(head)
			date := "Date: " + now.Format(http.TimeFormat)
			if off := at.Sub(now); err != nil || off > 15*time.Minute || off < -15*time.Minute {
				return says(403, "RequestTimeTooSkewed", date)(c, head)
			}
			fmt.Fprintf(c, okHead+"%s\r\nContent-Length: 5\r\n\r\nhello", date)
			return true
		})
		gw := startGateway(t, oneBucket("/pub", origin.endpoint))
		for range 3 {
			if r, body := gw.do("GET", "/pub/x"); r.StatusCode != 200 {
				t.Errorf("%v: %d %s", skew, r.StatusCode, body)
			}
		}
		want := int64(4)
		if skew < time.Minute && skew > 0 {
			want = 3
		}
		if n := origin.Requests.Load(); n != want {
			t.Errorf("%v: %d requests, want %d", skew, n, want)
		}
		v := gw.metricValue(fmt.Sprintf(`yatagarasu_upstream_clock_skew_seconds{bucket="main",origin=%q}`, strings.TrimPrefix(origin.endpoint, "http://")))
		if off := v - skew.Seconds(); off < -2 || off > 2 {
			t.Errorf("%v: measured %v s", skew, v)
		}
	}
}

// TestClockOfACache has an answer from a cache in front of the origin.
func TestClockOfACache(t *testing.T) {
	stored := time.Now().Add(-2 * time.Hour).UTC().Format(http.TimeFormat)
	origin := startFaulty(t, hangsUp(okHead+"Date: "+stored+"\r\nAge: 7200\r\nContent-Length: 5\r\n\r\nhello"))
	gw := startGateway(t, oneBucket("/pub", origin.endpoint))
	gw.do("GET", "/pub/x")
	if skew := gw.Generation.Load().Buckets[0].Origin.Replicas[0].Health.ClockCorrection(); skew != 0 {
		t.Errorf("%v", skew)
	}
}

// TestMendedClock has somebody set an origin's clock right that was an hour ahead.
func TestMendedClock(t *testing.T) {
	var right atomic.Bool
	ahead := hourAhead(failing(0, "hello", nil))
	origin := startFaulty(t, func(c net.Conn, head string) bool {
		at, err := signedAt(head)
		switch {
		case !right.Load():
			return ahead(c, head)
		case err != nil || time.Until(at).Abs() > 15*time.Minute:
			return says(403, "RequestTimeTooSkewed", "Date: "+time.Now().UTC().Format(http.TimeFormat))(c, head)
		}
		return failing(0, "hello", nil)(c, head)
	})
	gw := startGateway(t, oneBucket("/pub", origin.endpoint))
	for i, mended := range []bool{false, false, true, true} {
		right.Store(mended)
		if r, body := gw.do("GET", "/pub/x"); r.StatusCode != 200 {
			t.Errorf("request %d: %d %s", i, r.StatusCode, body)
		}
	}
}

// TestShortLivedCredentials has credentials of a real server that its issuer says
// expire soon, before an origin that holds the gateway to that; then the issuer is down.
// CREDENTIALS_LOAD says for how long, with credentials of 60 s; else it takes seconds.
func TestShortLivedCredentials(t *testing.T) {
	t.Parallel()
	span, life := 8*time.Second, 3*time.Second
	if s := os.Getenv("CREDENTIALS_LOAD"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		span, life = d, time.Minute
	}
	server, client := startS3(t, s3server.MinIO)
	putObject(t, client, "o", 100_000)
	var mu sync.Mutex
	expires := make(map[string]time.Time)
	n := 0
	i := startIssuer(t, func() credentials.Value {
		mu.Lock()
		defer mu.Unlock()
		n++
		sts, err := credentials.NewSTSAssumeRole(server.Endpoint(), credentials.STSAssumeRoleOptions{AccessKey: s3AccessKey, SecretKey: s3SecretKey, Location: "us-east-1", DurationSeconds: 3600 + n})
		if err != nil {
			t.Error(err)
		}
		v, err := sts.GetWithContext(nil)
		if err != nil {
			t.Error(err)
		}
		v.Expiration = time.Now().Add(life).Truncate(time.Second) // as signedAt has it
		expires[v.AccessKeyID] = v.Expiration
		return v
	})
	address := strings.TrimPrefix(server.Endpoint(), "http://")
	guard := rawserver.Start(t, nil, func(c net.Conn, _ int, head string) bool {
		m := credentialOf.FindStringSubmatch(head)
		mu.Lock()
		at, err := signedAt(head) // not when it comes in: on a busy machine it may travel for long
		good := at.Before(expires[m[1]])
		mu.Unlock()
		if err != nil || !good {
			return says(400, "ExpiredToken")(c, head)
		}
		up, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		defer up.Close()
		io.WriteString(up, strings.Replace(head, "\r\n", "\r\nConnection: close\r\n", 1))
		io.Copy(c, up)
		return false
	})
	yaml := strings.Replace(credentialsYAML("http://"+guard.Addr, "source: instance, endpoint: "+i.URL), `"things"`, s3Bucket, 1)
	gw := startGateway(t, yaml)
	got := gw.load(50, span, "/pub/o")
	t.Logf("%v of load: %v, %d credentials of %v", span, got, i.asked.Load(), life)
	if got[200] != int(50*span.Seconds()) {
		t.Errorf("requests fail: %v\n%.2000s", got, gw.log.String())
	}
	if least := int64(span / life); i.asked.Load() < least {
		t.Errorf("%d credentials, want at least %d", i.asked.Load(), least)
	}
	i.down.Store(true)
	down := time.Now()
	gw.log.waitForWithin(t, life, "a credential could not be retrieved")
	if v := gw.metricValue(fmt.Sprintf(`yatagarasu_credentials_refreshes_total{bucket="main",origin=%q,outcome="failed"}`, guard.Addr)); v < 1 {
		t.Error("a failure is not counted")
	}
	served := 0
	for time.Since(down) < life+5*time.Second {
		r, _ := gw.do("GET", "/pub/o")
		if r.StatusCode != 200 {
			if r.StatusCode != 503 {
				t.Errorf("after expiry: %d", r.StatusCode)
			}
			break
		}
		served++
		time.Sleep(20 * time.Millisecond) // the pace of a client while the credential runs out, which takes its time
	}
	if t.Logf("%d requests served in %v after the issuer went down", served, time.Since(down).Round(time.Millisecond)); served == 0 || time.Since(down) >= life+5*time.Second {
		t.Error("not until the credential expires")
	}
}
