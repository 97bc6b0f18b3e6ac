package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"yatagarasu/loadtest/process"
)

// sample is the state of the gateway's process at one time.
type sample struct {
	At          float64 // seconds since the first request of the scenario; below 0 before it
	CPU         float64 // seconds of user and system time so far
	RSS         int64   // bytes
	Descriptors int
	Goroutines  int
	Connections int     // of clients
	Answers     float64 // answers so far through the cache, hits or not
	Hits        float64 // answers so far from memory, without S3
}

// sampler samples once a second.
type sampler struct {
	pid     int
	metrics string // address of the metrics listener
	client  http.Client

	mu      sync.Mutex // guards what follows
	samples []sample   // At is Unix time while the scenario runs
}

func newSampler(pid int, metrics string) *sampler {
	return &sampler{pid: pid, metrics: metrics, client: http.Client{Timeout: 5 * time.Second}}
}

// run samples until ctx ends, or the process.
func (s *sampler) run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		now, err := s.sample(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot sample the gateway: %w", err)
		}
		s.mu.Lock()
		s.samples = append(s.samples, now)
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *sampler) latest() (now, before sample, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.samples)
	if n < 2 {
		return sample{}, sample{}, false
	}
	return s.samples[n-1], s.samples[n-2], true
}

// since returns the samples with times since start.
func (s *sampler) since(start time.Time) []sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]sample, len(s.samples))
	for i, v := range s.samples {
		v.At -= float64(start.UnixMilli()) / 1e3
		all[i] = v
	}
	return all
}

// sample takes one sample.
func (s *sampler) sample(ctx context.Context) (sample, error) {
	now := sample{At: float64(time.Now().UnixMilli()) / 1e3}
	stat, err := process.ReadStat(s.pid)
	if err != nil {
		return now, err
	}
	now.CPU, now.RSS = stat.CPU.Seconds(), stat.RSS
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
	if err != nil {
		return now, err
	}
	now.Descriptors = len(descriptors)
	values, err := s.scrape(ctx)
	if err != nil {
		return now, err
	}
	now.Goroutines = int(values.sum("go_goroutines"))
	now.Connections = int(values.sum("yatagarasu_client_connections"))
	const answers = "yatagarasu_cache_requests_total"
	now.Answers = values.sum(answers) - values.sum(answers, `outcome="bypass"`) // not cached, or refused
	now.Hits = values.sum(answers, `outcome="hit"`)
	return now, nil
}

func (s *sampler) scrape(ctx context.Context) (metrics, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.metrics, nil)
	if err != nil {
		return nil, err
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: status %d", answer.StatusCode)
	}
	return parseMetrics(answer.Body)
}

// metrics are samples of the Prometheus text format by name and labels as written.
type metrics map[string]float64

func parseMetrics(r io.Reader) (metrics, error) {
	m := metrics{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			return nil, fmt.Errorf("metrics: no value in %q", line)
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		m[line[:at]] = v
	}
	return m, lines.Err()
}

// sum adds up the metrics of this name that have all labels, each as name="value".
func (m metrics) sum(name string, labels ...string) float64 {
	var sum float64
next:
	for key, v := range m {
		rest, found := strings.CutPrefix(key, name)
		if !found || rest != "" && rest[0] != '{' {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue next
			}
		}
		sum += v
	}
	return sum
}
