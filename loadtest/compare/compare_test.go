package main

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yatagarasu/loadtest/browser/pagetest"
)

func TestCPUTime(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 300*time.Millisecond; {
	}
	after, err := cpuTime(os.Getpid())
	if err != nil || after <= before {
		t.Errorf("CPU time was %s, then %s, %v", before, after, err)
	}
	if _, err := cpuTime(math.MaxInt32); err == nil {
		t.Error("a process that does not exist has CPU time")
	}
}

func TestParseWrk(t *testing.T) {
	s, err := parseWrk("Running 1s test\nRESULT 100 123400 2000000 50 99 0 0\n")
	want := sample{Requests: 100, Bytes: 123400, Wall: 2 * time.Second, P50: 50 * time.Microsecond, P99: 99 * time.Microsecond}
	if err != nil || s != want {
		t.Errorf("got %+v, %v; want %+v", s, err, want)
	}
	for _, out := range []string{"", "RESULT x", "RESULT 100 123400 2000000 50 99 1 0", "RESULT 100 123400 2000000 50 99 0 1", "RESULT 0 0 2000000 0 0 0 0"} {
		if _, err := parseWrk(out); err == nil {
			t.Errorf("%q was accepted", out)
		}
	}
}

func TestSpread(t *testing.T) {
	if got, want := spreadOf([]float64{3, 1, 2}), (spread{1, 2, 3}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := spreadOf([]float64{4, 1, 2, 3}), (spread{1, 2.5, 4}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The ratio is taken round by round: a machine that is twice as slow in one round
// changes nothing.
func TestRatios(t *testing.T) {
	w := &work{pairs: []pair{{"a", "b", 1.1, 0.9}}}
	r := &result{Samples: map[string][]sample{
		"a": {{Requests: 10, CPU: 10}, {Requests: 10, CPU: 20}, {Requests: 5, CPU: 5}},
		"b": {{Requests: 10, CPU: 10}, {Requests: 10, CPU: 20}, {Requests: 10, CPU: 10}},
	}}
	w.ratios(r)
	if got := r.Ratios[0]; got.CPU != (spread{1, 1, 1}) {
		t.Errorf("got %+v", got)
	} else if verdict, tone := got.verdict(); verdict != "gate met" || tone != "warn" {
		t.Errorf("got %s, %s", verdict, tone)
	}
}

func TestReplaceTables(t *testing.T) {
	text := "before\n" + tablesBegin + "\nold\n" + tablesEnd + "\nafter\n"
	got, err := replaceTables(text, "new\n")
	if err != nil || strings.Contains(got, "old") || !strings.Contains(got, "new") || !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "\nafter\n") {
		t.Errorf("got %q, %v", got, err)
	}
	if again, err := replaceTables(got, "new\n"); err != nil || again != got {
		t.Errorf("the second time gave %q, %v", again, err)
	}
	if _, err := replaceTables("nothing", "new"); err == nil {
		t.Error("a document without a place for the tables was accepted")
	}
}

// fullReport is of all rows, with scattered figures: gates that are missed, ratios far
// from 1, and everything as long as it gets.
func fullReport() *report {
	rep := &report{Rounds: 11, Seconds: 1, Machine: machine{
		Date: "2026-11-27", CPU: "AMD EPYC 9R14 96-Core Processor", Kernel: "Linux 6.18.44-fc-v669", Commit: "v1.2.3-45-gb3b2f1b-dirty", Cores: 2,
		Versions: []string{"go1.26.8", "fasthttp v1.77.0", "nginx version: nginx/1.22.1", "HAProxy version 2.6.12-1+deb12u4 2026/10/17", "varnishd (varnish-7.1.1 revision 7cee1c581bead20e88d101ab3d72afb29f14d87a)", "wrk debian/4.1.0-3+b2 [epoll]"},
	}}
	random := rand.New(rand.NewPCG(1, 2))
	for _, w := range works(true) {
		r := &result{Work: w.name, Samples: map[string][]sample{}}
		for _, name := range w.contenders() {
			factor := 0.5 + random.Float64()
			for range rep.Rounds {
				s := sample{Requests: 80_000, Bytes: 2e9, Wall: time.Second, P50: 216_740 * time.Microsecond, P99: 1_416_940 * time.Microsecond}
				s.CPU = time.Duration(factor * (0.8 + 0.4*random.Float64()) * float64(time.Second))
				r.Samples[name] = append(r.Samples[name], s)
			}
		}
		w.ratios(r)
		rep.add(w, r)
	}
	rep.Scale = []scaleFigure{
		{What: "memory of an active 100 MB stream, 500 of them, plain HTTP origin", Figure: 180.4, Unit: "KiB", Bound: 160},
		{What: "throughput of hits from 1 core to 2, 8 requests sent at once", Figure: 2.01, Unit: "times", Bound: 1.8, Least: true,
			Note: "from CPU time per request, 5.5 µs on one core (100 % busy), 5.5 µs on two; a fasthttp handler 2.08 times. Sent one by one 1.75 times, and the handler 1.60"},
	}
	return rep
}

// A browser sees nothing wrong with the page.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	if err := fullReport().write(dir); err != nil {
		t.Fatal(err)
	}
	pagetest.Check(t, filepath.Join(dir, "compare.html"))
}

// The page and the document can be made of what a run gives.
func TestReport(t *testing.T) {
	w := works(true)[0]
	r := &result{Work: w.name, Samples: map[string][]sample{}}
	for i, name := range w.contenders() {
		r.Samples[name] = []sample{{Requests: 1000, Bytes: 1e6, Wall: time.Second, CPU: time.Duration(i+1) * 10 * time.Millisecond, P50: time.Millisecond, P99: time.Millisecond}}
	}
	w.ratios(r)
	none := r.Samples[nginx]
	none[0].P50, none[0].P99 = 0, 0 // a round without a complete answer
	rep := &report{Scale: []scaleFigure{{What: "memory", Figure: 2, Unit: "MB", Bound: 1}}}
	rep.add(w, r)
	if got := rep.markdown(); !strings.Contains(got, "| hit 1 KB | gateway | fasthttp handler | 0.50 |") || !strings.Contains(got, "**missed**") || !strings.Contains(got, "1.00 / 1.00 ms, - / - ms") {
		t.Errorf("got %s", got)
	}
	if err := rep.write(t.TempDir()); err != nil {
		t.Error(err)
	}
}
