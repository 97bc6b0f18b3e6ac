package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// side is one of the two trees that are compared.
type side struct {
	name     string             // old or new
	root     string             // of its module
	programs map[string]program // by package folder, relative to root
	results  *os.File
}

// program is the compiled tests of a package.
type program struct {
	file, dir string // dir: where its tests run
}

// benchmark matches a benchmark in a test file.
var benchmark = regexp.MustCompile(`(?m)^func Benchmark`)

// compile compiles the tests of each package that has benchmarks into dir.
func (s *side) compile(ctx context.Context, dir string) error {
	var list strings.Builder
	format := `{{.Dir}}{{range .TestGoFiles}}{{"\t"}}{{.}}{{end}}{{range .XTestGoFiles}}{{"\t"}}{{.}}{{end}}`
	if err := execute(ctx, s.root, &list, "go", "list", "-buildvcs=false", "-f", format, "./..."); err != nil {
		return fmt.Errorf("cannot list the packages of the %s side: %w", s.name, err)
	}
	s.programs = map[string]program{}
	for line := range strings.Lines(list.String()) {
		files := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		folder := files[0]
		found, err := anyMatches(folder, files[1:])
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		pkg, err := filepath.Rel(s.root, folder)
		if err != nil {
			return err
		}
		s.programs[pkg] = program{filepath.Join(dir, fmt.Sprintf("%s-%d.test", s.name, len(s.programs))), folder}
		if err := s.link(ctx, pkg, 0); err != nil {
			return err
		}
	}
	return nil
}

// link makes the program of a package for a round. The functions lie in another order each time:
// one order is faster than another by a few hundredths, which says nothing of the code.
func (s *side) link(ctx context.Context, pkg string, round int) error {
	p, ok := s.programs[pkg]
	if !ok {
		return nil
	}
	// Without the paths of the tree in it, the same code is the same program.
	layout := fmt.Sprintf("-ldflags=-randlayout=%d", round+1)
	if err := execute(ctx, p.dir, io.Discard, "go", "test", "-c", "-vet=off", "-buildvcs=false", "-trimpath", layout, "-o", p.file, "."); err != nil {
		return fmt.Errorf("cannot compile the tests of %s on the %s side: %w", pkg, s.name, err)
	}
	return nil
}

func anyMatches(folder string, files []string) (bool, error) {
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			return false, err
		}
		if benchmark.Match(b) {
			return true, nil
		}
	}
	return false, nil
}

// packages returns the folders of both sides in order.
func packages(a, b *side) []string {
	all := maps.Clone(a.programs)
	maps.Copy(all, b.programs)
	return slices.Sorted(maps.Keys(all))
}

// oneRun is how long the benchmarks of a package may take in one round, at most.
const oneRun = 10 * time.Minute

// run runs the benchmarks of a package once, adds what they print to the results and
// returns how many there were; none where the side has no such package. With an error
// there may be results, too: those of the benchmarks that did not fail.
func (s *side) run(ctx context.Context, o options, pkg string) (int, error) {
	p, ok := s.programs[pkg]
	if !ok {
		return 0, nil
	}
	var out strings.Builder
	failure := execute(ctx, p.dir, &out, p.file, "-test.run=^$", "-test.bench="+o.bench, "-test.benchtime="+o.benchtime,
		"-test.benchmem", "-test.count=1", "-test.timeout="+oneRun.String())
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	lines, n := results(out.String())
	if _, err := s.results.WriteString(lines); err != nil {
		return n, err
	}
	if failure != nil {
		return n, fmt.Errorf("%s, %s side: %w\n%s", pkg, s.name, failure, reason(out.String()))
	}
	return n, nil
}

// line matches what benchstat should read of a program's output. It takes any other
// "key: value" for a setting, and shows the benchmarks after it apart.
var line = regexp.MustCompile(`(?m)^(?:(?:goos|goarch|pkg|cpu): .*|Benchmark\S*[ \t]+[0-9]+[ \t].* ns/op.*)\n`)

// results returns the lines of a program's output for benchstat, and how many of them
// are results. Without results there are no lines.
func results(out string) (lines string, n int) {
	var b strings.Builder
	for _, l := range line.FindAllString(out, -1) {
		b.WriteString(l)
		if strings.HasPrefix(l, "Benchmark") {
			n++
		}
	}
	if n == 0 {
		return "", 0
	}
	return b.String(), n
}

// reason returns the start of a program's output from its first failure on.
func reason(out string) string {
	const most = 1000
	out = out[max(0, strings.Index(out, "--- FAIL")):]
	return strings.TrimSpace(out[:min(most, len(out))])
}
