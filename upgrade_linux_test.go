package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// adopt has the processes that children leave behind become children of the test, so
// that it can wait for them, and ends what is left of them after it.
func adopt(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
}

var upgradedTo = regexp.MustCompile(`"pid":([0-9]+).*"message":"upgraded: `)

// upgrade sends SIGUSR2 and returns the process that takes over, for the n-th time.
func upgrade(t *testing.T, p *os.Process, out *output, n int) *os.Process {
	t.Helper()
	if err := p.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	out.waitFor(t, n, `"message":"upgraded: `)
	found := upgradedTo.FindAllStringSubmatch(out.String(), -1)
	pid, err := strconv.Atoi(found[n-1][1])
	if err != nil {
		t.Fatal(err)
	}
	next, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { next.Kill() })
	return next
}

// exitCode waits for the end of a process.
func exitCode(t *testing.T, p *os.Process, out *output) int {
	t.Helper()
	type end struct {
		state *os.ProcessState
		err   error
	}
	ended := make(chan end, 1)
	go func() { state, err := p.Wait(); ended <- end{state, err} }()
	select {
	case e := <-ended:
		if e.err != nil {
			t.Fatal(e.err)
		}
		return e.state.ExitCode()
	case <-time.After(60 * time.Second):
		t.Fatalf("process %d does not end:\n%s", p.Pid, lastLines(out.String(), 10))
		return -1
	}
}

// versionAt returns what the gateway at an address says that it is.
func versionAt(address string) string {
	_, body := get("http://" + address + "/health")
	_, v, _ := strings.Cut(body, `"version":"`)
	v, _, _ = strings.Cut(v, `"`)
	return v
}

// client sends requests one after the other on a connection that it keeps as long as
// the gateway does, or on a new one each. It tries nothing twice.
type client struct {
	address string
	keep    bool
	conn    net.Conn
	r       *bufio.Reader
}

// request gets a path and returns the length of the body.
func (c *client) request(path string) (int64, error) {
	reused := c.conn != nil
	fail := func(doing string, err error) (int64, error) {
		c.close()
		return 0, fmt.Errorf("%s %s (on a kept connection: %t): %w", doing, path, reused, err)
	}
	if !reused {
		conn, err := net.Dial("tcp", c.address)
		if err != nil {
			return fail("connect for", err)
		}
		c.conn, c.r = conn, bufio.NewReader(conn)
	}
	c.conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		return fail("send", err)
	}
	answer, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return fail("read the head of", err)
	}
	n, err := io.Copy(io.Discard, answer.Body)
	if err != nil {
		return fail("read the body of", err)
	}
	if answer.StatusCode != 200 {
		return fail("get", fmt.Errorf("status %d", answer.StatusCode))
	}
	if answer.Close || !c.keep {
		c.close()
	}
	return n, nil
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// load sends requests at a rate until stop is closed.
type load struct {
	address      string
	small, large atomic.Int64 // requests that were answered
	wg           sync.WaitGroup
	mu           sync.Mutex // guards errs
	errs         []error
}

const largeSize = 1 << 20

// start sends perSecond requests by clients in turn.
func (l *load) start(stop <-chan struct{}, perSecond, clients int, keep bool) {
	due := make(chan int)
	for range clients {
		l.wg.Go(func() { // ends with due
			c := &client{address: l.address, keep: keep}
			defer c.close()
			for i := range due {
				l.send(c, i)
			}
		})
	}
	l.wg.Go(func() { // ends with stop
		defer close(due)
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			select {
			case due <- i:
			case <-stop:
				return
			}
		}
	})
}

func (l *load) send(c *client, i int) {
	path, want, count := fmt.Sprintf("/pub/small%d", i%50), int64(len("small")), &l.small
	if i%25 == 0 {
		path, want, count = "/pub/large", largeSize, &l.large
	}
	n, err := c.request(path)
	if err == nil && n != want {
		err = fmt.Errorf("%s has %d bytes, want %d", path, n, want)
	}
	if err != nil {
		l.mu.Lock()
		l.errs = append(l.errs, err)
		l.mu.Unlock()
		return
	}
	count.Add(1)
}

// mixedOrigin serves small and large objects, and under /things/slow those of
// gatedOrigin.
func mixedOrigin(t *testing.T, size int, gate <-chan struct{}) *httptest.Server {
	t.Helper()
	large := make([]byte, largeSize)
	slow := gatedOrigin(t, size, gate)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/things/slow"):
			slow.Config.Handler.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, "/things/large"):
			w.Header().Set("Content-Length", strconv.Itoa(len(large)))
			w.Write(large)
		default:
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "small")
		}
	}))
	t.Cleanup(origin.Close)
	return origin
}

// TestUpgrade replaces the program twice under load: no request is lost, and a
// download that began before goes on.
func TestUpgrade(t *testing.T) {
	adopt(t)
	const size = 64 << 20 // beyond what sockets buffer
	dir := t.TempDir()
	program := filepath.Join(dir, "yatagarasu")
	install := func(version string) {
		t.Helper()
		next := filepath.Join(dir, version)
		if out, err := exec.Command("go", "build", "-ldflags", "-X main.version="+version, "-o", next, ".").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := os.Rename(next, program); err != nil {
			t.Fatal(err)
		}
	}
	install("v1")
	gate := make(chan struct{})
	origin := mixedOrigin(t, size, gate)
	cmd := exec.Command(program, "-config", writeConfig(t, bucketConfig(origin.URL, "")), "-log.level", "info")
	out := startProcess(t, cmd)
	main, metrics := addresses(t, out, 1)
	if v := versionAt(main); v != "v1" {
		t.Fatalf("version %q serves", v)
	}

	download, err := begin(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, "http://"+main+"/pub/slow", size/2)
	if err != nil {
		t.Fatal(err)
	}
	defer download.Body.Close()

	stop := make(chan struct{})
	l := &load{address: main}
	l.start(stop, 220, 20, true)
	l.start(stop, 220, 20, false)
	l.start(stop, 60, 60, true) // each connection waits a second for its next request
	began := time.Now()
	pause := func() {
		seen := l.small.Load()
		polled(func() bool { return l.small.Load() >= seen+300 })
	}
	pause()
	install("v2")
	second := upgrade(t, cmd.Process, out, 1)
	if v, w := versionAt(main), versionAt(metrics); v != "v2" || w != "v2" {
		t.Errorf("after the upgrade %q serves, and %q on the metrics listener", v, w)
	}
	if code, body := get("http://" + metrics + "/ready"); code != 200 {
		t.Errorf("/ready after the upgrade: %d %s", code, body)
	}
	pause()
	install("v3")
	third := upgrade(t, second, out, 2)
	if v := versionAt(main); v != "v3" {
		t.Errorf("after the second upgrade %q serves", v)
	}
	pause()
	close(stop)
	l.wg.Wait()
	took := time.Since(began)

	close(gate)
	if n, err := io.Copy(io.Discard, download.Body); err != nil || n != size/2 {
		t.Errorf("the rest of the download: %d bytes, %v", n, err)
	}
	if code := exitCode(t, cmd.Process, out); code != 0 {
		t.Errorf("the first process ends with code %d", code)
	}
	out.waitFor(t, 2, `"message":"stopped; nothing was cut"`) // the second may be waited for by the first
	if err := third.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, third, out); code != 0 {
		t.Errorf("the last process ends with code %d", code)
	}
	t.Logf("%d small and %d large requests in %s, %.0f per second; %d failed", l.small.Load(), l.large.Load(), took.Round(time.Millisecond),
		float64(l.small.Load()+l.large.Load())/took.Seconds(), len(l.errs))
	for i, err := range l.errs {
		if i == 10 {
			break
		}
		t.Error(err)
	}
	if l.small.Load() < 900 || l.large.Load() < 20 {
		t.Error("too few requests to prove anything")
	}
	if t.Failed() {
		t.Logf("the end of the log:\n%s", lastLines(out.String(), 15))
	}
}

// TestUpgradeFails begins upgrades that cannot succeed: the old process serves on, and
// says why.
func TestUpgradeFails(t *testing.T) {
	adopt(t)
	program := buildProgram(t)
	good := bucketConfig("http://127.0.0.1:1", "")
	config := writeConfig(t, good)
	script := func(text string) func(t *testing.T) {
		return func(t *testing.T) {
			t.Helper()
			next := program + ".next"
			if err := os.WriteFile(next, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(next, program); err != nil {
				t.Fatal(err)
			}
		}
	}
	real := program + ".real"
	if err := os.Rename(program, real); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-config", config, "-upgrade.timeout", "1s")
	out := startProcess(t, cmd)
	main, metrics := addresses(t, out, 1)
	kept := &client{address: main, keep: true}
	defer kept.close()
	if _, err := kept.request("/health"); err != nil {
		t.Fatal(err)
	}
	conn := kept.conn

	for i, c := range []struct {
		name    string
		prepare func(t *testing.T)
		says    string
	}{
		{"a bad configuration", func(t *testing.T) {
			if err := os.WriteFile(config, []byte(strings.Replace(good, "region", "regoin", 1)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, `it ended, exit status 1: ` + config + `:7:`},
		{"a flag that the new version does not know", script(`exec ` + real + ` -new-flag "$@"`), `it ended, exit status 2: flag provided but not defined: -new-flag`},
		{"a program that ends without a word", script(`exit 3`), `it ended, exit status 3"`},
		{"a program that never gets ready", script(`exec sleep 600`), `it is not ready within 1s`},
		{"a program that says that it is ready, and ends", script(`echo READY=1 >&3; exit 4`), `it does not serve: `},
		{"a program that is no program", func(t *testing.T) {
			if err := os.Chmod(program, 0o600); err != nil {
				t.Fatal(err)
			}
		}, `permission denied`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.prepare(t)
			if err := cmd.Process.Signal(syscall.SIGUSR2); err != nil {
				t.Fatal(err)
			}
			out.waitFor(t, i+1, "the upgrade failed; this process goes on")
			if !strings.Contains(out.String(), c.says) {
				t.Errorf("the log does not say %q:\n%s", c.says, lastLines(out.String(), 3))
			}
			if _, err := kept.request("/health"); err != nil || kept.conn != conn {
				t.Errorf("the connection that was open: %v", err)
			}
			for _, address := range []string{main, metrics} {
				if code, body := get("http://" + address + "/health"); code != 200 {
					t.Errorf("%s: %d %s", address, code, body)
				}
			}
		})
	}

	// And then one that can, by another name of the program.
	if err := os.WriteFile(config, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, program); err != nil {
		t.Fatal(err)
	}
	next := upgrade(t, cmd.Process, out, 1)
	if _, err := kept.request("/health"); err != nil || kept.conn != nil {
		t.Errorf("the connection that was open: %v; it goes on with the old process: %t", err, kept.conn != nil)
	}
	if code := exitCode(t, cmd.Process, out); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if code, body := get("http://" + main + "/health"); code != 200 {
		t.Errorf("the new process: %d %s", code, body)
	}
	next.Signal(syscall.SIGTERM)
	if code := exitCode(t, next, out); code != 0 {
		t.Errorf("the new process ends with code %d:\n%s", code, lastLines(out.String(), 5))
	}
}

// TestUpgradeThenStop stops the old process while it finishes a download.
func TestUpgradeThenStop(t *testing.T) {
	adopt(t)
	const size = 64 << 20
	gate := make(chan struct{})
	origin := mixedOrigin(t, size, gate)
	cmd := exec.Command(buildProgram(t), "-config", writeConfig(t, bucketConfig(origin.URL, "")), "-shutdown.timeout", "100ms")
	out := startProcess(t, cmd)
	main, _ := addresses(t, out, 1)
	download, err := begin(http.DefaultClient, "http://"+main+"/pub/slow", size/2)
	if err != nil {
		t.Fatal(err)
	}
	defer download.Body.Close()
	next := upgrade(t, cmd.Process, out, 1)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, cmd.Process, out); code != 1 || !strings.Contains(out.String(), `"requests":1,`) {
		t.Errorf("exit code %d, want 1 for a download that is cut:\n%s", code, lastLines(out.String(), 5))
	}
	if _, err := io.Copy(io.Discard, download.Body); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the cut download: %v", err)
	}
	if code, body := get("http://" + main + "/pub/small"); code != 200 || body != "small" {
		t.Errorf("the new process: %d %s", code, body)
	}
	next.Signal(syscall.SIGTERM)
	if code := exitCode(t, next, out); code != 0 {
		t.Errorf("the new process ends with code %d", code)
	}
}
