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
	{"cross", "the gateway compiles for every system that it is for", true, func(t *trial) error { return t.run("make", "-s", "cross") }},
	{"migration", "nginx and the gateway, as docs/MIGRATION.md has them, give the same answers", true, migration},
	{"chart-push", "the chart is pushed to a registry as a release of a fork pushes it", true, publish},
	{"published", "a release is published by make release, to a forge that is here", false, publishRelease},
	{"windows", "the binary for Windows serves, reloads and stops under Wine", true, windows},
	{"workflows", "workflows, shell scripts and YAML are linted", true, workflows},
	{"image", "the container image: built offline, run without rights, asked for an object, stopped", true, (*trial).image},
	{"compose", "deploy/compose: one gateway with all around it, then two behind HAProxy, by its README", true, (*trial).compose},
	{"chart", "the Helm chart and the kustomizations, for the oldest and the newest Kubernetes", true, tryChart},
	{"package", "deb and rpm, built twice, installed, upgraded under load and removed where systemd runs", true, tryPackage},
	{"release", "a release without publishing: twice the same bytes, SBOMs, programs under QEMU and Wine", false, tryRelease},
	{"kubernetes", "the Helm chart on a real Kubernetes: rollouts under load", false, tryKubernetes},
	{"platforms", "the container image for amd64 and arm64, with its provenance, pushed to a registry", false, (*trial).platforms},
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
