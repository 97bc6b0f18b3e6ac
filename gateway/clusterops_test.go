package gateway

import (
	"encoding/json"
	"strings"
	"testing"

	"yatagarasu/gateway/admin"
	"yatagarasu/loadtest/redisserver"
)

// sharingYAML is a block cluster; more are further keys of its valkey.
func sharingYAML(address string, more ...string) string {
	return "cluster:\n  namespace: ops\n  secret: " + strings.Repeat("s", 32) + "\n  valkey: {addresses: [\"" + address + "\"]" + strings.Join(append([]string{""}, more...), ", ") + "}\n"
}

// sharingGateway starts a gateway with a cluster, and returns it once it follows the log.
func sharingGateway(t *testing.T) (*testGateway, *redisserver.Server) {
	t.Helper()
	valkey := redisserver.ForTest(t, redisserver.Options{ACL: []string{"default on nopass ~* &* +@all"}})
	gw := startGateway(t, adminYAML(startOrigin(t, serveText("hello")).URL, sharingYAML(valkey.Address())))
	eventually(t, "the log is followed", func() bool { s := gw.statusCall().Cluster; return s.Connected && s.Unverified >= 0 })
	return gw, valkey
}

// TestClusterIsShown has metrics and status say how a gateway among several is doing, and nothing of
// that where it is the only one.
func TestClusterIsShown(t *testing.T) {
	alone := startGateway(t, adminYAML(startOrigin(t, serveText("hello")).URL))
	if text := alone.metricsText(); strings.Contains(text, "yatagarasu_cluster_") {
		t.Error("there are metrics of a cluster without one")
	}
	if _, body := alone.admin("GET", "/admin/status", ""); strings.Contains(body, `"cluster"`) {
		t.Error("there is a status of a cluster without one")
	}

	gw, valkey := sharingGateway(t)
	code, body := gw.admin("POST", "/admin/cache/purge", `{"all": true}`)
	var reply admin.PurgeReply
	if err := json.Unmarshal([]byte(body), &reply); err != nil || code != 200 || reply.Shared == nil || reply.Position != 2 || reply.Nodes != 1 {
		t.Fatalf("%d %s: %v", code, body, err)
	}
	eventually(t, "the purge is in the log and read, and the gateways are counted", func() bool {
		text := gw.metricsText()
		return sumSamples(text, "yatagarasu_cluster_position") == 2 && sumSamples(text, "yatagarasu_cluster_nodes") == 1
	})
	text := gw.metricsText()
	for _, want := range []string{
		"\nyatagarasu_cluster_connected 1\n", "\nyatagarasu_cluster_purges_appended_total 1\n", "\nyatagarasu_cluster_purges_applied_total 0\n",
		"\nyatagarasu_cluster_purges_waiting 0\n", "\nyatagarasu_cluster_failures_total 0\n", "\nyatagarasu_cluster_purge_unverified_seconds ",
		"\nyatagarasu_cluster_resyncs_total{reason=\"start\"} 1\nyatagarasu_cluster_resyncs_total{reason=\"incarnation\"} 0\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q", want)
		}
	}

	valkey.Kill()
	code, body = gw.admin("POST", "/admin/cache/purge", `{"all": true}`)
	if code != 503 || !strings.Contains(body, `"purge_not_shared"`) {
		t.Errorf("%d %s", code, body)
	}
	eventually(t, "it is seen that Valkey is gone", func() bool {
		s, text := gw.statusCall().Cluster, gw.metricsText()
		return !s.Connected && s.Waiting == 1 && s.Failures > 0 && sumSamples(text, "yatagarasu_cluster_connected") == 0 && sumSamples(text, "yatagarasu_cluster_purges_waiting") == 1
	})
	if err := valkey.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the purge is told, and a resync is counted", func() bool {
		s := gw.statusCall().Cluster
		return s.Connected && s.Waiting == 0 && s.Resyncs["incarnation"] == 1
	})
}

// TestClusterWithoutValkey has a gateway that has never reached Valkey serve, and say so.
func TestClusterWithoutValkey(t *testing.T) {
	gw := startGateway(t, adminYAML(startOrigin(t, serveText("hello")).URL, sharingYAML("127.0.0.1:1")))
	if r, body := gw.do("GET", "/pub/a"); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	if s := gw.statusCall().Cluster; s.Connected || s.Unverified != -1 {
		t.Errorf("%+v", s)
	}
	text := gw.metricsText()
	if !strings.Contains(text, "\nyatagarasu_cluster_connected 0\n") || strings.Contains(text, "yatagarasu_cluster_purge_unverified_seconds") || strings.Contains(text, "yatagarasu_cluster_nodes") {
		t.Error(text)
	}
}

// TestDoctorLooksAtTheCluster has a server that is well, and one that may lose the log.
func TestDoctorLooksAtTheCluster(t *testing.T) {
	origin := startFaulty(t, failing(0, "hello", nil))
	good, _, _ := strings.Cut(adminYAML(origin.endpoint), "metrics:")
	rules := []string{"default on nopass ~* &* +@all"}
	valkey := redisserver.ForTest(t, redisserver.Options{ACL: rules})
	evicts := redisserver.ForTest(t, redisserver.Options{ACL: rules, Args: []string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}})
	little := redisserver.ForTest(t, redisserver.Options{ACL: rules, Args: []string{"--maxmemory", "20mb"}})
	if _, err := little.Do(t.Context(), "EVAL", "for i = 1, 17 do redis.call('SET', 'filling' .. i, string.rep('x', 1000000)) end", "0"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cluster string
		code    int
		says    []string
	}{
		"well": {sharingYAML(valkey.Address()), 0, []string{`\n\nCLUSTER ops +AT ` + valkey.Address() + `\n`, `\nversion +ok +Redis \d`, `\ntls +-\n`, `\nscripts +ok \S+\n`, `\nnodes +ok +0 gateway`,
			`\n1 origin\(s\) and what gateways share: all is well`}},
		"evicts": {sharingYAML(evicts.Address()), 1, []string{`\neviction +FAIL\n`, `\nlog +ok`, `cluster at ` + evicts.Address() + `: eviction: maxmemory-policy is allkeys-lru`, `\n  fix: set maxmemory-policy`}},
		"little": {sharingYAML(little.Address()), 0, []string{`\nmemory +warn\n`, `: memory: .* MB of`, `\n  fix: raise maxmemory`, `all is well`}},
		"gone":   {sharingYAML("127.0.0.1:1", `password: "the-password"`), 1, []string{`\nconnect +FAIL\ntls +-\ncredentials +-\n`, `main +127\S+ +ok`, `: connect: .*refused`}},
	} {
		t.Run(name, func(t *testing.T) { doctorSays(t, good+c.cluster, "o", c.code, c.says) })
	}
}

// TestExplainPurges has a line for what is cached among several gateways.
func TestExplainPurges(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"bound":    {adminYAML("http://origin.test", sharingYAML("valkey:6379")), "purges:    shared with other gateways; in effect within 30s even on"},
		"no bound": {adminYAML("http://origin.test", sharingYAML("valkey:6379")+"  purge: {within: 0}\n"), "purges:    shared with other gateways; one that cannot hear of them serves"},
		"alone":    {adminYAML("http://origin.test"), ""},
		"no cache": {oneBucket("/pub", "http://origin.test") + sharingYAML("valkey:6379"), ""},
	} {
		out := explains(t, configuredGateway(t, c.yaml, "warn"), "/pub/x", "", true, []string{c.want})
		if c.want == "" && strings.Contains(out, "purges:") {
			t.Errorf("%s: %s", name, out)
		}
	}
}
