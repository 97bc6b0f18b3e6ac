package pool

import (
	"slices"
	"time"
)

// A response to HEAD announces the body of GET, which must not follow, and which broken
// origins send all the same: bytes that an uploader chose, a moment after the head. So the
// connection rests, and is looked at before it is used again, as always.
const (
	leastRest = 20 * time.Millisecond
	mostRest  = time.Second // instead of a longer rest, another connection is opened
)

// restAfter has c rest for twice the time that a head took which was asked for at begin and
// is complete now. It reports whether c is worth keeping until then.
func (c *conn) restAfter(begin time.Time) bool {
	now := time.Now()
	rest := max(2*now.Sub(begin), leastRest)
	c.restsUntil = now.Add(rest)
	return rest <= mostRest
}

// rest keeps c aside until it may be used. Until then its client uses it: who asks for many heads
// has these connections rest on his own account. u.mu is held.
func (u *Upstream) rest(c *conn) {
	n, _ := slices.BinarySearchFunc(u.resting, c, func(r, c *conn) int { return r.restsUntil.Compare(c.restsUntil) })
	u.resting = slices.Insert(u.resting, n, c)
}

// endRests has connections whose rest is over be idle, the one that rested last to be used first:
// those that are not needed grow old. u.mu is held.
func (u *Upstream) endRests(now time.Time) {
	n := 0
	for ; n < len(u.resting) && !u.resting[n].restsUntil.After(now); n++ {
		c := u.resting[n]
		c.restsUntil = time.Time{}
		u.queue.letGo(c.client)
		u.idle = append(u.idle, c)
	}
	u.resting = slices.Delete(u.resting, 0, n)
}

// replaceResting closes a connection that rests so that somebody who has less than his share may
// open one, unless a rest is over soon; u.mu is held.
func (u *Upstream) replaceResting(now time.Time) bool {
	last := len(u.resting) - 1
	if last < 0 || u.resting[0].restsUntil.Sub(now) <= leastRest {
		return false
	}
	c := u.resting[last]
	u.resting = slices.Delete(u.resting, last, last+1)
	c.Close()
	u.queue.letGo(c.client)
	return true
}

// awaitRest has serve be called when the first rest is over, if somebody waits; u.mu is held.
func (u *Upstream) awaitRest(now time.Time) {
	if u.queue.waiting == 0 || len(u.resting) == 0 {
		return
	}
	after := u.resting[0].restsUntil.Sub(now)
	if u.caller == nil {
		u.caller = time.AfterFunc(after, u.serveRested)
	} else {
		u.caller.Reset(after)
	}
}

// serveRested serves those who wait when a rest is over; the caller timer runs it.
func (u *Upstream) serveRested() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.serve(time.Now())
}
