package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"yatagarasu/loadtest/process"
)

// sample is the outcome of one round of load on one contender.
type sample struct {
	Requests int64         // answers that wrk received
	Bytes    int64         // bytes of heads and bodies that wrk received
	Wall     time.Duration // length of the round
	CPU      time.Duration // user and system time of the contender's processes
	P50, P99 time.Duration // latency, of complete answers
}

func (s sample) perRequest() float64 { return s.CPU.Seconds() / float64(s.Requests) }
func (s sample) perByte() float64    { return s.CPU.Seconds() / float64(s.Bytes) }
func (s sample) perSecond() float64  { return float64(s.Requests) / s.Wall.Seconds() }

// load is what wrk does in a round.
type load struct {
	url         string
	connections int
	seconds     int    // wrk takes whole seconds
	header      string // a line to send; empty: none
	cpus        string // for taskset; empty: all
	atOnce      int    // requests that a connection sends at once; 0: one
}

//go:embed wrk.lua
var wrkScript string

// wrk runs one round. Any answer but 2xx, and any error of a connection, is an
// error: a contender that refuses quickly would look fast.
func (l load) wrk(dir string) (sample, error) {
	script := filepath.Join(dir, "wrk.lua")
	if err := os.WriteFile(script, []byte(wrkScript), 0o600); err != nil {
		return sample{}, err
	}
	args := []string{"wrk", "-t1", "-c", strconv.Itoa(l.connections), "-d", strconv.Itoa(l.seconds) + "s", "--timeout", "60s", "-s", script}
	if l.header != "" {
		args = append(args, "-H", l.header)
	}
	args = append(args, l.url)
	if l.atOnce > 0 {
		args = append(args, "--", strconv.Itoa(l.atOnce))
	}
	args = pinned(l.cpus, args...)
	cmd := exec.Command(args[0], args[1:]...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	s, err := parseWrk(string(out))
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", cmd, err)
	}
	return s, nil
}

// parseWrk reads the line that wrk.lua prints.
func parseWrk(out string) (sample, error) {
	_, line, found := strings.Cut(out, "RESULT ")
	if !found {
		return sample{}, fmt.Errorf("no result in %q", out)
	}
	var s sample
	var wall, p50, p99, refused, broken int64
	if _, err := fmt.Sscanf(line, "%d %d %d %d %d %d %d", &s.Requests, &s.Bytes, &wall, &p50, &p99, &refused, &broken); err != nil {
		return sample{}, fmt.Errorf("%q: %w", line, err)
	}
	if refused > 0 || broken > 0 || s.Bytes == 0 {
		return sample{}, fmt.Errorf("%d answers, %d of them errors, %d connections failed", s.Requests, refused, broken)
	}
	s.Wall = time.Duration(wall) * time.Microsecond
	s.P50 = time.Duration(p50) * time.Microsecond
	s.P99 = time.Duration(p99) * time.Microsecond
	return s, nil
}

// cpuTime returns the user and system time so far of a process and all its
// descendants that are alive.
func cpuTime(pid int) (time.Duration, error) {
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	processes := map[int]process.Stat{}
	for _, path := range all {
		p, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			return 0, err
		}
		stat, err := process.ReadStat(p)
		if _, ended := errors.AsType[*fs.PathError](err); ended {
			continue
		}
		if err != nil {
			return 0, err
		}
		processes[p] = stat
	}
	if _, alive := processes[pid]; !alive {
		return 0, fmt.Errorf("process %d is not there", pid)
	}
	var sum time.Duration
	for p, stat := range processes {
		for q := p; q != 0; q = processes[q].Parent {
			if q == pid {
				sum += stat.CPU
				break
			}
		}
	}
	return sum, nil
}

// measure runs one round against a contender.
func (c *contender) measure(l load, dir string) (sample, error) {
	before, err := cpuTime(c.Pid())
	if err != nil {
		return sample{}, err
	}
	s, err := l.wrk(dir)
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", c.name, err)
	}
	after, err := cpuTime(c.Pid())
	if err != nil {
		return sample{}, fmt.Errorf("%s ended under load: %w", c.name, err)
	}
	s.CPU = after - before
	if s.CPU <= 0 {
		return sample{}, fmt.Errorf("%s used no CPU time", c.name)
	}
	return s, nil
}

// spread is the least, the median and the largest of some figures.
type spread struct{ Least, Median, Most float64 }

func spreadOf(figures []float64) spread {
	f := slices.Sorted(slices.Values(figures))
	n := len(f)
	return spread{f[0], (f[(n-1)/2] + f[n/2]) / 2, f[n-1]}
}
