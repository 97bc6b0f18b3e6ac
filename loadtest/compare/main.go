// Compare measures the gateway against a bare fasthttp handler, nginx, HAProxy,
// Varnish and the origin itself, on one machine in alternating rounds. The figure
// is the CPU time of the contender's processes, per request or per byte, since the
// load and the contender share the cores. It writes tables and plots.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
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

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 5 && args[0] == "origin":
		err = serveOrigin(args[1], args[2], args[3], args[4])
	case len(args) == 3 && args[0] == "floor":
		err = serveFloor(args[1], args[2])
	default:
		err = compare()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// needed are the programs that must be on the PATH, each with its Debian package.
var needed = map[string]string{"nginx": "nginx", "haproxy": "haproxy", "varnishd": "varnish", "caddy": "caddy", "wrk": "wrk", "taskset": "util-linux"}

func compare() error {
	rounds := flag.Int("rounds", 9, "`number` of rounds of each contender in each row; medians are shown")
	seconds := flag.Int("seconds", 1, "length of a round in `seconds`")
	wide := flag.Bool("full", false, "also compare pairs that have no target")
	only := flag.String("only", ".", "compare only rows whose name matches this `regexp`; \"scale\" is the rows of memory, start and cores")
	update := flag.Bool("update", false, "write the tables into docs/PERFORMANCE.md")
	flag.Parse()
	selected, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	if *rounds < 1 || *seconds < 1 {
		return errors.New("-rounds and -seconds start at 1")
	}
	root, err := process.ModuleRoot()
	if err != nil {
		return err
	}
	if err := addSystemPath(); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	dir, err := os.MkdirTemp("", "yatagarasu-compare")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	names := map[string]bool{}
	var chosen []*work
	for _, w := range works(*wide) {
		if !selected.MatchString(w.name) {
			continue
		}
		chosen = append(chosen, w)
		for _, name := range w.contenders() {
			names[name] = true
		}
	}
	names[ours] = true // the others' headers and tokens come from it
	names[nginxFiles] = names[nginxFiles] || names[nginxGzip]
	starting, cancelStarting := context.WithTimeout(ctx, 30*time.Second)
	defer cancelStarting()
	f, err := start(starting, dir, names)
	if err != nil {
		return err
	}
	defer f.stop()
	go func() { // on a signal, whatever is being measured ends with an error
		<-ctx.Done()
		f.stop()
	}()

	began := time.Now()
	rep := &report{Machine: describeMachine(), Rounds: *rounds, Seconds: *seconds}
	for i, w := range chosen {
		fmt.Printf("[%s] %d of %d: %s\n", time.Since(began).Round(time.Second), i+1, len(chosen), w.name)
		r, err := w.run(f, *rounds, *seconds, func(string) {})
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		rep.add(w, r)
		for _, line := range rep.lines(w, r) {
			fmt.Println("   ", line)
		}
	}
	if selected.MatchString("scale") {
		if rep.Scale, err = scale(ctx, f, func(what string) {
			fmt.Printf("[%s] scale: %s\n", time.Since(began).Round(time.Second), what)
		}); err != nil {
			return err
		}
		for _, s := range rep.Scale {
			fmt.Println("   ", s)
		}
	}
	fmt.Printf("[%s] done\n", time.Since(began).Round(time.Second))
	if err := rep.write(filepath.Join(root, "loadtest", "report")); err != nil {
		return err
	}
	if *update {
		return rep.update(filepath.Join(root, "docs", "PERFORMANCE.md"))
	}
	return nil
}

// addSystemPath adds the folders to the PATH in which Debian has some of the other
// contenders, and fails if one is missing.
func addSystemPath() error {
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	var missing []string
	for program, pkg := range needed {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing on the PATH; on Debian: apt-get install --no-install-recommends %s", strings.Join(missing, " "))
	}
	return nil
}
