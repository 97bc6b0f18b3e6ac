package gateway

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"yatagarasu/gateway/admin"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/shared"
)

// fileGateway is a gateway over a file, which write replaces.
func fileGateway(t *testing.T, yaml string, tune ...func(*Options)) (gw *testGateway, write func(yaml string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	write = func(yaml string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(yaml)
	return startGateway(t, yaml, append(tune, func(o *Options) { o.ConfigPath = path })...), write
}

// reloadCall makes the administrative call.
func (tg *testGateway) reloadCall() (int, admin.ReloadResult) {
	tg.t.Helper()
	status, body := tg.admin("POST", "/admin/reload", "")
	var r admin.ReloadResult
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		tg.t.Fatalf("%d %s: %v", status, body, err)
	}
	return status, r
}

const metricsYAML = "metrics: {enabled: true, address: 127.0.0.1, port: 0}\n"

func TestReload(t *testing.T) {
	one, two := startOrigin(t, serveText("one")), startOrigin(t, serveText("two"))
	base := func(buckets ...string) string {
		return "server: {ready: config}\nlogging: {level: info}\n" + metricsYAML + "buckets:\n" + strings.Join(buckets, "")
	}
	a, b := bucketYAML("a", "/a", one.URL), bucketYAML("b", "/b", two.URL)
	gw, write := fileGateway(t, base(a, b))
	for _, c := range []struct {
		name, yaml string
		status     int
		want       admin.ReloadResult
		objects    string // what /a/x, /b/x and /c/x give
	}{
		{"nothing", base(a, b), 200, admin.ReloadResult{Generation: 2}, "one two 404"},
		{"a bucket more", base(a, b, bucketYAML("c", "/c", one.URL)), 200, admin.ReloadResult{Generation: 3, Added: []string{"c"}}, "one two one"},
		{"a bucket less", base(a, bucketYAML("c", "/c", one.URL)), 200, admin.ReloadResult{Generation: 4, Removed: []string{"b"}}, "one 404 one"},
		{"a bucket elsewhere", base(bucketYAML("a", "/a", two.URL), bucketYAML("c", "/c", one.URL)), 200, admin.ReloadResult{Generation: 5, Changed: []admin.BucketChange{{Bucket: "a", Parts: []string{"s3"}}}}, "two 404 one"},
		{"prefixes swapped", base(bucketYAML("a", "/c", two.URL), bucketYAML("c", "/a", one.URL)), 200,
			admin.ReloadResult{Generation: 6, Changed: []admin.BucketChange{{Bucket: "a", Parts: []string{"path_prefix"}}, {Bucket: "c", Parts: []string{"path_prefix"}}}}, "one 404 two"},
		{"a new key", strings.Replace(base(bucketYAML("a", "/c", two.URL), bucketYAML("c", "/a", one.URL)), "AKc", "AKnew", 1), 200,
			admin.ReloadResult{Generation: 7, Rotated: []string{"c"}, Changed: []admin.BucketChange{{Bucket: "c", Parts: []string{"s3"}}}}, "one 404 two"},
		{"mistakes", strings.Replace(base(a, b), "region", "regoin", 2), 400, admin.ReloadResult{}, "one 404 two"},
		{"not YAML", "buckets: [", 400, admin.ReloadResult{}, "one 404 two"},
		{"other settings", strings.NewReplacer("ready: config", "ready: any, address: \"127.0.0.1:1\", limits: {max_connections: 7}", "level: info", "level: debug", "port: 0", "port: 2").Replace(base(a, b)), 200,
			admin.ReloadResult{Generation: 8, Added: []string{"b"}, Removed: []string{"c"}, Changed: []admin.BucketChange{{Bucket: "a", Parts: []string{"path_prefix", "s3"}}},
				Settings: []string{"server.ready", "server.limits", "logging.level"}, Restart: []string{"metrics"}}, "one two 404"},
		{"limits and addresses", strings.NewReplacer("ready: config", "ready: any, address: \"127.0.0.1:1\", limits: {max_connections: 7, requests_per_second: 1000}, allow: [127.0.0.0/8], deny: [192.0.2.66]", "level: info", "level: debug", "port: 0", "port: 2").Replace(
			base(under(under(under(a, "limits: {max_in_flight: 9}"), "allow: [127.0.0.1]"), "deny: [192.0.2.66]"), b)), 200,
			admin.ReloadResult{Generation: 9, Changed: []admin.BucketChange{{Bucket: "a", Parts: []string{"limits", "allow", "deny"}}}, Settings: []string{"server.limits", "server.allow", "server.deny"}, Restart: []string{"metrics"}}, "one two 404"},
		{"what runs", strings.Replace(base(a, b), "ready: config", "ready: any", 1), 200,
			admin.ReloadResult{Generation: 10, Changed: []admin.BucketChange{{Bucket: "a", Parts: []string{"limits", "allow", "deny"}}}, Settings: []string{"server.limits", "server.allow", "server.deny", "logging.level"}}, "one two 404"},
	} {
		write(c.yaml)
		status, got := gw.reloadCall()
		errors := got.Errors
		got.Errors = nil
		if c.status == 200 {
			c.want.Result = "reloaded"
			for _, list := range []*[]string{&c.want.Added, &c.want.Removed, &c.want.Rotated, &c.want.Emptied, &c.want.Settings, &c.want.Restart} {
				if *list == nil {
					*list = []string{}
				}
			}
			if c.want.Changed == nil {
				c.want.Changed = []admin.BucketChange{}
			}
		} else if len(errors) == 0 || !strings.Contains(errors[0], "gateway.yaml:") {
			t.Errorf("%s: errors %q", c.name, errors)
		}
		if status != c.status || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %d %+v\nwant %+v", c.name, status, got, c.want)
		}
		var objects []string
		for _, target := range []string{"/a/x", "/b/x", "/c/x"} {
			r, body := gw.do("GET", target)
			if r.StatusCode != 200 {
				body = []byte(fmt.Sprint(r.StatusCode))
			}
			objects = append(objects, string(body))
		}
		if got := strings.Join(objects, " "); got != c.objects {
			t.Errorf("%s: objects %s, want %s", c.name, got, c.objects)
		}
	}
	if ok, failed := gw.metricValue(`yatagarasu_config_reloads_total{outcome="ok"}`), gw.metricValue(`yatagarasu_config_reloads_total{outcome="failed"}`); ok != 9 || failed != 2 {
		t.Errorf("reloads counted: %v, %v failed", ok, failed)
	}
	gw.log.waitFor(t, "regoin")
	gw.log.waitFor(t, `"needs_restart":["metrics"]`)
}

// TestReloadStopped has a reload fetch a key set that does not come when the gateway
// stops, which is no reason to wait for it.
func TestReloadStopped(t *testing.T) {
	asked := make(chan struct{}, 1)
	issuer := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer issuer.Close()
	yaml := oneBucket("/pub", "http://127.0.0.1:1")
	gw, write := fileGateway(t, yaml)
	write(yaml + "    auth: {enabled: true, jwt: {jwks_url: \"" + issuer.URL + "\", algorithm: RS256}}\n")
	reloaded := make(chan admin.ReloadResult, 1)
	go func() { reloaded <- gw.requestReload() }()
	<-asked
	if err := gw.stop(); err != nil {
		t.Error(err)
	}
	if r := <-reloaded; fmt.Sprint(r.Errors) != "[the gateway is stopping]" {
		t.Errorf("the reload ends with %q", r.Errors)
	}
}

// TestReloadRotatesReplicas has replicas with credentials of their own.
func TestReloadRotatesReplicas(t *testing.T) {
	yaml := oneBucket("/pub", "http://127.0.0.1:1", "replicas:",
		`  - {name: a, access_key: AKone, secret_key: secret-one}`, `  - {name: b, endpoint: "http://127.0.0.1:2", access_key: AKtwo, secret_key: secret-two}`)
	gw, write := fileGateway(t, yaml)
	for i, c := range []struct{ old, new, rotated string }{
		{"AKtwo", "AKthree", "[main]"},
		{"secret-one", "secret-three", "[main]"},
		{"name: b", "name: c", "[]"}, // is another one
		{"127.0.0.1:2", "127.0.0.1:3", "[]"},
	} {
		yaml = strings.Replace(yaml, c.old, c.new, 1)
		write(yaml)
		if r := gw.requestReload(); len(r.Errors) > 0 || fmt.Sprint(r.Rotated) != c.rotated {
			t.Errorf("reload %d: %+v", i, r)
		}
	}
}

// TestReloadTellsWhatIsInEffect has a file that wants other values than flags, and ones
// that need a restart: neither takes effect, and so neither is told to have done so.
func TestReloadTellsWhatIsInEffect(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	yaml := oneBucket("/pub", origin.URL) + metricsYAML
	gw, write := fileGateway(t, yaml+"logging: {level: warn}\n", func(o *Options) { o.MaxConns, o.LogLevel = 5, "info" })
	wanted := strings.NewReplacer("ready: config", "ready: config, address: \"127.0.0.1:1\", limits: {max_connections: 7}, proxy_protocol: true, trusted_proxies: [192.0.2.1]", "port: 0", "port: 2").Replace(yaml) +
		"logging: {level: debug, format: text, output: /nowhere/x, audit: {enabled: true, output: /nowhere/y}}\n"
	restart := "[server.proxy_protocol logging.output logging.audit logging.format metrics]"
	for i, c := range []struct{ yaml, settings, restart string }{
		{wanted, "[server.trusted_proxies]", restart},
		{wanted, "[]", restart},
		{yaml, "[server.trusted_proxies]", "[]"},
	} {
		write(c.yaml)
		if _, r := gw.reloadCall(); fmt.Sprint(r.Settings) != c.settings || fmt.Sprint(r.Restart) != c.restart {
			t.Errorf("reload %d: %v took effect, %v need a restart; want %s, %s", i, r.Settings, r.Restart, c.settings, c.restart)
		}
		_, body := gw.admin("GET", "/admin/config", "")
		for _, want := range []string{`"address":"127.0.0.1:0"`, `"max_connections":5`, `"level":"info","format":"json","output":"stdout"`, `"port":0`} {
			if !strings.Contains(body, want) {
				t.Errorf("reload %d: the configuration in effect lacks %s: %s", i, want, body)
			}
		}
		if strings.Contains(body, "nowhere") || strings.Contains(body, `"proxy_protocol":true`) {
			t.Errorf("reload %d: not in effect: %s", i, body)
		}
	}
}

// TestSettingsComplete has every key that is not one of a bucket in the report, and has
// it keep its value if that says so.
func TestSettingsComplete(t *testing.T) {
	var fields func(v reflect.Value, name string)
	buckets := map[string]bool{".Buckets": true, ".JWT": true, ".Cache": true}                    // what is in effect is in each bucket
	certificate := map[string]bool{".Server.HTTPS.CertPath": true, ".Server.HTTPS.KeyPath": true} // told by what it is, not by its path
	c := &config.Config{}
	fields = func(v reflect.Value, name string) {
		switch {
		case buckets[name] || certificate[name] || name == ".Warnings": // no key
			return
		case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[file.Secret]():
			for i := range v.NumField() {
				fields(v.Field(i), name+"."+v.Type().Field(i).Name)
			}
			return
		}
		before := reflect.New(v.Type()).Elem()
		before.Set(v)
		v.Set(anotherValue(t, v.Type()))
		var r admin.ReloadResult
		compare(&r, &config.Config{}, c)
		if len(r.Settings)+len(r.Restart) != 1 {
			t.Errorf("a change of %s is told as %v, %v", name, r.Settings, r.Restart)
		}
		keepStarted(c, &config.Config{})
		if kept := v.IsZero(); kept != (len(r.Restart) == 1) {
			t.Errorf("%s keeps its value: %t; it needs a restart: %v", name, kept, r.Restart)
		}
		v.Set(before)
	}
	fields(reflect.ValueOf(c).Elem(), "")
}

// TestReloadShares has a bucket's shared be a change of its cache, for fetches under way, while the
// store waits for a restart.
func TestReloadShares(t *testing.T) {
	file := func(on bool) *config.Config {
		return &config.Config{
			Buckets: []config.Bucket{{Name: "a", Cache: &config.Cache{Enabled: true, Shared: on}}, {Name: "b", Cache: &config.Cache{Enabled: true}}},
			Cluster: shared.Cluster{Enabled: true, Store: shared.ClusterStore{Enabled: on}},
		}
	}
	var r admin.ReloadResult
	old, c := file(false), file(true)
	compare(&r, old, c)
	keepStarted(c, old)
	if want := []admin.BucketChange{{Bucket: "a", Parts: []string{"cache"}}}; !reflect.DeepEqual(r.Changed, want) || !slices.Equal(r.Restart, []string{"cluster"}) || len(r.Settings) > 0 {
		t.Errorf("got %+v", r)
	}
	if c.Cluster.Store.Enabled || !c.Buckets[0].Cache.Shared {
		t.Errorf("in effect: %+v, %+v", c.Cluster.Store, c.Buckets[0].Cache)
	}
}

// anotherValue returns a value that is not the zero one.
func anotherValue(t *testing.T, of reflect.Type) reflect.Value {
	v := reflect.New(of).Elem()
	switch of.Kind() {
	case reflect.String:
		v.SetString("other")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(of, 1, 1))
	case reflect.Struct:
		v.Set(reflect.ValueOf(file.NewSecret("other")))
	default:
		t.Fatalf("no value of %s", of)
	}
	return v
}

// A policy can be changed while the identity provider is down.
func TestReloadKeepsTheKeySet(t *testing.T) {
	for _, optional := range []string{"true", "false"} {
		t.Run("jwks_optional "+optional, func(t *testing.T) {
			origin := startOrigin(t, serveText("hello"))
			key, _, _ := rsaKey(t, 2048)
			var down atomic.Bool
			serveKeys := func(w http.ResponseWriter, _ *http.Request) {
				if down.Load() {
					w.WriteHeader(503)
					return
				}
				fmt.Fprintf(w, `{"keys":[{"kty":"RSA","alg":"RS256","kid":"one","n":%q,"e":"AQAB"}]}`, b64(string(key.N.Bytes())))
			}
			idp, other := startOrigin(t, serveKeys), startOrigin(t, serveKeys)
			yaml := func(url string, more ...string) string {
				return "server: {ready: config}\n" + metricsYAML + "buckets:\n" +
					protectedYAML("jw", "/jw", origin.URL, append([]string{"jwks_url: " + url, "jwks_optional: " + optional}, more...)...)
			}
			gw, write := fileGateway(t, yaml(idp.URL))
			header := b64(`{"alg":"RS256","kid":"one"}`) + "."
			reader := "Authorization: Bearer " + signRS256(t, key, header+b64(`{"role":"reader","exp":`+in(3600)+`}`))
			admin := "Authorization: Bearer " + signRS256(t, key, header+b64(`{"role":"admin","exp":`+in(3600)+`}`))
			statuses := func() (both [2]int) {
				for i, h := range []string{reader, admin} {
					r, _ := gw.do("GET", "/jw/x", h)
					both[i] = r.StatusCode
				}
				return both
			}
			if got := statuses(); got != [2]int{200, 200} {
				t.Fatal(got)
			}
			down.Store(true)
			write(yaml(idp.URL, "claims: [{claim: role, operator: equals, value: admin}]"))
			if status, r := gw.reloadCall(); status != 200 {
				t.Fatalf("%d %+v", status, r)
			}
			if got := statuses(); got != [2]int{403, 200} {
				t.Errorf("with another rule: %v", got)
			}
			// The keys of one URL are not another's.
			write(yaml(other.URL))
			switch status, r := gw.reloadCall(); {
			case optional == "false" && status != 400:
				t.Errorf("another URL: %d %+v", status, r)
			case optional == "true" && statuses() != [2]int{503, 503}:
				t.Errorf("another URL: %v", statuses())
			}
		})
	}
}

func TestReloadBySignal(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	gw, write := fileGateway(t, oneBucket("/pub", origin.URL))
	write(oneBucket("/new", origin.URL))
	gw.signals <- syscall.SIGHUP
	gw.log.waitFor(t, "configuration reloaded")
	if r, _ := gw.do("GET", "/new/x"); r.StatusCode != 200 {
		t.Errorf("after SIGHUP: %d", r.StatusCode)
	}
	write("nonsense")
	gw.signals <- syscall.SIGHUP
	gw.log.waitFor(t, "the present one stays in effect")
	if r, _ := gw.do("GET", "/new/x"); r.StatusCode != 200 {
		t.Errorf("after a bad file: %d", r.StatusCode)
	}
}

// T76: a download goes on under the old configuration.
func TestReloadInDownload(t *testing.T) {
	const size = 4 << 20
	gate := make(chan struct{})
	origin := gatedOrigin(t, size, gate)
	gw, write := fileGateway(t, oneBucket("/pub", origin.URL)+metricsYAML)
	r := beginDownload(t, gw, size)
	defer r.Body.Close()
	write("server: {ready: config}\n" + metricsYAML + "buckets:\n" + bucketYAML("other", "/other", origin.URL))
	if status, result := gw.reloadCall(); status != 200 || fmt.Sprint(result.Removed) != "[main]" {
		t.Fatalf("%d %+v", status, result)
	}
	if r, _ := gw.do("GET", "/pub/x"); r.StatusCode != 404 {
		t.Errorf("the removed bucket: %d", r.StatusCode)
	}
	close(gate)
	expectRest(t, r, size)
}

// TestReloadKeeps has connections and cached objects outlive a reload that does not
// concern them.
func TestReloadKeeps(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	yaml := strings.Replace(adminYAML(origin.URL), "max_object_size: 1MB", "max_object_size: 1MB, ttl: TTL", 1)
	gw, write := fileGateway(t, strings.Replace(yaml, "TTL", "60", 1))
	gw.do("GET", "/pub/x")
	upstream := gw.Generation.Load().Buckets[0].Origin.Replicas[0].Upstream
	write(strings.Replace(yaml, "TTL", "90", 1))
	if status, r := gw.reloadCall(); status != 200 || fmt.Sprint(r.Changed) != "[{main [cache]}]" {
		t.Fatalf("%d %+v", status, r)
	}
	if says := gw.cacheSays("/pub/x"); says != "HIT" || gw.Generation.Load().Buckets[0].Origin.Replicas[0].Upstream != upstream {
		t.Errorf("after a change of the ttl: %s", says)
	}
	other := startOrigin(t, serveText("other"))
	write(strings.ReplaceAll(strings.Replace(yaml, "TTL", "90", 1), origin.URL, other.URL))
	gw.reloadCall()
	if r, body := gw.do("GET", "/pub/x"); string(body) != "other" || r.Header.Get("X-Cache") != "MISS" {
		t.Errorf("of another origin: %q, %s", body, r.Header.Get("X-Cache"))
	}
	yaml = strings.ReplaceAll(yaml, origin.URL, other.URL)
	for _, c := range []struct{ yaml, emptied, says string }{
		{yaml, "[]", "HIT"},
		{strings.Replace(yaml, "8MB", "16MB", 1), "[main]", "MISS"},
		{strings.NewReplacer("8MB", "16MB", "cache: {", bucketYAML("new", "/new", other.URL)+"cache: {").Replace(yaml), "[]", "HIT"},
		{strings.Replace(yaml, "8MB", "16MB, policy: lru", 1), "[main]", "MISS"},
		{yaml + "#", "[main]", "MISS"},
	} {
		write(strings.Replace(c.yaml, "TTL", "90", 1))
		if status, r := gw.reloadCall(); status != 200 || fmt.Sprint(r.Emptied) != c.emptied || gw.cacheSays("/pub/x") != c.says {
			t.Errorf("%d, emptied: %v, want %s and then a %s", status, r.Emptied, c.emptied, c.says)
		}
	}
}

// TestReloadKeepsCacheOfReplicas has the other one of two replicas preferred.
func TestReloadKeepsCacheOfReplicas(t *testing.T) {
	one, two := startOrigin(t, serveText("hello")), startOrigin(t, serveText("hello"))
	yaml := replicasYAML([]string{one.URL, two.URL}) + "cache: {enabled: true, max_size: 8MB}\n" + metricsYAML
	gw, write := fileGateway(t, yaml)
	gw.do("GET", "/pub/x")
	write(strings.Replace(yaml, "priority: 0", "priority: 2", 1))
	if status, r := gw.reloadCall(); status != 200 || gw.Generation.Load().Buckets[0].Origin.Replicas[0].Name != "r1" {
		t.Fatalf("%d %+v", status, r)
	}
	if says := gw.cacheSays("/pub/x"); says != "HIT" {
		t.Errorf("after the reload: %s", says)
	}
}

// TestRemovedBucketLeavesTheCache has a bucket removed, and come back after its object
// has changed.
func TestRemovedBucketLeavesTheCache(t *testing.T) {
	origin := startScripted(t, version("old"))
	yaml := func(buckets ...string) string {
		return "server: {ready: config}\ncache: {enabled: true}\n" + metricsYAML + "buckets:\n" + strings.Join(buckets, "")
	}
	a, b := bucketYAML("a", "/a", origin.URL), bucketYAML("b", "/b", origin.URL)
	gw, write := fileGateway(t, yaml(a, b))
	gw.expect(t, "/a/x", 200, "old", "MISS")
	gw.expect(t, "/b/x", 200, "old", "MISS")
	write(yaml(b))
	gw.reloadCall()
	if n := gw.Generation.Load().Budgets[""].Cache.Len(); n != 1 {
		t.Errorf("%d objects are stored, want that of the other bucket", n)
	}
	if status, body := gw.admin("POST", "/admin/cache/purge", ""); status != 200 || !strings.Contains(body, `"purged":1,`) {
		t.Errorf("%d %s", status, body)
	}
	origin.set(version("new"))
	write(yaml(a, b))
	gw.reloadCall()
	gw.expect(t, "/a/x", 200, "new", "MISS")
}

// TestReloadDuringFill has the configuration change what is to be stored, and for how
// long, while a body arrives.
func TestReloadDuringFill(t *testing.T) {
	const size = 200 << 10
	for change, storedAfter := range map[string]string{
		"ttl: 5": "yatagarasu; hit; ttl=5", "ttl: 60, max_object_size: 1KB": "", "ttl: 60, client_directives: true": "yatagarasu; hit; ttl=60",
	} {
		t.Run(change, func(t *testing.T) {
			gate := make(chan struct{})
			origin := gatedOrigin(t, size, gate)
			yaml := strings.Replace(adminYAML(origin.URL), "max_object_size: 1MB", "CHANGE", 1)
			gw, write := fileGateway(t, strings.Replace(yaml, "CHANGE", "ttl: 60", 1))
			at := time.Now()
			gw.Now = func() time.Time { return at }
			r := beginDownload(t, gw, size)
			defer r.Body.Close()
			write(strings.Replace(yaml, "CHANGE", change, 1))
			if status, result := gw.reloadCall(); status != 200 || fmt.Sprint(result.Changed) != "[{main [cache]}]" {
				t.Fatalf("%d %+v", status, result)
			}
			close(gate)
			expectRest(t, r, size)
			gw.settleFills(t)
			if says := gw.cacheSays("/pub/x"); says != "MISS" {
				t.Errorf("what came under the old configuration: %s", says)
			}
			gw.settleFills(t)
			again, _ := gw.do("GET", "/pub/x")
			if got := again.Header.Get("Cache-Status"); storedAfter != "" && got != storedAfter || storedAfter == "" && cacheHeader(again) == "HIT" {
				t.Errorf("what came under the new one: %s", got)
			}
		})
	}
}

// TestReloadsUnderLoad alternates two valid configurations and one that is not. Each
// valid one has another upstream for the buckets that requests are under way to.
func TestReloadsUnderLoad(t *testing.T) { // T75, T77
	origin := httptest.NewServer(serveText("hello")) // which records nothing
	defer origin.Close()
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	valid := func(name string, conns int) string {
		own := fmt.Sprintf("max_connections: %d", conns)
		return "server: {ready: any}\ncache: {enabled: true, max_size: 1MB, max_object_size: 64KB}\n" + metricsYAML + "buckets:\n" +
			bucketYAML("main", "/pub", origin.URL, own) + "    cache: {enabled: false}\n" + bucketYAML("cached", "/cached", origin.URL, own) + bucketYAML(name, "/"+name, origin.URL)
	}
	files := []string{valid("left", 100), "buckets: nonsense\n", valid("right", 101)}
	gw, write := fileGateway(t, files[0], func(o *Options) { o.LogLevel = "error" })
	var stop atomic.Bool
	var sent, failed atomic.Int64
	var clients sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	for i := range 8 {
		clients.Go(func() { // ends with stop
			target := gw.url([]string{"/pub/x", "/cached/x"}[i%2])
			for !stop.Load() {
				r, err := client.Get(target)
				if err == nil {
					body, _ := io.ReadAll(r.Body)
					r.Body.Close()
					if r.StatusCode != 200 || string(body) != "hello" {
						err = fmt.Errorf("%d %s", r.StatusCode, body)
					}
				}
				if sent.Add(1); err != nil && failed.Add(1) < 5 {
					t.Errorf("a request fails: %v", err)
				}
			}
		})
	}
	measure := func() (goroutines, descriptors int, heap uint64) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), openDescriptors(t), m.HeapAlloc
	}
	var goroutines, descriptors int
	var heap uint64
	for i := range rounds {
		write(files[i%len(files)])
		status, r := gw.reloadCall()
		if want := map[bool]int{true: 400, false: 200}[i%len(files) == 1]; status != want {
			t.Fatalf("reload %d: %d %+v", i, status, r)
		}
		if i == rounds/10 {
			goroutines, descriptors, heap = measure()
		}
	}
	stop.Store(true)
	clients.Wait()
	g, d, h := measure()
	t.Logf("%d reloads, %d requests, %d failed; goroutines %d, then %d; descriptors %d, then %d; heap %d KiB, then %d", rounds, sent.Load(), failed.Load(), goroutines, g, descriptors, d, heap>>10, h>>10)
	if failed.Load() > 0 || g > goroutines+20 || d > descriptors+20 || h > heap*3/2+1<<20 {
		t.Error("requests failed, or something grows")
	}
}

// TestCertificateRenewed replaces the files of the certificate: a reload shows the
// new one at once, without one it is found in time.
func TestCertificateRenewed(t *testing.T) {
	yaml := withTLS(t, oneBucket("/pub", startOrigin(t, serveText("hello")).URL))
	gw, write := fileGateway(t, yaml)
	serial := func() string {
		c, err := tls.Dial("tcp", gw.addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return fmt.Sprintf("%x", c.ConnectionState().PeerCertificates[0].Signature)
	}
	h := gw.Generation.Load().Config.Server.HTTPS
	first := serial()
	cert, key := writeCertificate(t)
	replace := func(path, with string) {
		text, err := os.ReadFile(with)
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	replace(h.CertPath, cert)
	gw.renewCertificate() // as the reloader does at intervals
	if serial() != first {
		t.Error("a certificate without its key is shown")
	}
	replace(h.KeyPath, key)
	gw.renewCertificate()
	second := serial()
	if second == first {
		t.Error("the new certificate is not shown")
	}
	write(withTLS(t, oneBucket("/pub", "http://127.0.0.1:1")))
	if r := gw.requestReload(); len(r.Errors) > 0 || fmt.Sprint(r.Settings) != "[server.https]" || serial() == second {
		t.Errorf("by a reload: %+v", r)
	}
	third := serial()
	h = gw.Generation.Load().Config.Server.HTTPS
	cert, key = writeCertificate(t)
	replace(h.CertPath, cert)
	replace(h.KeyPath, key)
	for i, settings := range []string{"[server.https]", "[]"} {
		if r := gw.requestReload(); len(r.Errors) > 0 || fmt.Sprint(r.Settings) != settings || serial() == third {
			t.Errorf("reload %d with the same paths: %+v", i, r)
		}
	}
	replace(h.KeyPath, cert)
	if r := gw.requestReload(); len(r.Errors) == 0 {
		t.Error("a key that is none is accepted")
	}
}

// TestCertificateRenewedWhileOff has a file that switches TLS off, which only a restart
// does: until then the certificate is renewed.
func TestCertificateRenewedWhileOff(t *testing.T) {
	plain := oneBucket("/pub", startOrigin(t, serveText("hello")).URL)
	gw, write := fileGateway(t, withTLS(t, plain))
	h := gw.Generation.Load().Config.Server.HTTPS
	write(plain)
	if r := gw.requestReload(); len(r.Errors) > 0 || fmt.Sprint(r.Restart) != "[server.https.enabled]" {
		t.Fatalf("%+v", r)
	}
	before := gw.certificate.Current.Load()
	cert, key := writeCertificate(t)
	for path, with := range map[string]string{h.CertPath: cert, h.KeyPath: key} {
		if err := os.Rename(with, path); err != nil {
			t.Fatal(err)
		}
	}
	gw.renewCertificate()
	if gw.certificate.Current.Load() == before {
		t.Error("the certificate is not renewed")
	}
	os.Remove(h.KeyPath)
	if r := gw.requestReload(); len(r.Errors) > 0 {
		t.Errorf("a reload needs the certificate that its file does not name: %v", r.Errors)
	}
}

// TestReloadKeepsReady has probes that do not end after reloads that change how an origin
// is asked: until they do, nothing is known against it.
func TestReloadKeepsReady(t *testing.T) {
	var blocked atomic.Bool
	gate := make(chan struct{})
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if blocked.Load() {
			<-gate
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	for _, mode := range []string{"any", "all"} {
		t.Run(mode, func(t *testing.T) {
			blocked.Store(false)
			base := "server: {ready: " + mode + "}\n" + metricsYAML + "buckets:\n"
			gw, write := fileGateway(t, base+bucketYAML("a", "/a", origin.URL))
			awaitReadiness := func(want int) {
				t.Helper()
				eventually(t, fmt.Sprintf("/ready answers %d", want), func() bool { r, _ := gw.do("GET", "/ready"); return r.StatusCode == want })
			}
			awaitReadiness(200)
			blocked.Store(true)
			for _, buckets := range []string{
				bucketYAML("a", "/a", origin.URL, "max_connections: 101"),
				strings.Replace(bucketYAML("a", "/a", origin.URL), "AKa", "AKnew", 1),
				bucketYAML("a", "/a", origin.URL) + bucketYAML("b", "/b", origin.URL),
			} {
				write(base + buckets)
				if status, r := gw.reloadCall(); status != 200 {
					t.Fatal(r.Errors)
				}
				if r, body := gw.do("GET", "/ready"); r.StatusCode != 200 {
					t.Errorf("after a reload: %d %s", r.StatusCode, body)
				}
			}
			if mode == "all" {
				open()
				awaitReadiness(503)
			}
		})
	}
}
