package main

import (
	"context"
	"fmt"
	"strings"
)

// git returns what a git command in dir prints, without the line end.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	var out strings.Builder
	err := execute(ctx, dir, &out, "git", args...)
	return strings.TrimSpace(out.String()), err
}

// dirty tells whether files that git knows differ from HEAD.
func dirty(ctx context.Context, root string) (bool, error) {
	changes, err := git(ctx, root, "status", "--porcelain", "--untracked-files=no")
	return changes != "", err
}

// base returns the commit to compare with, and what it is called: against, if there is
// one, else the last release before what the working tree holds, else HEAD~1.
func base(ctx context.Context, root, against string) (commit, name string, err error) {
	if against == "" {
		if against, err = lastRelease(ctx, root); err != nil {
			return "", "", err
		}
	}
	commit, err = git(ctx, root, "rev-parse", "--verify", "--quiet", "--end-of-options", against+"^{commit}")
	if err != nil {
		if ctx.Err() != nil {
			return "", "", err
		}
		return "", "", fmt.Errorf("cannot find commit %q here; name another with AGAINST=<commit>", against)
	}
	return commit, against, nil
}

// lastRelease returns the last tag like v1.2.3, or HEAD~1 without any.
func lastRelease(ctx context.Context, root string) (string, error) {
	changed, err := dirty(ctx, root)
	if err != nil {
		return "", err
	}
	from := "HEAD"
	if !changed {
		from = "HEAD~1" // a release is not compared with itself
	}
	tag, err := git(ctx, root, "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", from)
	if err != nil {
		return "HEAD~1", ctx.Err()
	}
	return tag, nil
}
