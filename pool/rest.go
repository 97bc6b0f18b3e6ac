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
func (u *Upstream) rest(c *conn) {
	u.resting = slices.Insert(u.resting, u.restOver(c.restsUntil), c)
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

// replaceResting closes a connection that rests so that somebody who waits may open one, where
// no rest is over soon. Else serve is called when the first one is; u.mu is held.
func (u *Upstream) replaceResting(now time.Time) bool {
	if len(u.resting) == 0 {
		return false
	}
	after := u.resting[0].restsUntil.Sub(now)
	if after > leastRest {
		last := len(u.resting) - 1
		u.resting[last].Close()
		u.resting = slices.Delete(u.resting, last, last+1)
		return true
	}
	if u.caller == nil {
		u.caller = time.AfterFunc(after, u.grantRested)
	} else {
		u.caller.Reset(after)
	}
	return false
}

// grantRested gives connections whose rest is over to those who wait; the caller timer runs it.
func (u *Upstream) grantRested() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.serve(time.Now())
}
