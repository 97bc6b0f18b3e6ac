package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// object is an object that one worker writes and everybody reads.
type object struct {
	bucket, key, tag string
	version          atomic.Int64 // that the origin has

	mu    sync.Mutex // guards pledges
	owing [gateways][]pledge
}

// path returns the object's path at gateways, and at the origin.
func (o *object) path() string { return "/" + o.bucket + "/" + o.key }

// pledge is what a purge promises of an object at one gateway: requests that begin since
// then get this version or a later one.
type pledge struct {
	version int64
	since   time.Time
	ground  ground
	by      *purge
}

// ground is why something is promised.
type ground string

const (
	confirmed   ground = "all gateways confirmed the purge"
	applied     ground = "this gateway answered the purge"
	unconfirmed ground = "the purge is older than purge.within"
	notShared   ground = "the purge, which could not be shared at once, is older than purge.within"
)

// promise adds a pledge for one gateway.
func (o *object) promise(at int, p pledge) {
	o.mu.Lock()
	defer o.mu.Unlock()
	owing, now := o.owing[at], time.Now()
	if slices.ContainsFunc(owing, func(q pledge) bool { return q.version >= p.version && !q.since.After(p.since) }) {
		return // promised already
	}
	owing = slices.DeleteFunc(owing, func(q pledge) bool {
		return q.version <= p.version && (!p.since.After(now) || !p.since.After(q.since))
	})
	o.owing[at] = append(owing, p)
}

// owed returns the strictest pledge that holds for a request to a gateway that begins
// now; without any its version is 0.
func (o *object) owed(at int, now time.Time) (strictest pledge) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.owing[at] {
		if p.version > strictest.version && !p.since.After(now) {
			strictest = p
		}
	}
	return strictest
}

// purge is one call, and what came of it.
type purge struct {
	kind   string
	soft   bool
	by     string // the gateway
	begin  time.Time
	answer string
}

func (p *purge) String() string {
	soft := ""
	if p.soft {
		soft = "soft "
	}
	return fmt.Sprintf("the %spurge by %s through %s at %s, answered %s", soft, p.kind, p.by, clock(p.begin), p.answer)
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }
