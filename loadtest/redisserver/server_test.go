package redisserver

import (
	"bufio"
	"context"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"yatagarasu/loadtest/needs"
)

// start starts a server that ends with the test.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	o.Binary, o.Dir = needs.Program(t, "redis-server"), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Kill() })
	return s
}

// want runs a command and compares what comes.
func want(t *testing.T, s *Server, reply any, args ...string) {
	t.Helper()
	got, err := s.Do(t.Context(), args...)
	if err != nil || !reflect.DeepEqual(got, reply) {
		t.Errorf("%v: %#v, %v; want %#v", args, got, err, reply)
	}
}

func TestRestart(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		left any
	}{
		"empty":              {nil, nil},
		"with what was kept": {[]string{"--appendonly", "yes"}, "v"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, Options{Args: c.args})
			want(t, s, "OK", "SET", "k", "v")
			want(t, s, "v", "GET", "k")
			pid := s.Pid()
			s.Kill()
			if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
				t.Errorf("process %d still exists: %v", pid, err)
			}
			if _, err := s.Do(t.Context(), "PING"); err == nil || !strings.Contains(err.Error(), "cannot run PING at 127.0.0.1:") {
				t.Errorf("a killed server: %v", err)
			}
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			want(t, s, c.left, "GET", "k")
		})
	}
}

func TestFrozen(t *testing.T) {
	s := start(t, Options{})
	s.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Do(ctx, "PING"); err == nil {
		t.Error("a frozen server answers")
	}
	s.Thaw()
	want(t, s, "PONG", "PING")
}

func TestTLS(t *testing.T) {
	s := start(t, Options{TLS: true})
	want(t, s, "PONG", "PING")
	plain := Server{opts: Options{Port: s.opts.Port}}
	if _, err := plain.Do(t.Context(), "PING"); err == nil {
		t.Error("a server with TLS answers a client without")
	}
	if plain.CAFile() != "" || s.CAFile() == "" {
		t.Errorf("files %q, %q", plain.CAFile(), s.CAFile())
	}
}

func TestReplica(t *testing.T) {
	primary := start(t, Options{})
	want(t, primary, "OK", "SET", "k", "v")
	replica := start(t, Options{ReplicaOf: primary.Address()})
	want(t, replica, "v", "GET", "k")
	primary.Kill()
	want(t, replica, "OK", "REPLICAOF", "NO", "ONE")
	want(t, replica, "OK", "SET", "k", "w")
}

func TestACL(t *testing.T) {
	s := start(t, Options{ACL: []string{"default off", "gateway on >secret ~y:* +get +set"}})
	want(t, s, "OK", "SET", "k", "v")
	users, err := s.Do(t.Context(), "ACL", "LIST")
	if list, _ := users.([]any); err != nil || len(list) != 3 {
		t.Errorf("users: %v, %v", users, err)
	}
	want(t, s, "OK", "ACL", "DRYRUN", "gateway", "GET", "y:k")
	if verdict, err := s.Do(t.Context(), "ACL", "DRYRUN", "gateway", "GET", "other"); err != nil || verdict == "OK" {
		t.Errorf("another key: %v, %v", verdict, err)
	}
}

func TestReplies(t *testing.T) {
	s := start(t, Options{})
	want(t, s, int64(2), "RPUSH", "list", "a", "")
	want(t, s, []any{"a", ""}, "LRANGE", "list", "0", "-1")
	want(t, s, []any{int64(1), nil, []any{}}, "EVAL", "return {1, false, {}}", "0")
	if _, err := s.Do(t.Context(), "GET", "list"); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("an error of the server: %v", err)
	}
	for _, text := range []string{"", "\r\n", "$x\r\n", "$5\r\nab", "!1\r\n", "*2\r\n:1\r\n"} {
		if got, err := readReply(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestStartSaysWhyAServerDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	for want, o := range map[string]Options{
		"cannot start":      {Binary: "/no/such/program", Dir: dir},
		"process ended":     {Binary: "/bin/false", Dir: dir},
		"cannot write the ": {Binary: "/bin/false", Dir: dir + "/absent"},
	} {
		if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
	t.Setenv("PATH", "")
	if _, err := Start(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "install it") {
		t.Errorf("without redis-server: %v", err)
	}
}
