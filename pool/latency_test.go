package pool

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// event is what happens at a time of a simulation.
type event struct {
	at time.Time
	do func()
}

// events are a heap of them, the next one first.
type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(v any)        { *e = append(*e, v.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// hedged simulates requests of 20 to 21 ms, of which 5 % take 2 s, and of which those
// that take longer than P95 are sent again, to where they take 2 ms, as the budget allows.
func hedged(seed uint64, requests int) (took []time.Duration, extra int) {
	const slow, again = 2 * time.Second, 2 * time.Millisecond
	r := rand.New(rand.NewPCG(seed, 1))
	var l Latencies
	budget := NewRetryBudget(5, 10, 0, 10*time.Second)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var queue events
	in := func(d time.Duration, do func()) { heap.Push(&queue, event{now.Add(d), do}) }
	end := func(d time.Duration) {
		l.Add(d)
		took = append(took, d)
	}
	begin := func() {
		d := 20*time.Millisecond + time.Duration(r.Int64N(int64(time.Millisecond)))
		if r.IntN(20) == 0 {
			d = slow
		}
		key := numbered(r.Uint64N(100))
		budget.Count(key, now)
		after, known := l.P95()
		if !known || d <= after {
			in(d, func() { end(d) })
			return
		}
		in(after, func() {
			if budget.Take(key, now) {
				extra++
				d = min(d, after+again)
			}
			in(d-after, func() { end(d) })
		})
	}
	for i := range requests {
		in(time.Duration(i)*time.Millisecond, begin)
	}
	for len(queue) > 0 {
		next := heap.Pop(&queue).(event)
		now = next.at
		next.do()
	}
	return took, extra
}

// TestHedgedLatencies has 5 % of the requests hang, so that the 95th percentile may as
// well be of those: the 99th of what clients see must not.
func TestHedgedLatencies(t *testing.T) {
	const runs, requests = 200, 2000
	above := 0 // twice the median
	for seed := range uint64(runs) {
		took, extra := hedged(seed, requests)
		slices.Sort(took)
		if took[requests*99/100] > 2*took[requests/2] {
			above++
		}
		if extra > requests*6/100 {
			t.Errorf("run %d: %d more requests", seed, extra)
		}
	}
	if above > runs/50 {
		t.Errorf("in %d of %d runs the 99th percentile is above twice the median", above, runs)
	}
}
