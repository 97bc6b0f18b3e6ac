package limit

import (
	"slices"
	"sync"
	"time"
)

// Turns bounds the verifications at a time, and so what they take from everything else: processors,
// or the issuer's patience. Where more come, clients take turns: a client that sends very many tokens
// waits for its own, and one that sends its first waits for one of each other client; for none
// of a client whose tokens have failed lately, as long as its own have not. Create it with
// NewTurns. Safe for concurrent use.
type Turns struct {
	mu     sync.Mutex // guards the following fields, and all lines
	free   int        // 0 while anybody waits
	lines  map[uint64]*line
	order  []*line // of clients without failures, the next turn's first
	behind []*line // of the others, whose turns come when order is empty
}

// line has the verifications of one client that wait, the longest-waiting first.
type line struct {
	client  uint64
	failed  bool // a token of the client has failed lately
	waiting []*waiter
}

// waiter is one verification that waits.
type waiter struct {
	turn    chan struct{} // closed when its turn has come
	granted bool
}

// NewTurns returns turns for so many at a time.
func NewTurns(n int) *Turns { return &Turns{free: n, lines: make(map[uint64]*line)} }

// Turn is what is asked for.
type Turn struct {
	Suspect  bool // a token of the client has failed lately
	First    bool // before the client's others: it has begun
	Deadline time.Time
}

// Take waits for the client's turn, which ends with Give, and reports whether it came before
// the deadline.
//
// It allocates nothing unless it waits.
func (t *Turns) Take(client uint64, want Turn) bool {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return true
	}
	w := &waiter{turn: make(chan struct{})}
	l := t.lines[client]
	if l == nil {
		l = &line{client: client, failed: want.Suspect}
		t.lines[client] = l
		t.line(l)
	}
	if want.First {
		l.waiting = slices.Insert(l.waiting, 0, w)
	} else {
		l.waiting = append(l.waiting, w)
	}
	t.mu.Unlock()

	patience := time.NewTimer(time.Until(want.Deadline))
	defer patience.Stop()
	select {
	case <-w.turn:
		return true
	case <-patience.C:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !w.granted { // else its turn has come in between
		l.waiting = slices.DeleteFunc(l.waiting, func(other *waiter) bool { return other == w })
	}
	return w.granted
}

// line puts l at the end of those that it goes with. The mu of t is held.
func (t *Turns) line(l *line) {
	if l.failed {
		t.behind = append(t.behind, l)
	} else {
		t.order = append(t.order, l)
	}
}

// Give ends a client's turn that Take has granted, and grants the next. failed reports that
// the token did not hold.
func (t *Turns) Give(client uint64, failed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.lines[client]; l != nil {
		l.failed = l.failed || failed
	}
	for len(t.order)+len(t.behind) > 0 {
		var l *line
		if len(t.order) == 0 {
			l, t.behind = t.behind[0], t.behind[1:]
		} else if l, t.order = t.order[0], t.order[1:]; l.failed {
			t.behind = append(t.behind, l) // since it came
			continue
		}
		if len(l.waiting) == 0 { // they have given up
			delete(t.lines, l.client)
			continue
		}
		w := l.waiting[0]
		if l.waiting = l.waiting[1:]; len(l.waiting) > 0 {
			t.line(l)
		} else {
			delete(t.lines, l.client)
		}
		w.granted = true
		close(w.turn)
		return
	}
	t.free++
}

// Free returns how many turns nobody has. While there are any, nobody waits.
func (t *Turns) Free() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.free
}
