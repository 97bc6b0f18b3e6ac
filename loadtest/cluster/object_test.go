package main

import (
	"testing"
	"time"
)

// TestOwed looks at what is owed at a moment, in milliseconds from now, after some promises.
func TestOwed(t *testing.T) {
	type promise struct {
		version int64
		since   int
	}
	for name, c := range map[string]struct {
		promises []promise
		owed     map[int]int64 // by moment
	}{
		"nothing":                            {nil, map[int]int64{0: 0, 1000: 0}},
		"from a moment on":                   {[]promise{{3, 100}}, map[int]int64{99: 0, 100: 3, 1000: 3}},
		"a later version later":              {[]promise{{3, -1}, {4, 100}}, map[int]int64{0: 3, 99: 3, 100: 4}},
		"a later version sooner":             {[]promise{{3, 200}, {4, 100}}, map[int]int64{99: 0, 100: 4, 200: 4}},
		"an older version in the meantime":   {[]promise{{4, 200}, {3, 100}}, map[int]int64{99: 0, 100: 3, 199: 3, 200: 4}},
		"an older version is no news":        {[]promise{{4, 100}, {3, 100}, {3, 200}}, map[int]int64{99: 0, 100: 4, 200: 4}},
		"what is confirmed ends what is not": {[]promise{{3, 300}, {4, 200}, {5, -1}}, map[int]int64{0: 5, 300: 5}},
		"in any order":                       {[]promise{{5, 300}, {4, 200}, {3, 100}, {6, 400}}, map[int]int64{99: 0, 100: 3, 200: 4, 300: 5, 400: 6}},
	} {
		t.Run(name, func(t *testing.T) {
			var o object
			now := time.Now()
			at := func(ms int) time.Time { return now.Add(time.Duration(ms) * time.Millisecond) }
			for _, p := range c.promises {
				o.promise(1, pledge{version: p.version, since: at(p.since)})
			}
			for moment, want := range c.owed {
				if got := o.owed(1, at(moment)).version; got != want {
					t.Errorf("at %d: version %d, want %d", moment, got, want)
				}
				if got := o.owed(0, at(moment)).version; got != 0 {
					t.Errorf("at %d another gateway owes version %d", moment, got)
				}
			}
		})
	}
}

// TestDebts holds what a gateway that was cut off from Valkey, or frozen, owes from when on.
func TestDebts(t *testing.T) {
	g, begin := newGateway(0, "", "", "", new(journal)), time.Now()
	var since []time.Time
	note := func(at time.Time) { since = append(since, at) }
	g.onceHealed(begin, note)
	g.setCut(true)
	g.onceHealed(begin, note)
	if len(since) != 1 || !since[0].Equal(begin) {
		t.Errorf("connected: since %v; cut off: it cannot share it yet", since)
	}
	g.setCut(false)
	if len(since) != 2 || !since[1].After(begin) {
		t.Errorf("connected again: since %v", since)
	}
	g.onceHealed(begin, note)
	if len(since) != 3 || !since[2].Equal(since[1]) {
		t.Errorf("a call from before that is answered later: since %v", since)
	}
	if got := g.fromBegin(begin); !got.Equal(begin) {
		t.Errorf("never frozen: %v after the call", got.Sub(begin))
	}
	g.thawed = begin.Add(time.Second)
	if got := g.fromBegin(begin); got.Sub(begin) != time.Second {
		t.Errorf("thawed after a second: %v after the call", got.Sub(begin))
	}
}
