package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"yatagarasu/cache"
	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/shared"
	"yatagarasu/loadtest/redisserver"
)

// notShared publishes a purge that cannot be shared, and returns the error.
func (tn *testNode) notShared(p *Purge) error {
	tn.t.Helper()
	begun := time.Now()
	_, err := tn.share(p)
	if !errors.Is(err, ErrNotShared) {
		tn.t.Fatalf("%v, want %v", err, ErrNotShared)
	}
	if took := time.Since(begun); took > 4*time.Second { // 2 s, on a machine that has nothing else to do
		tn.t.Errorf("it took %v", took)
	}
	return err
}

// TestFrozen has the server stop answering, and go on later.
func TestFrozen(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	within := func(c *shared.Cluster) { c.Purge.Within = briefly }
	a, b := startNode(t, s, within), startNode(t, s)
	asked := time.Now()
	a.eventually("an object is older than the lease", func() bool { return time.Since(asked) > briefly })
	if !a.fresh(asked) {
		t.Fatal("the lease does not hold")
	}
	s.Freeze()
	a.notShared(purgeKey("a"))
	a.notShared(purgeKey("b"))
	a.eventually("the lease runs out", func() bool { return !a.fresh(asked) })
	a.eventually("it says so", func() bool { return !a.Status().Connected })
	if status := a.Status(); status.Waiting != 2 || status.Unverified < briefly.Seconds() || status.Failures < 3 {
		t.Errorf("while frozen: %+v", status)
	}
	if !a.fresh(time.Now()) {
		t.Error("what was asked for just now is stale")
	}
	s.Thaw()
	b.eventually("the purges that were kept", func() bool { return len(b.made()) == 2 })
	b.shows(keyMade("a"), keyMade("b"))
	a.eventually("nothing waits", func() bool { return a.Status().Waiting == 0 })
	a.eventually("the lease is renewed", func() bool { return a.Status().Connected && a.Status().Unverified < 1 })
	a.shows()
	a.resynced(nil)
	b.resynced(nil)
	a.eventually("it says that it goes on", func() bool { return a.log.has("are followed again") })
	if n := strings.Count(a.log.String(), "cannot follow the purges"); n != 1 {
		t.Errorf("%d lines for one outage: %s", n, a.log)
	}
	if r := a.publish(purgeKey("c")); r.Position != 4 {
		t.Errorf("position %d, want 4: each purge is there once", r.Position)
	}
}

// briefly is longer than a step takes, and soon over.
const briefly = 1500 * time.Millisecond

// TestFrozenForManyCallers has several purges at once that a server does not answer: none waits for
// the others.
func TestFrozenForManyCallers(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"since start", "later"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			s := redisserver.ForTest(t, redisserver.Options{})
			n := newNode(t, s.Address())
			if state == "since start" {
				s.Freeze()
			}
			n.Start()
			t.Cleanup(n.Close)
			if state == "later" {
				n.eventually("it follows the log", func() bool { return n.Status().Connected })
				s.Freeze()
			}
			const callers = 8
			begun, done := time.Now(), make(chan error)
			for i := range callers {
				go func() { // ends within seconds
					_, err := n.share(purgeKey(fmt.Sprint(i)))
					done <- err
				}()
			}
			for range callers {
				if err := <-done; !errors.Is(err, ErrNotShared) {
					t.Error(err)
				}
			}
			if took := time.Since(begun); took > 4*time.Second {
				t.Errorf("they took %v", took)
			}
			begun = time.Now()
			if n.Status(); time.Since(begun) > 500*time.Millisecond {
				t.Errorf("the status took %v", time.Since(begun))
			}
		})
	}
}

// TestServerLosesTheLog has the server lose everything, or the log alone.
func TestServerLosesTheLog(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, s *redisserver.Server){
		"restarted empty": func(t *testing.T, s *redisserver.Server) {
			s.Kill()
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		"flushed":             func(t *testing.T, s *redisserver.Server) { do(t, s, "FLUSHALL") },
		"the log is deleted":  func(t *testing.T, s *redisserver.Server) { do(t, s, "DEL", "y:{test}:log") },
		"the rest is deleted": func(t *testing.T, s *redisserver.Server) { do(t, s, "DEL", "y:{test}:meta") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redisserver.ForTest(t, redisserver.Options{})
			a, b := startNode(t, s), startNode(t, s)
			a.publish(purgeKey("before"))
			b.awaits(2)
			asked := time.Now()
			if !a.fresh(asked) || !b.fresh(asked) {
				t.Fatal("nothing is fresh before")
			}
			was := a.place.Load().incarnation
			lose(t, s)
			for _, n := range []*testNode{a, b} {
				n.eventually("the log is another", func() bool { p := n.place.Load(); return p.incarnation != was })
				n.eventually("memory is stale", func() bool { return !n.fresh(asked) })
				n.eventually("what is asked for from now on is fresh", func() bool { return n.fresh(time.Now()) })
			}
			later := startNode(t, s)
			if later.place.Load().incarnation != a.place.Load().incarnation || later.place.Load().incarnation != b.place.Load().incarnation {
				t.Error("they follow several logs")
			}
			a.publish(purgeKey("after"))
			b.eventually("the purge of after", func() bool { return slices.Contains(b.made(), keyMade("after")) })
			b.shows(keyMade("before"), keyMade("after"))
			a.shows()
			a.resynced(map[string]uint64{"incarnation": 1})
			b.resynced(map[string]uint64{"incarnation": 1})
			if !a.log.has(`"reason":"incarnation"`) {
				t.Errorf("the log does not say so: %s", a.log)
			}
		})
	}
}

// TestTrimmed cuts a gateway off until the log lacks what it has not read.
func TestTrimmed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keep int // entries
		made []string
		want map[string]uint64
	}{
		"all of it is there":  {100, []string{keyMade("0"), keyMade("1"), keyMade("2")}, nil},
		"some of it is there": {1, []string{keyMade("2")}, map[string]uint64{"trimmed": 1}},
		"nothing is there":    {0, nil, map[string]uint64{"trimmed": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redisserver.ForTest(t, redisserver.Options{})
			l := startLink(t, s.Address())
			a, b := startNode(t, s), startNodeAt(t, l.Addr().String())
			asked := time.Now()
			l.setCut(true)
			b.eventually("it is cut off", func() bool { return !b.Status().Connected })
			for i := range 3 {
				a.publish(purgeKey(fmt.Sprint(i)))
			}
			do(t, s, "XTRIM", "y:{test}:log", "MAXLEN", strconv.Itoa(c.keep))
			l.setCut(false)
			b.awaits(4)
			b.eventually("it is connected again", func() bool { return b.Status().Connected })
			b.shows(c.made...)
			b.resynced(c.want)
			a.resynced(nil)
			if b.fresh(asked) != (c.want == nil) {
				t.Errorf("what was asked for before is fresh: %t", b.fresh(asked))
			}
			a.publish(purgeKey("after"))
			b.awaits(5)
			b.shows(append(c.made, keyMade("after"))...)
			b.resynced(c.want)
		})
	}
}

// TestServerRestartedWithItsData has another run of a server with the same log: no number is given
// away twice, and nobody takes memory for stale.
func TestServerRestartedWithItsData(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before int // purges
	}{
		"without purges before": {0},
		"with purges before":    {2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redisserver.ForTest(t, redisserver.Options{})
			a, b := startNode(t, s), startNode(t, s)
			var made []string
			for i := range c.before {
				a.publish(purgeKey(fmt.Sprint(i)))
				made = append(made, keyMade(fmt.Sprint(i)))
			}
			last := uint64(1 + c.before)
			a.awaits(last)
			b.awaits(last)
			asked, run := time.Now(), a.place.Load().run
			do(t, s, "SAVE")
			s.Kill()
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, n := range []*testNode{a, b} {
				n.eventually("it is connected again", func() bool { return n.place.Load().run != run && n.Status().Connected })
			}
			first := a.publish(purgeKey("after")).Position
			if first <= last+1<<20 {
				t.Errorf("position %d after %d: it does not jump", first, last)
			}
			b.eventually("the purge of after", func() bool { return slices.Contains(b.made(), keyMade("after")) })
			if r := b.publish(purgeKey("and")); r.Position != first+1 {
				t.Errorf("position %d, want %d: it jumps once", r.Position, first+1)
			}
			a.awaits(first + 1)
			b.awaits(first + 1)
			b.shows(append(made, keyMade("after"))...)
			a.shows(keyMade("and"))
			for _, n := range []*testNode{a, b} {
				n.resynced(nil)
				if !n.fresh(asked) {
					t.Error("memory is stale, though no purge was missed")
				}
			}
		})
	}
}

// TestServerLosesTheTail has a server come back, again and again, with a log that lacks its last purges:
// another is begun each time, so that no number is given away twice, and memory is stale.
func TestServerLosesTheTail(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	a, b := startNode(t, s), startNode(t, s)
	a.publish(purgeKey("kept"))
	b.awaits(2)
	do(t, s, "SAVE")
	for i := range uint64(3) {
		lost := a.publish(purgeKey(fmt.Sprint("lost ", i)))
		b.awaits(lost.Position)
		a.awaits(lost.Position)
		asked, was := time.Now(), a.place.Load().incarnation
		s.Kill()
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, n := range []*testNode{a, b} {
			n.eventually("another log", func() bool { return n.place.Load().incarnation != was })
			n.resynced(map[string]uint64{"incarnation": i + 1})
			if n.fresh(asked) {
				t.Error("what was asked for before is fresh")
			}
		}
		after := keyMade(fmt.Sprint("after ", i))
		a.publish(purgeKey(fmt.Sprint("after ", i)))
		b.eventually("the purge of after", func() bool { return slices.Contains(b.made(), after) })
	}
}

// TestOutOfMemory has the server take no more data.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	a, b := startNode(t, s), startNode(t, s)
	do(t, s, "CONFIG", "SET", "maxmemory", "1")
	if err := a.notShared(purgeKey("a")); !strings.Contains(err.Error(), "OOM") {
		t.Errorf("the error does not say why: %v", err)
	}
	do(t, s, "CONFIG", "SET", "maxmemory", "0")
	b.eventually("the purge that was kept", func() bool { return len(b.made()) == 1 })
}

// TestOutboxOverflow has more purges wait than are kept: they become one of everything.
func TestOutboxOverflow(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	l := startLink(t, s.Address())
	a, b := startNodeAt(t, l.Addr().String()), startNode(t, s)
	l.setCut(true)
	for i := range maxOutbox {
		a.notShared(purgeKey(fmt.Sprint(i)))
	}
	if n := a.Status().Waiting; n != maxOutbox {
		t.Fatalf("%d wait, want %d", n, maxOutbox)
	}
	a.notShared(purgeKey("one too many"))
	if n := a.Status().Waiting; n != 1 {
		t.Fatalf("%d wait, want one", n)
	}
	a.notShared(purgeKey("later"))
	l.setCut(false)
	b.awaits(3)
	b.shows(`all of "", soft false`, keyMade("later"))
	a.awaits(3)
	a.shows()
	a.resynced(nil)
}

// TestForeignEntries has entries in the log that no gateway of this group has made.
func TestForeignEntries(t *testing.T) {
	t.Parallel()
	c := shared.Cluster{Namespace: "test", Secret: file.NewSecret(testSecret)}
	own := newSeal(&c)
	c.Secret = file.NewSecret(strings.Repeat("x", 32))
	unknown := newSeal(&c)
	c.Namespace, c.Secret = "other", file.NewSecret(testSecret)
	elsewhere := newSeal(&c)
	numbered := func(e entry) []string {
		return []string{"2-0", "prev", "1", "body", e.body, "mac", e.mac}
	}
	changed := own.entry(purgeKey("evil"))
	changed.body = strings.Replace(changed.body, "main", "mine", 1)
	for name, entry := range map[string][]string{
		"by an unknown secret":         numbered(unknown.entry(purgeKey("evil"))),
		"of another namespace":         numbered(elsewhere.entry(purgeKey("evil"))),
		"changed":                      numbered(changed),
		"without a mac":                {"2-0", "prev", "1", "body", changed.body},
		"with the number after":        {"2-0", "some", "thing"},
		"numbered by the clock":        {"*", "some", "thing"},
		"with half a number after":     {"1-5", "some", "thing"},
		"with a position that is none": {"2-0", "prev", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redisserver.ForTest(t, redisserver.Options{})
			a, b := startNode(t, s), startNode(t, s)
			asked, was := time.Now(), a.place.Load().incarnation
			do(t, s, append([]string{"XADD", "y:{test}:log"}, entry...)...)
			for _, n := range []*testNode{a, b} {
				n.eventually("memory is stale", func() bool { return !n.fresh(asked) })
				n.eventually("another log is begun", func() bool { return n.place.Load().incarnation != was })
				n.eventually("the lease is renewed", func() bool { s := n.Status(); return s.Connected && s.Unverified < 2 })
			}
			a.publish(purgeKey("after"))
			b.awaits(2)
			b.shows(keyMade("after"))
			a.shows()
		})
	}
}

// TestForeignEntryWithItsPlace has an entry whose writer keeps the books as gateways do.
func TestForeignEntryWithItsPlace(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	a, b := startNode(t, s), startNode(t, s)
	asked := time.Now()
	do(t, s, "EVAL", `redis.call('XADD', KEYS[1], '2-0', 'prev', '1', 'id', 'i', 'body', '{"kind":"all"}', 'mac', 'm'); redis.call('HSET', KEYS[2], 'last', '2')`,
		"2", "y:{test}:log", "y:{test}:meta")
	for _, n := range []*testNode{a, b} {
		n.awaits(2)
		n.eventually("memory is stale", func() bool { return !n.fresh(asked) })
	}
	a.publish(purgeKey("after"))
	b.awaits(3)
	b.shows(keyMade("after"))
	b.resynced(map[string]uint64{"unreadable": 1})
	if !b.log.has(`"reason":"unreadable"`) || !b.log.has(errForeign.Error()) {
		t.Errorf("the log does not say why: %s", b.log)
	}
}

// TestReplicas asks for the confirmation of replicas.
func TestReplicas(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	replica := startReplica(t, s)
	one := func(c *shared.Cluster) { c.Purge.Replicas = 1 }
	a, b := startNode(t, s, one), startNode(t, s)
	a.publish(purgeKey("a"))
	replica.Freeze()
	if r, err := a.share(purgeKey("b")); !errors.Is(err, ErrNotReplicated) || r.Position != 3 {
		t.Errorf("a replica that is frozen: %+v, %v", r, err)
	}
	replica.Thaw()
	replica.Kill()
	if _, err := a.share(purgeKey("c")); !errors.Is(err, ErrNotReplicated) {
		t.Errorf("without a replica: %v", err)
	}
	b.awaits(4)
	b.shows(keyMade("a"), keyMade("b"), keyMade("c")) // it is shared all the same
	if n := a.Status().Waiting; n != 0 {
		t.Errorf("%d purges wait", n)
	}
}

// TestPanicWhilePurging has a bug in what makes purges: memory is stale, and the log is followed on.
func TestPanicWhilePurging(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	from, to := startNode(t, s), newNode(t, s.Address())
	apply, panicked := to.opts.Apply, false
	to.opts.Apply = func(bucket string, p *cache.Purges, soft bool) {
		if !panicked {
			panicked = true
			panic("a bug")
		}
		apply(bucket, p, soft)
	}
	to.Start()
	t.Cleanup(to.Close)
	to.awaits(1)
	asked := time.Now()
	from.publish(purgeKey("a"))
	to.eventually("memory is stale", func() bool { return !to.fresh(asked) })
	to.awaits(2)
	from.publish(purgeKey("b"))
	to.awaits(3)
	to.shows(keyMade("b"))
	if !to.log.has("panic: a bug") {
		t.Errorf("the log does not say so: %s", to.log)
	}
}

// TestServerLosesWhatOneHasMade has a server come back without a purge that one gateway has made and
// another has not, and the other purge first.
func TestServerLosesWhatOneHasMade(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	la, lb := startLink(t, s.Address()), startLink(t, s.Address())
	a, b := startNodeAt(t, la.Addr().String()), startNodeAt(t, lb.Addr().String(), waitOf(0))
	a.awaits(1)
	b.awaits(1)
	asked := time.Now()
	lb.setCut(true)
	b.eventually("it is cut off", func() bool { return !b.Status().Connected })
	do(t, s, "SAVE")
	a.publish(purgeKey("lost"))
	a.awaits(2)
	la.setCut(true)
	a.eventually("it is cut off", func() bool { return !a.Status().Connected })
	s.Kill()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	lb.setCut(false)
	b.eventually("it is back", func() bool { return b.Status().Connected })
	b.publish(purgeKey("other"))
	if !b.fresh(asked) {
		t.Fatal("it knows of the purge before anybody could tell")
	}
	la.setCut(false)
	for _, n := range []*testNode{a, b} {
		n.eventually("the log is begun anew", func() bool { return n.Status().Resyncs["incarnation"] == 1 })
		if n.fresh(asked) {
			t.Error("what was asked for before is fresh")
		}
	}
}

// TestQuietAfterAnOutage has the server away: what others purged meanwhile is shared before the lease
// is renewed.
func TestQuietAfterAnOutage(t *testing.T) {
	t.Parallel()
	s := redisserver.ForTest(t, redisserver.Options{})
	n := startNode(t, s)
	s.Freeze()
	n.eventually("it is cut off", func() bool { return !n.Status().Connected })
	before := n.Lease.Verified()
	s.Thaw()
	n.eventually("it is back", func() bool { return n.Status().Connected })
	back := time.Now()
	n.eventually("the lease is renewed", func() bool { return n.Lease.Verified().After(before) })
	if quiet := time.Since(back); quiet < settles/2 {
		t.Errorf("renewed after %v", quiet)
	}
}
