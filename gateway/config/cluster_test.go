package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/shared"
)

// clusterFile returns a file with a cluster block: lines of valkey, then of the block itself.
func clusterFile(valkey, lines string) string {
	return siteHead + "    cache: { enabled: true }\ncluster:\n  secret: \"" + strings.Repeat("s", 32) + "\"\n  valkey: { " + valkey + " }\n" + lines
}

// TestClusterDefaults has what a cluster gets that its file does not say.
func TestClusterDefaults(t *testing.T) {
	c, err := parseString(clusterFile("addresses: valkey:6379", ""))
	if err != nil {
		t.Fatal(err)
	}
	want := shared.Cluster{
		Enabled: true, Valkey: shared.Valkey{Addresses: []string{"valkey:6379"}, Mode: shared.ValkeyStandalone},
		Namespace: "default", Secret: file.NewSecret(strings.Repeat("s", 32)), Purge: shared.ClusterPurge{Within: 30 * time.Second, Wait: time.Second},
		Limits: shared.ClusterLimits{Sync: 200 * time.Millisecond},
		Store:  shared.ClusterStore{MaxObjectSize: 256e3, MaxTTL: 24 * time.Hour, Timeout: 25 * time.Millisecond, WriteQueue: 64e6, Admit: shared.AdmitFirst},
	}
	if got, asked := fmt.Sprintf("%+v", c.Cluster), fmt.Sprintf("%+v", want); got != asked || c.Cluster.Secret != want.Secret {
		t.Errorf("got %s, want %s", got, asked)
	}
	if len(c.Warnings) != 0 {
		t.Error(c.Warnings)
	}
}

// TestClusterBounds has the least and the greatest of each value.
func TestClusterBounds(t *testing.T) {
	for name, lines := range map[string]string{
		"least":         "  purge: { within: 2s, wait: 0, replicas: 0 }\n  namespace: a\n",
		"most":          "  purge: { within: 1h, wait: 30s, replicas: 8 }\n  namespace: " + strings.Repeat("-", 64) + "\n",
		"no bound":      "  purge: { within: 0 }\n",
		"least store":   "  store: { enabled: false, max_object_size: 1, max_ttl: 1s, timeout: 1ms, write_queue: 1MB }\n",
		"most store":    "  store: { enabled: false, max_object_size: 4MB, max_ttl: 720h, timeout: 1s, write_queue: 1GB }\n",
		"one at a time": "  store: { enabled: false, max_object_size: 4MB, write_queue: 4MB }\n",
		"short secret":  "  previous_secret: " + strings.Repeat("t", 32) + "\n",
	} {
		if _, err := parseString(clusterFile("addresses: ['valkey:6379']", lines)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantError(t, nameFile("a")+"cluster: {}\n", "cluster.valkey: is missing; say where", "cluster.secret: is missing; set one secret")
	wantError(t, nameFile("a")+"cluster: true\n", "cluster: must be a mapping, not true or false; give it keys, of: valkey, namespace")
	wantError(t, clusterFile("addresses: valkey:6379", "  namespace: "+strings.Repeat("a", 65)), "cluster.namespace: is no namespace; use letters")
	wantError(t, clusterFile("addresses: valkey:6379", "  purge: { within: 1999ms }"), "cluster.purge.within: is too short; write at least 2s")
	wantError(t, clusterFile("addresses: valkey:6379", "  previous_secret: "+strings.Repeat("t", 31)), "cluster.previous_secret: is shorter than 32 bytes")
	wantError(t, clusterFile("addresses: valkey:6379", "  store: { enabled: false, max_object_size: 1000001, write_queue: 1MB }"),
		"cluster.store.write_queue: is less than max_object_size, which is 1000001B: the largest objects would never be written; raise it")
	wantError(t, clusterFile("addresses: valkey:6379", "  store: { enabled: true, write_queue: 1000000001 }"), "cluster.store.write_queue: is too large; write at most 1GB")
	wantError(t, clusterFile("addresses: valkey:6379", "  store: { max_ttl: 31d }"),
		"cluster.store: has no effect without the key enabled", "cluster.store.max_ttl: is no duration")
}

// TestShared has which buckets share their objects: those of the global block, too, as far as they
// have a cache. A key without a place to share is a mistake, said once where it stands.
func TestShared(t *testing.T) {
	const store, off = "  store: { enabled: true }\n", "  store: { enabled: false }\n"
	const homeless = "cache.shared: needs a place to share; set cluster.store.enabled: true, or remove it"
	for _, c := range []struct {
		name, global, bucket, store string
		shared                      bool
		warning                     string
		mistakes                    []string
	}{
		{"neither", "enabled: true", "", off, false, "", nil},
		{"a bucket", "enabled: true", "shared: true", store, true, "", nil},
		{"a bucket alone", "enabled: false", "enabled: true, shared: true", store, true, "", nil},
		{"all", "enabled: true, shared: true", "", store, true, "", nil},
		{"all whose cache is on", "enabled: false, shared: true", "enabled: true", store, true, "", nil},
		{"all but one", "enabled: true, shared: true", "shared: false", store, false, "none does", nil},
		{"none", "enabled: true", "", store, false, "none does", nil},
		{"all but one without a cache", "enabled: true, shared: true", "enabled: false", store, false, "no bucket has a cache", nil},
		{"no store", "enabled: true", "shared: true", "", false, "", []string{"buckets[0]." + homeless}},
		{"a store that is off", "enabled: true, shared: true", "ttl: 5", off, false, "", []string{homeless}},
		{"no cache", "enabled: true", "enabled: false, shared: true", store, false, "", []string{"buckets[0].cache.shared: has no effect without a cache; set cache.enabled: true, or remove it"}},
		{"no word on a cache", "", "shared: true", store, false, "", []string{"buckets[0].cache: has no effect without the key enabled"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := strings.Replace(clusterFile("addresses: a:1", c.store), "cache: { enabled: true }", "cache: { "+c.bucket+" }", 1)
			if c.global != "" {
				file = "cache: { " + c.global + " }\n" + file
			}
			if c.mistakes != nil {
				wantError(t, file, c.mistakes...)
				return
			}
			got, err := parseString(file)
			if err != nil {
				t.Fatal(err)
			}
			if got.Buckets[0].Cache.Shared != c.shared {
				t.Errorf("shared: %t", !c.shared)
			}
			if n := len(got.Warnings); n > 1 || (n == 1) != (c.warning != "") || n == 1 && !strings.Contains(got.Warnings[0].Problem, c.warning) {
				t.Errorf("warnings: %v, want %q", got.Warnings, c.warning)
			}
		})
	}
	wantError(t, nameFile("a")+"cache: { enabled: true, shared: true }\n", homeless)
}

// TestValkeyModes has what goes with each mode. What is wrong with the mode itself is reported
// alone.
func TestValkeyModes(t *testing.T) {
	for valkey, want := range map[string]string{
		"addresses: ['a:1', 'b:1'], mode: cluster":                   "",
		"addresses: ['a:1', 'b:1'], mode: sentinel, master_name: m":  "",
		"addresses: a:1, password: p":                                "",
		"addresses: ['a:1', 'b:1']":                                  "cluster.valkey.addresses: has several addresses",
		"addresses: a:1, mode: cluster, master_name: m":              "cluster.valkey.master_name: has no effect with mode cluster",
		"addresses: ['a:1', 'b:1'], mode: sentinels, master_name: m": "cluster.valkey.mode: unknown mode",
		"addresses: ['a:1', 'b:1'], mod: sentinel, master_name: m":   "cluster.valkey.mod: unknown key",
		"addresses: a:1, username: u, pasword: p":                    "cluster.valkey.pasword: unknown key",
		"adresses: a:1": "cluster.valkey.adresses: unknown key",
		"addresses: []": "cluster.valkey.addresses: is an empty list",
		"addresses: a:1, tls: { enabled: true, ca_file: testdata }":     "cluster.valkey.tls.ca_file: \"testdata\" is a folder",
		"addresses: a:1, tls: { enabled: false, ca_file: /nonexistent}": "", // a decision
	} {
		if want != "" {
			wantError(t, clusterFile(valkey, ""), want)
		} else if _, err := parseString(clusterFile(valkey, "")); err != nil {
			t.Errorf("%s: %v", valkey, err)
		}
	}
	file := clusterFile("addresses: a:1, tls: { enabled: true, ca_file: /path/to/ca.pem }", "")
	c, err := parseString(withFiles(t, file))
	if err != nil || !c.Cluster.Valkey.TLS || !strings.HasSuffix(c.Cluster.Valkey.CAFile, "ca.pem") {
		t.Errorf("got %v, %v", c, err)
	}
}

// TestClusterAdvice warns of a cluster that has nothing to share.
func TestClusterAdvice(t *testing.T) {
	for cache, want := range map[string]int{"cache: { enabled: true }": 0, "cache: { enabled: false }": 1, "download_query: true": 1} {
		c, err := parseString(strings.Replace(clusterFile("addresses: a:1", ""), "cache: { enabled: true }", cache, 1))
		if err != nil || len(c.Warnings) != want {
			t.Errorf("%s: %v, %v", cache, c, err)
		} else if want > 0 && c.Warnings[0].Error() != "test.yaml:7:3: cluster: shares the purges of caches, and no bucket has a cache; set cache.enabled: true, or remove the block" {
			t.Error(c.Warnings[0])
		}
	}
}
