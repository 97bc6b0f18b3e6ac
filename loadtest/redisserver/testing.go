package redisserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yatagarasu/loadtest/needs"
	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
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

// SentinelForTest starts a sentinel that watches a primary and its replicas by a name, and returns its
// address. Its word alone makes a replica the primary, once the primary is away for half a second. It ends
// with the test.
func SentinelForTest(t testing.TB, name string, primary *Server) (address string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "sentinel.conf")
	host, number, _ := strings.Cut(primary.Address(), ":")
	var sentinel *process.Process
	err := port.Try(0, func(n int) (err error) {
		address = port.Address(n)
		lines := []string{
			fmt.Sprint("port ", n), "bind 127.0.0.1", "dir " + quote(dir), "sentinel monitor " + name + " " + host + " " + number + " 1",
			"sentinel auth-user " + name + " " + user, "sentinel auth-pass " + name + " " + password,
			"sentinel down-after-milliseconds " + name + " 500",
		}
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			return err
		}
		if sentinel, err = process.Start(needs.Program(t, "redis-server"), []string{file, "--sentinel"}, nil, nil); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		return sentinel.Await(ctx, 5*time.Millisecond, func() error {
			c, err := net.Dial("tcp", address)
			if err == nil {
				c.Close()
			}
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sentinel.Kill() })
	return address
}
