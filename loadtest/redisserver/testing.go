package redisserver

import (
	"context"
	"testing"
	"time"

	"yatagarasu/loadtest/needs"
)

// ForTest starts a server in a folder of its own, which ends with the test. Without redis-server the
// test is skipped, see needs.Program.
func ForTest(t testing.TB, o Options) *Server {
	t.Helper()
	o.Binary, o.Dir = needs.Program(t, "redis-server"), t.TempDir()
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
