package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/shared"
	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/redisserver"
)

// logIDs returns the ids of the entries of the log, and what comes before each one by its own word.
func logIDs(t *testing.T, s *redisserver.Server) (ids, prevs []string) {
	t.Helper()
	list, _ := do(t, s, "XRANGE", "y:{test}:log", "-", "+").([]any)
	for _, e := range list {
		pair := e.([]any)
		ids = append(ids, pair[0].(string))
		fields := pair[1].([]any)
		for i := 0; i < len(fields); i += 2 {
			if fields[i] == "prev" {
				prevs = append(prevs, fields[i+1].(string))
			}
		}
	}
	return ids, prevs
}

// settled makes the log older than it takes for all gateways to report.
func settled(t *testing.T, s *redisserver.Server) {
	t.Helper()
	do(t, s, "HSET", "y:{test}:meta", "begun", "1")
}

func waitOf(d time.Duration) func(*shared.Cluster) {
	return func(c *shared.Cluster) { c.Purge.Wait = d }
}

// TestLog has three gateways that tell each other of purges.
func TestLog(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	wait := waitOf(10 * time.Second)
	first := startNode(t, s, wait)
	if ids, _ := logIDs(t, s); !slices.Equal(ids, []string{"1-0"}) {
		t.Fatalf("the first gateway begins the log: %v", ids)
	}
	first.awaits(1)
	settled(t, s)
	if r := first.publish(purgeKey("alone")); r != (Receipt{Position: 2, Nodes: 1, Confirmed: 1}) {
		t.Errorf("alone: %+v", r)
	}
	second, third := startNode(t, s, wait), startNode(t, s, wait)
	nodes := []*testNode{first, second, third}
	for i, n := range nodes {
		if r := n.publish(purgeKey(fmt.Sprint(i))); r != (Receipt{Position: uint64(3 + i), Nodes: 3, Confirmed: 3}) {
			t.Errorf("gateway %d: %+v", i, r)
		}
	}
	for i, n := range nodes { // all have confirmed
		others := []string{keyMade("alone")} // from the log, of before they came
		if i == 0 {
			others = nil
		}
		for other := range nodes {
			if other != i {
				others = append(others, keyMade(fmt.Sprint(other)))
			}
		}
		n.shows(others...)
		n.resynced(nil)
		status := n.Status()
		if int(status.Applied) != len(others) || status.Position != 5 || status.Nodes < 1 || !status.Connected || status.Waiting != 0 || status.Resyncs["start"] != 1 || status.Failures != 0 {
			t.Errorf("gateway %d: %+v", i, status)
		}
		if want := map[int]uint64{0: 2, 1: 1, 2: 1}[i]; status.Appended != want {
			t.Errorf("gateway %d has appended %d, want %d", i, status.Appended, want)
		}
		if !n.log.has(`"message":"purges are shared with other gateways"`) {
			t.Errorf("gateway %d does not say that it shares purges: %s", i, n.log)
		}
	}
	ids, prevs := logIDs(t, s)
	if want := []string{"1-0", "2-0", "3-0", "4-0", "5-0"}; !slices.Equal(ids, want) {
		t.Errorf("positions %v, want %v", ids, want)
	}
	if want := []string{"0", "1", "2", "3", "4"}; !slices.Equal(prevs, want) {
		t.Errorf("positions before %v, want %v", prevs, want)
	}
}

// TestKinds has purges of every kind come out at another gateway as they went in.
func TestKinds(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	from, to := startNode(t, s), startNode(t, s)
	binary := string([]byte{0, 0xff, '\n', '"', 0x80, 'a'})
	var want []string
	for _, c := range []struct {
		p    Purge
		want string
	}{
		{Purge{Bucket: "main", Kind: Key, Name: []byte("a/b")}, `key "a/b" of "main", soft false`},
		{Purge{Bucket: "main", Kind: Prefix, Name: []byte("a/")}, `prefix "a/" of "main", soft false`},
		{Purge{Bucket: "main", Kind: Prefix}, `prefix "" of "main", soft false`},
		{Purge{Bucket: "main", Kind: Tag, Name: []byte("news")}, `tag "news" of "main", soft false`},
		{Purge{Bucket: "main", Kind: All}, `all of "main", soft false`},
		{Purge{Kind: Tag, Name: []byte("news"), Soft: true}, `tag "news" of "", soft true`},
		{Purge{Kind: All, Soft: true}, `all of "", soft true`},
		{Purge{Bucket: "main", Kind: Key, Name: []byte(binary), Soft: true}, fmt.Sprintf("key %q of \"main\", soft true", binary)},
		{Purge{Bucket: "main", Kind: Key, Name: []byte(strings.Repeat("k", 1024))}, keyMade(strings.Repeat("k", 1024))},
		{Purge{Bucket: "later", Kind: "kind of a later version", Name: []byte("x")}, `all of "later", soft false`},
	} {
		from.publish(&c.p)
		want = append(want, c.want)
	}
	to.awaits(uint64(1 + len(want)))
	to.shows(want...)
	from.awaits(uint64(1 + len(want)))
	from.shows()
}

// TestConcurrentPurges has two gateways append at the same time: each purge once, in one order.
func TestConcurrentPurges(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	nodes := []*testNode{startNode(t, s), startNode(t, s)}
	const each = 50
	done := make(chan error)
	for i, n := range nodes {
		for j := range each {
			go func() { // ends with its purge
				_, err := n.share(purgeKey(fmt.Sprint(i, " ", j)))
				done <- err
			}()
		}
	}
	for range len(nodes) * each {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for i, n := range nodes {
		n.awaits(1 + uint64(len(nodes)*each))
		var others []string
		for j := range each {
			others = append(others, keyMade(fmt.Sprint(1-i, " ", j)))
		}
		n.shows(others...)
		n.resynced(nil)
	}
}

// TestReceiptOfALogThatJustBegan has no purge confirmed by all while some gateways may not have
// reported yet.
func TestReceiptOfALogThatJustBegan(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	n := startNode(t, s, waitOf(300*time.Millisecond)) // which is enough to apply it
	do(t, s, "HSET", "y:{test}:meta", "begun", "99999999999999")
	if r := n.publish(purgeKey("a")); r != (Receipt{Position: 2, Nodes: 1}) {
		t.Errorf("alone: %+v", r)
	}
	do(t, s, "FLUSHALL")
	if r := n.publish(purgeKey("b")); r.Nodes != 1 || r.Confirmed != 0 {
		t.Errorf("flushed: %+v", r)
	}
}

// TestReceiptOfGatewaysThatAreGone counts those that are not heard of until they are forgotten.
func TestReceiptOfGatewaysThatAreGone(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	n := startNode(t, s, waitOf(50*time.Millisecond))
	settled(t, s)
	do(t, s, "HSET", "y:{test}:meta", "node halted", "x 0 99999999999999", "node gone", "x 0 1", "node odd", "?")
	if r := n.publish(purgeKey("a")); r.Nodes != 2 || r.Confirmed != 1 {
		t.Errorf("%+v, want 1 of 2", r)
	}
	if fields := fmt.Sprint(do(t, s, "HKEYS", "y:{test}:meta")); strings.Contains(fields, "gone") || strings.Contains(fields, "odd") || !strings.Contains(fields, "halted") {
		t.Errorf("fields %s", fields)
	}
}

// TestReceiptWithoutCount has a purge be appended by who may not count the gateways: it must not
// look as if all had confirmed it.
func TestReceiptWithoutCount(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{ACL: []string{"gateway on >" + testPassword + " ~y:* +@all -hgetall"}})
	n := startNode(t, s, asUser("gateway"))
	if r := n.publish(purgeKey("a")); r != (Receipt{Position: 2, Nodes: 1}) {
		t.Errorf("%+v", r)
	}
}

// asUser has a node name itself to the server.
func asUser(name string) func(*shared.Cluster) {
	return func(c *shared.Cluster) {
		c.Valkey.Username, c.Valkey.Password = name, file.NewSecret(testPassword)
	}
}

// TestNamespaces has gateways of two groups at one server.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	a := startNode(t, s)
	b := startNode(t, s, func(c *shared.Cluster) { c.Namespace = "other" })
	a.publish(purgeKey("a"))
	b.publish(purgeKey("b"))
	a.awaits(2)
	b.awaits(2)
	a.shows()
	b.shows()
}

// TestModeCluster has the log at a Valkey cluster of one node, with the rights that
// deploy/valkey/users.acl names.
func TestModeCluster(t *testing.T) {
	t.Parallel()
	rules := deployedACL(t)
	rules[len(rules)-1] += " +cluster|slots +cluster|shards"
	bus, err := port.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	s := redisserver.ForTest(t, redisserver.Options{Args: []string{"--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(bus)}, ACL: rules})
	do(t, s, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	if !polled(func() bool { return strings.Contains(do(t, s, "CLUSTER", "INFO").(string), "cluster_state:ok") }) {
		t.Fatal("the cluster is never ready")
	}
	mode := func(c *shared.Cluster) { c.Valkey.Mode = shared.ValkeyCluster }
	a, b := startNode(t, s, mode, asUser("gateway")), startNode(t, s, mode, asUser("gateway"))
	a.publish(purgeKey("a"))
	b.awaits(2)
	b.shows(keyMade("a"))
	if refused := do(t, s, "ACL", "LOG").([]any); len(refused) > 0 {
		t.Errorf("refused: %v", refused)
	}
}

// TestModeSentinel has the primary die: the sentinel makes the replica the primary, and gateways that
// name the sentinel alone share purges by that one then, and objects.
func TestModeSentinel(t *testing.T) {
	t.Parallel()
	rules := deployedACL(t)
	rules[len(rules)-1] += " +role"
	primary := redisserver.ForTest(t, redisserver.Options{ACL: rules})
	replica := redisserver.ForTest(t, redisserver.Options{ACL: rules, ReplicaOf: primary.Address()})
	at := redisserver.SentinelForTest(t, "mymaster", primary)
	mode := func(c *shared.Cluster) {
		c.Valkey.Mode, c.Valkey.MasterName, c.Store.Enabled, c.Purge.Wait = shared.ValkeySentinel, "mymaster", true, 10*time.Second
	}
	a, b := startNodeAt(t, at, mode, asUser("gateway")), startNodeAt(t, at, mode, asUser("gateway"))
	settled(t, primary)
	if r := a.publish(purgeKey("a")); r.Confirmed != 2 || r.Nodes != 2 {
		t.Errorf("%+v", r)
	}
	b.shows(keyMade("a"))
	primary.Kill()
	if !polled(func() bool { // a sentinel that makes it the primary ends its connections
		info, err := replica.Do(t.Context(), "INFO", "replication")
		return err == nil && strings.Contains(info.(string), "role:master")
	}) {
		t.Fatal("the replica is never made the primary")
	}
	a.eventually("a purge is shared again", func() bool { _, err := a.share(purgeKey("b")); return err == nil })
	b.eventually("the other one has made it", func() bool { return slices.Contains(b.made(), keyMade("b")) })
	for _, n := range []*testNode{a, b} {
		n.eventually("an object is shared again", n.stores)
	}
	if refused := do(t, replica, "ACL", "LOG").([]any); len(refused) > 0 {
		t.Errorf("refused: %v", refused)
	}
}
