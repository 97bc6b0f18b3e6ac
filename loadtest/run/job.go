package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"yatagarasu/loadtest/process"
)

// job is one run of a script.
type job struct {
	script   string
	duration time.Duration
	rate     int // 0: the script's own
}

// crossed is k6's exit code for crossed thresholds. Any other code but 0 is a mistake in
// the script or in its setup.
const crossed = 99

// run runs a script against a gateway of its own.
func (o *origin) run(ctx context.Context, j job) (*result, error) {
	f, err := o.startGateway(ctx)
	if err != nil {
		return nil, err
	}
	defer f.Kill()
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	k, err := startK6(o.dir, j, "BASE="+f.URL, "TOKEN="+token)
	if err != nil {
		return nil, err
	}
	defer k.Kill()

	// Each of these ends with its context, the reader with k6.
	meanwhile, cancel := context.WithCancel(ctx)
	defer cancel()
	sampled, disturbed, read := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	watch, s := newSampler(f.Pid(), f.metrics()), newSeries()
	d := disturbanceOf(j.script, o, f)
	go func() { read <- s.read(k.samples) }()
	go func() { sampled <- watch.run(meanwhile) }()
	go func() {
		select {
		case <-s.began:
			disturbed <- d.run(meanwhile, j.duration)
		case <-meanwhile.Done():
			disturbed <- nil
		}
	}()

	began := time.Now()
	problem := k.await(ctx, j, func() error {
		select {
		case <-f.Done():
			return fmt.Errorf("the gateway ended by itself; it said: %s", f.Output())
		default:
		}
		return showProgress(j, time.Since(began), s, watch)
	})
	cancel()
	k.Kill()
	problem = errors.Join(problem, <-read, <-disturbed)
	if last := <-sampled; problem == nil {
		problem = last
	}
	if problem != nil {
		return nil, fmt.Errorf("%w; k6 said: %s", problem, k.Output())
	}
	if k.ExitCode() != 0 && k.ExitCode() != crossed {
		return nil, fmt.Errorf("k6 ended with %d; it said: %s", k.ExitCode(), k.Output())
	}
	r := newResult(j, s, watch)
	if err := r.readSummary(k.summary); err != nil {
		return nil, err
	}
	if err := d.verify(ctx, r); err != nil {
		return nil, err
	}
	r.judge(k.ExitCode() == crossed)
	return r, f.Stop()
}

// k6 is a running k6.
type k6 struct {
	*process.Process
	samples *os.File // its CSV output, to be read until it ends
	summary string   // path of its summary, there once it has ended
}

// startK6 starts k6 with a script.
func startK6(dir string, j job, env ...string) (*k6, error) {
	binary, err := process.Find("k6")
	if err != nil {
		return nil, err
	}
	root, err := process.ModuleRoot()
	if err != nil {
		return nil, err
	}
	// A pipe, since the samples of a minute are a gigabyte.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close() // k6 has its own
	k := &k6{samples: r, summary: filepath.Join(dir, j.script+".json")}
	cmd := exec.Command(binary, "run", "--quiet", "--no-color", "--address", "", "--summary-export", k.summary,
		"--out", "csv=/dev/fd/3", filepath.Join(root, "loadtest", "k6", j.script+".js"))
	cmd.Dir = dir
	cmd.ExtraFiles = []*os.File{w}
	cmd.Env = append(os.Environ(), "K6_CSV_TIME_FORMAT=unix_milli", "DURATION="+j.duration.String(),
		"GOGC=400", "GOMEMLIMIT=4GiB") // k6 collects garbage less often, for a tenth more requests
	if j.rate > 0 {
		cmd.Env = append(cmd.Env, "RATE="+strconv.Itoa(j.rate))
	}
	cmd.Env = append(cmd.Env, env...)
	if k.Process, err = process.StartCommand(cmd, nil); err != nil {
		r.Close()
		return nil, err
	}
	return k, nil
}

// await waits for k6's end and calls each once a second.
func (k *k6) await(ctx context.Context, j job, each func() error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	late := time.After(j.duration + 2*time.Minute)
	for {
		select {
		case <-k.Done():
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late:
			return errors.New("k6 does not end")
		case <-tick.C:
			if err := each(); err != nil {
				return err
			}
		}
	}
}

// showProgress prints a line every five seconds, every minute of long runs.
func showProgress(j job, passed time.Duration, s *series, watch *sampler) error {
	every := 5
	if j.duration > 5*time.Minute {
		every = 60
	}
	if int(passed.Seconds())%every != 0 {
		return nil
	}
	now, before, ok1 := watch.latest()
	sum, ok2 := s.latest()
	if !ok1 || !ok2 {
		fmt.Printf("[%s %s] k6 is starting\n", j.script, passed.Round(time.Second))
		return nil
	}
	fmt.Printf("[%s %s] %d requests/s, %d failed, p95 %.1f ms; gateway: %.0f %% CPU, %.0f MB, %d descriptors\n", j.script, passed.Round(time.Second),
		sum.Requests, sum.Failed, sum.P95, 100*(now.CPU-before.CPU)/(now.At-before.At), float64(now.RSS)/mb, now.Descriptors)
	return nil
}
