package limit

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"
)

func TestTableIsAccurate(t *testing.T) {
	for _, clients := range []int{1, 10, 1000} {
		for _, l := range []Limit{{1, 1}, {7.5, 8}, {100, 1}} {
			table := NewTable(l, 2000)
			taken := make([]int, clients)
			for i := range taken {
				for table.Take(uint64(i), time.Second) == 0 {
				}
			}
			events(clients, 3*l.PerSecond, func(i int, now time.Duration) {
				if table.Take(uint64(i), now) == 0 {
					taken[i]++
				}
			})
			for i, n := range taken {
				if !near(n, 10*l.PerSecond) {
					t.Fatalf("%d clients, %v: client %d has %d in 10 s, want %v", clients, l, i, n, 10*l.PerSecond)
				}
			}
		}
	}
}

// TestTableIsFair has one client ask a hundred times as often as its limit: it gets its
// limit, and the others all their requests.
func TestTableIsFair(t *testing.T) {
	const clients, rate = 10, 20
	table := NewTable(Limit{rate, rate}, 100)
	taken := make([]int, clients)
	events(clients, 100*rate, func(i int, now time.Duration) {
		if i > 0 && now%(time.Second/rate) >= time.Second/(100*rate) {
			return
		}
		if table.Take(uint64(i), now) == 0 {
			taken[i]++
		}
	})
	if !near(taken[0], 11*rate) {
		t.Errorf("the greedy one has %d, want %d", taken[0], 11*rate)
	}
	for i, n := range taken[1:] {
		if n != 10*rate {
			t.Errorf("client %d has %d, want all %d", i+1, n, 10*rate)
		}
	}
}

// keysOf lists the keys of a table of one shard, the most recently used first.
func keysOf(table *Table) (keys []uint64) {
	s := &table.shards[0]
	for i := s.clients[0].next; i != 0; i = s.clients[i].next {
		keys = append(keys, s.clients[i].key)
	}
	return keys
}

func TestTableForgets(t *testing.T) {
	table := NewTable(Limit{1, 2}, 3)
	for _, step := range []struct {
		name string
		key  uint64
		now  time.Duration
		wait time.Duration
		keys string
	}{
		{"the first", 1, 0, 0, "[1]"},
		{"the second", 2, 0, 0, "[2 1]"},
		{"the first again", 1, 0, 0, "[1 2]"},
		{"the first has none left", 1, 0, time.Second, "[1 2]"},
		{"the third", 3, 0, 0, "[3 1 2]"},
		{"a fourth takes the place of the one idle longest and what is left to it", 4, 0, 0, "[4 3 1]"},
		{"which was one", 4, 0, time.Second, "[4 3 1]"},
		{"who was pushed out gets no full bucket: the first has nothing left", 2, 0, time.Second, "[2 4 3]"},
		{"who pushes himself back gains nothing", 1, 0, 0, "[1 2 4]"},
		{"but what another one had left", 1, 0, time.Second, "[1 2 4]"},
		{"time fills the bucket of the one idle longest", 5, 2 * time.Second, 0, "[5 1 2]"},
		{"to the full", 5, 2 * time.Second, 0, "[5 1 2]"},
		{"and not more", 5, 2 * time.Second, time.Second, "[5 1 2]"},
		{"who was forgotten with a full bucket has one", 4, 4 * time.Second, 0, "[4 5 1]"},
		{"indeed", 4, 4 * time.Second, 0, "[4 5 1]"},
		{"a full bucket makes room", 6, 4 * time.Second, 0, "[6 4 5]"},
		{"before there is a need", 7, 8 * time.Second, 0, "[7 6 4]"},
	} {
		if wait := table.Take(step.key, step.now); wait != step.wait {
			t.Errorf("%s: wait %s, want %s", step.name, wait, step.wait)
		}
		if keys := fmt.Sprint(keysOf(table)); keys != step.keys {
			t.Errorf("%s: keys %s, want %s", step.name, keys, step.keys)
		}
	}
}

func TestTableReturn(t *testing.T) {
	table := NewTable(Limit{1, 2}, 2)
	expect := func(step string, key uint64, now, want time.Duration) {
		t.Helper()
		if wait := table.Take(key, now); wait != want {
			t.Errorf("%s: wait %s, want %s", step, wait, want)
		}
	}
	expect("the first", 1, 0, 0)
	expect("the second", 1, 0, 0)
	table.Return(1)
	expect("what was returned", 1, 0, 0)
	expect("and no more", 1, 0, time.Second)
	table.Return(7)
	if keys := fmt.Sprint(keysOf(table)); keys != "[1]" {
		t.Errorf("a key that is not there is remembered: %s", keys)
	}
	table.Return(1)
	expect("a full bucket holds its burst", 1, time.Minute, 0)
	expect("whatever was returned", 1, time.Minute, 0)
	expect("before it was full", 1, time.Minute, time.Second)
	(*Table)(nil).Return(1)
}

// TestFullBucketsTakeNoRoom has a million keys come one after the other, slowly:
// each finds a full bucket, and the table never grows beyond a few.
func TestFullBucketsTakeNoRoom(t *testing.T) {
	table := NewTable(Limit{10, 1}, 1000)
	for i := range 1_000_000 {
		if wait := table.Take(uint64(i), time.Duration(i)*200*time.Millisecond); wait != 0 {
			t.Fatalf("key %d waits %s", i, wait)
		}
	}
	n := 0
	for i := range table.shards {
		n += len(table.shards[i].places)
	}
	if n > len(table.shards) {
		t.Errorf("%d buckets are kept, at most %d are not full", n, len(table.shards))
	}
}

// TestFloodGainsNothing has an attacker with far more keys than the table holds: all of
// them together get no more than the table's buckets hold, and his first key is not
// reset.
func TestFloodGainsNothing(t *testing.T) {
	const keys, burst = 1000, 5
	table := NewTable(Limit{0.001, burst}, keys)
	room := 0
	for i := range table.shards {
		room += table.shards[i].most - 1
	}
	if room > keys || room < keys-len(table.shards) {
		t.Fatalf("room for %d keys, want %d", room, keys)
	}
	taken := 0
	for table.Take(1, 0) == 0 {
		taken++
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1_000_000 {
		if table.Take(rnd.Uint64(), 0) == 0 {
			taken++
		}
		if table.Take(1, 0) == 0 {
			taken++
		}
	}
	if taken != room*burst {
		t.Errorf("%d taken, want the %d of %d buckets", taken, room*burst, room)
	}
}

// TestTableIsBounded measures the memory that a million keys leave behind, none
// of whose buckets is full again.
func TestTableIsBounded(t *testing.T) {
	const keys = 1 << 17
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc) // which may fall, where garbage of other tests is left
	}
	before := heap()
	table := NewTable(Limit{0.001, 3}, keys)
	empty := heap() - before
	var wg sync.WaitGroup
	for part := range uint64(4) {
		wg.Go(func() {
			for i := range uint64(250_000) {
				table.Take(part<<32|i, 0)
			}
		})
	}
	wg.Wait()
	used := heap() - before
	n := 0
	for i := range table.shards {
		s := &table.shards[i]
		n += len(s.places)
		if len(s.places) != len(s.clients)-1 {
			t.Errorf("%d places for %d clients", len(s.places), len(s.clients)-1)
		}
	}
	t.Logf("%d bytes empty; %d bytes for %d of 1,000,000 keys, %d each", empty, used, n, used/int64(n))
	if n > keys || n < keys*9/10 || used > 100*keys || empty > 64<<10 {
		t.Errorf("%d keys in %d bytes, %d when empty", n, used, empty)
	}
	runtime.KeepAlive(table)
}

func TestAddressKey(t *testing.T) {
	key := func(s string) uint64 { return AddressKey(netip.MustParseAddr(s)) }
	for _, same := range [][2]string{
		{"192.0.2.7", "::ffff:192.0.2.7"},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"},
		{"fe80::1%eth0", "fe80::1"},
		{"64:ff9b::192.0.2.7", "192.0.2.7"},
		{"2002:c000:207::1", "192.0.2.7"},
		{"2002:c000:207:ffff::1", "192.0.2.7"},
		{"2001:0:4136:e378:8000:63bf:3fff:fdf8", "192.0.2.7"},
	} {
		if key(same[0]) != key(same[1]) {
			t.Errorf("%s and %s have two keys", same[0], same[1])
		}
	}
	seen := make(map[uint64]string)
	for _, a := range []string{"192.0.2.7", "192.0.2.8", "0.0.0.0", "255.255.255.255", "::1", "::192.0.2.7", "2001:db8:1:2::1", "2001:db8:1:3::1", "64:ff9b::192.0.2.9", "64:ff9b::192.0.2.10", "64:ff9b:1::192.0.2.7", "2002:c000:20b::1"} {
		if other, ok := seen[key(a)]; ok && !(a == "::192.0.2.7" && other == "::1") {
			t.Errorf("%s and %s have one key", a, other)
		}
		seen[key(a)] = a
	}
	if AddressKey(netip.Addr{}) != 0 {
		t.Error("no address has a key of its own")
	}
}

// TestWaitTakesNothing has a client ask how long it would wait.
func TestWaitTakesNothing(t *testing.T) {
	table := NewTable(Limit{2, 2}, 10)
	for range 5 {
		if w := table.Wait(1, time.Second); w != 0 {
			t.Fatalf("an unknown client waits %v", w)
		}
	}
	for i, want := range []time.Duration{0, 500 * time.Millisecond, 500 * time.Millisecond} {
		table.Take(1, time.Second)
		if w := table.Wait(1, time.Second); w != want {
			t.Errorf("after %d: %v, want %v", i+1, w, want)
		}
	}
	if a, b := table.Wait(1, 1500*time.Millisecond), table.Wait(2, time.Second); a != 0 || b != 0 {
		t.Errorf("later %v, another client %v", a, b)
	}
	if n := len(table.shards[0].places); n != 1 {
		t.Errorf("%d clients are remembered", n)
	}
	if (*Table)(nil).Wait(1, 0) != 0 {
		t.Error("no limit makes somebody wait")
	}
}
