package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/frontend"
	"yatagarasu/gateway/config/shared"
)

// supply is an environment with a plausible value for each variable without a default.
func supply(name string) (string, bool) {
	if strings.HasSuffix(name, "_ADDRESS") || strings.HasSuffix(name, "_ENDPOINT") {
		return "", false
	}
	if strings.HasSuffix(name, "_OLD") {
		return strings.Repeat("o", 64), true
	}
	if strings.Contains(name, "SECRET") || strings.Contains(name, "TOKEN") {
		return strings.Repeat("s", 64), true
	}
	return "AKIAIOSFODNN7EXAMPLE", true
}

// withFiles replaces the /path/to/*.pem of an example by real files.
func withFiles(t *testing.T, text string) string {
	t.Helper()
	cert, key := certificate(t)
	for name, data := range map[string][]byte{
		"cert": cert, "key": key, "ca": cert, "public": publicPEM(t, rsaKey(t, 2048).Public()),
	} {
		text = strings.ReplaceAll(text, "/path/to/"+name+".pem", writeFile(t, name+".pem", data))
	}
	return text
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestSeedFiles(t *testing.T) {
	private := map[string]int{"basic.yaml": 1, "global-jwt.yaml": 1, "reference.yaml": 1, "tenant-rules.yaml": 1}
	files, err := filepath.Glob("testdata/seed/*.yaml")
	if err != nil || len(files) != len(private) {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		c, err := Parse(name, []byte(withFiles(t, read(t, file))), supply)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := 0
		for _, b := range c.Buckets {
			if b.Auth.Enabled {
				got++
			}
		}
		if got != private[name] {
			t.Errorf("%s: %d private buckets, want %d", name, got, private[name])
		}
	}
}

func TestSeedMeaning(t *testing.T) {
	c, err := Parse("f", []byte(withFiles(t, read(t, "testdata/seed/global-jwt.yaml"))), supply)
	if err != nil {
		t.Fatal(err)
	}
	public, private := c.Buckets[0].Auth, c.Buckets[1].Auth
	if public.Enabled || public.JWT != nil || !private.Enabled || private.JWT != c.JWT || len(c.JWT.Sources) != 3 || len(c.JWT.Claims) != 1 {
		t.Errorf("got %s", dump(c))
	}
	c, err = Parse("f", []byte(withFiles(t, read(t, "testdata/seed/reference.yaml"))), supply)
	if err != nil {
		t.Fatal(err)
	}
	b := c.Buckets[0]
	if !b.Auth.Enabled || len(b.Auth.JWT.Sources) != 3 || !b.Cache.Enabled || b.Cache.MaxSize != 1e9 || !b.Cache.OwnBudget || !c.Server.HTTPS.Enabled || b.S3.Addressing != "path" {
		t.Errorf("got %s", dump(c))
	}
}

const examplePath = "../../config.example.yaml"

func TestExampleLoads(t *testing.T) {
	c, err := Load(examplePath, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Buckets[0].S3
	if len(c.Buckets) != 1 || c.Server.Address != "127.0.0.1:8080" || c.Buckets[0].PathPrefix != "/demo" ||
		s.Bucket != "demo" || s.Endpoint != "http://127.0.0.1:7070" || s.AccessKey != "demo" || s.SecretKey.Reveal() != "demo-secret-key" {
		t.Errorf("got %s", dump(c))
	}
}

// commented matches a line of configuration that is switched off.
var commented = regexp.MustCompile(`(?m)^( *)#(\S|  )`)

func TestExampleLoadsWithEverythingOn(t *testing.T) {
	text := withFiles(t, commented.ReplaceAllString(read(t, examplePath), "$1$2"))
	c, err := Parse("example", []byte(text), supply)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Buckets) != 5 || c.JWT == nil || len(c.JWT.Keys) != 3 || len(c.JWT.Sources) != 4 ||
		c.Server.Limits.Rates.PerSubject.Burst != 100 || c.Server.Limits.TokenFailures != frontend.Default().Limits.TokenFailures || len(c.Server.Allow) != 3 || len(c.Buckets[0].Deny) != 2 || c.Buckets[0].Limits.Rates.All.Burst != 1000 || c.Cache == nil || !c.Cluster.Enabled || !c.Metrics.Enabled || c.Admin.Token.Empty() || !c.Server.HTTPS.Enabled {
		t.Errorf("got %s", dump(c))
	}
	// The defaults in the comments are the defaults.
	c.Cache.Ignore = Ignored{}
	c.Server.Limits.Rates, c.Logging.Audit = frontend.Rates{}, Audit{}
	if cluster := shared.Default(); c.Cluster.Purge != cluster.Purge || c.Cluster.Namespace != cluster.Namespace || c.Cluster.Valkey.Mode != shared.ValkeyStandalone || !c.Cluster.Store.Enabled || !c.Buckets[0].Cache.Shared {
		t.Errorf("got %+v", c.Cluster)
	}
	c.Cluster.Store.Enabled, c.Cluster.Limits.Enabled = false, false
	if c.Cluster.Store != shared.Default().Store || c.Cluster.Limits != shared.Default().Limits {
		t.Errorf("got %+v, %+v", c.Cluster.Store, c.Cluster.Limits)
	}
	c.JWT, c.Admin, c.Server.HTTPS, c.Metrics.Enabled, c.Metrics.Address = nil, Admin{}, frontend.HTTPS{}, false, ""
	plain, err := Load(examplePath, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.Ready != plain.Server.Ready || c.Server.Limits != plain.Server.Limits || c.Metrics != plain.Metrics || c.Logging != plain.Logging ||
		c.Buckets[0].S3.Timeouts != plain.Buckets[0].S3.Timeouts || c.Buckets[0].S3.MaxConnections != plain.Buckets[0].S3.MaxConnections ||
		c.Buckets[0].S3.Addressing != plain.Buckets[0].S3.Addressing || c.Buckets[0].S3.AccessDenied != plain.Buckets[0].S3.AccessDenied {
		t.Errorf("got %s", dump(c))
	}
	defaults, err := parseString("cache: { enabled: true }\n" + nameFile("a"))
	if err != nil || *c.Cache != *defaults.Cache {
		t.Errorf("got %+v, %v", c.Cache, err)
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	example, reference := read(t, examplePath), read(t, "../../docs/CONFIGURATION.md")
	join := func(block, key string) string { return strings.TrimPrefix(block+"."+key, ".") }
	for _, b := range grammar.Blocks {
		block, keys := b.Path, b.Keys
		for _, key := range keys {
			if grammar.Keys(join(block, key)) != nil || grammar.Keys(join(block, key)+"[]") != nil && key != "claims" || block == "" {
				// A block: its keys are documented.
			} else if path := "`" + join(block, key) + "`"; !strings.Contains(reference, path) && key != "claims_verification" && block+key != "buckets[].authjwt" {
				t.Errorf("docs/CONFIGURATION.md lacks %s", path)
			}
			if !regexp.MustCompile(`(?m)(^|[# {-])` + key + `:?( |$)`).MatchString(example) {
				t.Errorf("config.example.yaml lacks %s of %q", key, block)
			}
		}
	}
	// All documented keys exist.
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_.\\[\\]]+)` \\|").FindAllStringSubmatch(reference, -1) {
		i := strings.LastIndexByte(m[1], '.')
		if i < 0 {
			t.Errorf("odd key %s", m[1])
			continue
		}
		found := false
		for _, key := range grammar.Keys(m[1][:i]) {
			found = found || key == m[1][i+1:]
		}
		if !found && m[1] != "admin.token" {
			t.Errorf("docs/CONFIGURATION.md documents %s, which is no key", m[1])
		}
	}
}

// TestBucketKeys has the name that a reload reports for each part of a bucket be its key.
func TestBucketKeys(t *testing.T) {
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Bucket]()) {
		if field.Anonymous {
			continue
		}
		if key := file.KeyOf(field); !slices.Contains(grammar.Keys("buckets[]"), key) {
			t.Errorf("%s is %s, which is no key", field.Name, key)
		}
	}
}
