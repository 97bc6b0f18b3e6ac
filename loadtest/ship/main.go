// Ship tries everything by which the gateway is installed, on this machine: it builds what a
// release builds, installs it where it would be installed, and uses it as its users would. It
// exits 1 unless every step holds.
//
// A step is added to steps, in a file of its own. It installs what it needs by Debian packages
// and pinned make targets, binds loopback alone, and ends what it starts. Two steps run at a time,
// one of each lane.
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
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"yatagarasu/loadtest/process"
)

// step is one thing that is tried.
type step struct {
	name  string
	what  string
	short bool // it is quick enough for every CI run
	lane  lane
	try   func(*trial) error
}

// lane is what steps have to take turns for.
type lane int

const (
	host   lane = iota // this machine: its ports and its Go
	daemon             // the Docker daemon; or little but a network
	lanes
)

// steps are tried in this order.
var steps = []step{
	{"cross", "the gateway compiles for every system that it is for", true, host, func(t *trial) error { return t.run("make", "-s", "cross") }},
	{"migration", "nginx and the gateway, as docs/MIGRATION.md has them, give the same answers", true, host, migration},
	{"chart-push", "the chart is pushed to a registry as a release of a fork pushes it", true, host, publish},
	{"published", "a release is published by make release, to a forge that is here", false, host, publishRelease},
	{"windows", "the binary for Windows serves, reloads and stops under Wine", true, host, windows},
	{"workflows", "workflows, shell scripts and YAML are linted", true, daemon, workflows},
	{"image", "the container image: built offline, run without rights, asked for an object, stopped", true, daemon, (*trial).image},
	{"compose", "deploy/compose: one gateway with all around it, then two behind HAProxy, then with a Valkey, by its README", true, daemon, (*trial).compose},
	{"chart", "the Helm chart and the kustomizations, for the oldest and the newest Kubernetes", true, host, tryChart},
	{"package", "deb and rpm, built twice, installed, upgraded under load and removed where systemd runs", true, host, tryPackage},
	{"release", "a release without publishing: twice the same bytes, SBOMs, programs under QEMU and Wine", false, host, tryRelease},
	{"kubernetes", "the Helm chart on a real Kubernetes: rollouts under load", false, daemon, tryKubernetes},
	{"platforms", "the container image for amd64 and arm64, with its provenance, pushed to a registry", false, daemon, (*trial).platforms},
	{"site", "the documentation as a site: built strictly, every link and anchor, phone and desktop", true, daemon, trySite},
	{"tasks", "each task of the documentation, as it is written", true, host, tryTasks},
	{"readme", "each way to start of the README, as it is written", true, host, tryReadme},
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
	begin, shared := time.Now(), new(sync.Mutex)
	var tried, failed atomic.Int64
	var wg sync.WaitGroup
	for l := range lanes {
		wg.Go(func() {
			for _, s := range steps {
				if s.lane != l || only == "" && !s.short || !chosen.MatchString(s.name) || ctx.Err() != nil {
					continue
				}
				tried.Add(1)
				if err := s.run(ctx, root, shared); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch {
	case tried.Load() == 0:
		return fmt.Errorf("no step is called like %q; -help names them", only)
	case failed.Load() > 0:
		return fmt.Errorf("%d of %d steps failed", failed.Load(), tried.Load())
	}
	fmt.Printf("%d steps hold, in %s\n", tried.Load(), time.Since(begin).Round(time.Second))
	return nil
}

// run tries s, and prints what came of it. Steps that run at the same time have one mutex.
func (s *step) run(ctx context.Context, root string, shared *sync.Mutex) (err error) {
	t := &trial{ctx: ctx, root: root, dir: filepath.Join(root, "bin", "ship", s.name), installing: shared}
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
