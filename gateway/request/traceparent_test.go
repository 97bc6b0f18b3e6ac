package request

import (
	"strings"
	"testing"
)

func TestTraceparent(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for v, want := range map[string]bool{
		good: true, good[:54]: false, "": false, strings.ToUpper(good): false, "ff" + good[2:]: false, good + "-": false, "01" + good[2:] + "-more": true, "01" + good[2:] + "more": false,
		strings.Replace(good, "4bf92f3577b34da6a3ce929d0e0e4736", strings.Repeat("0", 32), 1): false, strings.Replace(good, "00f067aa0ba902b7", strings.Repeat("0", 16), 1): false,
		strings.Replace(good, "-", "_", 1): false, strings.Replace(good, "b7-01", "g7-01", 1): false,
	} {
		if got := WellFormedTrace([]byte(v)); got != want {
			t.Errorf("%q: %t", v, got)
		}
	}
}
