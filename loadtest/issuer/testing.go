package issuer

import (
	"context"
	"testing"
	"time"

	"yatagarasu/loadtest/needs"
	"yatagarasu/loadtest/process"
)

// ForTest starts an issuer in a folder of its own, which ends with the test. Without bin/issuer the test is
// skipped, see needs.Skip.
func ForTest(t testing.TB, o Options) *Server {
	t.Helper()
	var err error
	if o.Binary, err = process.Find("issuer"); err != nil {
		needs.Skip(t, "bin/issuer is missing: run `make tool-issuer`")
	}
	o.Dir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Thaw()
		s.Kill()
	})
	return s
}
