package cluster

import (
	"bufio"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/shared"
	"yatagarasu/loadtest/process"
	"yatagarasu/loadtest/redisserver"
)

// aclFile returns the path of the rules that are published.
func aclFile(t *testing.T) string {
	t.Helper()
	root, err := process.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "deploy/valkey/users.acl")
}

// deployedACL returns the rules of that file, with the password of the tests.
func deployedACL(t *testing.T) (rules []string) {
	t.Helper()
	f, err := os.Open(aclFile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rule, ok := strings.CutPrefix(lines.Text(), "user "); ok {
			rules = append(rules, strings.Replace(rule, ">PASSWORD", ">"+testPassword, 1))
		}
	}
	if len(rules) == 0 {
		t.Fatal("the file has no rules")
	}
	return rules
}

// TestACLFile has a server read the very file.
func TestACLFile(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{Args: []string{"--include", aclFile(t)}})
	startNode(t, s, asUser("gateway"), func(c *shared.Cluster) { c.Valkey.Password = file.NewSecret("PASSWORD") })
	if users := do(t, s, "ACL", "USERS"); !reflect.DeepEqual(users, []any{"default", "gateway", "loadtest"}) {
		t.Errorf("users %v", users)
	}
}

// TestACL has gateways work with the rights of deploy/valkey/users.acl, and no others.
func TestACL(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{ACL: deployedACL(t)})
	replica := startReplica(t, s)
	user := asUser("gateway")
	a := startNode(t, s, user, waitOf(10*time.Second), func(c *shared.Cluster) { c.Purge.Replicas, c.Store.Enabled = 1, true })
	b := startNode(t, s, user)
	settled(t, s)
	do(t, s, "HSET", "y:{test}:meta", "node gone", "x 0 1")
	if r := a.publish(purgeKey("a")); r.Confirmed != 2 || r.Nodes != 2 { // which forgets the node that is gone
		t.Errorf("%+v", r)
	}
	a.eventually("an object is shared", a.stores)
	do(t, s, "DEL", "y:{test}:log") // it is begun anew
	a.eventually("another log", func() bool { return a.Status().Resyncs["incarnation"] == 1 })
	b.eventually("another log", func() bool { return b.Status().Resyncs["incarnation"] == 1 })
	leaves := newNode(t, s.Address(), user)
	leaves.Start()
	leaves.eventually("it joins", func() bool { return leaves.Status().Connected })
	fields := do(t, s, "HLEN", "y:{test}:meta").(int64)
	leaves.Close()
	if left := do(t, s, "HLEN", "y:{test}:meta").(int64); left != fields-1 {
		t.Errorf("%d fields when it has left, %d before", left, fields)
	}
	if refused := do(t, s, "ACL", "LOG").([]any); len(refused) > 0 {
		t.Errorf("refused: %v", refused)
	}
	replica.Kill()

	for _, c := range []struct {
		command string
		allowed bool
	}{
		{"XREAD STREAMS y:{any}:log 0", true},
		{"XREAD STREAMS x:{any}:log 0", false},
		{"HSET other f v", false},
		{"HSET y:{any}:meta f v", true},
		{"DEL y:{any}:log", true},
		{"SET y:any:o:x v PX 1", true},
		{"SET x:any:o:x v PX 1", false},
		{"GETRANGE y:any:o:x 0 1", true},
		{"SET other v", false},
		{"GET other", false},
		{"KEYS *", false},
		{"SCAN 0", false},
		{"FLUSHALL", false},
		{"FLUSHDB", false},
		{"CONFIG GET *", false},
		{"ACL LIST", false},
		{"CLIENT LIST", false},
		{"MONITOR", false},
		{"SHUTDOWN", false},
		{"REPLICAOF NO ONE", false},
		{"SCRIPT FLUSH", false},
		{"FUNCTION LIST", false},
		{"XTRIM y:{any}:log MAXLEN 0", false},
		{"SUBSCRIBE c", false},
		{"PUBLISH c m", false},
	} {
		verdict := do(t, s, append([]string{"ACL", "DRYRUN", "gateway"}, strings.Fields(c.command)...)...)
		if (verdict == "OK") != c.allowed {
			t.Errorf("%s: %v", c.command, verdict)
		}
	}
	if verdict := do(t, s, "ACL", "DRYRUN", "default", "PING"); verdict == "OK" {
		t.Error("who names no user may do something")
	}
}

// stores reports whether an object is stored at the server and found there.
func (tn *testNode) stores() bool {
	shelf, o := tn.Shelf("main", []byte("origin")), stored("k", "", "body")
	if shelf.put(o, tn.place.Load()) != Written {
		return false
	}
	_, got := shelf.get(o.Key, false, tagsIn, time.Now())
	return got == Found
}

// TestACLIsNeeded takes each right of deploy/valkey/users.acl away: something fails for lack of it.
func TestACLIsNeeded(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{ACL: deployedACL(t)})
	uses := func(namespace string) (refused []any) {
		do(t, s, "ACL", "LOG", "RESET")
		n := newNode(t, s.Address(), asUser("gateway"), func(c *shared.Cluster) { c.Namespace, c.Store.Enabled = namespace, true })
		n.Start()
		polled(func() bool { return n.Status().Connected || n.Status().Failures > 0 })
		if n.Status().Connected {
			do(t, s, "HSET", "y:{"+namespace+"}:meta", "node gone", "x 0 1")
			n.share(purgeKey("a"))
			n.opts.Config.Purge.Replicas = 1
			n.share(purgeKey("b"))
			polled(func() bool { return n.Status().Unverified >= 0 || n.Status().Failures > 1 })
			n.stores()
		}
		n.Close()
		return do(t, s, "ACL", "LOG").([]any)
	}
	if refused := uses("all"); len(refused) > 0 {
		t.Fatalf("with all rights: %v", refused)
	}
	for _, right := range strings.Fields(strings.Join(deployedACL(t), " ")) {
		command, ok := strings.CutPrefix(right, "+")
		if !ok {
			continue
		}
		do(t, s, "ACL", "SETUSER", "gateway", "-"+command)
		if refused := uses(command); len(refused) == 0 {
			t.Errorf("nothing needs +%s", command)
		}
		do(t, s, "ACL", "SETUSER", "gateway", right)
	}
}

// TestWrongPassword has the server refuse a gateway, which says so and keeps its secrets.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{ACL: deployedACL(t)})
	n := newNode(t, s.Address(), asUser("gateway"), func(c *shared.Cluster) { c.Valkey.Password = file.NewSecret("not-" + testPassword) })
	n.Start()
	t.Cleanup(n.Close)
	n.eventually("it says so", func() bool { return n.log.has("WRONGPASS") })
	err := n.notShared(purgeKey("a"))
	for _, text := range []string{n.log.String(), err.Error()} {
		if strings.Contains(text, testPassword) || strings.Contains(text, testSecret) {
			t.Errorf("it has a secret: %s", text)
		}
	}
}

// TestNothingSecretIsLogged has a gateway with all its faults.
func TestNothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{ACL: deployedACL(t)})
	n := startNode(t, s, asUser("gateway"))
	n.publish(purgeKey("a"))
	do(t, s, "EVAL", `redis.call('XADD', KEYS[1], '3-0', 'prev', '2', 'body', '{"kind":"all"}', 'mac', 'm'); redis.call('HSET', KEYS[2], 'last', '3')`,
		"2", "y:{test}:log", "y:{test}:meta")
	n.eventually("an entry of somebody else", func() bool { return n.log.has("unreadable") })
	do(t, s, "XADD", "y:{test}:log", "*", "f", "v")
	n.eventually("another one", func() bool { return n.log.has("incarnation") })
	s.Kill()
	err := n.notShared(purgeKey("b"))
	n.eventually("the server is gone", func() bool { return !n.Status().Connected })
	text := n.log.String() + err.Error()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.outbox) != 1 {
		t.Errorf("%d purges wait", len(n.outbox))
	}
	for _, e := range n.outbox {
		if strings.Contains(text, e.mac) {
			t.Error("a MAC is logged")
		}
	}
	if strings.Contains(text, testPassword) || strings.Contains(text, testSecret) {
		t.Errorf("a secret is logged: %s", text)
	}
}

// TestSecretsAreRotated has gateways with the secret before and with the next one.
func TestSecretsAreRotated(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	next := file.NewSecret(strings.Repeat("n", 32))
	before := startNode(t, s, func(c *shared.Cluster) { c.PreviousSecret = next }) // the first step
	after := startNode(t, s, func(c *shared.Cluster) { c.Secret, c.PreviousSecret = next, c.Secret })
	before.publish(purgeKey("before"))
	after.publish(purgeKey("after"))
	before.awaits(3)
	after.awaits(3)
	before.shows(keyMade("after"))
	after.shows(keyMade("before"))
	before.resynced(nil)
	after.resynced(nil)
}

// TestTLS has gateways reach the server by TLS.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{TLS: true})
	another := redisserver.ForTest(t, redisserver.Options{TLS: true})
	trusting := func(file string) func(*shared.Cluster) {
		return func(c *shared.Cluster) { c.Valkey.TLS, c.Valkey.CAFile = true, file }
	}
	a, b := startNode(t, s, trusting(s.CAFile())), startNode(t, s, trusting(s.CAFile()))
	a.publish(purgeKey("a"))
	b.awaits(2)
	b.shows(keyMade("a"))
	for name, c := range map[string]struct {
		tune func(*shared.Cluster)
		says string
	}{
		"a wrong authority":      {trusting(another.CAFile()), "certificate signed by unknown authority"},
		"the system's authority": {trusting(""), "certificate signed by unknown authority"},
		"no TLS":                 {func(*shared.Cluster) {}, "cannot follow the purges"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, s.Address(), c.tune)
			n.Start()
			t.Cleanup(n.Close)
			n.eventually("it says so", func() bool { return n.log.has(c.says) })
			if n.Status().Connected {
				t.Error("it is connected")
			}
		})
	}
}
