package pool

// grant is what ends a wait: an idle connection, or, when conn is nil, a place
// to open one.
type grant struct {
	conn   *conn
	closed bool // the Upstream was closed instead
	full   bool // too many wait: this one has waited longest
}

// waiter is one exchange that waits for a connection. It is granted exactly
// once, by whoever takes it out of the queue, unless it takes itself out.
type waiter struct {
	grant      chan grant // capacity 1: granting never blocks
	prev, next *waiter
	queued     bool
}

func newWaiter() *waiter { return &waiter{grant: make(chan grant, 1)} }

// waitQueue is a first-in first-out list; guarded by Upstream.mu.
type waitQueue struct {
	head, tail *waiter
	n          int
}

func (q *waitQueue) push(w *waiter) {
	w.prev, w.next, w.queued = q.tail, nil, true
	if q.tail != nil {
		q.tail.next = w
	} else {
		q.head = w
	}
	q.tail = w
	q.n++
}

// pop takes out the oldest waiter; nil when there is none.
func (q *waitQueue) pop() *waiter {
	w := q.head
	if w != nil {
		q.remove(w)
	}
	return w
}

// remove takes w out and reports whether it was still queued.
func (q *waitQueue) remove(w *waiter) bool {
	if !w.queued {
		return false
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.tail = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.n--
	return true
}
