package main

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	pid, parent, ticks, err := parseStat("812 (a (b) c) S 1 812 812 0 -1 4194560 1 2 3 4 120 34 5 6 20 0 9 0 100 1 2")
	if err != nil || pid != 812 || parent != 1 || ticks != 154 {
		t.Errorf("got %d, %d, %d, %v; want 812, 1, 154, nil", pid, parent, ticks, err)
	}
	for _, line := range []string{"", "812 (a", "812 (a) S 1 2", "x (a) S 1 1 1 0 -1 0 0 0 0 0 1 1"} {
		if _, _, _, err := parseStat(line); err == nil {
			t.Errorf("%q was accepted", line)
		}
	}
}

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
	if got := r.Ratios[0]; got.CPU != (spread{1, 1, 1}) || got.verdict() != "gate met" {
		t.Errorf("got %+v, %s", got, got.verdict())
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

// The page and the document can be made of what a run gives.
func TestReport(t *testing.T) {
	w := works(true)[0]
	r := &result{Work: w.name, Samples: map[string][]sample{}}
	for i, name := range w.contenders() {
		r.Samples[name] = []sample{{Requests: 1000, Bytes: 1e6, Wall: time.Second, CPU: time.Duration(i+1) * 10 * time.Millisecond, P50: time.Millisecond, P99: time.Millisecond}}
	}
	w.ratios(r)
	rep := &report{Scale: []scaleFigure{{What: "memory", Figure: 2, Unit: "MB", Bound: 1}}}
	rep.add(w, r)
	if got := rep.markdown(); !strings.Contains(got, "| hit 1 KB | gateway | fasthttp handler | 0.50 |") || !strings.Contains(got, "**missed**") {
		t.Errorf("got %s", got)
	}
	if err := rep.write(t.TempDir()); err != nil {
		t.Error(err)
	}
}
