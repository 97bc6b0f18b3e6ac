package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/frontend"
	"yatagarasu/gateway/config/shared"
	"yatagarasu/gateway/config/site"
	"yatagarasu/gateway/config/upstream"
)

// testEnv are the variables of the tests. No message may contain one of secretParts.
var testEnv = map[string]string{
	"EMPTY": "", "WORD": "hunter2", "PADDED": "hunter2\n", "FRACTION": "1.5",
	"LONG": "99999h99999h99999h99999h", "KEY_DIR": "/nonexistent-hunter2",
	"PORT": "9191", "YES": "true", "TTL": "1h30m", "BYTES": "64KiB", "COUNT": "12",
	"SECRET": "wJalrXUtnFEMI/K7MDENG+${COUNT}", "YAML": "\"x\", y: [z] # ${COUNT}",
}

var secretParts = []string{"hunter2", "wJalr", "K7MDENG", "0123456789abcdef"}

func lookup(name string) (string, bool) {
	v, ok := testEnv[name]
	return v, ok
}

func parseFile(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(filepath.Base(path), data, lookup)
}

func parseString(s string) (*Config, error) { return Parse("test.yaml", []byte(s), lookup) }

func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yml")
	if err != nil || len(files) != len(badFiles) {
		t.Fatalf("%d files for %d entries: %v", len(files), len(badFiles), err)
	}
	for _, path := range files {
		base := filepath.Base(path)
		t.Run(base, func(t *testing.T) {
			c, err := parseFile(path)
			var errs file.Errors
			if c != nil || !errors.As(err, &errs) {
				t.Fatalf("got %v, %v; want Errors", c, err)
			}
			var got []string
			for _, e := range errs {
				if e.File != base {
					t.Errorf("file is %q", e.File)
				}
				got = append(got, strings.TrimPrefix(e.Error(), base))
			}
			want := badFiles[strings.TrimSuffix(base, ".bad.yml")]
			for i := range max(len(got), len(want)) {
				g, w := "nothing", "nothing"
				if i < len(got) {
					g = got[i]
				}
				if i < len(want) {
					w = want[i]
				}
				if g != w {
					t.Errorf("message %d:\n got %s\nwant %s", i, g, w)
				}
			}
			checkNoSecret(t, err.Error())
		})
	}
}

func checkNoSecret(t *testing.T, text string) {
	t.Helper()
	for _, s := range secretParts {
		if strings.Contains(text, s) {
			t.Errorf("%q is in %s", s, text)
		}
	}
}

func TestEightMistakesAtOnce(t *testing.T) {
	_, err := parseFile("testdata/eight.bad.yml")
	var errs file.Errors
	if !errors.As(err, &errs) || len(errs) != 8 {
		t.Fatalf("got %d mistakes, want 8:\n%v", len(errs), err)
	}
	for _, e := range errs {
		if e.Line == 0 || e.Column == 0 || e.Path == "" || e.Problem == "" || e.Fix == "" {
			t.Errorf("incomplete: %+v", e)
		}
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 8 {
		t.Errorf("%d lines, want 8", len(lines))
	}
	var one *file.Error
	if !errors.As(err, &one) || one != errs[0] {
		t.Errorf("errors.As found %v, want the first mistake", one)
	}
}

// The defaults of every origin.
var (
	timeouts = upstream.Timeouts{Dial: 3 * time.Second, FirstByte: 10 * time.Second, Idle: 30 * time.Second}
	retry    = upstream.Retry{Tries: 2, Resumes: 5, Budget: 20}
	static   = upstream.Credentials{Source: "static"}
	breaker  = upstream.Breaker{Enabled: true, FailureRate: 50, Consecutive: 10, Cooldown: time.Second}
)

func TestMinimalFileHasDefaults(t *testing.T) {
	c, err := parseFile("testdata/minimal.good.yml")
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Server: frontend.Server{Address: "0.0.0.0:8080", ForwardedHeader: "x-forwarded-for", Ready: "any", Limits: frontend.Limits{MaxConnections: 65536, TokenFailures: frontend.Rate{PerSecond: 5, Burst: 50}}},
		Buckets: []Bucket{{
			Name: "a", PathPrefix: "/a",
			S3: upstream.S3{
				Origin: upstream.Origin{
					Bucket: "bbb", Region: "eu-west-1", AccessKey: "id", SecretKey: file.NewSecret("secret"), Addressing: "virtual", Credentials: static,
				},
				MaxConnections: 1024,
				MaxWaiting:     4096,
				EmptySegments:  "keep",
				AccessDenied:   403,
				Timeouts:       timeouts,
				ProbeInterval:  10 * time.Second,
				Retry:          retry,
				Breaker:        breaker,
			},
		}},
		Logging: Logging{Level: "info", Format: "json", Output: "stdout", Sample: 1},
		Metrics: frontend.Metrics{Port: 9090},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestFullFile(t *testing.T) {
	c, err := parseFile("testdata/full.good.yml")
	if err != nil {
		t.Fatal(err)
	}
	global := &access.JWT{
		Sources: []access.TokenSource{
			{Type: access.SourceBearer}, {Type: access.SourceHeader, Name: "X-Auth-Token", Prefix: "Token "},
			{Type: access.SourceQuery, Name: "token"}, {Type: access.SourceCookie, Name: "session"},
		},
		Keys: []access.Key{
			{Algorithm: "HS256", Secret: file.NewSecret("0123456789abcdef0123456789abcdef")},
			{ID: "old", Algorithm: "HS384", Secret: file.NewSecret("0123456789abcdef0123456789abcdef0123456789abcdef")},
		},
		Issuer: []string{"https://issuer"}, AnyAudience: true, Typ: "application/at+jwt", Leeway: 0, RequireExp: false,
		Claims: []access.Claim{
			{Name: "role", Operator: "equals", Value: "admin"},
			{Name: "n", Operator: "not_equals", Value: json.Number("9007199254740993")},
			{Name: "b", Operator: "equals", Value: true},
			{Name: "f", Operator: "contains", Value: json.Number("-1.5e3")},
			{Name: "in", Operator: "in", Value: []any{"a", json.Number("1"), false, access.Template{{Var: "bucket"}}}},
			{Name: "not", Operator: "not_in", Value: []any{"a"}},
			{Name: "gt", Operator: "gt", Value: json.Number("12")},
			{Name: "a.b", Operator: "exists"},
			{Name: "m", Operator: "matches", Value: "[a-z]+${x"},
			{Name: "t", Operator: "equals", Value: access.Template{
				{Literal: "x-"}, {Var: "path", Index: 0}, {Literal: "/12${path.1}"}, {Var: "method"},
			}},
			{Name: "env", Operator: "equals", Value: "wJalrXUtnFEMI/K7MDENG+${COUNT}"},
			{Name: "empty", Operator: "equals", Value: ""},
		},
	}
	cache := &Cache{Enabled: true, TTL: 90 * time.Minute, MaxTTL: 30 * 24 * time.Hour, MaxSize: 1e6, MaxObjectSize: 5e5, StaleIfError: 500 * time.Millisecond, Policy: "tinylfu", Shared: true}
	own := *cache
	own.MaxSize, own.MaxObjectSize, own.OwnBudget, own.NegativeTTL, own.Ignore, own.Shared = 64<<10, 32<<10, true, 5*time.Second, Ignored{true, true}, false
	off := *cache
	off.Enabled, off.Shared = false, false
	want := &Config{
		Server: frontend.Server{
			Address: "[::1]:0", Ready: "all",
			ForwardedHeader: "forwarded", ProxyProtocol: true,
			TrustedProxies: []netip.Prefix{
				netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"),
				netip.MustParsePrefix("2001:db8::1/128"), netip.MustParsePrefix("127.0.0.1/32"),
			},
			Limits: frontend.Limits{
				MaxConnections: 12, MaxConnectionsPerAddress: 3, MaxInFlight: 9191,
				Rates:         frontend.Rates{All: frontend.Rate{PerSecond: 1000, Burst: 1000}, PerAddress: frontend.Rate{PerSecond: 1.5, Burst: 20}, PerSubject: frontend.Rate{PerSecond: 0.001, Burst: 1}},
				TokenFailures: frontend.Rate{PerSecond: 0.25, Burst: 3},
			},
			Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("2001:db8::/32")},
			Deny:  []netip.Prefix{netip.MustParsePrefix("192.0.2.66/32")},
		},
		Buckets: []Bucket{
			{
				Name: "one", PathPrefix: "/", Hosts: []string{"files.example.com", "::1", "192.0.2.10"},
				S3: upstream.S3{
					Origin: upstream.Origin{
						Bucket: "with.dots", KeyPrefix: "site/v 4/", Region: "us-east-1", AccessKey: "id", SecretKey: file.NewSecret("wJalrXUtnFEMI/K7MDENG+${COUNT}"), SessionToken: file.NewSecret("${literal}"), Addressing: "path", Credentials: upstream.Credentials{Source: "assume_role", RoleARN: "arn:aws:iam::1:role/r", SessionName: "me", ExternalID: file.NewSecret("external"), Endpoint: "http://127.0.0.1:9", Duration: time.Hour},
					},
					MaxConnections: 12,
					MaxWaiting:     13,
					EmptySegments:  "refuse",
					AllowQuery:     []string{"versionId", "partNumber"},
					AccessDenied:   404,
					Timeouts:       upstream.Timeouts{Dial: 250 * time.Millisecond, FirstByte: 1500 * time.Millisecond, Idle: time.Minute},
					Retry:          upstream.Retry{Tries: 0, Resumes: 7, Budget: 5},
				},
				Auth:  access.Auth{Enabled: true, JWT: global, Rules: []access.AuthRule{{Path: "/public"}, {Path: "/r", Enabled: true, Claims: []access.Claim{{Name: "x", Operator: "exists"}}}}},
				Cache: cache,
			},
			{
				Name: "two", PathPrefix: "/a b/é",
				S3: upstream.S3{
					Origin: upstream.Origin{
						Bucket: "b-b", Region: "us-east-1", Endpoint: "https://[::1]:9000", AccessKey: "id", SecretKey: file.NewSecret("s"), Addressing: "path", Credentials: static,
					},
					MaxConnections: 1024,
					MaxWaiting:     4096,
					EmptySegments:  "keep",
					AccessDenied:   403,
					Timeouts:       timeouts,
					ProbeInterval:  time.Minute,
					Retry:          retry,
					Breaker:        upstream.Breaker{Enabled: true, FailureRate: 25, Consecutive: 3, Cooldown: 2 * time.Second},
				},
				Cache: &own,
				Site: site.Site{
					Listing: site.Listing{Enabled: true, Paths: []string{"/pub", "/a b"}, Formats: []string{"json"}, PageSize: 50, Hide: []string{".*", "*.map"}},
					CORS: site.CORS{
						Origins: []string{"https://app.example.com", "https://*.example.org:8443", "http://[::1]:3000"}, Credentials: true,
						Headers: []string{"x-own"}, Expose: []string{"etag"}, PrivateNetwork: true,
					},
					ContentTypes: site.ContentTypes{Guess: true, Map: file.Pairs{{Name: ".yaml", Value: "text/plain; charset=utf-8"}, {Name: ".x", Value: "a/b"}}},
					Headers: []site.HeaderRule{
						{Match: site.HeaderMatch{Path: "/assets/*", ContentType: "text/*"}, Set: file.Pairs{{Name: "Cache-Control", Value: "public, ${x"}, {Name: "X-A", Value: "b"}}, When: "success"},
						{Set: file.Pairs{{Name: "X-Content-Type-Options", Value: "nosniff"}}, Remove: []string{"x-amz-version-id", "x-a"}, When: "always"},
					},
					Compress: site.Compress{Enabled: true, Encodings: []string{"gzip", "br"}, Precompressed: []string{"br"}, MinSize: 2000, Types: []string{"text/*", "application/json"}},
					Website: site.Website{
						Index: "index.html", TrailingSlash: "serve", CleanURLs: true, ObjectRedirects: true,
						SPA:            site.SPA{Fallback: "app/index.html", Assets: []string{"/assets", "/a b"}},
						ErrorDocuments: []site.ErrorDocument{{Status: 403, Key: "e/403.html"}, {Status: 404, Key: "404.html"}},
						Redirects:      []site.Redirect{{From: "/old/*", To: "/new/*.html", Status: 301}, {From: "/blog", To: "https://blog.example.com/?from=here", Status: 307}},
						Files:          file.Pairs{{Name: "/robots.txt", Value: "User-agent: *\nDisallow: /\n"}, {Name: "/.well-known/x", Value: "${x}"}},
					},
					DownloadQuery: true,
					Maintenance: site.Maintenance{
						Enabled: true, Page: "testdata/maintenance.html", Text: []byte("<!doctype html><title>Back soon</title><p>Back soon.</p>\n"), RetryAfter: 90 * time.Second,
						Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("::1/128")},
					},
				},
			},
			{
				Name: "three", PathPrefix: "/three",
				S3: upstream.S3{
					Origin: upstream.Origin{
						Bucket: "b-b", Region: "us-east-1", Endpoint: "http://host.example:9000", AccessKey: "id", SecretKey: file.NewSecret("\"x\", y: [z] # ${COUNT}"), Addressing: "auto", Credentials: static,
					},
					MaxConnections: 1024,
					MaxWaiting:     4096,
					EmptySegments:  "keep",
					AccessDenied:   403,
					Timeouts:       timeouts,
					ProbeInterval:  10 * time.Second,
					Retry:          retry,
					Breaker:        breaker,
					FailoverOn404:  true,
					Hedge:          upstream.Hedge{Enabled: true, After: 100 * time.Millisecond, Max: 5},
					Replicas: []upstream.Replica{
						{
							Origin: upstream.Origin{
								Bucket: "b-b", Region: "us-east-1", Endpoint: "http://host.example:9000", AccessKey: "id", SecretKey: file.NewSecret("\"x\", y: [z] # ${COUNT}"), Addressing: "virtual", Credentials: static,
							},
							Name:    "near",
							Timeout: 10 * time.Second,
						},
						{
							Origin: upstream.Origin{
								Bucket: "copy", Region: "eu-west-1", Endpoint: "https://far.example", AccessKey: "other", SecretKey: file.NewSecret("s"), Addressing: "path", Credentials: static,
							},
							Name:     "far",
							Priority: 12,
							Timeout:  2500 * time.Millisecond,
						},
					},
				},
				Auth: access.Auth{Enabled: true, JWT: &access.JWT{
					Sources: []access.TokenSource{{Type: access.SourceBearer}}, JWKSURL: "http://127.0.0.1:8081/jwks", JWKSAlgorithm: "ES256", JWKSOptional: true, JWKSMaxAge: 12 * time.Hour,
					Introspection: access.Introspection{
						Enabled: true, URL: "https://issuer/introspect", ClientID: "gateway", ClientSecret: file.NewSecret("hunter2"), Auth: "post",
						Timeout: 500 * time.Millisecond, Cache: 1500 * time.Millisecond, NegativeCache: time.Minute, MaxInFlight: 12,
					},
					Leeway: 30 * time.Second, RequireExp: true, Audience: []string{"a", "b"},
				}},
				Cache:  &off,
				Limits: frontend.BucketLimits{MaxInFlight: 7, Rates: frontend.Rates{All: frontend.Rate{PerSecond: 10, Burst: 10}, PerAddress: frontend.Rate{PerSecond: 10, Burst: 5}}},
				Allow:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
				Deny:   []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.1.2.3/32")},
			},
		},
		JWT: global, Cache: cache,
		Cluster: shared.Cluster{
			Enabled: true,
			Valkey: shared.Valkey{
				Addresses: []string{"sentinel-a:26379", "[::1]:26379"}, Mode: shared.ValkeySentinel, MasterName: "my.primary",
				Username: "gateway", Password: file.NewSecret("hunter2"), ValkeyTLS: shared.ValkeyTLS{TLS: true},
			},
			Namespace: "prod_1", Secret: file.NewSecret("0123456789abcdef0123456789abcdefhunter2"), PreviousSecret: file.NewSecret("0123456789abcdef0123456789abcdef"),
			Purge:  shared.ClusterPurge{Within: 90 * time.Second, Wait: 1500 * time.Millisecond, Replicas: 2},
			Limits: shared.ClusterLimits{Enabled: true, Sync: time.Second},
			Store:  shared.ClusterStore{Enabled: true, MaxObjectSize: 64 << 10, MaxTTL: 1500 * time.Millisecond, Timeout: 500 * time.Millisecond, WriteQueue: 1e9, Admit: shared.AdmitSecond},
		},
		Logging: Logging{Level: "trace", Format: "text", Output: "/var/log/gateway.log", Slow: 1500 * time.Millisecond, Sample: 0.25, Audit: Audit{Enabled: true, Output: "stderr"}},
		Metrics: frontend.Metrics{Enabled: true, Address: "localhost", Port: 9191},
		Admin:   Admin{Token: file.NewSecret("0123456789abcdef")},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %s\nwant %s", dump(c), dump(want))
	}
}

// dump shows values behind pointers.
func dump(c *Config) string {
	b, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestLineEndingsAndByteOrderMark(t *testing.T) {
	data, err := os.ReadFile("testdata/eight.bad.yml")
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, []byte("products\n"), []byte("products # comment\n"), 1)
	_, want := Parse("f", data, lookup)
	crlf := append([]byte("\xef\xbb\xbf"), bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))...)
	if _, err := Parse("f", crlf, lookup); err == nil || err.Error() != want.Error() {
		t.Errorf("got\n%v\nwant\n%v", err, want)
	}
}

func TestLoad(t *testing.T) {
	if c, err := Load("testdata/minimal.good.yml", nil); err != nil || len(c.Buckets) != 1 {
		t.Errorf("got %v, %v", c, err)
	}
	_, err := Load("testdata/absent.yml", os.LookupEnv)
	if want := "testdata/absent.yml: cannot read the file: no such file or directory; check -config; a path is seen from the working directory"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = Load("testdata", os.LookupEnv)
	if want := "testdata: cannot read the file: is a directory; name the file in the folder"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestDisabledBlocksOpenNoFiles(t *testing.T) {
	c, err := parseFile("testdata/disabled.good.yml")
	if err != nil {
		t.Fatal(err)
	}
	if c.JWT != nil || c.Buckets[0].Auth.Enabled || c.Buckets[0].Auth.JWT != nil || c.Server.HTTPS.Enabled {
		t.Errorf("got %s", dump(c))
	}
}
