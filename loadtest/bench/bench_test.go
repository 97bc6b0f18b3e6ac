package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// repository makes a repository with a module in it, and returns its folder.
func repository(t *testing.T) string {
	t.Helper()
	for _, role := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+role+"_NAME", "test")
		t.Setenv("GIT_"+role+"_EMAIL", "test@example.com")
	}
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	root := t.TempDir()
	gitIn(t, root, "init", "--quiet")
	write(t, root, "go.mod", "module example\n\ngo 1.24\n")
	write(t, root, ".gitignore", "/bin/\n")
	return root
}

func gitIn(t *testing.T, root string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	file := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func commit(t *testing.T, root string) string {
	t.Helper()
	gitIn(t, root, "add", ".")
	gitIn(t, root, "commit", "--quiet", "--allow-empty", "-m", "change")
	return gitIn(t, root, "rev-parse", "HEAD")
}

// benchmarks is a test file with benchmarks; each writes the word into the file that
// $ORDER names, and prints what benchstat must not see.
func benchmarks(word string, names ...string) string {
	var b strings.Builder
	b.WriteString(`package a

import (
	"fmt"
	"os"
	"testing"
)

func run(b *testing.B) {
	f, err := os.OpenFile(os.Getenv("ORDER"), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if b.N == 1 {
		fmt.Fprintln(f, "` + word + `")
	}
	fmt.Fprintln(os.Stderr, "noise: on stderr")
	fmt.Println("setting: ` + word + `")
}
`)
	for _, name := range names {
		b.WriteString("\nfunc Benchmark" + name + "(b *testing.B) { run(b) }\n")
	}
	return b.String()
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// expectClean fails the test if anything remains of the older tree.
func expectClean(t *testing.T, root string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, "bin", "bench", "old")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the older tree is still there: %v", err)
	}
	if list := gitIn(t, root, "worktree", "list"); strings.Contains(list, "\n") {
		t.Errorf("git still knows the older tree:\n%s", list)
	}
}

func once(count int) options {
	return options{bench: ".", benchtime: "1x", count: count, limit: time.Minute}
}

func TestMeasure(t *testing.T) {
	root := repository(t)
	write(t, root, "a/a_test.go", benchmarks("old", "Both", "Gone"))
	commit(t, root)
	write(t, root, "a/a_test.go", benchmarks("committed", "Both", "Come"))
	write(t, root, "b/b_test.go", strings.Replace(benchmarks("b", "Come"), "package a", "package b_test", 1))
	write(t, root, "c/c_test.go", "package c\n")
	commit(t, root)
	write(t, root, "a/a_test.go", benchmarks("new", "Both", "Come"))
	order := filepath.Join(t.TempDir(), "order")
	t.Setenv("ORDER", order)
	write(t, root, "bin/bench/old/left.txt", "of a run that was killed")

	var progress strings.Builder
	if err := measure(t.Context(), once(2), root, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	expectClean(t, root)
	if got, want := strings.Fields(read(t, order)), "old old new new b old old new new b"; strings.Join(got, " ") != want {
		t.Errorf("ran %s, want %s", got, want)
	}
	for name, want := range map[string]map[string]int{
		"old": {"BenchmarkBoth": 2, "BenchmarkGone": 2, "BenchmarkCome": 0, "pkg: example/a": 2, "ns/op": 4, "allocs/op": 4},
		"new": {"BenchmarkBoth": 2, "BenchmarkGone": 0, "BenchmarkCome": 4, "pkg: example/a": 2, "pkg: example/b": 2, "ns/op": 6},
	} {
		got := read(t, filepath.Join(root, "bin", "bench", name+".txt"))
		for text, n := range want {
			if strings.Count(got, text) != n {
				t.Errorf("%s.txt has not %d times %q:\n%s", name, n, text, got)
			}
		}
		if strings.Contains(got, "setting:") || strings.Contains(got, "noise:") {
			t.Errorf("%s.txt has what is no result:\n%s", name, got)
		}
	}
	for _, part := range []string{"(HEAD~1)", "what is not committed", "round 2 of 2: a, 2 old and 2 new results", "round 1 of 2: b, 0 old and 1 new results"} {
		if !strings.Contains(progress.String(), part) {
			t.Errorf("the progress does not say %q:\n%s", part, progress.String())
		}
	}
}

func TestMeasureNothing(t *testing.T) {
	root := repository(t)
	write(t, root, "a/a_test.go", benchmarks("", "A"))
	commit(t, root)
	commit(t, root)
	write(t, root, "bin/bench/old.txt", "of an earlier run")
	o := once(1000)
	o.bench = "NoSuch"
	if err := measure(t.Context(), o, root, io.Discard); err != nil {
		t.Fatal(err)
	}
	if file := filepath.Join(root, "bin", "bench", "old.txt"); hasResults(file) {
		t.Errorf("there are results: %s", read(t, file))
	}
}

// Whatever goes wrong, the older tree is gone afterwards; what did not fail is there.
func TestMeasureFailures(t *testing.T) {
	good := "package a\n\nimport \"testing\"\n\nfunc BenchmarkGood(b *testing.B) {}\n"
	failing := good + "\nfunc BenchmarkBad(b *testing.B) { b.Fatal(\"wrong result\") }\n"
	// It sleeps: of a program that only waits for itself the runtime says that it is dead, and ends it.
	endless := "package a\n\nimport (\n\t\"testing\"\n\t\"time\"\n)\n\nfunc BenchmarkEndless(b *testing.B) { time.Sleep(time.Hour) }\n"
	for _, c := range []struct {
		name, old, now string
		against        string
		limit          time.Duration
		err            string // empty: none
		progress       string
		results        map[string]string // of a side: its text
	}{
		{name: "a benchmark of the old side fails", old: failing, now: good,
			progress: "wrong result", results: map[string]string{"old": "BenchmarkGood", "new": "BenchmarkGood"}},
		{name: "a benchmark of the new side fails", old: good, now: failing,
			err: "benchmarks of a fail", progress: "wrong result", results: map[string]string{"old": "BenchmarkGood", "new": "BenchmarkGood"}},
		{name: "the new side does not compile", old: good, now: good + "x", err: "cannot compile the tests of a on the new side"},
		{name: "the old side does not compile", old: good + "x", now: good, err: "cannot compile the tests of a on the old side"},
		{name: "no such commit", old: good, now: good, against: "v0.0.0", err: `cannot find commit "v0.0.0"`},
		{name: "a commit that looks like a flag", old: good, now: good, against: "--all", err: `cannot find commit "--all"`},
		{name: "the limit passes in a benchmark", old: endless, now: good, limit: 5 * time.Second, err: errLimit.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := repository(t)
			write(t, root, "a/a_test.go", c.old)
			commit(t, root)
			write(t, root, "a/a_test.go", c.now)
			commit(t, root)
			o := once(1)
			o.against = c.against
			if c.limit > 0 {
				o.limit = c.limit
			}
			var progress strings.Builder
			err := measure(t.Context(), o, root, &progress)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("got %v, want %q", err, c.err)
			}
			if !strings.Contains(progress.String(), c.progress) {
				t.Errorf("the progress does not say %q:\n%s", c.progress, progress.String())
			}
			for side, want := range c.results {
				if got := read(t, filepath.Join(root, "bin", "bench", side+".txt")); !strings.Contains(got, want) {
					t.Errorf("%s.txt has no %s:\n%s", side, want, got)
				}
			}
			expectClean(t, root)
		})
	}
}

func TestMeasureInterrupted(t *testing.T) {
	root := repository(t)
	write(t, root, "a/a_test.go", "package a\n")
	commit(t, root)
	commit(t, root)
	ctx, cancel := context.WithCancel(t.Context())
	// Once the older tree is there, the progress names it.
	progress := writer(func(b []byte) {
		if strings.Contains(string(b), "old:") {
			cancel()
		}
	})
	if err := measure(ctx, once(1), root, progress); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	expectClean(t, root)
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

func TestBase(t *testing.T) {
	root := repository(t)
	first := commit(t, root)
	second := commit(t, root)
	expect := func(state, against, wantCommit, wantName string) {
		t.Helper()
		got, name, err := base(t.Context(), root, against)
		if err != nil || got != wantCommit || name != wantName {
			t.Errorf("%s: got %s, %s, %v; want %s, %s", state, got, name, err, wantCommit, wantName)
		}
	}
	expect("no tag", "", first, "HEAD~1")
	expect("a commit named", second, second, second)
	gitIn(t, root, "tag", "nightly", first)
	expect("a tag that is no release", "", first, "HEAD~1")
	gitIn(t, root, "tag", "-a", "-m", "release", "v1.0.0", first)
	third := commit(t, root)
	expect("a release two commits ago", "", first, "v1.0.0")
	gitIn(t, root, "tag", "v1.1.0", third)
	expect("the release itself", "", first, "v1.0.0")
	write(t, root, "go.mod", "module changed\n")
	expect("changes since the release", "", third, "v1.1.0")
	expect("a tag named", "nightly", first, "nightly")
}

func TestResults(t *testing.T) {
	got, n := results("goos: linux\ngoarch: amd64\npkg: example\ncpu: some\nBenchmarkA/x=1-2 \t 100\t 12.5 ns/op\t 0 B/op\nBenchmarkB-2 \t--- FAIL: BenchmarkB\npanic: no\n2026/01/02 log line\nBenchmarkC \t 1\t 3 ns/op\nPASS\n")
	want := "goos: linux\ngoarch: amd64\npkg: example\ncpu: some\nBenchmarkA/x=1-2 \t 100\t 12.5 ns/op\t 0 B/op\nBenchmarkC \t 1\t 3 ns/op\n"
	if got != want || n != 2 {
		t.Errorf("got %d, %q, want 2, %q", n, got, want)
	}
	if got, n := results("goos: linux\nPASS\n"); got != "" || n != 0 {
		t.Errorf("got %d, %q without results", n, got)
	}
}

func TestValidate(t *testing.T) {
	if err := once(1).validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*options){
		"no round":       func(o *options) { o.count = 0 },
		"no time":        func(o *options) { o.limit = 0 },
		"a wrong regexp": func(o *options) { o.bench = "(" },
	} {
		o := once(1)
		spoil(&o)
		if o.validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
