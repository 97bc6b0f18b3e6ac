package cluster

import (
	"errors"
	"net"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/config/shared"
	"yatagarasu/loadtest/redisserver"
)

// closeWithin is what Close may take: 2 s, and what a busy machine adds.
const closeWithin = 3 * time.Second

// closes closes the node and fails the test if that takes long.
func (tn *testNode) closes() {
	tn.t.Helper()
	begun := time.Now()
	tn.Close()
	if took := time.Since(begun); took > closeWithin {
		tn.t.Errorf("Close took %v", took)
	}
}

// TestClose has a gateway leave: the others count it no more, and nothing of it goes on.
func TestClose(t *testing.T) {
	s := redisserver.ForTest(t, redisserver.Options{})
	stays := startNode(t, s, waitOf(10*time.Second))
	settled(t, s)
	stays.publish(purgeKey("a")) // which opens the connections that it keeps
	before := runtime.NumGoroutine()
	leaves := startNode(t, s)
	leaves.publish(purgeKey("b"))
	if r := stays.publish(purgeKey("c")); r.Nodes != 2 || r.Confirmed != 2 {
		t.Fatalf("with both: %+v", r)
	}
	leaves.closes()
	if r := stays.publish(purgeKey("d")); r.Nodes != 1 || r.Confirmed != 1 {
		t.Errorf("without it: %+v", r)
	}
	if _, err := leaves.share(purgeKey("e")); !errors.Is(err, ErrNotShared) {
		t.Errorf("a purge after Close: %v", err)
	}
	if !polled(func() bool { return runtime.NumGoroutine() <= before }) {
		var b strings.Builder
		pprof.Lookup("goroutine").WriteTo(&b, 1)
		t.Errorf("%d goroutines, %d before: %s", runtime.NumGoroutine(), before, &b)
	}
}

// TestCloseWithoutServer has Close end soon, and everything with it, whatever the server does.
func TestCloseWithoutServer(t *testing.T) {
	for name, address := range map[string]func(t *testing.T) string{
		"refuses connections": func(t *testing.T) string { return "127.0.0.1:1" },
		"accepts them and says nothing": func(t *testing.T) string {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			return ln.Addr().String() // the kernel accepts
		},
		"does not answer at all": func(t *testing.T) string { return "192.0.2.1:6379" }, // RFC 5737
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			n := newNode(t, address(t))
			n.Start()
			n.closes() // while it connects
			n = newNode(t, address(t))
			n.Start()
			n.notShared(purgeKey("a"))
			n.closes()
			if !polled(func() bool { return runtime.NumGoroutine() <= before }) {
				t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
			}
		})
	}
	t.Run("is frozen", func(t *testing.T) {
		s := redisserver.ForTest(t, redisserver.Options{})
		before := runtime.NumGoroutine()
		n := startNode(t, s)
		n.publish(purgeKey("a"))
		s.Freeze()
		n.closes()
		if !polled(func() bool { return runtime.NumGoroutine() <= before }) {
			t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	})
}

// TestReconnects has a gateway that starts before the server is there.
func TestReconnects(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	s.Kill()
	n := newNode(t, s.Address())
	n.Start()
	t.Cleanup(n.Close)
	if err := n.notShared(purgeKey("a")); strings.Contains(err.Error(), testSecret) {
		t.Error("the error has the secret")
	}
	n.eventually("it says that it cannot", func() bool { return n.log.has("cannot follow the purges") })
	if status := n.Status(); status.Connected || status.Unverified != -1 || status.Waiting != 1 {
		t.Errorf("%+v", status)
	}
	if !n.fresh(time.Now()) || n.fresh(time.Now().Add(-time.Minute)) {
		t.Error("without any news, an object is fresh as long as purge.within says")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.eventually("it follows the log", func() bool { return n.Status().Connected && n.Status().Waiting == 0 })
	n.awaits(2)
	n.shows()
}

// TestBadConfiguration has what cannot work say why.
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	for want, tune := range map[string]func(*shared.Cluster){
		"cannot read cluster.valkey.tls.ca_file": func(c *shared.Cluster) { c.Valkey.TLS, c.Valkey.CAFile = true, "/no/such/file" },
		"node_test.go has no certificate":        func(c *shared.Cluster) { c.Valkey.TLS, c.Valkey.CAFile = true, "node_test.go" },
		"connection refused":                     func(c *shared.Cluster) { c.Valkey.Mode, c.Valkey.MasterName = shared.ValkeySentinel, "m" },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, "127.0.0.1:1", tune)
			n.Start()
			t.Cleanup(n.Close)
			n.eventually("it says so", func() bool { return n.log.has(want) })
		})
	}
}
