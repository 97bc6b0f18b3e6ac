package pool

import (
	"container/heap"
	"container/list"
	"time"
)

// queue has the clients that use connections of an Upstream or wait for one. A connection
// that is free goes to the client that uses the fewest, among equals to the one whose turn
// was longest ago: who asks for much waits behind himself.
//
// The zero value is empty. The Upstream's lock guards it.
type queue struct {
	lines   map[uint64]*line // by client
	spare   []*line          // for other clients, so that exchanges allocate nothing
	next    lineHeap         // of the lines in which somebody waits: whom to serve first
	longest lineHeap         // the same lines: from whom to take when too many wait
	waiting int
	used    int // connections that clients use, or that are being opened for them
	turns   uint64
}

// maxSpare bounds the lines that are kept for other clients.
const maxSpare = 64

// line is one client's part in a queue.
type line struct {
	client  uint64
	held    int       // connections that it uses, or that are being opened for it
	waiters list.List // of *waiter, the oldest first
	turn    uint64    // when it was last served, or came to wait
	places  [2]int    // in next and longest; only while somebody waits
}

// waiter is an exchange that waits for a connection.
type waiter struct {
	granted chan grant
	since   time.Time
	order   uint64 // among all waiters
	line    *line
	place   *list.Element // nil: it waits no more
}

// grant is what ends a wait: an error, an idle connection, or, where both are nil, the
// right to open one. Whoever takes a waiter out of the queue grants it once; the channel
// has room for that.
type grant struct {
	conn *conn
	err  error
}

func (l *line) first() *waiter { return l.waiters.Front().Value.(*waiter) }

// lineHeap is a heap of lines for container/heap.
type lineHeap struct {
	lines  []*line
	place  int // of line.places
	before func(a, b *line) bool
}

func (h *lineHeap) Len() int           { return len(h.lines) }
func (h *lineHeap) Less(i, j int) bool { return h.before(h.lines[i], h.lines[j]) }
func (h *lineHeap) Swap(i, j int) {
	h.lines[i], h.lines[j] = h.lines[j], h.lines[i]
	h.lines[i].places[h.place], h.lines[j].places[h.place] = i, j
}
func (h *lineHeap) Push(l any) {
	l.(*line).places[h.place] = len(h.lines)
	h.lines = append(h.lines, l.(*line))
}
func (h *lineHeap) Pop() any {
	n := len(h.lines) - 1
	l := h.lines[n]
	h.lines[n] = nil
	h.lines = h.lines[:n]
	return l
}

// of returns the line of a client, a new one if it has none.
func (q *queue) of(client uint64) *line {
	if l := q.lines[client]; l != nil {
		return l
	}
	if q.lines == nil {
		q.lines = make(map[uint64]*line)
		q.next = lineHeap{place: 0, before: func(a, b *line) bool {
			return a.held < b.held || a.held == b.held && a.turn < b.turn
		}}
		q.longest = lineHeap{place: 1, before: func(a, b *line) bool {
			n, m := a.waiters.Len(), b.waiters.Len()
			return n > m || n == m && a.first().order < b.first().order
		}}
	}
	var l *line
	if n := len(q.spare); n > 0 {
		l, q.spare = q.spare[n-1], q.spare[:n-1]
	} else {
		l = new(line)
	}
	l.client = client
	q.lines[client] = l
	return l
}

// heldBy returns how many connections a client uses.
func (q *queue) heldBy(client uint64) int {
	if l := q.lines[client]; l != nil {
		return l.held
	}
	return 0
}

// hold counts a connection as used by a client.
func (q *queue) hold(client uint64) { q.held(q.of(client), 1) }

// letGo takes back a hold.
func (q *queue) letGo(client uint64) { q.held(q.lines[client], -1) }

func (q *queue) held(l *line, n int) {
	q.used += n
	if l.held += n; l.held < 0 {
		panic("BUG: a client gives back more connections than it has")
	}
	if l.waiters.Len() > 0 {
		heap.Fix(&q.next, l.places[q.next.place])
	} else if l.held == 0 {
		delete(q.lines, l.client)
		if len(q.spare) < maxSpare {
			q.spare = append(q.spare, l)
		}
	}
}

// push has an exchange of a client wait from now on.
func (q *queue) push(client uint64, now time.Time) *waiter {
	q.turns++
	q.waiting++
	w := &waiter{granted: make(chan grant, 1), since: now, order: q.turns, line: q.of(client)}
	w.place = w.line.waiters.PushBack(w)
	if w.line.waiters.Len() == 1 {
		w.line.turn = q.turns
		heap.Push(&q.next, w.line)
		heap.Push(&q.longest, w.line)
	} else {
		heap.Fix(&q.longest, w.line.places[q.longest.place])
	}
	return w
}

// remove takes w out of the queue and reports whether it was still there.
func (q *queue) remove(w *waiter) bool {
	if w.place == nil {
		return false
	}
	l := w.line
	l.waiters.Remove(w.place)
	w.place = nil
	q.waiting--
	if l.waiters.Len() > 0 {
		heap.Fix(&q.longest, l.places[q.longest.place])
		return true
	}
	heap.Remove(&q.next, l.places[q.next.place])
	heap.Remove(&q.longest, l.places[q.longest.place])
	q.held(l, 0)
	return true
}

// serve takes the one that is next out of the queue and counts the connection that it is
// to get as its client's; nil: nobody waits.
func (q *queue) serve() *waiter {
	if q.waiting == 0 {
		return nil
	}
	l := q.next.lines[0]
	w := l.first()
	q.turns++
	l.turn = q.turns
	q.used++
	l.held++ // before the line is looked at
	q.remove(w)
	if l.waiters.Len() > 0 {
		heap.Fix(&q.next, l.places[q.next.place])
	}
	return w
}

// shed takes the one out of the queue that has waited longest of the client with the most
// waiting: its own client is the likeliest to have given it up. Somebody must wait.
func (q *queue) shed() *waiter {
	w := q.longest.lines[0].first()
	q.remove(w)
	return w
}
