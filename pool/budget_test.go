package pool

import (
	"testing"
	"time"
)

func TestBudget(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b := NewRetryBudget(20, 0, 10, time.Second)
	taken := func(requests int, span time.Duration) (n int) {
		for i := range requests {
			b.Count(numbered(uint64(i)), now)
			if b.Take(numbered(uint64(i)), now) {
				n++
			}
			now = now.Add(span / time.Duration(requests))
		}
		return n
	}
	if n := taken(10000, 10*time.Second); n < 1900 || n > 2010 {
		t.Errorf("%d of 10000 in 10 s, want a fifth", n)
	}
	now = now.Add(time.Minute)
	if n := taken(200, 20*time.Second); n < 190 {
		t.Errorf("%d of 200 in 20 s, want ten a second, so all", n)
	}
	now = now.Add(time.Minute)
	if n := taken(1000, 20*time.Second); n < 190 || n > 220 {
		t.Errorf("%d of 1000 in 20 s, want ten a second", n)
	}
}

// TestBudgetOutOfOrder counts a request that read the clock just before the next span, and came
// after others of that.
func TestBudgetOutOfOrder(t *testing.T) {
	b := NewRetryBudget(20, 0, 10, time.Second)
	span := b.window.slot * windowSlots
	now := time.Unix(0, 0).Add(1000 * span)
	for range 100 {
		b.Count(numbered(7), now)
	}
	b.Count(numbered(7), now.Add(-time.Millisecond))
	if c, _ := b.cell(numbered(7), now); c.requests[0] != 101 {
		t.Errorf("the cell has %d requests, want 101", c.requests[0])
	}
}

func TestBudgetBeside(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b := NewRetryBudget(20, 0, 10, time.Second)
	for i := range uint64(200) {
		b.Count(numbered(i), now)
	}
	for _, budget := range []*RetryBudget{b, b.Beside(10), b.Beside(20).Beside(10)} {
		n := uint64(0)
		for budget.Take(numbered(n), now) {
			n++
		}
		if n != 40 {
			t.Errorf("%d of 200, want a fifth, whatever others take", n)
		}
	}
}

// TestBudgetIsShared has one key want a budget for itself.
func TestBudgetIsShared(t *testing.T) {
	bad := numbered(7)
	for name, c := range map[string]struct {
		own, others int // requests a second
		every       int // how many requests of the others bring an extra one
	}{
		"few requests":           {5, 5, 10},
		"one asks much":          {1000, 50, 10},
		"one asks a little more": {45, 4, 2},
		"others ask much":        {50, 1000, 10},
		"one asks nothing":       {0, 100, 10},
	} {
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		b := NewRetryBudget(20, 0, 10, time.Second)
		other, got, taken := uint64(1000), 0, 0
		const steps, seconds = 100, 10
		for i := range steps * seconds {
			for range (c.own*(i%steps+1))/steps - c.own*(i%steps)/steps {
				b.Count(bad, now)
			}
			for b.Take(bad, now) {
				taken++
			}
			for range (c.others*(i%steps+1))/steps - c.others*(i%steps)/steps {
				other++
				b.Count(numbered(other), now)
				if other%uint64(c.every) == 0 && b.Take(numbered(other), now) {
					got++
				}
			}
			now = now.Add(time.Second / steps)
		}
		if want := c.others * seconds / c.every; got < want*9/10 {
			t.Errorf("%s: the others get %d of %d, beside %d", name, got, want, taken)
		}
	}
}
