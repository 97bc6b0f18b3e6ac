package site

import (
	"slices"
	"strings"
	"testing"
)

// TestPatternsMeet holds the answer for all short patterns against all short paths.
func TestPatternsMeet(t *testing.T) {
	texts := func(most int, letters string) []string {
		all := []string{""}
		for from := 0; len(all[from]) < most; from++ {
			for _, c := range letters {
				all = append(all, all[from]+string(c))
			}
		}
		return all
	}
	matches := func(p, path string) bool {
		before, after, wild := strings.Cut(p, "*")
		if !wild {
			return p == path
		}
		return len(path) >= len(before)+len(after) && strings.HasPrefix(path, before) && strings.HasSuffix(path, after)
	}
	paths, pairs := texts(6, "ab"), 0
	patterns := texts(3, "ab*")
	for _, a := range patterns {
		for _, b := range patterns {
			if strings.Count(a, "*") > 1 || strings.Count(b, "*") > 1 {
				continue
			}
			pairs++
			want := slices.ContainsFunc(paths, func(path string) bool { return matches(a, path) && matches(b, path) })
			if got := patternsMeet(a, b); got != want {
				t.Errorf("%q and %q: %t, want %t", a, b, got, want)
			}
		}
	}
	if pairs < 500 {
		t.Errorf("BUG: only %d pairs were compared", pairs)
	}
}
