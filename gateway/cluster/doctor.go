package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valkey-io/valkey-go"

	"yatagarasu/gateway/config/shared"
)

// Finding is what one check of Examine found. Without a Result it was not made, for one before
// failed.
type Finding struct {
	Check  string
	Result Result
	Took   time.Duration // 0: it is no matter of time
	Detail string        // for people; empty: there is nothing to say
	Fix    string        // what to do about it; empty: nothing
}

// Result is how a check ended.
type Result string

// The results of checks.
const (
	Sound    Result = "ok"
	Doubtful Result = "warn"
	Broken   Result = "FAIL"
)

// examination is a look at what a cluster shares, by a gateway that does not take part.
type examination struct {
	c       *shared.Cluster
	own     *Node                  // the gateway, with a log of its own
	others  *Node                  // the same with the log of the others, which it does not join
	conn    valkey.DedicatedClient // nil before logIn
	release func()                 // gives conn back
	info    map[string]string      // what the server says of itself; empty: nothing
	meta    map[string]string      // the hash of the others
}

// examinations are the checks, in their order. Behind a vital one that failed, none is made.
var examinations = [...]struct {
	name  string
	look  func(*examination) Finding
	vital bool
}{
	{"dns", (*examination).resolve, true},
	{"connect", (*examination).dial, true},
	{"tls", (*examination).handshake, true},
	{"credentials", (*examination).logIn, true},
	{"primary", (*examination).primary, true},
	{"version", (*examination).version, true},
	{"eviction", (*examination).eviction, false},
	{"memory", (*examination).memory, false},
	{"acl", (*examination).acl, true},
	{"scripts", (*examination).scripts, true},
	{"latency", (*examination).latency, false},
	{"log", (*examination).log, true},
	{"nodes", (*examination).nodes, false},
}

// Examine looks into everything between here and the log of purges: names, connections,
// certificates, the credential, the server, what its user may do, and the log itself. What it writes
// is under keys of its own, which it removes; no gateway counts it or sees it.
func Examine(c *shared.Cluster) (found []Finding) {
	own := New(Options{Config: c})
	x := &examination{c: c, own: own, others: New(Options{Config: c})}
	at := "y:{" + c.Namespace + "}:doctor " + rand.Text() + " " // what the user may touch, in the same slot
	own.keys = keys{log: at + "log", meta: at + "meta", limits: at + "limit", objects: "y:" + c.Namespace + ":o:doctor {" + c.Namespace + "}"}
	defer x.leave()
	ended := false
	for _, e := range examinations {
		f := Finding{}
		if !ended {
			f = e.look(x)
		}
		f.Check = e.name
		found = append(found, f)
		ended = ended || e.vital && f.Result == Broken
	}
	return found
}

// leave closes the connection, if there is one.
func (x *examination) leave() {
	if x.conn != nil {
		x.release()
		x.own.client.Close()
	}
}

func failed(fix, format string, args ...any) Finding {
	return Finding{Result: Broken, Detail: fmt.Sprintf(format, args...), Fix: fix}
}

func passed(begin time.Time, format string, args ...any) Finding {
	return Finding{Result: Sound, Took: time.Since(begin), Detail: fmt.Sprintf(format, args...)}
}

// logIn makes the connection for the checks that follow.
func (x *examination) logIn() Finding {
	begin := time.Now()
	err := x.own.connect()
	if err == nil {
		x.conn, x.release = x.own.client.Dedicate()
		_, err = x.ask(x.conn.B().Exists().Key(x.own.keys.meta).Build()).AsInt64()
	}
	if err == nil {
		return passed(begin, "")
	}
	text := err.Error()
	if x.conn != nil && (isDenied(err) || strings.Contains(text, "unknown command")) {
		return passed(begin, "") // see acl; the latter is a sentinel's, see primary
	}
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
	}
	fix := "check that cluster.valkey.addresses is a Valkey or Redis server, and that cluster.valkey.tls is as there: one that wants TLS closes connections without"
	switch {
	case isDenied(err):
		fix = "give user " + cmp.Or(x.c.Valkey.Username, "default") + " what finding the primary takes: +role"
	case has("NOAUTH") && x.c.Valkey.Mode == shared.ValkeySentinel:
		fix = "the gateway has no password for sentinels: have them ask for none; or, if these addresses are no sentinels, set cluster.valkey.mode: standalone"
	case has("NOAUTH"):
		fix = "the server wants a password: set cluster.valkey.password, and username if it is not that of its default user"
	case has("WRONGPASS", "AUTH", "invalid password"):
		fix = "check cluster.valkey.username and password: the server does not know them"
	case has("MOVED", "CLUSTERDOWN", valkey.ErrNoSlot.Error()) && x.c.Valkey.Mode == shared.ValkeyCluster:
		fix = "see that all slots of the cluster are served, and that the user may find them: +cluster|slots +cluster|shards"
	case has("MOVED", "CLUSTERDOWN"):
		fix = "the server is part of a cluster: set cluster.valkey.mode: cluster"
	case x.c.Valkey.Mode == shared.ValkeySentinel:
		fix = "check cluster.valkey.master_name, and that the addresses are those of sentinels, which know a primary that can be reached from here"
	case has("LOADING", "BUSY", "MASTERDOWN"):
		fix = "wait until the server is ready"
	}
	return failed(fix, "%s", text)
}

// ask has a command answered within the usual time.
func (x *examination) ask(cmd valkey.Completed) valkey.ValkeyResult {
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	return x.conn.Do(ctx, cmd)
}

// isDenied tells whether the server's rules forbid a command or its key.
func isDenied(err error) bool {
	e, ok := valkey.IsValkeyErr(err)
	return ok && strings.HasPrefix(e.Error(), "NOPERM")
}

func (x *examination) primary() Finding {
	text, err := x.ask(x.conn.B().Info().Build()).ToString()
	if isDenied(err) {
		return Finding{} // see acl
	}
	if err != nil {
		return failed("look into the server's log", "the server does not say what it is: %v", err)
	}
	x.info = make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		x.info[name] = value
	}
	return x.role()
}

// role judges whether the server is the one that takes purges, by what it says of itself.
func (x *examination) role() Finding {
	mode := cmp.Or(x.info["redis_mode"], x.info["server_mode"]) // Valkey has the second alone, from 8 on
	standalone, replicas := x.c.Valkey.Mode == shared.ValkeyStandalone, x.number("connected_slaves")
	switch {
	case mode == "sentinel" && standalone:
		return failed("set cluster.valkey.mode: sentinel and master_name, or write the server's own address", "it is a sentinel")
	case mode == "cluster" && standalone:
		return failed("set cluster.valkey.mode: cluster", "it is part of a cluster")
	case x.info["role"] != "master":
		return failed("write the primary's address into cluster.valkey.addresses; or set mode: sentinel, which follows it", "it is a replica of %s:%s, which takes no purges", x.info["master_host"], x.info["master_port"])
	case int(replicas) < x.c.Purge.Replicas:
		return failed("add replicas, or lower cluster.purge.replicas: no purge is confirmed", "cluster.purge.replicas is %d, and it has %d", x.c.Purge.Replicas, replicas)
	}
	return Finding{Result: Sound, Detail: fmt.Sprintf("%d replica(s)", replicas)}
}

// number returns a number that the server says of itself; 0: it does not.
func (x *examination) number(name string) int64 {
	n, _ := strconv.ParseInt(x.info[name], 10, 64)
	return n
}

func (x *examination) version() Finding {
	speaks := x.info["redis_version"] // of Valkey: the version of Redis that it can do
	if speaks == "" {
		return Finding{}
	}
	name := "Redis " + speaks
	if v := x.info["valkey_version"]; v != "" {
		name = "Valkey " + v
	}
	var major, minor int
	fmt.Sscanf(speaks, "%d.%d", &major, &minor)
	if major < 6 || major == 6 && minor < 2 {
		return failed("use Valkey, or Redis 6.2 or later", "it is %s", name)
	}
	return Finding{Result: Sound, Detail: name}
}

func (x *examination) eviction() Finding {
	switch policy := x.info["maxmemory_policy"]; {
	case policy == "":
		return Finding{}
	case strings.HasPrefix(policy, "allkeys-"):
		return failed("set maxmemory-policy to noeviction, or to one that begins with volatile-", "maxmemory-policy is %s: the server may evict the log, and then everything in memory becomes stale", policy)
	case policy == "noeviction" && x.c.Store.Enabled && x.number("maxmemory") > 0:
		return failed("set maxmemory-policy to one that begins with volatile-", "maxmemory-policy is noeviction: objects that gateways share fill the server, and then it takes no purge")
	default:
		return Finding{Result: Sound, Detail: policy}
	}
}

func (x *examination) memory() Finding {
	used, most := x.number("used_memory"), x.number("maxmemory")
	megabytes := func(n int64) string { return strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64) + " MB" }
	switch {
	case used == 0:
		return Finding{}
	case most == 0:
		return Finding{Result: Sound, Detail: megabytes(used) + ", without a maxmemory"}
	}
	f := Finding{Result: Sound, Detail: megabytes(used) + " of " + megabytes(most)}
	if float64(used) > 0.9*float64(most) {
		f.Result, f.Fix = Doubtful, "raise maxmemory, or give the gateways a server of their own: without room, it takes no purges"
	}
	return f
}

// scripts runs what a gateway runs, on a log of its own.
func (x *examination) scripts() Finding {
	ctx, cancel := context.WithTimeout(context.Background(), 5*askWithin)
	defer cancel()
	begin := time.Now()
	err := x.rehearse(ctx)
	if gone := x.ask(x.conn.B().Del().Key(x.own.keys.log, x.own.keys.meta).Build()).Error(); err == nil {
		err = gone
	}
	switch {
	case err == nil:
		return passed(begin, "")
	case strings.Contains(err.Error(), "OOM"):
		return failed("raise maxmemory: without room, the server takes no purges", "%v", err)
	}
	return failed("look into the server's log; where something between here and there changes commands, such as a proxy, connect without it", "%v", err)
}

// rehearse begins a log, appends a purge, reads it and reports that.
func (x *examination) rehearse(ctx context.Context) error {
	n := x.own
	purge := &Purge{Bucket: "doctor", Kind: All}
	begun, err := n.append(ctx, x.conn, nil)
	if err != nil {
		return err
	}
	end, err := n.append(ctx, x.conn, nil, n.seal.entry(purge))
	if err != nil {
		return err
	}
	entries, err := n.read(ctx, x.conn, begun.position)
	if err != nil {
		return err
	}
	if _, err = n.report(ctx, x.conn, end); err != nil {
		return err
	}
	nodes, _, err := n.count(ctx, x.conn, end)
	if err != nil {
		return err
	}
	if len(entries) == 1 {
		if p, err := n.seal.open(entries[0].entry); err == nil && p.Bucket == purge.Bucket && entries[0].position == end.position && nodes == 1 {
			return nil
		}
	}
	return errors.New("what is appended to a log is not what is read from it")
}

// slowPing is the time of an answer from which a server is called slow.
const slowPing = 50 * time.Millisecond

func (x *examination) latency() Finding {
	const pings = 100
	times := make([]time.Duration, 0, pings)
	for range pings {
		begin := time.Now()
		if err := x.ask(x.conn.B().Ping().Build()).Error(); err != nil {
			return failed("look for what delays the server, or the way there", "PING %d of %d: %v", len(times)+1, pings, err)
		}
		times = append(times, time.Since(begin))
	}
	slices.Sort(times)
	p99 := times[pings*99/100-1]
	f := Finding{Result: Sound, Detail: fmt.Sprintf("p99 of %d PINGs %v", pings, p99.Round(10*time.Microsecond))}
	if p99 > slowPing {
		f.Result, f.Fix = Doubtful, "use a server that is closer, or find out what delays it: purges take that longer"
	}
	return f
}

// log looks at the log of the others.
func (x *examination) log() Finding {
	var err error
	if x.meta, err = x.ask(x.conn.B().Hgetall().Key(x.others.keys.meta).Build()).AsStrMap(); err != nil {
		return failed("look into the server's log", "%s cannot be read: %v", x.others.keys.meta, err)
	}
	first, err := x.ask(x.conn.B().Xread().Count(1).Streams().Key(x.others.keys.log).Id("0-0").Build()).AsXRead()
	if err != nil && !valkey.IsValkeyNil(err) {
		return failed("see what else writes to the namespace, or take another", "%s cannot be read: %v", x.others.keys.log, err)
	}
	if x.meta["inc"] == "" && len(first) == 0 {
		return Finding{Result: Sound, Detail: "there is none yet; the first gateway begins it"}
	}
	if x.meta["inc"] == "" || len(first) == 0 {
		return Finding{Result: Doubtful, Detail: "half of it is gone; a gateway begins it anew", Fix: "find out what deletes keys of " + x.c.Namespace + " at the server: everything in memory becomes stale each time"}
	}
	floor, _, _ := strings.Cut(first[x.others.keys.log][0].ID, "-")
	detail := fmt.Sprintf("from %s to %s", floor, x.meta["last"])
	if n, err := x.ask(x.conn.B().Xlen().Key(x.others.keys.log).Build()).AsInt64(); err == nil { // else the user need not be able to
		detail = fmt.Sprintf("%d entries, ", n) + detail
	}
	last, err := x.ask(x.conn.B().Xrevrange().Key(x.others.keys.log).End("+").Start("-").Count(1).Build()).AsXRange()
	if err != nil {
		return failed("look into the server's log", "%s cannot be read: %v", x.others.keys.log, err)
	}
	entries, err := x.others.loggedOf(last)
	if err != nil {
		return failed("see what else writes to the namespace, or take another", "%v", err)
	}
	for _, e := range entries {
		if _, err := x.others.seal.open(e.entry); err != nil && !e.begin {
			return Finding{Result: Doubtful, Detail: detail + "; the last purge was not made with the secret of this file", Fix: "set the same cluster.secret at all gateways; while it changes, the one before as previous_secret. If nothing was purged since it changed, all is well"}
		}
	}
	return Finding{Result: Sound, Detail: detail}
}

// nodes counts the gateways as confirm.lua does, and forgets none.
func (x *examination) nodes() Finding {
	now, err := x.ask(x.conn.B().Time().Build()).AsIntSlice()
	if err != nil || len(now) != 2 {
		return failed("look into the server's log", "the server does not tell the time: %v", err)
	}
	last, _ := strconv.ParseUint(x.meta["last"], 10, 64)
	nodes, behind := 0, 0
	for field, value := range x.meta {
		var inc string
		var position uint64
		var ends int64
		if !strings.HasPrefix(field, "node ") {
			continue
		}
		if n, _ := fmt.Sscan(value, &inc, &position, &ends); n != 3 || ends < now[0]*1000 {
			continue
		}
		nodes++
		if inc != x.meta["inc"] || position < last {
			behind++
		}
	}
	detail := fmt.Sprintf("%d gateway(s)", nodes)
	if behind > 0 {
		detail += fmt.Sprintf(", of which %d have not made the last purge", behind)
	}
	return Finding{Result: Sound, Detail: detail}
}
