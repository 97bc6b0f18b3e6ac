package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"
)

// second is what k6 saw of the requests that ended in one second.
type second struct {
	At            int // seconds since the first request
	Requests      int
	Failed        int     // with a status that was not expected, or none
	Dropped       int     // iterations that no VU was free for
	P50, P95, P99 float64 // milliseconds
}

// series aggregates the samples of k6, which at 10,000 requests a second are 20 MB a
// second, while they arrive. Safe for concurrent use.
type series struct {
	began chan struct{} // closed at the first sample of the scenario

	mu          sync.Mutex // guards what follows
	first, last int64      // when the first and the last request ended, Unix time in milliseconds
	open        map[int]*gathering
	done        []second
	statuses    map[string]int
	late        int // samples of seconds that were closed
}

// gathering is a second whose samples still arrive.
type gathering struct {
	second
	latencies []float32
}

// patience is for how many seconds a second is kept open: k6 writes samples once a
// second, and samples of the same second at different times.
const patience = 10

func newSeries() *series {
	return &series{began: make(chan struct{}), open: map[int]*gathering{}, statuses: map[string]int{}}
}

// read reads k6's CSV output with times in milliseconds until it ends.
func (s *series) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 256<<10), 256<<10)
	if !lines.Scan() {
		return errors.Join(errors.New("k6 wrote no samples"), lines.Err())
	}
	column := map[string]int{}
	for i, name := range bytes.Split(lines.Bytes(), []byte(",")) {
		column[string(name)] = i
	}
	at := func(name string) int {
		if i, found := column[name]; found {
			return i
		}
		return -1
	}
	metric, stamp, value, scenario, status := at("metric_name"), at("timestamp"), at("metric_value"), at("scenario"), at("status")
	if metric != 0 || stamp < 0 || value < 0 || scenario < 0 || status < 0 {
		return fmt.Errorf("k6 wrote other columns than expected: %s", lines.Bytes())
	}
	fields := make([][]byte, 0, 16)
	for lines.Scan() {
		line := lines.Bytes()
		name, _, _ := bytes.Cut(line, []byte(","))
		switch string(name) {
		case "http_req_duration", "http_req_failed", "dropped_iterations":
		default:
			continue
		}
		fields = fields[:0]
		for f := range bytes.SplitSeq(line, []byte(",")) {
			fields = append(fields, f)
		}
		if len(fields) < len(column) {
			return fmt.Errorf("k6 wrote a short line: %s", line)
		}
		if string(fields[scenario]) != "main" {
			continue
		}
		when, err1 := strconv.ParseInt(string(fields[stamp]), 10, 64)
		v, err2 := strconv.ParseFloat(string(fields[value]), 64)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("k6 wrote %q: %w", line, err)
		}
		s.add(string(name), when, v, fields[status])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeUntilLocked(math.MaxInt)
	return lines.Err()
}

// add takes one sample.
func (s *series) add(metric string, when int64, value float64, status []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == 0 {
		s.first = when
		close(s.began)
	}
	at := int(max(when-s.first, 0) / 1000)
	if n := len(s.done); n > 0 && at <= s.done[n-1].At {
		s.late++
		return
	}
	g := s.open[at]
	if g == nil {
		g = &gathering{second: second{At: at}}
		s.open[at] = g
		s.closeUntilLocked(at - patience)
	}
	switch metric {
	case "http_req_duration":
		g.Requests++
		g.latencies = append(g.latencies, float32(value))
		s.statuses[string(status)]++
		s.last = max(s.last, when)
	case "http_req_failed":
		g.Failed += int(value)
	case "dropped_iterations":
		g.Dropped += int(value)
	}
}

// closeUntilLocked closes the seconds before end.
func (s *series) closeUntilLocked(end int) {
	var seconds []int
	for at := range s.open {
		if at < end {
			seconds = append(seconds, at)
		}
	}
	slices.Sort(seconds)
	for _, at := range seconds {
		s.done = append(s.done, s.open[at].summed())
		delete(s.open, at)
	}
}

// summed returns the second with the percentiles of what has arrived.
func (g *gathering) summed() second {
	slices.Sort(g.latencies)
	sum := g.second
	sum.P50, sum.P95, sum.P99 = percentile(g.latencies, 50), percentile(g.latencies, 95), percentile(g.latencies, 99)
	return sum
}

// latest returns the last second that is likely to be complete; ok is false without one.
func (s *series) latest() (sum second, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	newest := -1
	for at := range s.open {
		newest = max(newest, at)
	}
	g := s.open[newest-2]
	if g == nil {
		return second{}, false
	}
	return g.summed(), true
}

// start returns when the first request ended; zero before.
func (s *series) start() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == 0 {
		return time.Time{}
	}
	return time.UnixMilli(s.first)
}

// percentile returns the p-th percentile of sorted figures by the nearest rank, 0 of
// none.
func percentile(sorted []float32, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return float64(sorted[min(max(rank, 1), len(sorted))-1])
}

// slope fits a line to points by least squares and returns its rise and its value in
// the middle; ok is false for fewer than three points, or all at one x.
func slope(x, y []float64) (rise, middle float64, ok bool) {
	n := float64(len(x))
	if n < 3 {
		return 0, 0, false
	}
	var sx, sy float64
	for i := range x {
		sx += x[i]
		sy += y[i]
	}
	mx, my := sx/n, sy/n
	var xx, xy float64
	for i := range x {
		xx += (x[i] - mx) * (x[i] - mx)
		xy += (x[i] - mx) * (y[i] - my)
	}
	if xx == 0 {
		return 0, 0, false
	}
	return xy / xx, my, true
}
