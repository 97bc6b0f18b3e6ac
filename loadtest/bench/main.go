// Bench compares the benchmarks beside the code with those of an older commit. Both
// sides are compiled first and then run in turns, package by package, so that a machine
// that becomes slower does so for both. Each round has its functions in another order.
// benchstat says what differs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"yatagarasu/loadtest/process"
)

// options say what is run, and for how long.
type options struct {
	against   string // commit of the old side; empty: see base
	bench     string // regexp of go test -bench
	benchtime string // of go test -benchtime
	count     int    // rounds
	limit     time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.against, "against", "", "compare with this `commit`; default: the last release tag before what is measured, without one HEAD~1")
	flag.StringVar(&o.bench, "bench", ".", "run the benchmarks whose names match this `regexp`, as go test -bench does")
	flag.StringVar(&o.benchtime, "benchtime", "100ms", "how long each benchmark runs in a round, or how often, like 100x; as go test -benchtime")
	flag.IntVar(&o.count, "count", 6, "`number` of rounds, each one run of the old side and one of the new; with fewer than 6 benchstat gives no intervals")
	flag.DurationVar(&o.limit, "limit", time.Hour, "end after this time, whatever has been measured by then")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// validate reports the first option that cannot work.
func (o options) validate() error {
	if _, err := regexp.Compile(o.bench); err != nil {
		return fmt.Errorf("-bench: %w", err)
	}
	if o.count < 1 {
		return errors.New("-count starts at 1")
	}
	if o.limit <= 0 {
		return errors.New("-limit must be positive")
	}
	return nil
}

func run(ctx context.Context, o options) error {
	if err := o.validate(); err != nil {
		return err
	}
	root, err := process.ModuleRoot()
	if err != nil {
		return err
	}
	benchstat, err := process.Find("benchstat")
	if err != nil {
		return fmt.Errorf("%w; `make bench` installs it", err)
	}
	old, now := filepath.Join(root, "bin", "bench", "old.txt"), filepath.Join(root, "bin", "bench", "new.txt")
	problem := measure(ctx, o, root, os.Stdout)
	if ctx.Err() != nil {
		return problem
	}
	if !hasResults(old) && !hasResults(now) {
		if problem == nil {
			problem = fmt.Errorf("no benchmark matches %q", o.bench)
		}
		return problem
	}
	// After a failure, too: what has been measured took long enough.
	fmt.Println()
	if err := execute(ctx, root, os.Stdout, benchstat, "old="+old, "new="+now); err != nil {
		return errors.Join(problem, err)
	}
	fmt.Printf("\nresults: %s, %s\n", old, now)
	return problem
}

// hasResults tells whether a file of results has any.
func hasResults(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Size() > 0
}

// execute runs a command in dir and waits for its end. If ctx ends first, it kills the
// command and its children. out receives its stdout.
func execute(ctx context.Context, dir string, out io.Writer, name string, args ...string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout = dir, out
	p, err := process.StartCommand(cmd, nil)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.KillGroup()
		return context.Cause(ctx)
	}
	if code := p.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with %d: %s", strings.Join(append([]string{filepath.Base(name)}, args...), " "), code, p.Output())
	}
	return nil
}
