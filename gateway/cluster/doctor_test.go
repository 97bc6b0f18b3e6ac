package cluster

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"yatagarasu/cache"
	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/shared"
	"yatagarasu/loadtest/redisserver"
)

// examinedCluster is a cluster of the user gateway at a server.
func examinedCluster(address string) *shared.Cluster {
	return &shared.Cluster{
		Enabled: true, Namespace: "prod", Secret: file.NewSecret(strings.Repeat("s", 32)),
		Valkey: shared.Valkey{Addresses: []string{address}, Mode: shared.ValkeyStandalone, Username: "gateway", Password: file.NewSecret("gateway-password")},
		Purge:  shared.ClusterPurge{Within: 30 * time.Second, Wait: time.Second},
		Store:  shared.ClusterStore{MaxObjectSize: 256 << 10},
	}
}

// leastRules are what the user gateway needs.
const leastRules = "gateway on >gateway-password ~y:{prod}:* +ping +time +info +eval +exists +xadd +xread +xrevrange +hset +hget +hgetall +hdel +del"

// told writes findings one a line.
func told(found []Finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s %s: %s; fix: %s\n", f.Check, f.Result, f.Detail, f.Fix)
	}
	return b.String()
}

// keysOf returns the keys at a server.
func keysOf(t *testing.T, s *redisserver.Server) []any {
	t.Helper()
	answer, err := s.Do(t.Context(), "KEYS", "*")
	if err != nil {
		t.Fatal(err)
	}
	return answer.([]any)
}

// TestExamine has ways in which a server does not do, and what is said of each.
func TestExamine(t *testing.T) {
	rules := redisserver.Options{ACL: []string{leastRules, "default off"}}
	with := func(args ...string) redisserver.Options {
		return redisserver.Options{ACL: rules.ACL, Args: args}
	}
	may := func(change ...string) redisserver.Options {
		return redisserver.Options{ACL: []string{strings.NewReplacer(change...).Replace(leastRules), "default off"}}
	}
	healthy := redisserver.ForTest(t, rules)
	primary := redisserver.ForTest(t, rules)
	full := redisserver.ForTest(t, with("--maxmemory", "20mb"))
	if _, err := full.Do(t.Context(), "EVAL", "for i = 1, 17 do redis.call('SET', 'filling' .. i, string.rep('x', 1000000)) end", "0"); err != nil {
		t.Fatal(err)
	}
	hole, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	secure := redisserver.ForTest(t, redisserver.Options{ACL: rules.ACL, TLS: true})
	for name, c := range map[string]struct {
		at    *redisserver.Server
		setUp func(c *shared.Cluster)
		check string
		want  Result
		says  string
		fix   string
	}{
		"password":           {healthy, func(c *shared.Cluster) { c.Valkey.Password = file.NewSecret("guessed") }, "credentials", Broken, "WRONGPASS", "check cluster.valkey.username"},
		"no password":        {healthy, func(c *shared.Cluster) { c.Valkey.Username, c.Valkey.Password = "", file.Secret{} }, "credentials", Broken, "NOAUTH", "set cluster.valkey.password"},
		"name":               {nil, func(c *shared.Cluster) { c.Valkey.Addresses = []string{"no-such-host.invalid:6379"} }, "dns", Broken, "no-such-host.invalid", "check the names"},
		"not listening":      {nil, func(c *shared.Cluster) { c.Valkey.Addresses = []string{"127.0.0.1:1"} }, "connect", Broken, "refused", "check the port"},
		"silent":             {nil, func(c *shared.Cluster) { c.Valkey.Addresses = []string{hole.Addr().String()} }, "credentials", Broken, "", "is a Valkey or Redis server"},
		"one of two":         {healthy, func(c *shared.Cluster) { c.Valkey.Addresses = append(c.Valkey.Addresses, "127.0.0.1:1") }, "connect", Doubtful, "127.0.0.1:1", "check the port"},
		"TLS, not asked":     {secure, func(*shared.Cluster) {}, "credentials", Broken, "", "one that wants TLS"},
		"TLS, not there":     {healthy, func(c *shared.Cluster) { c.Valkey.TLS = true }, "tls", Broken, "", "check that the server speaks TLS"},
		"TLS, no authority":  {secure, func(c *shared.Cluster) { c.Valkey.TLS = true }, "tls", Broken, "unknown authority", "set cluster.valkey.tls.ca_file"},
		"TLS":                {secure, func(c *shared.Cluster) { c.Valkey.TLS, c.Valkey.CAFile = true, secure.CAFile() }, "tls", Sound, "", ""},
		"TLS, no file":       {secure, func(c *shared.Cluster) { c.Valkey.TLS, c.Valkey.CAFile = true, "/nonexistent" }, "tls", Broken, "ca_file", "check the file"},
		"replica":            {redisserver.ForTest(t, redisserver.Options{ACL: rules.ACL, ReplicaOf: primary.Address()}), nil, "primary", Broken, "replica of " + primary.Address(), "write the primary's address"},
		"too few replicas":   {healthy, func(c *shared.Cluster) { c.Purge.Replicas = 1 }, "primary", Broken, "is 1, and it has 0", "add replicas"},
		"part of a cluster":  {redisserver.ForTest(t, with("--cluster-enabled", "yes")), nil, "credentials", Broken, "CLUSTERDOWN", "set cluster.valkey.mode: cluster"},
		"no slots":           {redisserver.ForTest(t, with("--cluster-enabled", "yes")), func(c *shared.Cluster) { c.Valkey.Mode = shared.ValkeyCluster }, "credentials", Broken, "CLUSTERDOWN", "see that all slots of the cluster are served"},
		"no sentinel":        {healthy, func(c *shared.Cluster) { c.Valkey.Mode, c.Valkey.MasterName = shared.ValkeySentinel, "mymaster" }, "credentials", Broken, "NOAUTH", "set cluster.valkey.mode: standalone"},
		"eviction":           {redisserver.ForTest(t, with("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")), nil, "eviction", Broken, "is allkeys-lru", "noeviction"},
		"nothing makes room": {redisserver.ForTest(t, with("--maxmemory", "100mb")), func(c *shared.Cluster) { c.Store.Enabled = true }, "eviction", Broken, "is noeviction", "volatile-"},
		"volatile":           {redisserver.ForTest(t, with("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru")), nil, "eviction", Sound, "volatile-lru", ""},
		"full":               {full, nil, "memory", Doubtful, " MB of ", "raise maxmemory"},
		"no XREAD":           {redisserver.ForTest(t, may(" +xread", "")), nil, "acl", Broken, "user gateway may not: XREAD", "ACL SETUSER gateway +xread"},
		"no INFO":            {redisserver.ForTest(t, may(" +info", "", " +hdel", "")), nil, "acl", Broken, "INFO, HDEL", "+info +hdel"},
		"other keys":         {redisserver.ForTest(t, may("{prod}", "{test}")), nil, "acl", Broken, "touch the keys y:{prod}:*", "ACL SETUSER gateway ~y:{prod}:*"},
		"no store":           {healthy, func(c *shared.Cluster) { c.Store.Enabled = true }, "acl", Broken, "may not: SET, GETRANGE, PTTL", "ACL SETUSER gateway +set +getrange +pttl"},
		"no limits":          {healthy, func(c *shared.Cluster) { c.Limits.Enabled = true }, "acl", Broken, "may not: GET, SET", "ACL SETUSER gateway +get +set"},
		"no objects":         {redisserver.ForTest(t, may("+del", "+del +get +set +getrange +pttl")), func(c *shared.Cluster) { c.Store.Enabled, c.Limits.Enabled = true, true }, "acl", Broken, "may not: touch the keys y:prod:*", "ACL SETUSER gateway ~y:prod:*"},
		"all rights":         {redisserver.ForTest(t, may("+del", "+del +get +set +getrange +pttl ~y:prod:*")), func(c *shared.Cluster) { c.Store.Enabled, c.Limits.Enabled = true, true }, "nodes", Sound, "0 gateway(s)", ""},
		"no WAIT":            {primary, func(c *shared.Cluster) { c.Purge.Replicas = 1 }, "acl", Broken, "WAIT", "+wait"},
	} {
		t.Run(name, func(t *testing.T) {
			address := ""
			if c.at != nil {
				address = c.at.Address()
			}
			cl := examinedCluster(address)
			if c.setUp != nil {
				c.setUp(cl)
			}
			found := Examine(cl)
			i := slices.IndexFunc(found, func(f Finding) bool { return f.Check == c.check })
			if f := found[i]; f.Result != c.want || !strings.Contains(f.Detail, c.says) || !strings.Contains(f.Fix, c.fix) || (f.Fix == "") != (c.want == Sound) {
				t.Errorf("want %s %s: %s; fix: %s, and found\n%s", c.check, c.want, c.says, c.fix, told(found))
			}
			for _, f := range found[:i] {
				if f.Result == Broken {
					t.Errorf("before that, %s failed: %s", f.Check, f.Detail)
				}
			}
			if text := told(found); strings.Contains(text, "gateway-password") || strings.Contains(text, "guessed") || strings.Contains(text, cl.Secret.Reveal()) {
				t.Errorf("a secret is shown: %s", text)
			}
			if c.at != nil {
				left := func() []any { // but for what ends by itself
					return slices.DeleteFunc(keysOf(t, c.at), func(k any) bool { return strings.HasPrefix(k.(string), "filling") })
				}
				for deadline := time.Now().Add(time.Second); len(left()) > 0; time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("it leaves %v", left())
					}
				}
			}
		})
	}
}

// TestExamineCountsForNothing looks at a log in use, by the least rights: no gateway notices.
func TestExamineCountsForNothing(t *testing.T) {
	s := redisserver.ForTest(t, redisserver.Options{ACL: []string{leastRules, "default off"}})
	c := examinedCluster(s.Address())
	says := func(want ...string) {
		t.Helper()
		found := Examine(c)
		text := told(found)
		for _, f := range found {
			if f.Result != Sound && !(f.Check == "tls" && f.Result == "") {
				t.Errorf("%s: %s", f.Check, text)
			}
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("it does not say %q:\n%s", w, text)
			}
		}
	}
	says("version ok: ", "log ok: there is none yet", "nodes ok: 0 gateway(s)", "latency ok: p99 of 100 PINGs", "primary ok: 0 replica(s)", "MB, without a maxmemory", "eviction ok: noeviction")
	if left := keysOf(t, s); len(left) > 0 {
		t.Fatalf("it leaves %v", left)
	}

	log := zerolog.Nop()
	n := New(Options{Config: c, Apply: func(string, *cache.Purges, bool) {}, Outdate: func() {}, Log: &log})
	n.Start()
	defer n.Close()
	for deadline := time.Now().Add(10 * time.Second); n.Status().Unverified < 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // the only way to look again later
	}
	if r, err := n.Publish(&Purge{Kind: All}, func() {}); err != nil || r.Position != 2 {
		t.Fatal(r, err)
	}
	says("log ok: from 1 to 2;", "nodes ok: 1 gateway(s)")
	if _, err := s.Do(t.Context(), "ACL", "SETUSER", "gateway", "+xlen"); err != nil {
		t.Fatal(err)
	}
	says("log ok: 2 entries, from 1 to 2;", "nodes ok: 1 gateway(s)")
	if left := keysOf(t, s); len(left) != 2 {
		t.Errorf("it leaves %v", left)
	}
	if r, err := n.Publish(&Purge{Kind: All}, func() {}); err != nil || r.Position != 3 || r.Nodes != 1 {
		t.Error(r, err)
	}

	c.Secret = file.NewSecret(strings.Repeat("t", 32))
	if text := told(Examine(c)); !strings.Contains(text, "log warn: 3 entries, from 1 to 3; the last purge was not made with the secret") {
		t.Error(text)
	}
	c.PreviousSecret = file.NewSecret(strings.Repeat("s", 32))
	says("log ok: 3 entries")
}

// TestExamineStrangeLogs has keys of the namespace that no gateway has left so.
func TestExamineStrangeLogs(t *testing.T) {
	for name, c := range map[string]struct {
		commands [][]string
		want     string
	}{
		"no log":            {[][]string{{"HSET", "y:{prod}:meta", "inc", "x", "last", "1"}}, "log warn: half of it is gone"},
		"no hash":           {[][]string{{"XADD", "y:{prod}:log", "1-0", "a", "b"}}, "log warn: half of it is gone"},
		"hash of others":    {[][]string{{"SET", "y:{prod}:meta", "x"}}, "log FAIL: y:{prod}:meta cannot be read: WRONGTYPE"},
		"log of others":     {[][]string{{"SET", "y:{prod}:log", "x"}}, "log FAIL: y:{prod}:log cannot be read: WRONGTYPE"},
		"entry of others":   {[][]string{{"HSET", "y:{prod}:meta", "inc", "x", "last", "1"}, {"XADD", "y:{prod}:log", "1-0", "a", "b"}}, "log FAIL: the log y:{prod}:log has an entry of somebody else: 1-0"},
		"gateway behind":    {[][]string{{"HSET", "y:{prod}:meta", "inc", "x", "last", "2", "node a", "x 1 99999999999999", "node b", "x 2 99999999999999", "node c", "x 2 1", "node d", "x"}, {"XADD", "y:{prod}:log", "2-0", "begin", "x", "prev", "1"}}, "nodes ok: 2 gateway(s), of which 1 have not made the last purge"},
		"memory is used up": {[][]string{{"CONFIG", "SET", "maxmemory", "1mb"}}, "scripts FAIL: OOM"},
	} {
		t.Run(name, func(t *testing.T) {
			s := redisserver.ForTest(t, redisserver.Options{ACL: []string{leastRules}})
			for _, command := range c.commands {
				if _, err := s.Do(t.Context(), command...); err != nil {
					t.Fatal(err)
				}
			}
			if text := told(Examine(examinedCluster(s.Address()))); !strings.Contains(text, c.want) {
				t.Errorf("it does not say %q:\n%s", c.want, text)
			}
		})
	}
}

// TestServerIsJudged has what servers say of themselves that are not at hand.
func TestServerIsJudged(t *testing.T) {
	for name, c := range map[string]struct {
		info string
		look func(*examination) Finding
		want string
	}{
		"Valkey":         {"redis_version:7.2.4 valkey_version:9.1.2", (*examination).version, "ok: Valkey 9.1.2; fix: "},
		"old":            {"redis_version:6.0.16", (*examination).version, "FAIL: it is Redis 6.0.16; fix: use Valkey"},
		"old enough":     {"redis_version:6.2.0", (*examination).version, "ok: Redis 6.2.0"},
		"older":          {"redis_version:5.0.7", (*examination).version, "FAIL: it is Redis 5.0.7"},
		"nameless":       {"", (*examination).version, ": ; fix: "},
		"sentinel":       {"redis_mode:sentinel role:master", (*examination).role, "FAIL: it is a sentinel"},
		"Valkey's":       {"server_mode:sentinel role:master", (*examination).role, "FAIL: it is a sentinel"},
		"cluster":        {"redis_mode:cluster role:master", (*examination).role, "FAIL: it is part of a cluster"},
		"Valkey's own":   {"server_mode:cluster role:master", (*examination).role, "FAIL: it is part of a cluster"},
		"silent policy":  {"", (*examination).eviction, ": ; fix: "},
		"silent memory":  {"", (*examination).memory, ": ; fix: "},
		"enough memory":  {"used_memory:90000000 maxmemory:100000000", (*examination).memory, "ok: 90.0 MB of 100.0 MB"},
		"little is left": {"used_memory:90000001 maxmemory:100000000", (*examination).memory, "warn: 90.0 MB of 100.0 MB; fix: raise"},
	} {
		x := &examination{c: examinedCluster(""), info: make(map[string]string)}
		for line := range strings.FieldsSeq(c.info) {
			name, value, _ := strings.Cut(line, ":")
			x.info[name] = value
		}
		if text := told([]Finding{c.look(x)}); !strings.HasPrefix(text, " "+c.want) {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
	}
	for want, err := range map[string]error{
		"set cluster.valkey.tls.ca_file":                     x509.UnknownAuthorityError{},
		"write the name that is in the server's certificate": x509.HostnameError{Host: "h", Certificate: new(x509.Certificate)},
		"have the server's certificate renewed":              x509.CertificateInvalidError{Reason: x509.Expired, Cert: new(x509.Certificate)},
		"check that the server speaks TLS":                   errors.New("another"),
	} {
		if got := fixTLS(fmt.Errorf("handshake: %w", err)); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestExamineSentinels has a sentinel where the server should be, and one that is asked for it.
func TestExamineSentinels(t *testing.T) {
	s := redisserver.ForTest(t, redisserver.Options{ACL: []string{leastRules}})
	at := redisserver.SentinelForTest(t, "mymaster", s)
	c := examinedCluster(at)
	c.Valkey.Mode, c.Valkey.MasterName = shared.ValkeySentinel, "mymaster"
	if text := told(Examine(c)); !strings.Contains(text, "credentials FAIL: NOPERM") || !strings.Contains(text, "fix: give user gateway what finding the primary takes: +role") {
		t.Error(text)
	}
	if _, err := s.Do(t.Context(), "ACL", "SETUSER", "gateway", "+role"); err != nil {
		t.Fatal(err)
	}
	if text := told(Examine(c)); !strings.Contains(text, "nodes ok: 0 gateway(s)") {
		t.Error(text)
	}
	c.Valkey.MasterName = "another"
	if text := told(Examine(c)); !strings.Contains(text, "credentials FAIL: ") || !strings.Contains(text, "fix: check cluster.valkey.master_name") {
		t.Error(text)
	}
	c.Valkey.Mode, c.Valkey.Username, c.Valkey.Password = shared.ValkeyStandalone, "", file.Secret{}
	if text := told(Examine(c)); !strings.Contains(text, "primary FAIL: it is a sentinel; fix: set cluster.valkey.mode: sentinel") {
		t.Error(text)
	}
}

// TestExamineClusters has a cluster of one server, which is asked as what it is, and as what it is not.
func TestExamineClusters(t *testing.T) {
	s := redisserver.ForTest(t, redisserver.Options{ACL: []string{leastRules}, Args: []string{"--cluster-enabled", "yes"}})
	if _, err := s.Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", "0", "16383"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := s.Await(ctx, 5*time.Millisecond, func() error {
		answer, err := s.Do(ctx, "CLUSTER", "INFO")
		if text, _ := answer.(string); err == nil && !strings.Contains(text, "cluster_state:ok") {
			err = errors.New(text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c := examinedCluster(s.Address())
	if text := told(Examine(c)); !strings.Contains(text, "primary FAIL: it is part of a cluster; fix: set cluster.valkey.mode: cluster") {
		t.Error(text)
	}
	c.Valkey.Mode = shared.ValkeyCluster
	if text := told(Examine(c)); !strings.Contains(text, "acl FAIL: user gateway may not: CLUSTER|SLOTS, CLUSTER|SHARDS; fix: give it the right, as by ACL SETUSER gateway +cluster|slots +cluster|shards") {
		t.Error(text)
	}
	if _, err := s.Do(t.Context(), "ACL", "SETUSER", "gateway", "+cluster|slots", "+cluster|shards"); err != nil {
		t.Fatal(err)
	}
	if text := told(Examine(c)); !strings.Contains(text, "nodes ok: 0 gateway(s)") {
		t.Error(text)
	}
}
