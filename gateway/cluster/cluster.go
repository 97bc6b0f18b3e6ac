// Package cluster has several gateways share purges, small objects and rates by Valkey or Redis. Begin
// with New and Start; Node.step follows the log of purges. docs/CLUSTER.md says what it promises.
package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/valkey-io/valkey-go"

	"yatagarasu/cache"
	"yatagarasu/gateway/config/shared"
	"yatagarasu/gateway/limit"
)

// Options describe a node. All are required.
type Options struct {
	Config  *shared.Cluster
	Apply   func(bucket string, p *cache.Purges, soft bool) // makes purges in memory; an empty bucket is all
	Outdate func()                                          // keeps what is being fetched out of memory
	Limits  func() (limits []Limit, now time.Duration)      // that are in effect, by the clock of their buckets
	Log     *zerolog.Logger
}

// Node is one gateway of several. Get one by New. Safe for concurrent use.
type Node struct {
	Lease *cache.Lease // of what is in memory, renewed by Valkey

	opts  Options
	keys  keys
	seal  seal
	field string // of this process in the hash
	end   context.CancelFunc
	ended chan struct{} // closed when the node follows the log no more

	life      context.Context // of all connections
	kill      context.CancelFunc
	client    valkey.Client // set once, before connected is closed
	connected chan struct{}

	mu     sync.Mutex // guards the following fields
	outbox []entry    // purges that Valkey has not taken yet, the oldest first

	quiet  time.Time // until when the lease is not renewed: others share what they kept first; for follow alone
	place  atomic.Pointer[place]
	own    own
	ledger ledger
	limits limit.Breaker // of the limits
	store  *store
	down   atomic.Bool // Valkey could not be asked last time
	stats  stats
}

// place is where a node is in the log. It does not change once made.
type place struct {
	incarnation string
	position    uint64 // of the last purge that is applied
	run         string // of the server
}

// Resyncs are the reasons for which a node took all of memory for stale.
var Resyncs = [...]string{resyncStart: "start", resyncIncarnation: "incarnation", resyncTrimmed: "trimmed", resyncUnreadable: "unreadable"}

const (
	resyncStart       = iota // what came into memory before the log was read
	resyncIncarnation        // the log is another than before
	resyncTrimmed            // purges left the log before they were read
	resyncUnreadable         // a purge was not made by who knows the secret
)

type stats struct {
	resyncs  [len(Resyncs)]atomic.Uint64
	nodes    atomic.Int64
	appended atomic.Uint64
	applied  atomic.Uint64
	failures atomic.Uint64
}

// Status is how a node is doing.
type Status struct {
	Connected  bool              `json:"connected"`          // Valkey answered the last time
	Nodes      int               `json:"nodes"`              // gateways, when they were counted last
	Position   uint64            `json:"position"`           // of the last purge that is applied
	Unverified float64           `json:"unverified_seconds"` // since every purge was applied; -1: never
	Waiting    int               `json:"waiting_purges"`     // that Valkey has not taken yet
	Appended   uint64            `json:"purges_appended"`    // since start
	Applied    uint64            `json:"purges_applied"`     // made by others, since start
	Failures   uint64            `json:"failures"`           // times that Valkey could not be asked
	Resyncs    map[string]uint64 `json:"resyncs"`            // by reason
	Store      *StoreStatus      `json:"store,omitempty"`    // nil: objects are not shared
}

// StoreStatus counts the objects that Valkey was asked for, and given, by what came of that.
type StoreStatus struct {
	Read  map[string]uint64 `json:"read"`
	Write map[string]uint64 `json:"write"`
}

func countsOf(outcomes *[numOutcomes]atomic.Uint64) map[string]uint64 {
	counts := make(map[string]uint64, numOutcomes)
	for i, outcome := range Outcomes {
		if n := outcomes[i].Load(); n > 0 {
			counts[outcome] = n
		}
	}
	return counts
}

// New returns a node that does nothing yet.
func New(o Options) *Node {
	n := &Node{
		opts: o, store: newStore(&o.Config.Store), Lease: cache.NewLease(o.Config.Purge.Within), keys: newKeys(o.Config.Namespace), seal: newSeal(o.Config),
		field: "node " + rand.Text(), ended: make(chan struct{}), connected: make(chan struct{}),
	}
	n.life, n.kill = context.WithCancel(context.Background())
	return n
}

// Start has the node follow the log until Close.
func (n *Node) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	n.end = cancel
	go n.run(ctx) // ends with Close
	if n.opts.Config.Store.Enabled {
		for range writers {
			go n.write(ctx) // ends with Close
		}
	}
	if n.SharesLimits() {
		go n.shareLimits(ctx) // ends with Close
	}
}

// Close ends the node, within 2 s whatever Valkey does: the others count it no more. Nothing may be
// answered from memory after it.
func (n *Node) Close() {
	leave, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	context.AfterFunc(leave, n.kill) // who waits for an answer has an error then
	n.end()
	<-n.ended
	if client := n.ready(); client != nil {
		client.Do(leave, client.B().Hdel().Key(n.keys.meta).Field(n.field).Build()) // else it counts until it is forgotten
		client.Close()
	}
}

// leaveWithin is how long a node takes at most to take its leave.
const leaveWithin = time.Second

// SharesLimits tells whether gateways share their limits. n may be nil.
func (n *Node) SharesLimits() bool { return n != nil && n.opts.Config.Limits.Enabled }

// LeaseOrNil returns n's lease; nil if n is.
func (n *Node) LeaseOrNil() *cache.Lease {
	if n == nil {
		return nil
	}
	return n.Lease
}

// Status returns how the node is doing.
func (n *Node) Status() *Status {
	s := &Status{
		Connected: !n.down.Load() && n.place.Load() != nil, Nodes: int(n.stats.nodes.Load()), Unverified: -1,
		Appended: n.stats.appended.Load(), Applied: n.stats.applied.Load(), Failures: n.stats.failures.Load(),
		Resyncs: make(map[string]uint64, len(Resyncs)),
	}
	if p := n.place.Load(); p != nil {
		s.Position = p.position
	}
	if d, ever := n.Lease.Unverified(time.Now()); ever {
		s.Unverified = d.Seconds()
	}
	for i, reason := range Resyncs {
		s.Resyncs[reason] = n.stats.resyncs[i].Load()
	}
	if n.opts.Config.Store.Enabled {
		s.Store = &StoreStatus{Read: countsOf(&n.store.reads), Write: countsOf(&n.store.writes)}
	}
	n.mu.Lock()
	s.Waiting = len(n.outbox)
	n.mu.Unlock()
	return s
}

// ErrNotShared is returned by Publish if Valkey did not take the purge. The purge is kept, and appended
// once that is possible.
var ErrNotShared = errors.New("the purge is made here alone: Valkey does not take it; the other gateways learn of it once it does")

// ErrNotReplicated is returned by Publish if too few replicas of Valkey confirm a purge.
var ErrNotReplicated = errors.New("the purge is shared, but fewer replicas of Valkey than purge.replicas have it: a failover may lose it")

// Receipt says how far a purge has come.
type Receipt struct {
	Position  uint64
	Nodes     int // gateways, this one among them
	Confirmed int // those that have applied it
}

// Publish makes a purge here, by make, appends it, and waits for the other gateways to make it, as
// long as purge.wait says.
func (n *Node) Publish(p *Purge, make func()) (r Receipt, err error) {
	p.From = n.field
	n.ledger.pend(p) // before memory: what is read from Valkey meanwhile is not kept
	make()
	e := n.seal.entry(p)
	asked, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	select {
	case <-n.connected:
	case <-asked.Done():
		return r, n.keep(e, errors.New("there is no connection yet"))
	}
	conn, release := n.client.Dedicate()
	defer release()
	at, err := n.append(asked, conn, n.known(n.place.Load()), e)
	if err == nil && !n.follows(asked, at) {
		err = errors.New("the purge went to a server that this gateway does not follow: another has become the primary")
	}
	if err != nil {
		conn.Close()
		return r, n.keep(e, err)
	}
	n.ledger.settle(at, p)
	r.Position = at.position
	if want := n.opts.Config.Purge.Replicas; want > 0 {
		got, err := conn.Do(asked, conn.B().Wait().Numreplicas(int64(want)).Timeout(askWithin.Milliseconds()/2).Build()).AsInt64()
		if err != nil || got < int64(want) {
			return r, ErrNotReplicated
		}
	}
	n.await(conn, at, &r)
	return r, nil
}

// follows waits until this gateway follows the log that a purge was appended to, at the same server, and
// reports whether it does. A connection that was kept may be to a server that is no primary any more.
func (n *Node) follows(ctx context.Context, at *place) bool {
	for {
		if p := n.place.Load(); p != nil && p.incarnation == at.incarnation && p.run == at.run {
			return true
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
}

// await asks until all gateways have come to a place, or purge.wait is over.
func (n *Node) await(conn asker, at *place, r *Receipt) {
	r.Nodes = max(int(n.stats.nodes.Load()), 1) // should they not be counted: no more than this one is known to have it
	deadline := time.Now().Add(n.opts.Config.Purge.Wait)
	for pause := time.Millisecond; ; pause = min(2*pause, 25*time.Millisecond) {
		asked, cancel := context.WithTimeout(context.Background(), askWithin)
		nodes, confirmed, err := n.count(asked, conn, at)
		cancel()
		if err != nil {
			return
		}
		if r.Nodes, r.Confirmed = nodes, confirmed; confirmed >= nodes || time.Until(deadline) < pause {
			return
		}
		time.Sleep(pause)
	}
}

// keep has a purge wait until Valkey can be told. Beyond what can be kept, they become one of
// everything.
func (n *Node) keep(e entry, why error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.outbox = append(n.outbox, e); len(n.outbox) > maxOutbox {
		all := n.seal.entry(&Purge{Kind: All, From: n.field})
		n.ledger.pend(all.purge)
		for _, e := range n.outbox {
			n.ledger.drop(e.purge)
		}
		n.outbox = append(n.outbox[:0], all)
	}
	n.stats.failures.Add(1)
	return errors.Join(ErrNotShared, why)
}

// maxOutbox is how many purges wait for Valkey.
const maxOutbox = 1024

// flush appends the purges that wait.
func (n *Node) flush(ctx context.Context, conn asker) error {
	n.mu.Lock()
	waiting := slices.Clone(n.outbox)
	n.mu.Unlock()
	if len(waiting) == 0 {
		return nil
	}
	at, err := n.append(ctx, conn, n.known(n.place.Load()), waiting...)
	if err != nil {
		return err
	}
	for _, e := range waiting {
		n.ledger.settle(at, e.purge)
	}
	n.mu.Lock()
	n.outbox = slices.DeleteFunc(n.outbox, func(e entry) bool {
		return slices.ContainsFunc(waiting, func(w entry) bool { return w.purge == e.purge })
	})
	n.mu.Unlock()
	return nil
}
