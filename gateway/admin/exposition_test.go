package admin

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/METRICS.md")

// metricsTable is the table of docs/METRICS.md.
func metricsTable() string {
	var b strings.Builder
	b.WriteString("| metric | type | unit | labels | is |\n|---|---|---|---|---|\n")
	for _, f := range Families {
		unit := "number"
		for _, u := range []string{"seconds", "bytes"} {
			if strings.Contains(f.Name, "_"+u) {
				unit = u
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.Name, f.Kind, unit, f.labels, f.help)
	}
	return b.String()
}

func TestMetricsDocs(t *testing.T) {
	const path, begin, end = "../../docs/METRICS.md", "<!-- metrics -->\n", "<!-- /metrics -->\n"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no marks around its table", path)
	}
	want := before + begin + metricsTable() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("%s is not what the code says; run: go test ./gateway/admin -run TestMetricsDocs -update", path)
	}
	if !slices.IsSortedFunc(Families, func(a, b family) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("families are not in the order of their names")
	}
}
