package listen

import (
	"cmp"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/limit"
)

const (
	// maxLeaving bounds the connections that count as about to be closed. As all others are within
	// the limit when one is added, no more than so many are ever open beyond it.
	maxLeaving = 64

	// leaveTime is how long one that was told counts as about to be closed. Most are at once, but
	// one on which a request arrived in that very moment is answered, and one whose client does
	// not read an earlier answer waits for that: they have places like any other.
	leaveTime = time.Second

	// maxChosen is how many connections are chosen by one look at all of them, at most.
	maxChosen = 4096

	// A look that finds fewer than one in poorShare is poor: so many requests are under way that
	// looks cost more than they bring. The next one waits for lookPause times as long as it took.
	poorShare = 64
	lookPause = 20
)

// room makes room for new connections at the limit. Conns.mu guards all of it.
//
// No list of idle connections is kept, as each request would have to lock it twice. Instead all
// are looked at once in a while, and some are chosen beforehand. One that gets idle later is idle
// for a shorter time than all that were chosen, so the order stays right; one that is used
// meanwhile is left out.
type room struct {
	leaving []*clientConn // those that were told to go and have not yet, see leaveTime
	chosen  []chosen      // the next one to go at the end
	looked  time.Time
	pause   time.Duration // from looked to the next look, at least
}

// chosen is a connection that goes next, if it is still as it was when it was looked at.
type chosen struct {
	conn   *clientConn
	state  int32
	since  int64
	unused time.Duration // until it was looked at
	client uint64        // key of its address
	rank   int           // how many of its address are unused for no longer, itself among them
}

// makeRoomLocked chooses connections to go, which its caller dismisses, and tells whether there is
// room for one more: that takes more than one of them where some stayed that had been told to go.
func (t *Conns) makeRoomLocked() (leave []*clientConn, ok bool) {
	r, now := &t.room, time.Now()
	r.leaving = slices.DeleteFunc(r.leaving, func(c *clientConn) bool {
		return c.is(fasthttp.StateActive) || now.Sub(c.told) > leaveTime
	})
	for t.open-len(r.leaving) >= t.max && len(r.leaving) < maxLeaving {
		c := t.nextToGoLocked()
		if c == nil {
			break
		}
		c.told = now
		r.leaving = append(r.leaving, c)
		leave = append(leave, c)
	}
	return leave, t.open-len(r.leaving) < t.max
}

// nextToGoLocked returns the connection that goes next; nil: there is none. Of those without a
// request under way, that is one of the address that has most of them, and of these the one unused
// longest. A request is under way from the end of its head: one that never ends its head keeps
// nobody out.
func (t *Conns) nextToGoLocked() *clientConn {
	r := &t.room
	age := time.Since(r.looked)
	if age > time.Second {
		r.chosen = nil
	}
	for {
		n := len(r.chosen)
		if n == 0 {
			if age < r.pause {
				return nil
			}
			if t.lookLocked(); len(r.chosen) == 0 {
				return nil
			}
			age = 0
			continue
		}
		c := r.chosen[n-1]
		r.chosen = r.chosen[:n-1]
		// A connection is closed only after it was removed from the table, or would be told again.
		if c.conn.since.Load() != c.since || t.find(c.conn.conn) != c.conn ||
			!c.conn.state.CompareAndSwap(c.state, int32(fasthttp.StateClosed)) {
			continue
		}
		return c.conn
	}
}

// lookLocked chooses those that go next, a sixteenth of all at most.
func (t *Conns) lookLocked() {
	began := time.Now()
	var all []chosen
	for c := range t.all {
		if !c.told.IsZero() {
			continue // it is closed, once it does nothing
		}
		state := c.state.Load()
		switch fasthttp.ConnState(state) {
		case fasthttp.StateNew, fasthttp.StateIdle, stateHead:
			since := c.since.Load()
			all = append(all, chosen{conn: c, state: state, since: since, client: limit.AddressKey(c.addr), unused: began.Sub(c.opened) - time.Duration(since)})
		}
	}
	slices.SortFunc(all, func(a, b chosen) int { return cmp.Compare(a.unused, b.unused) })
	perClient := make(map[uint64]int)
	for i := range all {
		perClient[all[i].client]++
		all[i].rank = perClient[all[i].client]
	}
	slices.SortFunc(all, func(a, b chosen) int {
		return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(b.unused, a.unused))
	})
	n := min(max(len(all)/16, 1), maxChosen, len(all))
	t.room.chosen = slices.Clone(all[:n]) // without the memory of the rest
	slices.Reverse(t.room.chosen)
	t.room.looked, t.room.pause = time.Now(), 0
	if n == 0 || n*poorShare < t.open {
		t.room.pause = lookPause * t.room.looked.Sub(began)
	}
}

// noteCrowdLocked notes whether the table fills up. Between half and three quarters it stays as
// it was.
func (t *Conns) noteCrowdLocked() {
	switch {
	case t.max > 0 && 4*t.open >= 3*t.max:
		t.crowded.Store(true)
	case t.max == 0 || 2*t.open < t.max:
		t.crowded.Store(false)
	}
}
