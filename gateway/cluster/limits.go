package cluster

import (
	"context"
	_ "embed" // the script
	"encoding/hex"
	"strconv"
	"time"

	"yatagarasu/cache"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/sealed"
)

//go:embed limits.lua
var scriptLimits string

// Limit is a limit that gateways share under a name, which is the same on all of them.
type Limit struct {
	Name string
	limit.Shared
}

const (
	limitsAtOnce = 500    // buckets in one call of the script
	limitsMost   = 10_000 // buckets of one limit that are shared each time; the others are this gateway's own
)

// shareLimits tells Valkey what this gateway has taken, and is told what is left, until ctx ends. In
// between, and while Valkey does not answer, each gateway decides by itself.
func (n *Node) shareLimits(ctx context.Context) {
	tick := time.NewTicker(n.opts.Config.Limits.Sync)
	defer tick.Stop()
	used := make([]limit.Used, 0, limitsMost)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		limits, now := n.opts.Limits()
		for _, l := range limits {
			used = l.Collect(used[:0])
			for some := used; len(some) > 0; {
				part := some[:min(len(some), limitsAtOnce)]
				some = some[len(part):]
				if !n.shareLimit(ctx, l, part, now) {
					break // what was taken is forgotten: it was held against the limit here
				}
			}
		}
	}
}

// shareLimit shares what was taken of some buckets of a limit. It reports whether Valkey has answered.
func (n *Node) shareLimit(ctx context.Context, l Limit, used []limit.Used, now time.Duration) bool {
	client, began := n.ready(), time.Now()
	if client == nil || !n.limits.Allows(began) {
		return false
	}
	rate, burst := l.Limit()
	names := make([]string, 0, len(used))
	args := make([]string, 0, 3*len(used))
	for _, u := range used {
		names = append(names, n.keys.limits+n.limitName(l.Name, u.Key))
		args = append(args, strconv.FormatInt(rate, 10), strconv.FormatInt(burst, 10), strconv.FormatInt(1000*u.Tokens, 10))
	}
	asked, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	left, err := client.Do(asked, client.B().Eval().Script(scriptLimits).Numkeys(int64(len(names))).Key(names...).Arg(args...).Build()).AsIntSlice()
	ok := err == nil && len(left) == len(used)
	if n.limits.Report(ok, began); !ok {
		return false
	}
	now += time.Since(began)
	for i, u := range used {
		l.Settle(u.Key, left[i], now)
	}
	return true
}

// limitName returns the name of a bucket at Valkey, from which nobody else can tell whose it is.
func (n *Node) limitName(limit string, key uint64) string {
	return hex.EncodeToString(sealed.Derive([]byte(n.opts.Config.Secret.Reveal()), "limits", []byte(n.opts.Config.Namespace), cache.AppendKey(nil, []byte(limit), strconv.AppendUint(nil, key, 16)))[:12])
}
