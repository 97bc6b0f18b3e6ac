package cluster

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"yatagarasu/gateway/config/shared"
	"yatagarasu/gateway/resp"
)

// Scripts that Valkey runs, each as one step.
var (
	//go:embed append.lua
	scriptAppend string
	//go:embed report.lua
	scriptReport string
	//go:embed confirm.lua
	scriptConfirm string
)

// keys are the keys of a namespace. The log, its hash and the limits share the slot of a Valkey cluster; objects are
// spread, and their names follow.
type keys struct{ log, meta, limits, objects string }

func newKeys(namespace string) keys {
	at := "y:{" + namespace + "}:"
	return keys{log: at + "log", meta: at + "meta", limits: at + "l:", objects: "y:" + namespace + ":o:"}
}

const (
	askWithin = time.Second            // of one command
	block     = 500 * time.Millisecond // for which XREAD waits for a purge
	settles   = 2 * time.Second        // after the log has begun or Valkey is back, until each gateway is there
	batch     = 1000                   // purges that are read at once
	logLength = 100_000                // purges that the log keeps, about
	countFor  = 5 * time.Minute        // beyond purge.within, for which a gateway counts that is not heard of
)

// asker is a connection to Valkey, or a client.
type asker interface {
	B() valkey.Builder
	Do(ctx context.Context, cmd valkey.Completed) valkey.ValkeyResult
}

// ready returns the client, or nil if Valkey was not reached yet.
func (n *Node) ready() valkey.Client {
	select {
	case <-n.connected:
		return n.client
	default:
		return nil
	}
}

// connect makes the client when Valkey can first be reached. It is for the goroutine that follows
// the log: the others wait for it.
func (n *Node) connect() error {
	if n.ready() != nil {
		return nil
	}
	c := &n.opts.Config.Valkey
	o := valkey.ClientOption{
		InitAddress: c.Addresses, Username: c.Username, Password: c.Password.Reveal(), ClientName: "yatagarasu",
		ForceSingleClient: c.Mode == shared.ValkeyStandalone, DisableRetry: true, DisableCache: true, AlwaysPipelining: true,
		ConnWriteTimeout: 4 * askWithin, Dialer: net.Dialer{Timeout: askWithin},
		ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10, PipelineMultiplex: -1, DialCtxFn: n.dial, ClientSetInfo: valkey.DisableClientSetInfo,
	}
	var err error
	if o.TLSConfig, err = tlsOf(c); err != nil {
		return err
	}
	if c.Mode == shared.ValkeySentinel {
		o.Sentinel = valkey.SentinelOption{MasterSet: c.MasterName, TLSConfig: o.TLSConfig, Dialer: o.Dialer, TopologyRefreshInterval: 5 * time.Second}
	}
	client, err := valkey.NewClient(o)
	if err != nil {
		return err
	}
	n.client = client
	close(n.connected)
	return nil
}

// dial opens a connection that ends with the node at the latest.
func (n *Node) dial(ctx context.Context, address string, d *net.Dialer, config *tls.Config) (conn net.Conn, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.life, cancel)()
	if config == nil {
		conn, err = d.DialContext(ctx, "tcp", address)
	} else {
		conn, err = (&tls.Dialer{NetDialer: d, Config: config}).DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return nil, err
	}
	return &connection{&resp.Guarded{Conn: conn}, context.AfterFunc(n.life, func() { conn.Close() })}, nil
}

// connection is a connection to Valkey. What closes it with the node goes when it is closed before.
type connection struct {
	net.Conn
	forget func() bool
}

func (c *connection) Close() error {
	c.forget()
	return c.Conn.Close()
}

// tlsOf returns the TLS side of connections; nil: they have none.
func tlsOf(c *shared.Valkey) (*tls.Config, error) {
	if !c.TLS {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read cluster.valkey.tls.ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cluster.valkey.tls.ca_file: %s has no certificate", c.CAFile)
		}
	}
	return t, nil
}

// append appends entries to the log, and begins one if there is none, or if it lacks purges up to the
// place known, which may be nil. It returns the place of the last entry of the log.
func (n *Node) append(ctx context.Context, conn asker, known *place, entries ...entry) (*place, error) {
	if known == nil {
		known = new(place)
	}
	skipped := 1<<20 + mathrand.N[int64](1<<40) // a server that loses purges again and again skips to other positions each time
	cmd := conn.B().Eval().Script(scriptAppend).Numkeys(2).Key(n.keys.log, n.keys.meta).
		Arg(rand.Text(), strconv.Itoa(logLength), known.incarnation, strconv.FormatUint(known.position, 10), strconv.FormatInt(skipped, 10))
	for _, e := range entries {
		cmd = cmd.Arg(e.body, e.mac)
	}
	reply, err := conn.Do(ctx, cmd.Build()).AsStrSlice()
	if err != nil {
		return nil, err
	}
	at, err := placeOf(reply)
	if err == nil && len(entries) > 0 {
		n.stats.appended.Add(uint64(len(entries)))
		n.own.add(at)
	}
	return at, err
}

// own are the places of purges that a gateway has appended, and not read yet. The zero value is none.
// Safe for concurrent use.
type own struct {
	mu          sync.Mutex
	incarnation string
	positions   []uint64
}

// maxOwn is how many places are kept. A gateway that reads the log has few.
const maxOwn = 1024

func (o *own) add(at *place) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.incarnation != at.incarnation {
		o.incarnation, o.positions = at.incarnation, o.positions[:0]
	}
	if len(o.positions) < maxOwn {
		o.positions = append(o.positions, at.position)
	}
}

// known returns the positions of a log that a gateway at a place knows to be given away, the last one
// last.
func (o *own) known(at *place) []uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := []uint64{at.position}
	if o.incarnation == at.incarnation {
		o.positions = slices.DeleteFunc(o.positions, func(p uint64) bool { return p <= at.position })
		known = append(known, o.positions...)
	}
	slices.Sort(known)
	return known
}

// report notes the place of this gateway, which is nil before it has one, and returns where the log
// ends; nil: there is none.
func (n *Node) report(ctx context.Context, conn asker, at *place) (*place, error) {
	if at == nil {
		at = &place{incarnation: "-"}
	}
	counts := n.opts.Config.Purge.Within + countFor
	cmd := conn.B().Eval().Script(scriptReport).Numkeys(2).Key(n.keys.log, n.keys.meta).
		Arg(n.field, at.incarnation, strconv.FormatUint(at.position, 10), strconv.FormatUint(n.known(at).position, 10), strconv.FormatInt(counts.Milliseconds(), 10))
	reply, err := conn.Do(ctx, cmd.Build()).AsStrSlice()
	if err != nil {
		return nil, err
	}
	if len(reply) > 0 && reply[0] == "" {
		return nil, nil
	}
	return placeOf(reply)
}

// known returns the last place of the log that this gateway, at a place, knows to be given away.
func (n *Node) known(at *place) *place {
	if at == nil {
		return nil
	}
	known := n.own.known(at)
	return &place{incarnation: at.incarnation, position: known[len(known)-1]}
}

// placeOf returns the place that a script says: incarnation, position, and the run of the server.
func placeOf(reply []string) (*place, error) {
	if len(reply) != 3 {
		return nil, errShort
	}
	position, err := strconv.ParseUint(reply[1], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the answer of a script has no position: %w", err)
	}
	return &place{incarnation: reply[0], position: position, run: reply[2]}, nil
}

var errShort = errors.New("the answer of a script has another length than this version expects")

// count returns how many gateways there are, and how many have come to a place. Where the log has
// just begun, some may not be counted yet: then one less has.
func (n *Node) count(ctx context.Context, conn asker, at *place) (nodes, confirmed int, err error) {
	cmd := conn.B().Eval().Script(scriptConfirm).Numkeys(1).Key(n.keys.meta).Arg(at.incarnation, strconv.FormatUint(at.position, 10))
	counts, err := conn.Do(ctx, cmd.Build()).AsIntSlice()
	if err == nil && len(counts) != 3 {
		err = errShort
	}
	if err != nil {
		return 0, 0, err
	}
	nodes, confirmed = max(int(counts[0]), 1), int(counts[1]) // this one may not have reported yet
	if time.Duration(counts[2])*time.Millisecond < settles {
		confirmed = min(confirmed, nodes-1)
	}
	n.stats.nodes.Store(int64(nodes))
	return nodes, confirmed, nil
}

// logged is an entry with its place.
type logged struct {
	entry
	position, prev uint64 // its own, and that of the entry before
	begin          bool   // it is no purge, but the begin of the log
}

// read returns the entries behind a position, at most a batch, and waits for one.
func (n *Node) read(ctx context.Context, conn asker, behind uint64) ([]logged, error) {
	cmd := conn.B().Xread().Count(batch).Block(block.Milliseconds()).Streams().Key(n.keys.log).Id(strconv.FormatUint(behind, 10) + "-0").Build()
	streams, err := conn.Do(ctx, cmd).AsXRead()
	if valkey.IsValkeyNil(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return n.loggedOf(streams[n.keys.log])
}

// loggedOf returns entries of the stream as they are.
func (n *Node) loggedOf(list []valkey.XRangeEntry) ([]logged, error) {
	entries := make([]logged, 0, len(list))
	for _, x := range list {
		l := logged{entry: entry{body: x.FieldValues["body"], mac: x.FieldValues["mac"]}}
		_, l.begin = x.FieldValues["begin"]
		number, _, _ := strings.Cut(x.ID, "-")
		var err error
		if l.position, err = strconv.ParseUint(number, 10, 64); err == nil {
			l.prev, err = strconv.ParseUint(x.FieldValues["prev"], 10, 64)
		}
		if err != nil {
			return nil, fmt.Errorf("the log %s has an entry of somebody else: %s", n.keys.log, x.ID)
		}
		entries = append(entries, l)
	}
	return entries, nil
}
