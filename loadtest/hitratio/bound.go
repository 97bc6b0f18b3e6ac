package main

import (
	"container/heap"
	"math"
	"slices"
)

// boundHits returns how many hits no cache of max bytes can exceed.
func boundHits(t *trace, max int64) int {
	if t.equal {
		return beladyHits(t, int(max/t.object(0).Size()))
	}
	return pfooHits(t, max)
}

// never is the next use of an object that is not used again.
const never = math.MaxInt32

// nextUses returns for each request the next one for the same object.
func nextUses(t *trace) []int32 {
	next := make([]int32, len(t.ids))
	seen := make([]int32, len(t.sizes))
	for i := range seen {
		seen[i] = never
	}
	for i := len(t.ids) - 1; i >= 0; i-- {
		next[i] = seen[t.ids[i]]
		seen[t.ids[i]] = int32(i)
	}
	return next
}

// beladyHits simulates a cache for capacity objects. It evicts the object whose next use
// is furthest away, which may be the new one. With equal sizes no cache has more hits.
func beladyHits(t *trace, capacity int) int {
	next := nextUses(t)
	cached := make([]int32, len(t.sizes)) // the next use of each object; 0: it is not cached
	var h useHeap
	hits, held := 0, 0
	for i, number := range t.ids {
		if cached[number] != 0 {
			hits++
		} else {
			held++
		}
		cached[number] = next[i]
		heap.Push(&h, use{next[i], number})
		for held > capacity {
			// Past uses stay in the heap until they come up.
			if u := heap.Pop(&h).(use); cached[u.number] == u.at {
				cached[u.number] = 0
				held--
			}
		}
	}
	return hits
}

type use struct {
	at     int32
	number uint32
}

// useHeap has the furthest use on top.
type useHeap []use

func (h useHeap) Len() int           { return len(h) }
func (h useHeap) Less(i, j int) bool { return h[i].at > h[j].at }
func (h useHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *useHeap) Push(x any)        { *h = append(*h, x.(use)) }
func (h *useHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// pfooHits bounds the average of the bytes, not those of every instant: a hit costs the
// size of its object times the time since the last use, and the cheapest hits are taken
// until the bytes of the whole time are spent.
func pfooHits(t *trace, max int64) int {
	var costs []float64
	for i, next := range nextUses(t) {
		if next != never {
			costs = append(costs, float64(t.object(t.ids[i]).Size())*float64(int(next)-i))
		}
	}
	slices.Sort(costs)
	left := float64(max) * float64(len(t.ids))
	for hits, cost := range costs {
		if left -= cost; left < 0 {
			return hits
		}
	}
	return len(costs)
}
