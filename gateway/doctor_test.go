package gateway

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/generation"
	"yatagarasu/gateway/inspect"
	"yatagarasu/loadtest/s3server"
)

// TestDoctor has ways to be broken, and what is said of each.
func TestDoctor(t *testing.T) {
	server, client := startS3(t, s3server.MinIO)
	putObject(t, client, "o", 10)
	good := strings.Split(realBucket(server.Endpoint()), "buckets:\n")[1]
	as := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %s in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	at := func(endpoint string) string { return as(server.Endpoint(), endpoint) }
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	hole, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	hour := time.Now().Add(time.Hour + 40*time.Second).UTC().Format(http.TimeFormat)
	for _, c := range []struct {
		name, yaml, key string
		code            int
		says            []string // regular expressions
	}{
		{"sound", good, "", 0, []string{`main +127\S+ +ok +ok \S+ +- +ok +ok +ok \S+ +ok`, `all is well`}},
		{"sound, with a key", good, "o", 0, []string{`all is well`}},
		{"name", at("http://no-such-host.invalid"), "", 1, []string{`FAIL +- +- +- +- +- +-\n`, `: dns: the name no-such-host.invalid`, `fix: check the host`}},
		{"port", at("http://127.0.0.1:1"), "", 1, []string{`: connect: .*refused`, `fix: check the port`}},
		{"silent", at("http://" + hole.Addr().String()), "", 1, []string{`bucket: timeout`, `fix: check firewalls`}},
		{"authority", at(secure.URL), "", 1, []string{`: tls: .*certificate`, `fix: set s3.ca_file`}},
		{"no TLS there", at(strings.Replace(server.Endpoint(), "http:", "https:", 1)), "", 1, []string{`: tls: `}},
		{"access key", as(s3AccessKey, "AKnobody"), "", 1, []string{`bucket: credentials: .*InvalidAccessKeyId`, `fix: check access_key`}},
		{"secret", as(s3SecretKey, "wrong-secret"), "", 1, []string{`bucket: signature: .*SignatureDoesNotMatch`, `fix: check secret_key`}},
		{"bucket", as(`"`+s3Bucket+`"`, "no-such-bucket"), "", 1, []string{`no_such_bucket: the origin has no bucket "no-such-bucket"`, `fix: check s3.bucket`}},
		{"region", as("us-east-1", "eu-west-3"), "", 1, []string{`redirect_region: .*in us-east-1, and s3.region says eu-west-3`, `fix: set s3.region`}},
		{"object", good, "no-such-object", 1, []string{`object: no_such_key: .*"no-such-object"`, `fix: name an object`}},
		{"denied", at(startFaulty(t, says(403, "AccessDenied")).endpoint), "o", 1, []string{`bucket: the credential may not list`, `object: access_denied`, `fix: let the credential read`}},
		{"clock", at(startFaulty(t, says(403, "RequestTimeTooSkewed", "Date: "+hour)).endpoint), "", 1, []string{`clock: clock_skew: the origin's clock is 1h0m\d+s ahead`, `fix: set the clock`}},
		{"not S3", at(startFaulty(t, hangsUp("SSH-2.0-x\r\n")).endpoint), "", 1, []string{`bucket: protocol`, `fix: check that s3.endpoint is an S3 server`}},
		{"R2 and a wrong key", at(startFaulty(t, says(401, "Unauthorized")).endpoint), "", 1, []string{`bucket: credentials: the origin answers 401 Unauthorized`, `fix: check access_key`}},
		{"who pays", at(startFaulty(t, says(400, "UserProjectMissing")).endpoint), "", 1, []string{`bucket: requester_pays: .*UserProjectMissing`, `fix: .*request_payer`}},
		{"suspended", at(startFaulty(t, says(403, "UserSuspended")).endpoint), "", 1, []string{`bucket: account: `, `fix: look at the account`}},
		{"a proxy without a route", at(startOrigin(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "default backend - 404", 404) }).URL), "", 1, []string{`bucket: not_s3: the origin answers 404`, `fix: what answers at s3.endpoint is no S3 server`}},
		{"overloaded", at(startFaulty(t, says(503, "SlowDown")).endpoint), "", 1, []string{`bucket: slow_down`, `fix: the origin is overloaded`}},
		{"no source", credentialsYAML("http://127.0.0.1:1", "source: shared_file, file: /nonexistent")[len("server: {ready: config}\nbuckets:\n"):], "", 1, []string{`: connect: `}},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeout := "20s"
			if c.name == "silent" {
				timeout = "1s"
			}
			yaml := strings.ReplaceAll("buckets:\n"+c.yaml, "      region:", "      timeouts: {dial: "+timeout+", first_byte: "+timeout+"}\n      region:")
			doctorSays(t, yaml, c.key, c.code, c.says)
		})
	}
	o := NewOptions()
	o.ConfigPath = "/nonexistent.yaml"
	if _, err := Inspect(o); err == nil {
		t.Error("there is no file, and it is looked into")
	}
}

// doctorSays expects a code and a report that matches all of want, without the secret.
func doctorSays(t *testing.T, yaml, key string, code int, want []string) {
	t.Helper()
	o := NewOptions()
	o.ConfigPath = filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(o.ConfigPath, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	gen, err := Inspect(o)
	if err != nil {
		t.Fatal(err)
	}
	defer generation.Close(gen)
	var out, errs bytes.Buffer
	if got := inspect.Doctor(gen, key, &out, &errs); got != code {
		t.Errorf("code %d, want %d", got, code)
	}
	for _, text := range want {
		if !regexp.MustCompile(text).MatchString(out.String()) {
			t.Errorf("it does not say %q:\n%s%s", text, out.String(), errs.String())
		}
	}
	for _, secret := range []string{s3SecretKey, gatewaySecret, "wrong-secret", "of-the-url"} {
		if strings.Contains(out.String()+errs.String(), secret) {
			t.Errorf("the secret %q is shown", secret)
		}
	}
}

// TestDoctorLooksAtEveryReplica has several origins, and credentials that are not there.
func TestDoctorLooksAtEveryReplica(t *testing.T) {
	good := startFaulty(t, failing(0, "hello", nil))
	yaml := replicasYAML([]string{good.endpoint, "http://127.0.0.1:1"}) + strings.Replace(credentialsYAML(good.endpoint, "source: shared_file, file: /nonexistent")[len("server: {ready: config}\nbuckets:\n"):], `"main"`, `"second"`, 1)
	says := []string{`main +r0 +ok`, `main +r1 +ok +FAIL`, `second at \S+: credentials: source shared_file`}
	doctorSays(t, strings.Replace(yaml, `"/pub"`, `"/first"`, 1), "o", 1, says)
}
