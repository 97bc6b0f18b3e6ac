//go:build !race

package request

import (
	"testing"

	"yatagarasu/cache"
)

func TestPreconditionAllocs(t *testing.T) {
	etag := []byte(objectTag)
	for _, tc := range []struct {
		name string
		p    Conditions
		want Verdict
	}{
		{"none", Conditions{}, proceed},
		{"tags", Conditions{ifMatch: []byte(`"v1", "v2"`), ifNoneMatch: []byte(`W/"v1", W/"v2"`)}, NotModified},
		{"dates", Conditions{ifUnmodifiedSince: []byte(objectDate), ifModifiedSince: []byte("Sunday, 06-Nov-94 08:49:37 GMT")}, NotModified},
		{"asctime", Conditions{ifUnmodifiedSince: []byte("Sun Nov  6 08:49:36 1994")}, PreconditionFailed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.p.Evaluate(etag, objectUnix); got != tc.want {
				t.Fatalf("verdict %d, want %d", got, tc.want)
			}
			if n := testing.AllocsPerRun(100, func() { tc.p.Evaluate(etag, objectUnix) }); n != 0 {
				t.Errorf("%v allocations, want 0", n)
			}
		})
	}
	t.Run("If-Range", func(t *testing.T) {
		tag, date := []byte(objectTag), []byte(objectDate)
		run := func() bool { return IfRangeHolds(tag, etag, objectUnix) && IfRangeHolds(date, etag, objectUnix) }
		if !run() {
			t.Fatal("If-Range does not hold")
		}
		if n := testing.AllocsPerRun(100, func() { run() }); n != 0 {
			t.Errorf("%v allocations, want 0", n)
		}
	})
	t.Run("date", func(t *testing.T) {
		var dst []byte
		run := func() { dst = cache.AppendDate(dst[:0], objectUnix) }
		if run(); string(dst) != objectDate {
			t.Fatalf("date %q", dst)
		}
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%v allocations, want 0", n)
		}
	})
}
