package limit

import (
	"testing"
	"time"
)

// TestShared has two gateways take of a limit, and a server say what is left.
func TestShared(t *testing.T) {
	rate, table := NewRate(Limit{10, 20}), NewTable(Limit{10, 20}, 100)
	for name, c := range map[string]struct {
		shared Shared
		take   func(now time.Duration) time.Duration
		give   func()
		key    uint64
	}{
		"all": {rate, rate.Take, rate.Return, 0}, "a key": {table, func(now time.Duration) time.Duration { return table.Take(7, now) }, func() { table.Return(7) }, 7},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Second
			taken := func() (n int) {
				for c.take(now) == 0 {
					n++
				}
				return n
			}
			c.shared.Share()
			used := make([]Used, 0, 4)
			if c.take(now); len(c.shared.Collect(used)) != 1 {
				t.Fatal("nothing was used")
			}
			if len(c.shared.Collect(used)) != 0 {
				t.Error("it is collected twice")
			}
			c.take(now)
			c.take(now)
			c.give()
			if got := c.shared.Collect(used); len(got) != 1 || got[0] != (Used{c.key, 1}) {
				t.Errorf("%v, want one token", got)
			}
			c.take(now) // since
			c.shared.Settle(c.key, 5*token, now)
			if n := taken(); n != 4 {
				t.Errorf("%d taken of the 5 that were left, after one", n)
			}
			c.shared.Collect(used)
			c.shared.Settle(c.key, -30*token, now)
			if n := taken(); n != 0 {
				t.Errorf("%d taken of a debt", n)
			}
			if now += 3100 * time.Millisecond; taken() != 1 {
				t.Error("a debt of 30 is not paid in 3.1 seconds at 10 a second")
			}
			c.shared.Collect(used)
			c.shared.Settle(c.key, -1<<62, now)
			if now += longestDebt + 2*time.Second + 100*time.Millisecond; taken() != 1 {
				t.Error("a lie keeps a client out for longer than it may")
			}
			c.shared.Collect(used)
			if c.shared.Settle(c.key, 1<<62, now); taken() != 20 {
				t.Error("a lie gives more than a full bucket")
			}
			if rate, burst := c.shared.Limit(); rate != 10*token || burst != 20*token {
				t.Errorf("%d, %d", rate, burst)
			}
		})
	}
}

// TestSharedIsBounded has more keys than a table notes, and than are collected.
func TestSharedIsBounded(t *testing.T) {
	table := NewTable(Limit{10, 20}, 100)
	table.Share()
	for key := range uint64(1000) {
		table.Take(key+1, 0)
	}
	if n := len(table.shards[0].used); n > table.shards[0].most {
		t.Errorf("%d keys are noted, of at most %d", n, table.shards[0].most)
	}
	if got := table.Collect(make([]Used, 0, 10)); len(got) != 10 {
		t.Errorf("%d are collected, of at most 10", len(got))
	}
	table.Settle(5000, 0, 0) // a key without a place
	if table.Take(5000, 0) != 0 {
		t.Error("a key without a place has a debt")
	}
}
