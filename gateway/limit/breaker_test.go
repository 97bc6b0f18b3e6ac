package limit

import (
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	var b Breaker
	now := time.Now()
	for range BreakAfter - 1 {
		b.Report(false, now)
	}
	b.Report(true, now)
	for range BreakAfter {
		if !b.Allows(now) {
			t.Fatal("open too early")
		}
		b.Report(false, now)
	}
	later := now.Add(BreakFor)
	if b.Allows(later.Add(-1)) || !b.Allows(later) || b.Allows(later) {
		t.Error("want one try after a second, and no other")
	}
	if b.Report(true, later); !b.Allows(later) || b.Open() {
		t.Error("still open after a success")
	}
}
