package cluster

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"yatagarasu/cache"
	"yatagarasu/gateway/config/shared"
	"yatagarasu/loadtest/redisserver"
)

const (
	testPassword = "a-password-of-valkey"
	testSecret   = "0123456789abcdef0123456789abcdef"
)

// startReplica starts a replica that has told the primary how far it is when it is returned: no
// command goes to it before, however soon it is in sync.
func startReplica(t *testing.T, s *redisserver.Server) *redisserver.Server {
	t.Helper()
	replica := redisserver.ForTest(t, redisserver.Options{ReplicaOf: s.Address()})
	do(t, s, "SET", "something", "to replicate")
	if !polled(func() bool {
		info := do(t, s, "INFO", "replication").(string)
		return strings.Contains(info, "state=online") && !strings.Contains(info, "offset=0,")
	}) {
		t.Fatal("the replica never tells the primary how far it is")
	}
	return replica
}

// do runs a command that must succeed.
func do(t *testing.T, s *redisserver.Server, args ...string) any {
	t.Helper()
	reply, err := s.Do(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// testNode is a node that notes the purges it is told to make.
type testNode struct {
	*Node
	t     *testing.T
	log   *syncBuffer
	cache *cache.Cache // with the lease of the node

	mu      sync.Mutex // guards the following field
	applied []string
}

// newNode returns a node that is not started. It has no wait for others, unless tune says so.
func newNode(t *testing.T, address string, tune ...func(*shared.Cluster)) *testNode {
	c := storeConfig(address, testSecret)
	c.Namespace, c.Store.Enabled = "test", false
	c.Purge.Within, c.Purge.Wait = 30*time.Second, 0
	for _, f := range tune {
		f(c)
	}
	tn := &testNode{t: t, log: new(syncBuffer)}
	log := zerolog.New(tn.log)
	tn.Node = New(Options{Config: c, Apply: tn.apply, Outdate: func() {}, Log: &log})
	tn.cache = cache.New(cache.Options{MaxBytes: 1 << 20, Lease: tn.Lease})
	return tn
}

// startNode starts a node that has joined when it is returned, and ends with the test.
func startNode(t *testing.T, s *redisserver.Server, tune ...func(*shared.Cluster)) *testNode {
	t.Helper()
	return startNodeAt(t, s.Address(), tune...)
}

func startNodeAt(t *testing.T, address string, tune ...func(*shared.Cluster)) *testNode {
	t.Helper()
	tn := newNode(t, address, tune...)
	tn.Start()
	t.Cleanup(tn.Close)
	tn.eventually("it follows the log", func() bool { s := tn.Status(); return s.Connected && s.Position > 0 })
	return tn
}

func (tn *testNode) apply(bucket string, p *cache.Purges, soft bool) {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	var names []string
	for _, k := range p.Keys {
		names = append(names, fmt.Sprintf("key %q", k))
	}
	for _, k := range p.Prefixes {
		names = append(names, fmt.Sprintf("prefix %q", k))
	}
	for _, k := range p.Tags {
		names = append(names, fmt.Sprintf("tag %q", k))
	}
	if p.All {
		names = append(names, "all")
	}
	for _, name := range names {
		tn.applied = append(tn.applied, fmt.Sprintf("%s of %q, soft %t", name, bucket, soft))
	}
}

// made returns the purges that the node was told to make, in the order of their names.
func (tn *testNode) made() []string {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	made := slices.Clone(tn.applied)
	slices.Sort(made)
	return made
}

// fresh reports whether an object counts as fresh that the origin was asked for at a time.
func (tn *testNode) fresh(asked time.Time) bool {
	now := time.Now()
	o := &cache.Object{Freshness: cache.Freshness{Sent: asked, Lifetime: time.Hour}}
	return tn.cache.FreshnessAt(o, now).State(now) == cache.Fresh
}

// share publishes a purge.
func (tn *testNode) share(p *Purge) (Receipt, error) { return tn.Publish(p, func() {}) }

// publish publishes a purge that must be shared.
func (tn *testNode) publish(p *Purge) Receipt {
	tn.t.Helper()
	r, err := tn.share(p)
	if err != nil {
		tn.t.Fatal(err)
	}
	return r
}

// eventually waits until cond holds. It says what the node logged if that never happens.
func (tn *testNode) eventually(what string, cond func() bool) {
	tn.t.Helper()
	if !polled(cond) {
		tn.t.Fatalf("never: %s; status %+v; made %v; log:\n%s", what, tn.Status(), tn.made(), tn.log)
	}
}

// awaits waits until the node has come to a position.
func (tn *testNode) awaits(position uint64) {
	tn.t.Helper()
	tn.eventually(fmt.Sprint("position ", position), func() bool { return tn.Status().Position == position })
}

// polled tells whether cond comes to hold within the time that a busy machine may take.
func polled(cond func() bool) bool {
	for deadline := time.Now().Add(20 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(2 * time.Millisecond) // the only way to look again later
	}
	return true
}

// purgeKey is the purge of one key.
func purgeKey(name string) *Purge { return &Purge{Bucket: "main", Kind: Key, Name: []byte(name)} }

// keyMade is what testNode.made has for purgeKey.
func keyMade(name string) string { return fmt.Sprintf("key %q of \"main\", soft false", name) }

// shows compares the purges that a node was told to make.
func (tn *testNode) shows(want ...string) {
	tn.t.Helper()
	slices.Sort(want)
	if got := tn.made(); !slices.Equal(got, want) {
		tn.t.Errorf("made %v, want %v", got, want)
	}
}

// resynced compares how often a node took memory for stale, apart from its start.
func (tn *testNode) resynced(want map[string]uint64) {
	tn.t.Helper()
	for _, reason := range Resyncs[1:] {
		if got := tn.Status().Resyncs[reason]; got != want[reason] {
			tn.t.Errorf("%d resyncs for %s, want %d; log:\n%s", got, reason, want[reason], tn.log)
		}
	}
}

// syncBuffer is a log sink that may be read while it is written to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *syncBuffer) has(text string) bool { return strings.Contains(s.String(), text) }

// link is a way to a server that can be cut.
type link struct {
	net.Listener
	target string

	mu    sync.Mutex // guards the following fields
	cut   bool
	conns map[net.Conn]bool
}

// startLink returns a link to a server, which ends with the test.
func startLink(t *testing.T, target string) *link {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{Listener: ln, target: target, conns: make(map[net.Conn]bool)}
	var ended sync.WaitGroup
	ended.Go(func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			ended.Go(func() { l.pass(c) }) // ends with the connection
		}
	})
	t.Cleanup(func() {
		ln.Close()
		l.setCut(true)
		ended.Wait()
	})
	return l
}

// setCut ends all connections, and refuses others, or lets them through again.
func (l *link) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	for c := range l.conns {
		c.Close()
	}
}

// keep notes a connection; false: it is not to be.
func (l *link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.cut {
		l.conns[c] = true
	}
	return !l.cut
}

func (l *link) pass(c net.Conn) {
	defer c.Close()
	to, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer to.Close()
	if !l.keep(c) || !l.keep(to) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, to}, {to, c}} {
		both.Go(func() { // ends with either connection
			defer way[0].Close()
			defer way[1].Close()
			buf := make([]byte, 32<<10)
			for {
				n, err := way[0].Read(buf)
				if err != nil {
					return
				}
				if _, err := way[1].Write(buf[:n]); err != nil {
					return
				}
			}
		})
	}
	both.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	delete(l.conns, to)
}
