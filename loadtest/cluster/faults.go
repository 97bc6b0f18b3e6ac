package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"yatagarasu/loadtest/process"
)

// fault is what goes wrong while purges are made.
type fault struct {
	name       string
	quiet      bool // nothing is out of reach, so nearly all purges are confirmed by all
	slow       bool // the origin's bodies take long
	proxied    bool // a proxy stands between each gateway and Valkey
	replicated bool // Valkey has a replica
	args       []string
	clocks     [gateways]time.Duration // how far those of gateways are ahead
	// strike does harm and mends it, the n-th time, counted from 0; nil: none is done.
	strike func(ctx context.Context, c *fleet, n int) error
}

var faults = []fault{
	{name: "none", quiet: true},
	{name: "slow", quiet: true, slow: true},
	{name: "clock", quiet: true, clocks: [gateways]time.Duration{0, time.Hour, -time.Hour}},
	{name: "halted", strike: halt},
	{name: "partitioned", proxied: true, strike: partition},
	{name: "restarted", strike: restart},
	{name: "crashed", strike: crash},
	{name: "killed", args: []string{"--appendonly", "yes"}, strike: kill},
	{name: "empty", proxied: true, strike: empty},
	{name: "flushed", proxied: true, strike: flush},
	{name: "evicted", proxied: true, strike: evict},
	{name: "trimmed", proxied: true, strike: trim},
	{name: "failover", proxied: true, replicated: true, strike: failOver},
	{name: "frozen", strike: freeze},
}

// span is how long a strike lasts: longer than purge.within every other time.
func (c *fleet) span(n int) time.Duration {
	if n%2 == 0 {
		return c.within + time.Second + rand.N(time.Second)
	}
	return 200*time.Millisecond + rand.N(time.Second)
}

// another returns a gateway to cut off, other than the last one: that one may still have
// purges to share.
func (c *fleet) another() int {
	c.last = (c.last + 1 + rand.IntN(gateways-1)) % gateways
	return c.last
}

// halt halts a gateway.
func halt(ctx context.Context, c *fleet, n int) error {
	g := c.gateways[rand.IntN(gateways)]
	g.freeze()
	pause(ctx, c.span(n))
	g.thaw()
	return nil
}

// partition cuts a gateway off from Valkey: connections are refused, or nothing comes
// through them.
func partition(ctx context.Context, c *fleet, n int) error {
	i := c.another()
	l, cut, mend := c.links[i], (*link).cut, func(l *link, ctx context.Context) error { return l.mend(ctx, "") }
	if n/2%2 == 1 {
		cut, mend = (*link).swallow, (*link).spit
	}
	c.gateways[i].setCut(true)
	if err := cut(l, ctx); err != nil {
		return err
	}
	pause(ctx, c.span(n))
	if err := mend(l, ctx); err != nil {
		return err
	}
	c.gateways[i].setCut(false)
	return nil
}

// behind cuts a gateway off from Valkey until it lacks some purges whose calls have been
// answered. mend lets it follow again.
func (c *fleet) behind(ctx context.Context) (g *gateway, mend func() error, err error) {
	i := c.another()
	g = c.gateways[i]
	g.setCut(true)
	mend = func() error {
		err := c.links[i].mend(ctx, "")
		g.setCut(false)
		return err
	}
	if err := c.links[i].cut(ctx); err != nil {
		return nil, nil, err
	}
	pause(ctx, wait+500*time.Millisecond)
	return g, mend, nil
}

// restart stops a gateway in order and starts it again.
func restart(ctx context.Context, c *fleet, n int) error {
	g := c.gateways[rand.IntN(gateways)]
	g.end(func(p *process.Process) { p.Stop(20 * time.Second) }) // or it is killed
	pause(ctx, rand.N(500*time.Millisecond))
	return g.start(ctx)
}

// crash kills a gateway and starts it again.
func crash(ctx context.Context, c *fleet, n int) error {
	g := c.gateways[rand.IntN(gateways)]
	g.end((*process.Process).Kill)
	pause(ctx, rand.N(500*time.Millisecond))
	return g.start(ctx)
}

// kill kills Valkey and starts it again, with what it kept.
func kill(ctx context.Context, c *fleet, n int) error {
	c.valkey.Kill()
	c.journal.note("Valkey killed")
	pause(ctx, c.span(n))
	defer c.journal.note("Valkey started")
	return c.valkey.Restart(ctx)
}

// empty kills Valkey and starts it again with nothing, while a gateway lacks some purges.
func empty(ctx context.Context, c *fleet, n int) error {
	_, mend, err := c.behind(ctx)
	if err != nil {
		return err
	}
	if err := kill(ctx, c, n+1); err != nil { // for a shorter time, so that leases last
		return err
	}
	if err := mend(); err != nil {
		return err
	}
	pause(ctx, c.span(n)) // purges are confirmed by all again only after a while
	return nil
}

// flush deletes all keys while a gateway lacks some purges. Every other time nobody else
// remembers them either: the other gateways were killed.
func flush(ctx context.Context, c *fleet, n int) error {
	behind, mend, err := c.behind(ctx)
	if err != nil {
		return err
	}
	var others []*gateway
	for _, g := range c.gateways {
		if g != behind && n%2 == 0 {
			g.end((*process.Process).Kill)
			others = append(others, g)
		}
	}
	if _, err := c.valkey.Do(ctx, "FLUSHALL"); err != nil {
		return err
	}
	c.journal.note("Valkey flushed")
	for _, g := range others {
		if err := g.start(ctx); err != nil {
			return err
		}
	}
	if err := mend(); err != nil {
		return err
	}
	pause(ctx, c.span(n))
	return nil
}

// evict has Valkey evict the log, while a gateway lacks some purges: it is out of memory
// for a moment, and may evict all.
func evict(ctx context.Context, c *fleet, n int) error {
	_, mend, err := c.behind(ctx)
	if err != nil {
		return err
	}
	const filler = `for i = 1, 2000 do redis.call("SET", "filler:" .. i, string.rep("x", 1000)) end`
	for _, command := range [][]string{
		{"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"},
		{"EVAL", filler, "0"},
		{"CONFIG", "SET", "maxmemory", "100kb"},
	} {
		if _, err := c.valkey.Do(ctx, command...); err != nil {
			return err
		}
	}
	c.journal.note("Valkey out of memory")
	missed := errMissed
	for range 100 {
		if left, err := c.valkey.Do(ctx, "EXISTS", logKey); err == nil && left == int64(0) {
			missed = nil
			break
		}
		pause(ctx, 10*time.Millisecond)
	}
	if n%2 == 1 {
		pause(ctx, time.Second) // out of memory
	}
	if _, err := c.valkey.Do(ctx, "CONFIG", "SET", "maxmemory", "0"); err != nil {
		return err
	}
	c.journal.note("Valkey has memory again")
	if err := mend(); err != nil {
		return err
	}
	pause(ctx, c.span(n))
	return missed
}

// trim trims the log to ten entries while a gateway is halted or cut off.
func trim(ctx context.Context, c *fleet, n int) error {
	i := c.another()
	if n/2%2 == 0 {
		c.gateways[i].freeze()
		defer c.gateways[i].thaw()
	} else {
		c.gateways[i].setCut(true)
		if err := c.links[i].cut(ctx); err != nil {
			return err
		}
		defer func() {
			c.links[i].mend(ctx, "")
			c.gateways[i].setCut(false)
		}()
	}
	pause(ctx, c.span(n))
	trimmed, err := c.valkey.Do(ctx, "XTRIM", logKey, "MAXLEN", "10")
	c.journal.note("the log trimmed")
	if err == nil && trimmed == int64(0) {
		err = errMissed
	}
	return err
}

// failOver promotes the replica while it and a gateway lack the last entries: the primary
// is cut off from both a moment before it dies.
func failOver(ctx context.Context, c *fleet, n int) error {
	if err := c.replication.cut(ctx); err != nil {
		return err
	}
	_, mend, err := c.behind(ctx)
	if err != nil {
		return err
	}
	had, err := c.entries(ctx)
	if err != nil {
		return err
	}
	c.valkey.Kill()
	c.journal.note("the primary killed")
	c.valkey, c.replica = c.replica, nil
	if _, err := c.valkey.Do(ctx, "REPLICAOF", "NO", "ONE"); err != nil {
		return err
	}
	c.journal.note("the replica promoted")
	has, err := c.entries(ctx)
	if err != nil {
		return err
	}
	for _, l := range c.links {
		if err := l.cut(ctx); err != nil {
			return err
		}
		if n%2 == 1 {
			pause(ctx, rand.N(300*time.Millisecond))
		}
		if err := l.mend(ctx, c.valkey.Address()); err != nil {
			return err
		}
	}
	if err := mend(); err != nil {
		return err
	}
	pause(ctx, c.span(n))
	if err := c.replication.mend(ctx, c.valkey.Address()); err != nil {
		return err
	}
	if err := c.addReplica(ctx); err != nil {
		return err
	}
	if had == has {
		return errMissed
	}
	return nil
}

// entries returns how many entries were added to the log.
func (c *fleet) entries(ctx context.Context) (string, error) {
	last, err := c.valkey.Do(ctx, "XREVRANGE", logKey, "+", "-", "COUNT", "1")
	return fmt.Sprint(last), err
}

// freeze halts Valkey.
func freeze(ctx context.Context, c *fleet, n int) error {
	c.valkey.Freeze()
	c.journal.note("Valkey halted")
	pause(ctx, c.span(n))
	c.valkey.Thaw()
	c.journal.note("Valkey goes on")
	return nil
}
