package pool

import "time"

// windowSlots is how finely a window forgets.
const windowSlots = 10

// window counts events, and those of them that are marked, over the latest span of time.
// It forgets a tenth of the span at a time. Use newWindow; not safe for concurrent use.
type window struct {
	slot  time.Duration // a tenth of the span
	slots [windowSlots]struct {
		number      int64 // since the epoch
		all, marked uint32
	}
}

func newWindow(span time.Duration) window { return window{slot: span / windowSlots} }

// add counts events, some of which are marked.
func (w *window) add(now time.Time, all, marked uint32) {
	number := now.UnixNano() / int64(w.slot)
	s := &w.slots[number%windowSlots]
	if s.number != number {
		s.number, s.all, s.marked = number, 0, 0
	}
	s.all += all
	s.marked += marked
}

// sum returns the counts of the latest span.
func (w *window) sum(now time.Time) (all, marked int) {
	number := now.UnixNano() / int64(w.slot)
	for i := range w.slots {
		if s := &w.slots[i]; number-s.number < windowSlots {
			all += int(s.all)
			marked += int(s.marked)
		}
	}
	return all, marked
}

// clear forgets everything.
func (w *window) clear() { *w = window{slot: w.slot} }
