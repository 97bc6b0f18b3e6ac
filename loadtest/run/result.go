package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// maxRSS bounds the gateway's resident set in every script.
const maxRSS = 500 * mb

// result is the outcome of a script. As JSON it is the raw data.
type result struct {
	Script, Date, Commit string
	Cores                int
	Duration             string // of the load
	Seconds              float64
	Requests             int
	Rate                 float64 // requests a second
	Failed, Dropped      int
	P50, P95, P99, Max   float64 // milliseconds, of all requests of the scenario
	Statuses             map[string]int
	Thresholds           []threshold
	CPU                  float64 // cores that the gateway took on average
	CPUPerRequest        float64 // microseconds
	PeakRSS              int64   // bytes
	PeakDescriptors      int
	HitRatio             float64 // percent; -1 where the cache had nothing to do
	Growth               *growth `json:",omitempty"`
	Notes, Problems      []string
	Series               []second
	Samples              []sample
	Late                 int // samples of k6 that came too late for Series
}

// threshold is a threshold of a script, and whether it held.
type threshold struct {
	Metric, Rule string
	Held         bool
}

// growth says what a long run does to the process.
type growth struct {
	RSSPerHour                                                                    float64 // percent of its mean
	FirstDescriptors, LastDescriptors, FirstGoroutines, LastGoroutines, FirstIsAt int
}

// newResult sums up what k6 and the gateway's process showed.
func newResult(j job, s *series, watch *sampler) *result {
	r := &result{Script: j.script, Date: time.Now().UTC().Format(time.DateTime), Cores: runtime.NumCPU(), Duration: j.duration.String(), HitRatio: -1}
	if out, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		r.Commit = strings.TrimSpace(string(out))
	}
	s.mu.Lock()
	r.Series, r.Statuses, r.Late, r.Seconds = s.done, s.statuses, s.late, float64(s.last-s.first)/1e3
	s.mu.Unlock()
	for _, v := range r.Series {
		r.Requests += v.Requests
		r.Failed += v.Failed
		r.Dropped += v.Dropped
	}
	if r.Seconds > 0 {
		r.Rate = float64(r.Requests) / r.Seconds
	}
	r.Samples = watch.since(s.start())
	r.sumSamples()
	return r
}

// sumSamples sums up what the process showed while the scenario ran; memory and
// descriptors also before and after.
func (r *result) sumSamples() {
	var during []sample
	for _, v := range r.Samples {
		r.PeakRSS = max(r.PeakRSS, v.RSS)
		r.PeakDescriptors = max(r.PeakDescriptors, v.Descriptors)
		if v.At >= 0 && v.At <= r.Seconds {
			during = append(during, v)
		}
	}
	if len(during) < 2 {
		return
	}
	first, last := during[0], during[len(during)-1]
	r.CPU = (last.CPU - first.CPU) / (last.At - first.At)
	if r.Rate > 0 {
		r.CPUPerRequest = 1e6 * r.CPU / r.Rate
	}
	if n := last.Answers - first.Answers; n > 0 {
		r.HitRatio = 100 * (last.Hits - first.Hits) / n
	}
	if r.Script == soak {
		r.Growth = growthOf(during)
	}
}

// growthOf fits a line to the resident set after the first fifth, in which caches and
// pools fill; nil for too few samples.
func growthOf(samples []sample) *growth {
	warm := samples[len(samples)/5:]
	var x, y []float64
	for _, v := range warm {
		x = append(x, v.At)
		y = append(y, float64(v.RSS))
	}
	rise, mean, ok := slope(x, y)
	if !ok || mean == 0 {
		return nil
	}
	first, last := warm[0], warm[len(warm)-1]
	return &growth{100 * rise * 3600 / mean, first.Descriptors, last.Descriptors, first.Goroutines, last.Goroutines, int(first.At)}
}

func (g *growth) String() string {
	return fmt.Sprintf("after the first fifth memory changes by %+.1f %% an hour; descriptors %d, at the end %d; goroutines %d, at the end %d",
		g.RSSPerHour, g.FirstDescriptors, g.LastDescriptors, g.FirstGoroutines, g.LastGoroutines)
}

// latencyMetric is the latency of the scenario's requests, without those of setup.
const latencyMetric = "http_req_duration{scenario:main}"

// readSummary takes latencies and thresholds from k6's summary.
func (r *result) readSummary(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("k6 wrote no summary: %w", err)
	}
	return r.parseSummary(b)
}

func (r *result) parseSummary(b []byte) error {
	var summary struct {
		Metrics map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(b, &summary); err != nil {
		return fmt.Errorf("cannot read k6's summary: %w", err)
	}
	for name, values := range summary.Metrics {
		raw, found := values["thresholds"]
		if !found {
			continue
		}
		var crossed map[string]bool
		if err := json.Unmarshal(raw, &crossed); err != nil {
			return fmt.Errorf("cannot read k6's summary: %s: %w", name, err)
		}
		for rule, yes := range crossed {
			r.Thresholds = append(r.Thresholds, threshold{name, rule, !yes})
		}
	}
	slices.SortFunc(r.Thresholds, func(a, b threshold) int { return strings.Compare(a.Metric+a.Rule, b.Metric+b.Rule) })
	for name, to := range map[string]*float64{"med": &r.P50, "p(95)": &r.P95, "p(99)": &r.P99, "max": &r.Max} {
		raw, found := summary.Metrics[latencyMetric][name]
		if !found {
			return fmt.Errorf("k6's summary has no %s of %s", name, latencyMetric)
		}
		if err := json.Unmarshal(raw, to); err != nil {
			return fmt.Errorf("cannot read k6's summary: %w", err)
		}
	}
	return nil
}

// judge adds problems and notes. crossed tells whether k6 reports a crossed threshold.
func (r *result) judge(crossed bool) {
	before := len(r.Problems)
	for _, t := range r.Thresholds {
		if !t.Held {
			r.Problems = append(r.Problems, fmt.Sprintf("threshold crossed: %s: %s", t.Metric, t.Rule))
		}
	}
	if crossed && len(r.Problems) == before {
		r.Problems = append(r.Problems, "k6 says that a threshold is crossed")
	}
	if r.Requests == 0 {
		r.Problems = append(r.Problems, "no request was made")
	}
	if r.PeakRSS > maxRSS {
		r.Problems = append(r.Problems, fmt.Sprintf("the gateway took %.0f MB of memory, more than %d", float64(r.PeakRSS)/mb, maxRSS/mb))
	}
	if r.Growth != nil {
		r.Notes = append(r.Notes, r.Growth.String())
	}
	if r.Dropped > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("k6 could not begin %d iterations in time; a lower RATE avoids that", r.Dropped))
	}
	if r.Late > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d samples came too late for the plots", r.Late))
	}
}

// save writes the raw data.
func (r *result) save(folder string) error {
	raw, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, r.Script+".json"), raw, 0o644)
}

// load reads the raw data of a script; nil if there is none.
func load(folder, script string) (*result, error) {
	raw, err := os.ReadFile(filepath.Join(folder, script+".json"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := new(result)
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("%s.json: %w", script, err)
	}
	return r, nil
}
