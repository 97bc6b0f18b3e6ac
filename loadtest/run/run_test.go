package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"yatagarasu/loadtest/browser/pagetest"
	"yatagarasu/loadtest/process"
)

// Every script is run, and what is run is there.
func TestScriptsAreThoseInTheFolder(t *testing.T) {
	paths, err := filepath.Glob("../k6/*.js")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range paths {
		if name := strings.TrimSuffix(filepath.Base(p), ".js"); name != "lib" {
			names = append(names, name)
		}
	}
	want := slices.Sorted(slices.Values(scripts))
	if !slices.Equal(names, want) {
		t.Errorf("the folder has %v, the runner %v", names, want)
	}
	if scripts[len(scripts)-1] != soak {
		t.Error("soak is not the last script")
	}
}

func TestChosen(t *testing.T) {
	for _, c := range []struct {
		script   string
		duration time.Duration
		n        int
		want     time.Duration
	}{
		{"", 0, len(scripts) - 1, 30 * time.Second},
		{"hits", 0, 1, 30 * time.Second},
		{"hits", 5 * time.Second, 1, 5 * time.Second},
		{soak, 0, 1, 30 * time.Minute},
		{soak, time.Minute, 1, time.Minute},
	} {
		list, d, err := chosen(c.script, c.duration)
		if err != nil || len(list) != c.n || d != c.want {
			t.Errorf("%q for %s: %v, %s, %v", c.script, c.duration, list, d, err)
		}
	}
	if list, _, _ := chosen("", 0); slices.Contains(list, soak) {
		t.Error("soak runs without being asked for")
	}
	for _, c := range []job{{script: "no such"}, {script: "hits", duration: time.Second}, {script: "hits", duration: -1}} {
		if _, _, err := chosen(c.script, c.duration); err == nil {
			t.Errorf("%q for %s was accepted", c.script, c.duration)
		}
	}
}

func TestContent(t *testing.T) {
	if got, want := content(0x2a, 40), "000002a:0000000\n000002a:0000010\n000002a"+":"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	whole := content(0, 100*kb)
	if at := 16 * 1234; whole[at:at+16] != "0000000:"+fmt.Sprintf("%07x", at)+"\n" || len(whole) != 100*kb {
		t.Errorf("%d bytes, at %d %q", len(whole), at, whole[at:at+16])
	}
}

// The sizes are those that lib.js says.
func TestSizesAreThoseOfTheScripts(t *testing.T) {
	lib, err := os.ReadFile("../k6/lib.js")
	if err != nil {
		t.Fatal(err)
	}
	limits := regexp.MustCompile(`k (?:>=|===) (\d+)`).FindAllStringSubmatch(string(lib), -1)
	if len(limits) != 3 {
		t.Fatalf("sizeOf of lib.js has the limits %v", limits)
	}
	for i, sizes := range [][2]int{{100 * kb, mb}, {10 * kb, 100 * kb}, {kb, 10 * kb}} {
		at, err := strconv.Atoi(limits[i][1])
		if err != nil || sizeOf(at-1) != sizes[0] || sizeOf(at) != sizes[1] || sizeOf(at+20) != sizes[1] {
			t.Errorf("before and from %d: %d, %d; want %v", at, sizeOf(at-1), sizeOf(at), sizes)
		}
	}
	if want := fmt.Sprintf("export const objects = %d;", numbered); !strings.Contains(string(lib), want) {
		t.Errorf("lib.js has no %q", want)
	}
}

// csv returns what k6 writes.
func csv(rows ...string) string {
	return "metric_name,timestamp,metric_value,error_code,scenario,status,extra_tags,metadata\n" + strings.Join(rows, "\n") + "\n"
}

func row(metric string, ms int64, value float64, scenario string, status int) string {
	return fmt.Sprintf("%s,%d,%f,,%s,%d,,", metric, ms, value, scenario, status)
}

func TestSeries(t *testing.T) {
	const began = 1_700_000_000_400
	rows := []string{row("http_req_duration", began-5000, 900, "", 200)} // of setup
	for i := range 100 {
		rows = append(rows, row("http_reqs", began+int64(i), 1, "main", 200), row("http_req_duration", began+int64(i), float64(i+1), "main", 200), row("http_req_failed", began+int64(i), 0, "main", 200))
	}
	rows = append(rows,
		row("http_req_duration", began+1999, 7, "main", 503), row("http_req_failed", began+1999, 1, "main", 503),
		row("dropped_iterations", began+1000, 3, "main", 0))
	s := newSeries()
	if err := s.read(strings.NewReader(csv(rows...))); err != nil {
		t.Fatal(err)
	}
	want := []second{{At: 0, Requests: 100, P50: 50, P95: 95, P99: 99}, {At: 1, Requests: 1, Failed: 1, Dropped: 3, P50: 7, P95: 7, P99: 7}}
	if !slices.Equal(s.done, want) {
		t.Errorf("got %+v, want %+v", s.done, want)
	}
	if s.statuses["200"] != 100 || s.statuses["503"] != 1 || s.last-s.first != 1999 || s.start().UnixMilli() != began {
		t.Errorf("statuses %v, from %d to %d", s.statuses, s.first, s.last)
	}
	select {
	case <-s.began:
	default:
		t.Error("it has not begun")
	}
}

// A second is closed, and its samples forgotten, once patience is over.
func TestSeriesForgetsClosedSeconds(t *testing.T) {
	const began = 1_700_000_000_000
	s := newSeries()
	for at := range int64(100) {
		s.add("http_req_duration", began+1000*at, 1, []byte("200"))
	}
	if len(s.open) > patience+1 || len(s.done) != 100-len(s.open) {
		t.Errorf("%d seconds are open, %d closed", len(s.open), len(s.done))
	}
	if sum, ok := s.latest(); !ok || sum.At != 97 {
		t.Errorf("the latest second is %+v, %v", sum, ok)
	}
	s.add("http_req_duration", began+5000, 1, []byte("200"))
	if s.late != 1 || s.done[5].Requests != 1 {
		t.Errorf("%d late samples, second 5 has %d", s.late, s.done[5].Requests)
	}
}

func TestSeriesRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":       "",
		"other columns": "metric_name,time\n",
		"a short line":  csv("http_req_duration,1,2"),
		"a bad number":  csv("http_req_duration,1,x,,main,200,,"),
		"a bad time":    csv("http_req_duration,x,1,,main,200,,"),
	} {
		if err := newSeries().read(strings.NewReader(text)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestPercentile(t *testing.T) {
	f := []float32{1, 2, 3, 4}
	for p, want := range map[float64]float64{0: 1, 25: 1, 26: 2, 50: 2, 95: 4, 100: 4} {
		if got := percentile(f, p); got != want {
			t.Errorf("%v: %v, want %v", p, got, want)
		}
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("of none: %v", got)
	}
}

func TestSlope(t *testing.T) {
	rise, middle, ok := slope([]float64{0, 1, 2, 3}, []float64{1, 3.1, 4.9, 7})
	if !ok || math.Abs(rise-1.98) > 1e-9 || math.Abs(middle-4) > 1e-9 {
		t.Errorf("%v, %v, %v", rise, middle, ok)
	}
	if _, _, ok := slope([]float64{1, 2}, []float64{1, 2}); ok {
		t.Error("a line was fitted to two points")
	}
	if _, _, ok := slope([]float64{2, 2, 2}, []float64{1, 2, 3}); ok {
		t.Error("a line was fitted to points at one x")
	}
}

// Memory that grows by a hundredth of its mean in an hour is 1 %; the first fifth does
// not count.
func TestGrowth(t *testing.T) {
	var all []sample
	for i := range 100 {
		all = append(all, sample{At: float64(36 * i), RSS: 100*mb + int64(i)*mb/100, Descriptors: i, Goroutines: 2 * i})
		if i < 20 {
			all[i].RSS = mb
		}
	}
	g := growthOf(all)
	if g == nil || math.Abs(g.RSSPerHour-1) > 0.01 || g.FirstDescriptors != 20 || g.LastDescriptors != 99 || g.FirstGoroutines != 40 || g.LastGoroutines != 198 {
		t.Errorf("got %+v", g)
	}
	if growthOf(all[:3]) == nil || growthOf(all[:2]) != nil {
		t.Error("three samples are enough, two are not")
	}
}

func TestMetrics(t *testing.T) {
	m, err := parseMetrics(strings.NewReader("# HELP a b\na{bucket=\"x y\",outcome=\"hit\"} 3\na{bucket=\"x\",outcome=\"miss\"} 4\n\nab 9\ngo_goroutines 1.2e+01\n"))
	if err != nil {
		t.Fatal(err)
	}
	if m.sum("a") != 7 || m.sum("a", `outcome="hit"`) != 3 || m.sum("go_goroutines") != 12 || m.sum("none") != 0 {
		t.Errorf("got %v", m)
	}
	for _, text := range []string{"a\n", "a x\n"} {
		if _, err := parseMetrics(strings.NewReader(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

const summary = `{"metrics": {
	"checks": {"passes": 5, "fails": 1, "value": 0.8, "thresholds": {"rate==1": true}},
	"http_req_duration{scenario:main}": {"avg": 1, "med": 2, "p(95)": 3, "p(99)": 4, "max": 5, "thresholds": {"p(95)<100": false}},
	"http_reqs": {"count": 6, "rate": 1}
}, "root_group": {}}`

// In k6's summary a threshold is true if it is crossed.
func TestSummary(t *testing.T) {
	r := &result{Requests: 1, PeakRSS: maxRSS}
	if err := r.parseSummary([]byte(summary)); err != nil {
		t.Fatal(err)
	}
	want := []threshold{{"checks", "rate==1", false}, {latencyMetric, "p(95)<100", true}}
	if !slices.Equal(r.Thresholds, want) || r.P50 != 2 || r.P95 != 3 || r.P99 != 4 || r.Max != 5 {
		t.Errorf("got %+v", r)
	}
	r.judge(true)
	if len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "checks: rate==1") {
		t.Errorf("problems %q", r.Problems)
	}
	for _, text := range []string{"", "{}", `{"metrics": {"a": {"thresholds": 1}}}`} {
		if err := new(result).parseSummary([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		result
		crossed bool
		want    int
	}{
		"all is well":                    {result{Requests: 1, PeakRSS: maxRSS}, false, 0},
		"k6 alone knows":                 {result{Requests: 1}, true, 1},
		"a problem of the runner's own":  {result{Requests: 1, Problems: []string{"it"}}, false, 1},
		"both":                           {result{Requests: 1, Problems: []string{"it"}}, true, 2},
		"too much memory":                {result{Requests: 1, PeakRSS: maxRSS + 1}, false, 1},
		"no request":                     {result{}, false, 1},
		"dropped iterations are no more": {result{Requests: 1, Dropped: 9}, false, 0},
	} {
		c.judge(c.crossed)
		if len(c.Problems) != c.want {
			t.Errorf("%s: %q", name, c.Problems)
		}
	}
}

// A browser sees nothing wrong with a page of a short run and a long one.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	for script, seconds := range map[string]int{"connections": 30, "faults": 20, soak: 1800} {
		r := &result{
			Script: script, Date: "2026-11-27 10:11:12", Commit: "v1.2.3-45-gb3b2f1b-dirty", Cores: 2, Duration: "30m0s", Seconds: float64(seconds),
			Rate: 9741, Dropped: 12345, P50: 1048.5, P95: 2001.2, P99: 4001.9, Max: 10123.4, HitRatio: 99.9, Statuses: map[string]int{"200": 4499460, "206": 1200, "304": 5, "502": 3120},
			Thresholds: []threshold{{"http_req_duration{scenario:main,kind:cached,expected_response:true}", "p(95)<100", true}, {"checks{scenario:main}", "rate==1", false}},
			Notes:      []string{"S3 server killed 2 times, halted 2 times; served again 0.1 s after the end"},
		}
		for i := range seconds + 4 {
			at := i - 4 // k6 starts before its first request
			if at >= 0 {
				r.Requests += 9000
				r.Series = append(r.Series, second{At: at, Requests: 9000 + random.IntN(900), Dropped: random.IntN(300), P50: 1 + random.Float64(), P95: 5 + 9*random.Float64(), P99: 20 + 30*random.Float64()})
			}
			r.Samples = append(r.Samples, sample{At: float64(at) + .37, CPU: float64(i)/2 + random.Float64()/9, RSS: 50*mb + int64(random.IntN(9*mb)), Descriptors: 5015, Connections: 5000, Goroutines: 90 + random.IntN(9), Answers: float64(10 * i), Hits: float64(8*i) + random.Float64()})
		}
		r.sumSamples()
		r.judge(false)
		if err := r.save(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := writePage(dir); err != nil {
		t.Fatal(err)
	}
	pagetest.Check(t, filepath.Join(dir, "index.html"))
}

// A minute in which two of the requests each second come from S3.
func TestReport(t *testing.T) {
	r := &result{Script: soak, Seconds: 60, Requests: 600, Rate: 10, HitRatio: -1, Statuses: map[string]int{"200": 600}, Thresholds: []threshold{{"checks", "rate==1", true}}, Problems: []string{"a <problem>"}}
	for i := range 61 {
		r.Series = append(r.Series, second{At: i, Requests: 10, P50: 1, P95: 2, P99: 3})
		r.Samples = append(r.Samples, sample{At: float64(i), CPU: float64(i) / 2, RSS: 50 * mb, Descriptors: 9, Goroutines: 7, Answers: float64(10 * i), Hits: float64(8 * i)})
	}
	r.sumSamples()
	if r.CPU != 0.5 || r.CPUPerRequest != 5e4 || r.HitRatio != 80 || r.PeakRSS != 50*mb || r.Growth == nil || r.Growth.RSSPerHour != 0 {
		t.Errorf("got %+v", r)
	}
	r.judge(false)
	dir := t.TempDir()
	if err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	if err := (&result{Script: "hits"}).save(dir); err != nil { // with nothing to draw
		t.Fatal(err)
	}
	if err := writePage(dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(page), "<figure"); n != 6 {
		t.Errorf("%d plots", n)
	}
	for _, want := range []string{"a &lt;problem&gt;", "80.0 %", "memory changes by &#43;0.0 % an hour", "1 of 1 held", "soak.json", "hits.json"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	var table strings.Builder
	printTable(&table, []*result{r})
	if !strings.Contains(table.String(), "goroutines 7, at the end 7") {
		t.Errorf("the table is %s", table.String())
	}
}

// The gateway takes the configuration, as it is and after a change of it.
func TestConfiguration(t *testing.T) {
	binary, err := process.Find("yatagarasu")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{config: filepath.Join(t.TempDir(), "run.yaml"), metricsPort: 9090, endpoint: "http://127.0.0.1:7070", secret: strings.Repeat("s", 32)}
	for _, f.ttl = range []int{3600, 3601} {
		if err := f.configure(); err != nil {
			t.Fatal(err)
		}
		p, err := process.Start(binary, []string{"-config", f.config, "-check"}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		if p.ExitCode() != 0 {
			t.Fatal(p.Output())
		}
	}
	if _, err := f.token(); err != nil {
		t.Error(err)
	}
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if !pause(t.Context(), time.Hour) {
			t.Error("a pause ends early")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if began := time.Now(); pause(ctx, time.Hour) || time.Since(began) != time.Minute {
			t.Errorf("a pause does not end with its context, but after %s", time.Since(began))
		}
	})
}
