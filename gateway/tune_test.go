package gateway

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

// TestTuneGC asks that the flag goes before the GOGC variable, and that before the
// gateway's own percentage.
func TestTuneGC(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	for _, c := range []struct {
		name, variable string
		flag           int
		want           uint64
	}{
		{"neither", "", 0, usualGCPercent},
		{"the variable", "77", 0, 77},
		{"both", "77", 150, 150},
	} {
		debug.SetGCPercent(77) // as the runtime has it from the variable
		t.Setenv("GOGC", c.variable)
		if c.variable == "" {
			os.Unsetenv("GOGC")
		}
		g := &Gateway{opts: &Options{GCPercent: c.flag}}
		g.tune()
		got := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(got)
		if n := got[0].Value.Uint64(); n != c.want {
			t.Errorf("%s: GOGC is %d, want %d", c.name, n, c.want)
		}
	}
}
