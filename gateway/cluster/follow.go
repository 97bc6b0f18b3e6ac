package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"

	"yatagarasu/cache"
	"yatagarasu/gateway/sealed"
)

// run follows the log until ctx ends, whatever fails.
func (n *Node) run(ctx context.Context) {
	defer close(n.ended)
	for ctx.Err() == nil {
		err := n.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		n.stats.failures.Add(1)
		if !n.down.Swap(true) {
			n.opts.Log.Error().Err(err).Dur("within_ms", n.opts.Config.Purge.Within).
				Msg("cannot follow the purges of other gateways: what is in memory is validated sooner, and purges are kept, until Valkey answers")
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
		}
	}
}

// countEvery is how often the gateways are counted, for operators.
const countEvery = 5 * time.Second

// pause is about how long a node waits before it asks again after a failure.
const pause = 250 * time.Millisecond

// follow applies what others append to the log, over one connection, until that fails.
func (n *Node) follow(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil { // a bug must not end a process that serves
			n.distrust(resyncUnreadable, 0, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			err = errors.New("following the log panicked")
		}
	}()
	if err := n.connect(); err != nil {
		return err
	}
	conn, release := n.client.Dedicate()
	defer release()
	defer conn.Close() // its state is not known: the next one begins anew
	end, err := n.join(ctx, conn)
	for counted := time.Now(); err == nil; {
		end, err = n.step(ctx, conn, end)
		if err == nil && time.Since(counted) > countEvery {
			counted = time.Now()
			asked, cancel := context.WithTimeout(ctx, askWithin)
			_, _, err = n.count(asked, conn, end)
			cancel()
		}
		if err == nil && n.down.Swap(false) {
			n.opts.Log.Info().Uint64("position", n.place.Load().position).Msg("the purges of other gateways are followed again")
		}
	}
	return err
}

// join reports this gateway for the first time over a connection, and begins a log if there is none, or
// one that has lost purges. It returns the end of the log.
func (n *Node) join(ctx context.Context, conn asker) (end *place, err error) {
	asked, cancel := context.WithTimeout(ctx, 3*askWithin)
	defer cancel()
	at := n.place.Load()
	if end, err = n.report(asked, conn, at); err == nil && end == nil {
		if _, err = n.append(asked, conn, n.known(at)); err == nil {
			end, err = n.report(asked, conn, at)
		}
		if err == nil && end == nil {
			err = errors.New("the log is gone as soon as it is begun: Valkey evicts it; set maxmemory-policy to one that begins with volatile-")
		}
	}
	if at != nil {
		n.quiet = time.Now().Add(settles)
	}
	switch {
	case err != nil:
		return nil, err
	case at == nil:
		n.anew(resyncStart, end)
	case at.incarnation != end.incarnation:
		n.anew(resyncIncarnation, end)
	case at.run != end.run: // it has all that is known of
		n.place.Store(&place{incarnation: at.incarnation, position: at.position, run: end.run})
	}
	return end, n.flush(asked, conn)
}

// anew reads the log from its beginning: what is shared is older than what this gateway knows of.
func (n *Node) anew(reason int, end *place) {
	n.ledger.forget()
	n.distrust(reason, end.position, nil)
	n.place.Store(&place{incarnation: end.incarnation, run: end.run})
}

// distrust takes all of memory for stale: purges up to a position may have been missed.
func (n *Node) distrust(reason int, position uint64, why error) {
	n.Lease.Distrust(time.Now())
	n.opts.Outdate()
	n.stats.resyncs[reason].Add(1)
	if reason == resyncStart {
		n.opts.Log.Info().Str("namespace", n.opts.Config.Namespace).Uint64("position", position).Msg("purges are shared with other gateways")
	} else {
		n.opts.Log.Warn().Str("reason", Resyncs[reason]).Uint64("position", position).AnErr("error", why).
			Msg("purges of other gateways may have been missed: everything in memory is validated before it is used again")
	}
}

// step reads and applies what there is, tells the others, and renews the lease. end is where the log
// ended before; it returns where it ends now.
func (n *Node) step(ctx context.Context, conn asker, end *place) (*place, error) {
	asked, cancel := context.WithTimeout(ctx, block+3*askWithin)
	defer cancel()
	at, sent := n.place.Load(), time.Now()
	entries, err := n.read(asked, conn, at.position)
	if err != nil {
		return nil, err
	}
	switch {
	case len(entries) > 0 && n.skipsPurges(at, entries):
		if _, err = n.append(asked, conn, &place{incarnation: at.incarnation, position: math.MaxInt64}); err != nil {
			return nil, err
		}
		return n.join(ctx, conn)
	case len(entries) > 0:
		n.apply(entries)
	case end.position > at.position && end.run == at.run:
		if at.position > 0 {
			n.distrust(resyncTrimmed, end.position, nil)
		}
		n.ledger.begin(sealed.HashLog(end.incarnation), end.position)
		n.place.Store(end)
	}
	if end, err = n.report(asked, conn, n.place.Load()); err != nil {
		return nil, err
	}
	if at := n.place.Load(); end == nil || end.incarnation != at.incarnation || end.run != at.run {
		return n.join(ctx, conn)
	}
	if len(entries) < batch && sent.After(n.quiet) {
		n.Lease.Renew(sent)
	}
	return end, n.flush(asked, conn)
}

// skipsPurges tells whether the log goes on without purges that it had: this gateway has made or appended
// some behind which it does not go on.
func (n *Node) skipsPurges(at *place, entries []logged) bool {
	return slices.ContainsFunc(n.own.known(at), func(known uint64) bool {
		return slices.ContainsFunc(entries, func(e logged) bool { return e.prev < known && known < e.position })
	})
}

// apply makes the purges of entries that this gateway has not made, as one pass over memory.
func (n *Node) apply(entries []logged) {
	type group struct {
		bucket string
		soft   bool
	}
	at := *n.place.Load()
	var unreadable error
	purges := make(map[group]*cache.Purges)
	log := sealed.HashLog(at.incarnation)
	for _, e := range entries {
		switch {
		case at.position == 0:
			n.ledger.begin(log, e.prev)
		case e.prev > at.position:
			n.distrust(resyncTrimmed, e.position, nil)
			n.ledger.begin(log, e.prev)
		}
		at.position = e.position
		if e.begin {
			continue
		}
		p, err := n.seal.open(e.entry)
		if err != nil { // it may have been any purge
			unreadable = err
			n.ledger.begin(log, e.position)
			continue
		}
		n.ledger.add(p, e.position) // before memory: what is read from Valkey meanwhile is not kept
		if p.From == n.field {
			continue
		}
		g := group{p.Bucket, p.Soft}
		if purges[g] == nil {
			purges[g] = new(cache.Purges)
		}
		p.AddTo(purges[g])
		n.stats.applied.Add(1)
	}
	if unreadable != nil {
		n.distrust(resyncUnreadable, at.position, unreadable)
	}
	n.place.Store(&at) // before, so that what panics is not tried for ever: memory is stale then
	for g, p := range purges {
		n.opts.Apply(g.bucket, p, g.soft)
	}
}
