package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// errLimit says that -limit has passed.
var errLimit = errors.New("the time limit was reached; choose a smaller COUNT, BENCHTIME or BENCH, or a greater LIMIT")

// measure compares the working tree at root with an older commit of it. It leaves
// old.txt and new.txt in bin/bench, and nothing else.
func measure(ctx context.Context, o options, root string, progress io.Writer) (err error) {
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(progress, "[%s] %s\n", time.Since(began).Round(time.Second), fmt.Sprintf(format, args...))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, errLimit)
	defer cancel()

	folder := filepath.Join(root, "bin", "bench")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	before, now := &side{name: "old"}, &side{name: "new", root: root}
	for _, s := range []*side{before, now} { // first, so that no older results remain
		if s.results, err = os.Create(filepath.Join(folder, s.name+".txt")); err != nil {
			return err
		}
		defer s.results.Close()
	}

	commit, name, err := base(ctx, root, o.against)
	if err != nil {
		return err
	}
	work := filepath.Join(folder, "old")
	removeWork(ctx, root, work) // of a run that was killed
	defer func() { err = errors.Join(err, removeWork(ctx, root, work)) }()
	before.root = filepath.Join(work, "tree")
	if _, err := git(ctx, root, "worktree", "add", "--detach", "--quiet", before.root, commit); err != nil {
		return fmt.Errorf("cannot check out %s: %w", name, err)
	}
	if err := describe(ctx, before, now, name, say); err != nil {
		return err
	}
	for _, s := range []*side{before, now} {
		say("compiling the benchmarks of the %s side", s.name)
		if err := s.compile(ctx, work); err != nil {
			return err
		}
	}
	return rounds(ctx, o, before, now, say)
}

// removeWork removes the folder of the programs and of the old side's tree, also after
// the end of ctx.
func removeWork(ctx context.Context, root, work string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := os.RemoveAll(work); err != nil {
		return fmt.Errorf("cannot remove the older tree: %w", err)
	}
	// git forgets the trees that are gone.
	if _, err := git(ctx, root, "worktree", "prune"); err != nil {
		return fmt.Errorf("cannot remove the older tree: %w", err)
	}
	return nil
}

// describe prints what is compared.
func describe(ctx context.Context, before, now *side, name string, say func(string, ...any)) error {
	for _, s := range []*side{before, now} {
		subject, err := git(ctx, s.root, "log", "-1", "--no-show-signature", "--format=%h %s")
		if err != nil {
			return err
		}
		changed, err := dirty(ctx, s.root)
		if err != nil {
			return err
		}
		note := ""
		if s == before {
			note = " (" + name + ")"
		} else if changed {
			note = " (and what is not committed)"
		}
		say("%s: %s%s", s.name, subject, note)
	}
	return nil
}

// rounds runs the benchmarks of both sides, o.count times in turns. Those that fail are
// left out of the comparison; on the new side that is an error.
func rounds(ctx context.Context, o options, before, now *side, say func(string, ...any)) error {
	began, ran := time.Now(), 0
	failed := map[string]bool{} // side and package
	chosen := packages(before, now)
	for round := range o.count {
		for _, pkg := range slices.Clone(chosen) {
			var found [2]int
			for i, s := range []*side{before, now} {
				if round > 0 {
					if err := s.link(ctx, pkg, round); err != nil {
						return err
					}
				}
				n, err := s.run(ctx, o, pkg)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if key := s.name + " " + pkg; err != nil && !failed[key] {
					failed[key] = true
					say("%v", err)
				}
				found[i] = n
			}
			if found[0]+found[1] == 0 && !failed[before.name+" "+pkg] && !failed[now.name+" "+pkg] {
				chosen = slices.DeleteFunc(chosen, func(p string) bool { return p == pkg }) // none of its benchmarks is asked for
			} else if found[0]+found[1] > 0 {
				ran++
				say("round %d of %d: %s, %d old and %d new results", round+1, o.count, pkg, found[0], found[1])
			}
		}
		if ran == 0 {
			break // nor will the next round find anything
		}
		if round == 0 && o.count > 1 {
			each := time.Since(began)
			say("the other rounds will take about %s", (each * time.Duration(o.count-1)).Round(time.Second))
		}
	}
	for _, pkg := range packages(before, now) {
		if failed[now.name+" "+pkg] {
			return fmt.Errorf("benchmarks of %s fail", pkg)
		}
	}
	return nil
}
