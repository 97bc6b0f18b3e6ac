// Siege attacks a gateway in the ways of docs/THREATS.md in which one client or one object
// could take it away from others, while honest clients ask for objects at a fixed rate. It
// exits 1 unless every honest request is served, about as quickly as before the attack.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"yatagarasu/loadtest/process"
)

func main() {
	only := flag.String("only", "", "attack in the ways whose name matches this `regexp`; default: all")
	span := flag.Duration("span", 10*time.Second, "how long honest clients are measured, once alone and once beside each attack")
	rate := flag.Int("rate", 200, "honest requests a `second`")
	update := flag.Bool("update", false, "write the table into docs/THREATS.md")
	flag.Parse()
	log.SetOutput(io.Discard) // package http says there that a server closed an idle connection with a word
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *only, *span, *rate, *update); err != nil {
		fmt.Fprintln(os.Stderr, "siege:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, span time.Duration, rate int, update bool) error {
	chosen, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("cannot read -only: %w", err)
	}
	if span < time.Second || rate < 20 {
		return errors.New("-span starts at 1s, -rate at 20")
	}
	var results []result
	bad := 0
	for _, a := range attacks {
		if !chosen.MatchString(a.name) {
			continue
		}
		r, err := a.measure(ctx, span, rate)
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		for tries := 1; r.flaw(a) != "" && r.Failed == 0 && tries < 3; tries++ { // a neighbour on the machine is no attacker
			fmt.Printf("%s; once more\n", r)
			if r, err = a.measure(ctx, span, rate); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
		fmt.Println(r)
		if flaw := r.flaw(a); flaw != "" {
			bad++
			fmt.Printf("  %s\n", flaw)
		}
		results = append(results, r)
	}
	switch {
	case len(results) == 0:
		return fmt.Errorf("no attack is called like %q", only)
	case bad > 0:
		return fmt.Errorf("%d of %d attacks take the gateway away from others", bad, len(results))
	case update:
		return writeTable(results)
	}
	return nil
}

// The lines of docs/THREATS.md between which the table stands.
const tableBegins, tableEnds = "<!-- siege -->\n", "<!-- siege ends -->\n"

// writeTable writes the results into docs/THREATS.md.
func writeTable(results []result) error {
	root, err := process.ModuleRoot()
	if err != nil {
		return err
	}
	path := filepath.Join(root, "docs", "THREATS.md")
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(page), tableBegins)
	_, after, ends := strings.Cut(rest, tableEnds)
	if !found || !ends {
		return fmt.Errorf("%s has no place for the table", path)
	}
	var b strings.Builder
	b.WriteString(before + tableBegins)
	b.WriteString("| attack | honest requests | served | p99 before | p99 under attack | ratio | hits before, under attack | attackers' answers |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %d | %.4g %% | %s | %s | %.2f | %d %%, %d %% | %s |\n", r.Attack, r.Requests,
			100*float64(r.Requests-r.Failed)/float64(r.Requests), milliseconds(r.Alone), milliseconds(r.Besieged), r.ratio(), r.HitsAlone, r.Hits, r.Attackers)
	}
	b.WriteString(tableEnds + after)
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
