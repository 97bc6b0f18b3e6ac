// Cluster is the oracle of purges. Three gateways share a Valkey, and something goes wrong
// between them: an object is written at the origin and purged through one of the gateways,
// over and over, and each answer of each gateway is judged. Wrong is one with an older
// version after all gateways confirmed the purge, or else after purge.within. It exits 1 if
// any answer is wrong, or if the purges proved nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	purges := flag.Int("purges", 10_000, "purges under each fault, at least")
	only := flag.String("only", "", "do only the faults whose name matches this `regexp`; default: all")
	within := flag.Duration("within", 3*time.Second, "purge.within of the gateways")
	slack := flag.Duration("slack", 500*time.Millisecond, "what measuring may add to it")
	limit := flag.Duration("limit", 15*time.Minute, "the longest that the purges under one fault may take")
	figures := flag.Bool("figures", false, "measure what sharing gives and costs instead: a minute and a half")
	limits := flag.Duration("limits", time.Minute, "with -figures: how long to hold requests against a limit")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *figures {
		if err := measure(ctx, os.Stdout, *within, *limits); err != nil {
			fmt.Fprintln(os.Stderr, "cluster:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(ctx, *only, *purges, *within, *slack, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, purges int, within, slack, limit time.Duration) error {
	chosen, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("cannot read -only: %w", err)
	}
	var trials []*trial
	bad := 0
	for i := range faults {
		if !chosen.MatchString(faults[i].name) {
			continue
		}
		t, err := try(ctx, os.Stdout, &faults[i], purges, within, slack, limit)
		if err != nil {
			return fmt.Errorf("%s: %w", faults[i].name, err)
		}
		fmt.Println(t.progress())
		for _, flaw := range t.result.flaws {
			fmt.Printf("  %s\n", flaw)
		}
		if len(t.result.flaws) > 0 {
			bad++
		}
		trials = append(trials, t)
	}
	if len(trials) == 0 {
		return fmt.Errorf("no fault is called like %q", only)
	}
	if err := writeTable(os.Stdout, trials); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d faults are not survived", bad, len(trials))
	}
	return nil
}

// try makes purges under one fault, and says every few seconds how far it is.
func try(ctx context.Context, out io.Writer, f *fault, purges int, within, slack, limit time.Duration) (*trial, error) {
	c, err := startFleet(ctx, f, within)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	t := &trial{name: f.name, purges: purges, within: within, slack: slack, recovery: 20 * time.Second, quiet: f.quiet, journal: &c.journal, objects: c.objects, origin: c.origin, gateways: c.gateways}
	if f.strike != nil {
		t.strike = func(ctx context.Context, n int) error { return f.strike(ctx, c, n) }
	}
	running, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- t.run(running) }() // ends with the trial, or with running
	for tick := time.Tick(5 * time.Second); ; {
		select {
		case err := <-ended:
			if errors.Is(err, context.DeadlineExceeded) {
				err = nil // the result says so
			}
			return t, err
		case <-tick:
			fmt.Fprintln(out, t.progress())
		}
	}
}
