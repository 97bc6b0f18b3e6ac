package pool

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// Under pressure, when others need what slow transfers hold, the slow give way. Without
// pressure nobody looks at them but check, and nothing here costs anything.

const (
	pressEvery = 50 * time.Millisecond  // between two looks while exchanges wait
	patience   = time.Second            // an exchange that has waited less displaces nobody
	longWatch  = 2 * time.Second        // a transfer is judged by its rate over this long
	shortWatch = 200 * time.Millisecond // both are shorter, down to this, if very many wait
	brief      = 2 * time.Second        // a transfer that takes no longer is not cut
	// foreseen bounds the bytes of a body that count when it is foreseen how long they take:
	// of a huge one they take long at any rate.
	foreseen  = 16 << 20
	leastRate = 1 << 10 // bytes per second; below it, all are equally slow
)

// Claim is what a transfer to a client holds that others may need. The zero value is
// nothing.
type Claim struct {
	On     any    // of what it holds a part: an Upstream or another pointer
	Client uint64 // key of the client, see Exchange.Client
	Total  int64  // length of the body
	Part   Part   // nil: one, of whatever On has
}

// Part is how much of something a transfer holds.
type Part interface {
	// Held may be called at any time.
	Held() int64
}

func (c *Claim) held() int64 {
	if c.Part == nil {
		return 1
	}
	return c.Part.Held()
}

// demand is what others need of something that transfers hold.
type demand struct {
	on    any
	watch time.Duration // a transfer is judged by its rate over at least this long
	most  time.Duration // a transfer of a client within its share may take so long
	want  int64
	over  map[uint64]int64 // how much more than its share a client holds
	own   map[uint64]int64 // how much a client needs of what it holds itself
	churn int64            // most that gives way for the sake of its own client
	count *atomic.Uint64   // of the transfers that gave way
}

// look is what is known of a transfer's rate under pressure. The zero value is nothing.
type look struct {
	at     time.Time // start of the span that is measured
	base   int64     // progress then
	rate   float64   // bytes per second in the span before
	judged bool      // there was one
}

// candidate is a transfer that may give way.
type candidate struct {
	*transfer
	left   time.Duration // how long it would take at the rate of late
	stuck  bool          // its client is what it waits for
	judged bool          // that is known
}

// relieve ends as many transfers as it takes to meet d, those first that would take
// longest. First come clients beyond their share; if there is none, those whose transfers
// would take longer than d.most.
func (p *Pace) relieve(d *demand, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []candidate
	for t := range p.streams {
		if t.claim.On != d.on || t.client == nil {
			continue
		}
		held := t.claim.held()
		switch reason := Reason(t.cut.Load()); {
		case held == 0:
			t.judge(d.watch, now) // it may hold something in a moment
		case reason != ReasonNone: // it is on its way
			t.end(reason) // again: the server may have set its deadline in between
			d.given(t.claim.Client, held)
		default:
			all = append(all, t.judge(d.watch, now))
		}
	}
	fair := true // nobody beyond his share has anything to give
	for _, c := range all {
		fair = fair && (d.over[c.claim.Client] <= 0 || c.judged && c.left <= brief)
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(b.left, a.left) })
	for _, c := range all {
		client, slow := c.claim.Client, c.stuck && c.left > d.most
		if !c.judged || c.left <= brief {
			continue
		}
		forOthers := d.want > 0 && (d.over[client] > 0 || fair && slow)
		if forOthers || d.churn > 0 && d.own[client] > 0 && slow {
			held := c.claim.held()
			if !forOthers {
				d.churn -= held
			}
			d.given(client, held)
			d.count.Add(1) // before its end is logged
			c.end(ReasonYielded)
		}
	}
}

// given notes that a client gives back so much. Others come first.
func (d *demand) given(client uint64, held int64) {
	if d.over[client] > 0 {
		d.over[client] -= held
	}
	if d.want > 0 {
		d.want -= held
	} else if d.own[client] > 0 {
		d.own[client] -= held
	}
}

// judge returns what is known of t. Pace.mu is held.
func (t *transfer) judge(watch time.Duration, now time.Time) candidate {
	have, _, unsent := t.progress()
	l := &t.look
	if l.at.IsZero() {
		l.at, l.base = now, have
	} else if took := now.Sub(l.at); took >= watch {
		*l = look{at: now, base: have, rate: float64(have-l.base) / took.Seconds(), judged: true}
	}
	bytes := min(t.claim.Total-t.sent.Load()+max(unsent, 0), foreseen)
	seconds := float64(bytes) / max(l.rate, leastRate)
	return candidate{t, time.Duration(seconds * float64(time.Second)), unsent != 0, l.judged}
}

// Relieve ends transfers of slow clients that would take longer than most, the longest first,
// until they hold so much less of something, and counts them. Call it again until there is
// no need: at first it only looks, as it does when need is 0.
func (p *Pace) Relieve(on any, need int64, most time.Duration, count *atomic.Uint64) {
	p.relieve(&demand{on: on, watch: longWatch, most: most, want: need, count: count}, time.Now())
}

// Held returns how much of something a client's transfers hold.
func (p *Pace) Held(on any, client uint64) (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for t := range p.streams {
		if t.claim.On == on && t.claim.Client == client && t.client != nil {
			n += t.claim.held()
		}
	}
	return n
}

// press has slow clients give way while exchanges wait for a connection.
func (u *Upstream) press() {
	now := time.Now()
	d := u.demand(now)
	if d == nil {
		return
	}
	if p := u.pace.Load(); p != nil {
		p.relieve(d, now)
	}
	u.mu.Lock()
	u.presser.Reset(max(pressEvery, 20*time.Since(now))) // at most a twentieth of a core
	u.mu.Unlock()
}

// demand returns what those who wait need; nil: nobody waits, and press ends.
//
// A client's share is an equal part of the connections, at least one. A client below it may
// displace others, one at or beyond it only what is its own.
func (u *Upstream) demand(now time.Time) *demand {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.endRests(now)
	q := &u.queue
	if q.waiting == 0 {
		u.presser = nil
		return nil
	}
	d := &demand{on: u, most: u.opts.QueueTimeout / 2, over: make(map[uint64]int64), own: make(map[uint64]int64), count: &u.yielded}
	// Those who come in their place begin with all that the client's socket takes at once.
	d.churn = int64(max(1, u.opts.MaxConns/32))
	share := max(1, u.opts.MaxConns/len(q.lines))
	// The more clients wait for each connection, the sooner others give way, and the shorter
	// they are watched: all who wait are to have their turn before half of the timeout is over.
	among := func(d time.Duration) time.Duration {
		return d * time.Duration(u.opts.MaxConns) / time.Duration(q.next.Len())
	}
	patience := min(patience, max(shortWatch, among(patience)))
	longest := time.Duration(0)
	for client, l := range q.lines {
		if l.held > share {
			d.over[client] = int64(l.held - share)
		}
		n, waited := l.waiters.Len(), time.Duration(0)
		if n > 0 {
			waited = now.Sub(l.first().since)
			longest = max(longest, waited)
		}
		switch {
		case waited < patience:
		case l.held < share && (u.owes() || q.used == u.opts.MaxConns): // else what is free is kept for others
			d.want += int64(min(n, share-l.held))
		default:
			d.own[client] = int64(n)
		}
	}
	d.watch = min(longWatch, max(shortWatch, among(d.most*4/5-longest)))
	return d
}
