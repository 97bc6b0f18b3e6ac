// Ship tries everything by which the gateway is installed, on this machine: it builds what a
// release builds, installs it where it would be installed, and uses it as its users would. It
// exits 1 unless every step holds.
//
// A step is added to steps, in a file of its own. It installs what it needs by Debian packages
// and pinned make targets, binds loopback alone, and ends what it starts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"yatagarasu/loadtest/process"
)

// step is one thing that is tried.
type step struct {
	name  string
	what  string
	short bool // it is quick enough for every CI run
	try   func(*trial) error
}

// steps are tried in this order.
var steps = []step{
	{"site", "the documentation as a site: built strictly, every link and anchor, phone and desktop", true, trySite},
	{"tasks", "each task of the documentation, as it is written", true, tryTasks},
	{"readme", "each way to start of the README, as it is written", true, tryReadme},
}

func main() {
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), "Ship tries everything by which the gateway is installed. Its steps:\n\n")
		for _, s := range steps {
			fmt.Fprintf(flag.CommandLine.Output(), "  %-12s %s\n", s.name, s.what)
		}
		fmt.Fprintln(flag.CommandLine.Output())
		flag.PrintDefaults()
	}
	only := flag.String("only", "", "try the steps whose name matches this `regexp`; default: those that every CI run tries")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "ship:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string) error {
	chosen, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("cannot read -only: %w", err)
	}
	root, err := process.ModuleRoot()
	if err != nil {
		return err
	}
	begin, tried, failed := time.Now(), 0, 0
	for _, s := range steps {
		if only == "" && !s.short || !chosen.MatchString(s.name) {
			continue
		}
		tried++
		if err := s.run(ctx, root); err != nil {
			failed++
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	switch {
	case tried == 0:
		return fmt.Errorf("no step is called like %q; -help names them", only)
	case failed > 0:
		return fmt.Errorf("%d of %d steps failed", failed, tried)
	}
	fmt.Printf("%d steps hold, in %s\n", tried, time.Since(begin).Round(time.Second))
	return nil
}

// run tries s, and prints what came of it.
func (s *step) run(ctx context.Context, root string) (err error) {
	t := &trial{ctx: ctx, root: root, dir: filepath.Join(root, "bin", "ship", s.name)}
	if err := t.open(); err != nil {
		fmt.Printf("FAIL %-12s %v\n", s.name, err)
		return err
	}
	begin := time.Now()
	fmt.Printf("     %-12s %s\n", s.name, s.what)
	err = errors.Join(s.try(t), t.close())
	took := time.Since(begin).Round(100 * time.Millisecond)
	if err != nil {
		fmt.Printf("FAIL %-12s after %s: %v\n     its output: %s\n", s.name, took, err, t.log.Name())
		return err
	}
	fmt.Printf("ok   %-12s %s\n", s.name, took)
	return nil
}
