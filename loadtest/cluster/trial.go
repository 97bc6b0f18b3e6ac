package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// gapWorked is what a worker waits at most between two purges, so that there are strikes
// enough among them.
const gapWorked = 300 * time.Millisecond

// wideEvery is the time between two purges of everything, or of a bucket, in units of
// purge.within: what they drop is lost to the judgement of others.
const wideEvery = 3

// gapRefused is how long a worker waits after a purge that could not be shared: such
// answers come at once, and an outage would see all the purges.
const gapRefused = 200 * time.Millisecond

const (
	workers  = 32
	groups   = 4                    // of objects of each worker
	readers  = 2                    // of each gateway
	gapAsked = 3 * time.Millisecond // between two requests of a reader
)

// trial is a run of purges under one fault, and the judgement of every answer.
type trial struct {
	name          string
	purges        int           // at least
	within, slack time.Duration // purge.within, and what measuring may add
	recovery      time.Duration // how long after the last strike purges may fail to be confirmed by all
	quiet         bool          // nothing is out of reach
	journal       *journal      // of strikes
	objects       [][]*object   // by worker and group
	origin        *origin
	gateways      [gateways]*gateway
	// strike does harm and mends it, the n-th time; nil: no harm is done. An error that
	// is errMissed says that it had no effect.
	strike func(ctx context.Context, n int) error

	start   time.Time
	begun   atomic.Int64 // purges
	wide    atomic.Int64 // those of them that go by bucket, or are for all
	strikes atomic.Int64 // that had an effect
	last    atomic.Int64 // when the last pledge begins to hold, in nanoseconds of Unix time
	result  result
}

// errMissed is what a strike returns that had no effect.
var errMissed = errors.New("the fault had no effect")

// newObjects returns the objects of all workers, four in each group, in two buckets. The
// first two share a prefix, the second and the third a tag.
func newObjects() (all [][]*object) {
	for w := range workers {
		for g := range groups {
			var group []*object
			for i, folder := range []string{"a", "a", "b", "b"} {
				o := &object{bucket: []string{"one", "two"}[w%2], key: fmt.Sprintf("w%02d-%d/%s/%d", w, g, folder, i), tag: fmt.Sprintf("w%02d-%d-%d", w, g, (i+1)/2)}
				o.version.Store(1)
				group = append(group, o)
			}
			all = append(all, group)
		}
	}
	return all
}

// A group is worked on, then nobody asks for it for two phases, then it is read again. What
// gateways are not asked for they do not validate either, and so it may come back.
const (
	working = iota
	_
	_
	reading
	phases
)

// phase returns the phase of a group by its index; of the groups of a worker, one is worked
// on. It lasts for a part of purge.within, so that a gateway whose lease has ended may have
// it again before a group is read again. Workers differ, so that at any moment some group
// is.
func (t *trial) phase(index int) int {
	length := t.within * 2 / 3
	elapsed := time.Since(t.start) + length*time.Duration(index%groups) + length*time.Duration(index/groups)/workers
	return int(elapsed/length) % phases
}

// run makes the purges and judges all answers.
func (t *trial) run(ctx context.Context) error {
	t.start = time.Now()
	untilEnd, stopReading := context.WithCancel(ctx)
	var readersEnd sync.WaitGroup
	defer readersEnd.Wait()
	defer stopReading()
	for _, g := range t.gateways {
		for range readers {
			readersEnd.Go(func() { t.read(untilEnd, g) }) // ends with stopReading
		}
	}
	striking, stopStriking := context.WithCancel(ctx)
	defer stopStriking()
	struck := make(chan error, 1)
	go func() { struck <- t.strikeOn(striking, ctx) }() // ends with stopStriking, and is waited for

	var work sync.WaitGroup
	for w := range workers {
		work.Go(func() { // ends with the last purge
			for n := t.begun.Add(1); ctx.Err() == nil && !t.enough(n); n = t.begun.Add(1) {
				t.turn(ctx, w, int(n))
				pause(ctx, rand.N(gapWorked))
			}
		})
	}
	work.Wait()
	stopStriking()
	if err := <-struck; err != nil {
		return err
	}
	t.recover(ctx)
	// Until then readers see whether something older comes back.
	pause(ctx, time.Until(time.Unix(0, t.last.Load()))+100*time.Millisecond)
	for w := range workers {
		work.Go(func() { // ends with the answers
			for _, group := range t.objects[w*groups : (w+1)*groups] {
				t.askAll(ctx, group)
			}
		})
	}
	work.Wait()
	t.result.finish(t)
	return ctx.Err()
}

// enough tells whether purge n, counted from 1, is one too many.
func (t *trial) enough(n int64) bool {
	return n > int64(t.purges) && (t.strike == nil || t.strikes.Load() > 0)
}

// strikeOn strikes until it is told to stop; a strike that has begun ends as it should.
func (t *trial) strikeOn(stop, ctx context.Context) error {
	if t.strike == nil {
		return nil
	}
	for n := 0; ; n++ {
		if !pause(stop, time.Duration(200+rand.IntN(600))*time.Millisecond) {
			return nil
		}
		switch err := t.strike(ctx, n); {
		case err == nil:
			t.strikes.Add(1)
		case ctx.Err() != nil:
			return nil // the trial's own time is over
		case !errors.Is(err, errMissed):
			return fmt.Errorf("cannot do harm: %w", err)
		}
	}
}

// read keeps all objects in a gateway, until ctx ends.
func (t *trial) read(ctx context.Context, g *gateway) {
	for pause(ctx, gapAsked/2+rand.N(gapAsked)) {
		i := rand.IntN(len(t.objects))
		if p := t.phase(i); p == working || p == reading {
			t.ask(ctx, g, t.objects[i][rand.IntN(len(t.objects[i]))])
		}
	}
}

// turn is one purge: it writes, purges and asks.
func (t *trial) turn(ctx context.Context, w, n int) {
	own := t.objects[w*groups]
	for i := w * groups; i < (w+1)*groups; i++ {
		if t.phase(i) == working {
			own = t.objects[i]
		}
	}
	kind := []string{"key", "prefix", "tag"}[n%3]
	if wide := t.wide.Load(); time.Since(t.start) > time.Duration(wide)*wideEvery*t.within && t.wide.CompareAndSwap(wide, wide+1) {
		kind = []string{"all", "bucket"}[wide%2]
	}
	touched := own
	switch kind {
	case "key":
		touched = own[n%4 : n%4+1]
	case "prefix":
		touched = own[:2]
	case "tag":
		touched = own[1:3]
	}
	purge := func() {
		for ctx.Err() == nil && t.purge(ctx, t.choose(), kind, n%5 == 4, touched) == down {
			pause(ctx, 10*time.Millisecond) // until it is back, or another is chosen
		}
	}
	if n%4 > 0 {
		t.askAll(ctx, touched) // from now on all have the version before
	} else {
		t.begun.Add(1)
		purge() // so that answers with the version before are under way at the next one
		for _, g := range t.gateways {
			for _, o := range touched {
				go t.ask(ctx, g, o) // ends with the answer
			}
		}
		pause(ctx, rand.N(2*time.Millisecond))
	}
	for _, o := range touched {
		o.version.Add(1)
	}
	purge()
	t.askAll(ctx, touched)
}

// choose returns a gateway to purge through, seldom one that is frozen.
func (t *trial) choose() *gateway {
	for {
		if g := t.gateways[rand.IntN(gateways)]; !g.isFrozen() || rand.IntN(50) == 0 {
			return g
		}
	}
}

// down is what purge returns if the gateway went down and another must be asked.
const down = -1

// purge makes one purge and notes what it promises. It returns how many gateways confirm
// it.
func (t *trial) purge(ctx context.Context, g *gateway, kind string, soft bool, touched []*object) int {
	first := touched[0]
	if kind == "all" || kind == "bucket" {
		touched = nil
		for _, own := range t.objects {
			if kind == "all" || own[0].bucket == first.bucket {
				touched = append(touched, own...)
			}
		}
	}
	call := map[string]string{
		"key":    fmt.Sprintf(`"bucket":%q,"key":%q`, first.bucket, first.key),
		"prefix": fmt.Sprintf(`"bucket":%q,"prefix":%q`, first.bucket, first.key[:strings.LastIndexByte(first.key, '/')+1]),
		"tag":    fmt.Sprintf(`"tag":%q`, touched[len(touched)-1].tag),
		"bucket": fmt.Sprintf(`"bucket":%q,"all":true`, first.bucket),
		"all":    `"all":true`,
	}[kind]
	versions := make([]int64, len(touched))
	for i, o := range touched {
		versions[i] = o.version.Load()
	}
	p := &purge{kind: kind, soft: soft, by: g.String(), begin: time.Now()}
	reply, err := g.purge(ctx, fmt.Sprintf(`{%s,"soft":%v}`, call, soft))
	end := time.Now()
	if err != nil {
		if errors.Is(err, errAway) || ctx.Err() != nil {
			return down
		}
		t.result.fail(fmt.Sprintf("%s at %s: the purge by %s: %v", g, clock(end), kind, err))
		pause(ctx, gapRefused)
		return 0
	}
	p.answer = fmt.Sprintf("after %s: %s", end.Sub(p.begin).Round(time.Millisecond/10), reply.text)
	t.result.purged(&reply, end.Sub(p.begin))
	promise := func(since time.Time, why ground, at ...*gateway) {
		for i, o := range touched {
			for _, g := range at {
				o.promise(g.at, pledge{versions[i], since, why, p})
			}
		}
		for last := t.last.Load(); last < since.UnixNano() && !t.last.CompareAndSwap(last, since.UnixNano()); last = t.last.Load() {
		}
	}
	promise(end, applied, g)
	bound := t.within + t.slack
	switch {
	case reply.everywhere():
		promise(end, confirmed, t.gateways[:]...)
	case !reply.notShared:
		promise(g.fromBegin(p.begin).Add(bound), unconfirmed, t.gateways[:]...)
	default:
		g.onceHealed(g.fromBegin(p.begin), func(at time.Time) { promise(at.Add(bound), notShared, t.gateways[:]...) })
	}
	if reply.notShared {
		pause(ctx, gapRefused)
	}
	return reply.Confirmed
}

// askAll asks all gateways for objects, and waits for those that are not frozen.
func (t *trial) askAll(ctx context.Context, objects []*object) {
	var asked sync.WaitGroup
	for _, g := range t.gateways {
		run := asked.Go
		if g.isFrozen() {
			run = func(f func()) { go f() } // ends with the answers, or with ctx
		}
		run(func() {
			for _, o := range objects {
				t.ask(ctx, g, o)
			}
		})
	}
	asked.Wait()
}

// ask asks a gateway for an object and judges the answer.
func (t *trial) ask(ctx context.Context, g *gateway, o *object) {
	begin := time.Now()
	owed := o.owed(g.at, begin)
	a, err := g.ask(ctx, o)
	switch {
	case errors.Is(err, errAway) || ctx.Err() != nil:
	case err != nil:
		t.result.fail(fmt.Sprintf("%s at %s: %s: %v", g, clock(begin), o.path(), err))
	case a.version < owed.version:
		t.result.wronged(owed.ground, fmt.Sprintf("%s, asked for %s at %s, answered at %s with version %d (%s), the origin has %d; version %d was owed since %s, as %s: %s%s",
			g, o.path(), clock(begin), clock(time.Now()), a.version, a.cache, o.version.Load(), owed.version, clock(owed.since), owed.ground, owed.by, t.journal))
	default:
		t.result.right(a.shared)
	}
}

// recover purges through each gateway until all confirm it. A gateway that was killed may
// still be counted.
func (t *trial) recover(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, t.recovery)
	defer cancel()
	for _, g := range t.gateways {
		for confirmed := 0; confirmed < gateways; {
			t.objects[0][0].version.Add(1)
			if confirmed = t.purge(ctx, g, "key", false, t.objects[0][:1]); confirmed < gateways && !pause(ctx, 100*time.Millisecond) {
				t.result.flaw(fmt.Sprintf("%s after the last strike no purge through %s is confirmed by all", t.recovery, g))
				return
			}
		}
	}
}

// pause waits, and tells whether ctx lasts.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
