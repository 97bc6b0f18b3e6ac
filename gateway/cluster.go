package gateway

import (
	"yatagarasu/cache"
	"yatagarasu/gateway/cluster"
	"yatagarasu/gateway/config"
)

// newNode returns the part of this gateway among several; nil: there is only this one.
func (g *Gateway) newNode(c *config.Cluster) *cluster.Node {
	if !c.Enabled {
		return nil
	}
	return cluster.New(cluster.Options{Config: c, Apply: g.applyPurges, Log: &g.Log})
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
