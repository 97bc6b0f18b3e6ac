package gateway

import (
	"time"

	"yatagarasu/cache"
	"yatagarasu/gateway/cluster"
	"yatagarasu/gateway/config/shared"
	"yatagarasu/gateway/limit"
)

// newNode returns the part of this gateway among several; nil: there is only this one.
func (g *Gateway) newNode(c *shared.Cluster) *cluster.Node {
	if !c.Enabled {
		return nil
	}
	return cluster.New(cluster.Options{Config: c, Apply: g.applyPurges, Outdate: g.outdate, Limits: g.sharedLimits, Log: &g.Log})
}

// sharedLimits returns the limits in effect, and the time on the clock of their buckets.
func (g *Gateway) sharedLimits() ([]cluster.Limit, time.Duration) {
	gen := g.Generation.Load()
	limits := appendShared(nil, "server", gen.Limits)
	for _, b := range gen.Buckets {
		limits = appendShared(limits, "bucket "+b.Name, b.Limits)
	}
	return limits, time.Since(g.Started)
}

// appendShared appends the rates of the scope of a name to those that gateways share.
func appendShared(dst []cluster.Limit, name string, s *limit.Scope) []cluster.Limit {
	for what, rate := range s.Rates() {
		dst = append(dst, cluster.Limit{Name: name + " " + what, Shared: rate})
	}
	return dst
}

// applyPurges makes purges that other gateways were told of. A bucket that is not in the configuration
// may have objects in memory, from before a reload.
func (g *Gateway) applyPurges(bucket string, p *cache.Purges, soft bool) {
	gen := g.Generation.Load()
	if bucket != "" {
		gen.Budgets.Purge(bucket, p, soft)
		return
	}
	for _, b := range gen.Buckets {
		gen.Budgets.Purge(b.Name, p, soft)
	}
}

// outdate keeps what is being fetched out of memory, for purges may have been missed.
func (g *Gateway) outdate() {
	gen := g.Generation.Load()
	for _, b := range gen.Buckets {
		gen.Budgets.Outdate(b.Name)
	}
}
