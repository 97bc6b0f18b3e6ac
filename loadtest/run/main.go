// Run runs the k6 scripts of loadtest/k6 against a freshly started gateway before a
// real S3 server, samples the gateway's process meanwhile, and writes a report. It
// exits 1 when a threshold of a script is crossed, a check of its own fails or the
// gateway's memory goes over its bound.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"yatagarasu/loadtest/process"
)

// scripts are the names of the scripts in loadtest/k6, in the order in which they run.
var scripts = []string{"hits", "misses", "mixed", "ranges", "jwt", "revalidate", "connections", "large", "reload", "faults", soak}

// soak runs only when asked for by name.
const soak = "soak"

func main() {
	script := flag.String("script", "", "run this one `script` of loadtest/k6; default: all but soak")
	duration := flag.Duration("duration", 0, "how long each script makes load; default 30s, of soak 30m")
	rate := flag.Int("rate", 0, "arrivals a second, or clients where the script counts those, instead of the script's own `number`")
	flag.Parse()
	if err := run(*script, *duration, *rate); err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		os.Exit(1)
	}
}

// chosen returns the scripts to run, and for how long each.
func chosen(script string, duration time.Duration) ([]string, time.Duration, error) {
	if duration < 0 || duration > 0 && duration < 2*time.Second {
		return nil, 0, errors.New("-duration starts at 2s")
	}
	if script == "" {
		return scripts[:len(scripts)-1], cmp.Or(duration, 30*time.Second), nil
	}
	if !slices.Contains(scripts, script) {
		return nil, 0, fmt.Errorf("unknown script %q; use one of: %s", script, strings.Join(scripts, ", "))
	}
	preset := 30 * time.Second
	if script == soak {
		preset = 30 * time.Minute
	}
	return []string{script}, cmp.Or(duration, preset), nil
}

func run(script string, duration time.Duration, rate int) error {
	list, duration, err := chosen(script, duration)
	if err != nil {
		return err
	}
	if rate < 0 {
		return errors.New("-rate starts at 1")
	}
	root, err := process.ModuleRoot()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Two minutes for k6 to start and to let requests finish, two for the rest.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute+time.Duration(len(list))*(duration+2*time.Minute))
	defer cancel()

	fmt.Println("starting the S3 server and storing 1,005 objects, 175 MB")
	o, err := startOrigin(ctx)
	if err != nil {
		return err
	}
	defer o.stop()

	folder := filepath.Join(root, "loadtest", "report")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var results []*result
	bad := 0
	for _, name := range list {
		r, err := o.run(ctx, job{script: name, duration: duration, rate: rate})
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", name, context.Cause(ctx))
		}
		if err != nil { // the others may work
			bad++
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			continue
		}
		results = append(results, r)
		if err := r.save(folder); err != nil {
			return err
		}
	}
	if err := writePage(folder); err != nil {
		return err
	}
	fmt.Println()
	printTable(os.Stdout, results)
	fmt.Printf("\nreport: %s\nraw data: %s\n", filepath.Join(folder, "index.html"), filepath.Join(folder, "<script>.json"))
	for _, r := range results {
		for _, p := range r.Problems {
			bad++
			fmt.Fprintf(os.Stderr, "%s: %s\n", r.Script, p)
		}
	}
	if bad > 0 {
		return fmt.Errorf("problems: %d", bad)
	}
	return nil
}
