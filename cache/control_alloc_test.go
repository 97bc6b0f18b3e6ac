//go:build !race

package cache

import (
	"testing"
	"time"
)

func TestControlAllocs(t *testing.T) {
	value := []byte(`public, max-age="60", private="a, b", max-stale, x-unknown=1, min-fresh=99999999999999999999`)
	pragma := []byte("a, No-Cache")
	var c Control
	var a Audience
	run := func() {
		a = Audience{}
		a.Add(value)
		c.Reset()
		ParseControl(&c, value)
		ParsePragma(&c, pragma)
	}
	run()
	want := with(func(c *Control) {
		c.Private, c.NoCache, c.MaxAge, c.MaxStale, c.MinFresh = true, true, 60, MaxSeconds, MaxSeconds
	})
	if c != want || !a.Settled() {
		t.Fatalf("got %+v, want %+v; %+v", c, want, a)
	}
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestAssessAllocs(t *testing.T) {
	p := Policy{TTL: time.Hour, StaleIfError: time.Minute}
	var fields [][2][]byte
	for _, line := range [][2]string{
		{"Cache-Control", "public, stale-while-revalidate=5"}, {"Date", sentDate}, {"Expires", "Wednesday, 06-Nov-94 08:50:37 GMT"},
		{"Expires", "Sun Nov  6 08:50:37 1994"}, {"Age", "3, 4"}, {"Vary", "Origin, Accept-Encoding"}, {"X-Amz-Meta-A-Name-Longer-Than-All", "v"},
	} {
		fields = append(fields, [2][]byte{[]byte(line[0]), []byte(line[1])})
	}
	request := control("max-age=1000, min-fresh=1")
	var r Response
	var f Freshness
	var why Reason
	var state, applied State
	run := func() {
		r.Reset(200)
		for _, line := range fields {
			r.AddField(line[0], line[1])
		}
		f, why = p.Assess(&r, sent)
		state, applied = f.State(sent.Add(58*time.Second)), Apply(&request, &f, sent)
	}
	run()
	if why != Storable || f.Lifetime != time.Minute || f.Received != 3*time.Second || state != StaleRevalidate || applied != Fresh {
		t.Fatalf("%v %+v, state %v, applied %v", why, f, state, applied)
	}
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
