package config

import (
	"regexp"
	"strings"
	"testing"
)

// TestMigrationLoads checks each configuration of the gateway in docs/MIGRATION.md; those of
// others beside them have a mark.
func TestMigrationLoads(t *testing.T) {
	ours := 0
	for _, m := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(read(t, "../../docs/MIGRATION.md"), -1) {
		if strings.HasPrefix(m[1], "static_resources:") || strings.Contains(m[1], "Type: AWS::") {
			continue
		}
		ours++
		c, err := Parse("docs/MIGRATION.md", []byte(withFiles(t, m[1])), supply)
		if err != nil {
			t.Errorf("%v\n%s", err, m[1])
		} else if len(c.Warnings) > 0 {
			t.Errorf("%v\n%s", c.Warnings, m[1])
		}
	}
	if ours != 3 {
		t.Errorf("%d configurations, want 3", ours)
	}
}
