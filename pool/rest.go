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

// rest keeps c aside until it may be used; u.mu is held.
func (u *Upstream) rest(c *conn, now time.Time) {
	u.resting = slices.Insert(u.resting, u.restOver(c.restsUntil), c)
	u.callWaiters(now)
}

// restOver returns how many of the resting connections may be used at a time; u.mu is held.
func (u *Upstream) restOver(at time.Time) int {
	n, _ := slices.BinarySearchFunc(u.resting, at, func(c *conn, at time.Time) int {
		if c.restsUntil.After(at) {
			return 1
		}
		return -1
	})
	return n
}

// takeRested takes a connection whose rest is over, the one that rested last: those that
// are not needed grow old. nil: there is none. u.mu is held.
func (u *Upstream) takeRested(now time.Time) *conn {
	n := u.restOver(now)
	if n == 0 {
		return nil
	}
	c := u.resting[n-1]
	u.resting = slices.Delete(u.resting, n-1, n)
	c.restsUntil = time.Time{}
	return c
}

// callWaiters has those who wait for a connection get one when its rest is over; u.mu is held.
func (u *Upstream) callWaiters(now time.Time) {
	if u.queue.waiting == 0 || len(u.resting) == 0 {
		return
	}
	after := u.resting[0].restsUntil.Sub(now)
	if u.caller == nil {
		u.caller = time.AfterFunc(after, u.grantRested)
	} else {
		u.caller.Reset(after)
	}
}

// grantRested gives connections whose rest is over to those who wait; the caller timer runs it.
func (u *Upstream) grantRested() {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	for u.queue.waiting > 0 {
		c := u.takeRested(now)
		if c == nil {
			break
		}
		u.queue.serve().granted <- grant{conn: c}
	}
	u.callWaiters(now)
}
