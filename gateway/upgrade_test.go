package gateway

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"yatagarasu/gateway/handover"
)

// writeScript writes an executable script and returns its path.
func writeScript(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestUpgradeThatFails has programs that do not take over: the gateway goes on, on
// sockets that are as they were.
func TestUpgradeThatFails(t *testing.T) {
	const soon = 200 * time.Millisecond
	for _, c := range []struct {
		name, script, says string
		within             time.Duration
	}{
		{"ends", "exit 3", "it ended, exit status 3", time.Minute},
		{"says why", "echo >&3 a reason; echo >&3 more; exit 3", "it ended, exit status 3: a reason", time.Minute},
		{"is slow", "exec sleep 600", "it is not ready within 200ms", soon},
		{"closes the connection and stays", "exec 3>&-; exec sleep 600", "it ended, signal: killed", time.Minute},
		{"says too much", "while echo >&3 0123456789012345678901234567890123456789; do :; done; exit 5", "it ended", time.Minute},
		{"is ready, but does not serve", "echo READY=1 >&3; read line <&3; echo $line >&3; exit 6", "it does not serve: unexpected EOF, exit status 6", time.Minute},
		{"gets the sockets and the variables", `[ $LISTEN_FDS = 3 ] && [ $LISTEN_FDNAMES = upgrade:http:metrics ] && [ $YATAGARASU_PARENT = $PPID ] && [ -z "$WATCHDOG_PID" ] && [ -e /dev/fd/5 ] && ! [ -e /dev/fd/6 ] && exit 42`, "exit status 42", time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("WATCHDOG_PID", "1")
			gw := startGateway(t, oneBucket("/pub", "http://127.0.0.1:1")+metricsYAML, func(o *Options) {
				o.Program, o.UpgradeTimeout = writeScript(t, c.script), c.within
			})
			for range 2 {
				gw.signals <- syscall.SIGUSR2
			}
			gw.log.waitFor(t, "the upgrade failed")
			gw.log.waitFor(t, c.says)
			if r, _ := gw.do("GET", "/health"); r.StatusCode != 200 {
				t.Errorf("afterwards: %d", r.StatusCode)
			}
			if err := gw.stop(); err != nil { // hangs if the socket has become blocking
				t.Error(err)
			}
		})
	}
	t.Run("there is no program", func(t *testing.T) {
		gw := startGateway(t, oneBucket("/pub", "http://127.0.0.1:1"))
		gw.signals <- syscall.SIGUSR2
		gw.log.waitFor(t, "does not know how it was started")
	})
	t.Run("the program is not there", func(t *testing.T) {
		gw := startGateway(t, oneBucket("/pub", "http://127.0.0.1:1"), func(o *Options) { o.Program = "/no/such/program" })
		gw.signals <- syscall.SIGUSR2
		gw.log.waitFor(t, "no such file")
	})
	t.Run("the gateway stops meanwhile", func(t *testing.T) {
		gw := startGateway(t, oneBucket("/pub", "http://127.0.0.1:1"), func(o *Options) {
			o.Program, o.UpgradeTimeout = writeScript(t, "exec sleep 600"), time.Hour
		})
		gw.signals <- syscall.SIGUSR2
		gw.log.waitFor(t, "starting the new process")
		gw.signals <- syscall.SIGUSR2
		gw.log.waitFor(t, "another is not begun")
		if err := gw.stop(); err != nil {
			t.Error(err)
		}
	})
}

// handover is an upgrade between two gateways of this process. Another process
// stands for the new one where only its number matters.
func handOver(t *testing.T, old *testGateway) (s *handover.Successor, in *handover.Inherited) {
	t.Helper()
	ours, theirs := connPair(t)
	listeners := make(map[string]*net.TCPListener)
	for name, ln := range old.sockets() {
		listeners[name] = copyOfListener(t, ln)
	}
	in = handover.NewInherited(theirs, listeners)
	s = handover.NewSuccessor(exec.Command("sleep", "600"), ours)
	if err := s.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.Wait()
	t.Cleanup(func() { s.End() })
	return s, in
}

// succeeded tells Run that s is ready; Run ends by that. over is what reloads wait for.
func (tg *testGateway) succeeded(s *handover.Successor, over chan<- struct{}) {
	tg.stopped = true
	tg.upgrades.cancel = func() {}
	tg.upgrades.done <- upgrade{successor: s, over: over}
}

func TestHandOver(t *testing.T) {
	const size = 8 << 20
	m := startServiceManager(t, filepath.Join(t.TempDir(), "n"))
	t.Setenv("NOTIFY_SOCKET", m.address)
	gate := make(chan struct{})
	origin := gatedOrigin(t, size, gate)
	config := cachedYAML(origin.URL) + metricsYAML
	old := startGateway(t, config, func(o *Options) { o.UpgradeDrain = time.Hour })
	m.waitFor(t, 1, "READY=1\n")
	download := beginDownload(t, old, size)
	defer download.Body.Close()
	idle, idleReader := keepAlive(t, old.addr)
	metrics, metricsReader := keepAlive(t, old.MetricsAddr().String())

	s, in := handOver(t, old)
	next := make(chan *testGateway, 1)
	go func() { next <- startGateway(t, config, func(o *Options) { o.Inherited = in }) }()
	if _, err := s.Expect("READY=1"); err != nil {
		t.Fatal(err)
	}
	old.succeeded(s, make(chan struct{}))
	old.log.waitFor(t, "upgraded: the new process serves")
	gw := <-next
	if gw.addr != old.addr || gw.MetricsAddr().String() != old.MetricsAddr().String() {
		t.Errorf("the new one serves on %s and %s, not on %s and %s", gw.addr, gw.MetricsAddr(), old.addr, old.MetricsAddr())
	}
	gw.do("GET", "/health")
	gw.log.waitFor(t, `"path":"/health"`) // and not the old one

	// What was open goes on with the old one, and is told to come again.
	for name, c := range map[string]struct {
		conn net.Conn
		r    *bufio.Reader
	}{"main": {idle, idleReader}, "metrics": {metrics, metricsReader}} {
		if r := exchangeOn(t, c.conn, c.r, "GET /ready HTTP/1.1"); r.StatusCode != 200 || !r.Close {
			t.Errorf("/ready on a kept connection of the %s listener: %d, close is %t", name, r.StatusCode, r.Close)
		}
	}
	close(gate)
	expectRest(t, download, size)
	if err := <-old.done; err != nil {
		t.Errorf("the old one ends with %v", err)
	}
	m.waitFor(t, 1, "MAINPID="+strconv.Itoa(s.Cmd.Process.Pid)+"\nSTATUS=")
	m.waitFor(t, 2, "READY=1\n")
	var kinds []string
	for _, message := range m.messages() {
		kind, _, _ := strings.Cut(message, "=")
		kinds = append(kinds, kind)
	}
	if got, want := strings.Join(kinds, " "), "READY MAINPID BARRIER READY"; got != want {
		t.Errorf("the service manager is told %s, want %s", got, want)
	}
	if n := old.Generation.Load().Budgets[""].Cache.Bytes(); n == 0 {
		t.Error("the body was not cached")
	}
	old.dropCaches()
	if n := old.Generation.Load().Budgets[""].Cache.Bytes(); n != 0 {
		t.Errorf("%d bytes are left in the cache", n)
	}
}

// TestHandOverStopped has the old process stopped while it finishes a download.
func TestHandOverStopped(t *testing.T) {
	const size = 8 << 20
	for _, c := range []struct {
		name    string
		drain   time.Duration // after the upgrade
		timeout time.Duration // after a signal
		signals int
	}{
		{"the limit after an upgrade", 100 * time.Millisecond, time.Hour, 0},
		{"the limit after a signal", time.Hour, 100 * time.Millisecond, 1},
		{"a second signal", time.Hour, time.Hour, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := startGateway(t, oneBucket("/pub", gatedOrigin(t, size, make(chan struct{})).URL)+metricsYAML, func(o *Options) {
				o.UpgradeDrain, o.ShutdownTimeout = c.drain, c.timeout
			})
			download := beginDownload(t, old, size)
			defer download.Body.Close()
			s, in := handOver(t, old)
			go func() {
				if in.Claim(5*time.Second) == nil {
					in.Confirm()
				}
			}()
			if _, err := s.Expect("READY=1"); err != nil {
				t.Fatal(err)
			}
			old.succeeded(s, make(chan struct{}))
			for i := range c.signals {
				old.signals <- syscall.SIGTERM
				if i == 0 {
					old.log.waitFor(t, `"signal":"terminated"`)
				}
			}
			if err := <-old.done; err == nil || err.Error() != ErrCut.Error()+": 1" {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

// TestListenAcceptsNothing holds that a connection waits for who serves: a new process
// may still end without having served.
func TestListenAcceptsNothing(t *testing.T) {
	g := configuredGateway(t, strings.Replace(oneBucket("/pub", "http://127.0.0.1:1"), "server: {ready: config", proxyYAML, 1), "warn")
	g.address = "127.0.0.1:0"
	l, err := g.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	old := copyOfListener(t, l.TCPListener)
	defer old.Close()
	dial(t, l.Addr().String())
	old.SetDeadline(time.Now().Add(5 * time.Second))
	c, err := old.Accept()
	if err != nil {
		t.Fatalf("the connection is taken already: %v", err)
	}
	c.Close()
}

// connPair returns both ends of a connection of two processes, here of one.
func connPair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if ours, err = net.Dial("unix", path); err != nil {
		t.Fatal(err)
	}
	if theirs, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// copyOfListener returns a listener on the same socket. That of ln.File would make the
// socket itself blocking.
func copyOfListener(t *testing.T, ln *net.TCPListener) *net.TCPListener {
	t.Helper()
	raw, err := ln.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	again, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	return again.(*net.TCPListener)
}

// TestClaimGivenUp has the old process end, or think better of it.
func TestClaimGivenUp(t *testing.T) {
	for name, answer := range map[string]string{"ends": "", "says something else": "NEVER=1\n"} {
		t.Run(name, func(t *testing.T) {
			g := configuredGateway(t, oneBucket("/pub", "http://127.0.0.1:1")+metricsYAML, "warn")
			g.address = "127.0.0.1:0"
			ours, theirs := connPair(t)
			g.opts.Inherited = handover.NewInherited(theirs, nil)
			go func() {
				bufio.NewReader(ours).ReadString('\n')
				io.WriteString(ours, answer)
				ours.Close()
			}()
			if err := g.Run(make(chan os.Signal)); err == nil || !strings.Contains(err.Error(), "gave it up") {
				t.Errorf("Run returns %v", err)
			}
			if _, err := net.Dial("tcp", g.MetricsAddr().String()); err == nil {
				t.Error("the metrics listener is left open")
			}
		})
	}
}

func TestInheritedStderr(t *testing.T) {
	var own strings.Builder
	io.WriteString((*handover.Inherited)(nil).Stderr(&own), "alone,")
	ours, theirs := connPair(t)
	w := handover.NewInherited(theirs, nil).Stderr(&own)
	io.WriteString(w, "both")
	theirs.Close()
	if n, err := io.WriteString(w, ",alone"); n != 6 || err != nil {
		t.Errorf("once the other is gone: %d, %v", n, err)
	}
	other, _ := io.ReadAll(ours)
	if own.String() != "alone,both,alone" || string(other) != "both" {
		t.Errorf("standard error has %q, the other process %q", own.String(), other)
	}
}
