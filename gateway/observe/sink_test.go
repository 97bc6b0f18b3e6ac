package observe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// TestLogAdvice has an advice for each cause for which a log cannot be opened.
func TestLogAdvice(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, c := range []struct{ name, path, says, fix string }{
		{"a socket", at("socket"), "it is a socket", "write stdout or stderr"},
		{"a pipe without a reader", at("pipe"), "nobody reads the pipe", "start its reader first"},
		{"a folder", dir, "is a directory", "name a file in the folder"},
		{"in no folder", at("no/log"), "no such file or directory", "make its folder first"},
		{"in a file", at("file/log"), "not a directory", "one of its folders is a file"},
	} {
		_, err := OpenLog(c.path)
		for what, err := range map[string]error{"opened": err, "looked at": checkLog(c.path)} {
			if c.path == at("pipe") && what == "looked at" {
				continue // its reader may come
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.fix) || !strings.Contains(err.Error(), c.path) {
				t.Errorf("%s, %s: %v", c.name, what, err)
			}
		}
	}
	for cause, fix := range map[error]string{
		syscall.EACCES: "let the user", syscall.EPERM: "let the user", syscall.EROFS: "read-only", syscall.ENOSPC: "make room", syscall.EDQUOT: "make room",
		syscall.EMFILE: "ulimit -n", syscall.ENXIO: "nothing is behind the device", syscall.EIO: "choose another path",
	} {
		err := logProblem(at("absent"), &fs.PathError{Op: "open", Path: at("absent"), Err: cause})
		if !strings.Contains(err.Error(), fix) || !errors.Is(err, cause) || strings.Count(err.Error(), at("absent")) != 1 {
			t.Errorf("%v, want %s", err, fix)
		}
	}
}

func TestStandardStreams(t *testing.T) {
	dir := t.TempDir()
	link := func(name, to string) string {
		path := filepath.Join(dir, name)
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, want := range map[string]*os.File{
		"stdout": os.Stdout, "/dev/stdout": os.Stdout, "/dev//stdout": os.Stdout, "/dev/fd/1": os.Stdout, "/proc/self/fd/1": os.Stdout,
		fmt.Sprintf("/proc/%d/fd/1", os.Getpid()): os.Stdout,
		"stderr": os.Stderr, "/dev/stderr": os.Stderr, "/dev/fd/2": os.Stderr, "/proc/self/fd/2": os.Stderr,
		link("access.log", "/dev/stdout"): os.Stdout, // as images of nginx have it
		link("error.log", "access.log"):   os.Stdout,
		link("circle", "circle"):          nil,
		link("a file", "stdout"):          nil,
		"/dev/null":                       nil, "/dev/stdin": nil, "/dev/fd/11": nil, "stdout.log": nil, "./stdout2": nil, "./stdout": nil, "sub/../stderr": nil, "/proc/1x/fd/1": nil,
	} {
		if got := standardStream(name); got != want {
			t.Errorf("%s is taken for %v", name, got)
		}
	}
}

// gatedWriter writes once gate is closed.
type gatedWriter struct {
	lockedBuffer
	gate chan struct{}
}

func (w *gatedWriter) Write(b []byte) (int, error) {
	<-w.gate
	return w.lockedBuffer.Write(b)
}

// TestSink has a writer that is stuck and comes back.
func TestSink(t *testing.T) { synctest.Test(t, testSink) }

func testSink(t *testing.T) {
	out := &gatedWriter{gate: make(chan struct{})}
	var told uint64
	s := newSink(out, 1000, func(n uint64) { told += n })
	line := []byte(strings.Repeat("x", 99) + "\n")
	s.Write(line)
	synctest.Wait() // the line is taken, and being written
	for range 20 {
		s.WriteLevel(zerolog.InfoLevel, line)
	}
	if n := s.dropped.Load(); n != 12 { // 875 bytes are for them
		t.Errorf("%d lines are dropped", n)
	}
	warning := []byte(strings.Repeat("w", 99) + "\n")
	s.WriteLevel(zerolog.WarnLevel, warning)
	if n := s.dropped.Load(); n != 12 {
		t.Error("a warning is dropped although there is room for it")
	}
	s.close(10 * time.Millisecond) // it is stuck
	s.Write(line)
	close(out.gate)
	<-s.done
	if got, want := out.String(), strings.Repeat(string(line), 9)+string(warning); got != want {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
	if told != 13 || s.dropped.Load() != 13 {
		t.Errorf("told of %d, %d dropped", told, s.dropped.Load())
	}
}

// brokenWriter takes half of the first batch.
type brokenWriter struct{ n int }

func (w *brokenWriter) Write(b []byte) (int, error) {
	if w.n++; w.n == 1 {
		return len(b) / 2, errors.New("no room")
	}
	return len(b), nil
}

func TestSinkErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan uint64, 1)
		s := newSink(new(brokenWriter), 1<<20, func(n uint64) { told <- n })
		s.Write([]byte("a\nb\nc\nd\n"))
		synctest.Wait() // the first batch is written
		s.Write([]byte("e\n"))
		if n := <-told; n != 2 {
			t.Errorf("told of %d lines", n)
		}
		s.close(time.Second)
	})
}

// TestSinkRace has many write at once: each line comes whole and in the order of its
// writer, or is counted.
func TestSinkRace(t *testing.T) {
	var out lockedBuffer
	s := newSink(&out, 4<<10, func(uint64) {})
	var wg sync.WaitGroup
	const writers, each = 8, 2000
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				s.WriteLevel(zerolog.InfoLevel, fmt.Appendf(nil, "%d %d %s\n", w, i, strings.Repeat("x", i%50)))
			}
		})
	}
	wg.Wait()
	s.close(5 * time.Second)
	last := [writers]int{-1, -1, -1, -1, -1, -1, -1, -1}
	lines := 0
	for line := range strings.Lines(out.String()) {
		var w, i int
		if n, _ := fmt.Sscan(line, &w, &i); n != 2 || i <= last[w] || strings.Count(line, "x") != i%50 {
			t.Fatalf("%q after %d", line, last[w])
		}
		last[w] = i
		lines++
	}
	if n := lines + int(s.dropped.Load()); n != writers*each {
		t.Errorf("%d lines and %d dropped, of %d", lines, s.dropped.Load(), writers*each)
	}
}

func TestSinkAllocs(t *testing.T) {
	s := newSink(io.Discard, 1<<20, func(uint64) {})
	defer s.close(time.Second)
	line := bytes.Repeat([]byte("x"), 300)
	for range 10_000 {
		s.WriteLevel(zerolog.InfoLevel, line)
	}
	if n := testing.AllocsPerRun(1000, func() { s.WriteLevel(zerolog.InfoLevel, line) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestLogPipe has a log go to a named pipe whose reader ends.
func TestLogPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	out, err := OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.(*logFile).file.Close()
	s := newSink(out, 1<<20, func(uint64) {})
	s.Write([]byte("read\n"))
	reader.SetReadDeadline(time.Now().Add(20 * time.Second))
	line := make([]byte, 5)
	if _, err := io.ReadFull(reader, line); err != nil || string(line) != "read\n" {
		t.Errorf("%q, %v", line, err)
	}
	reader.Close()
	s.Write([]byte("lost\n"))
	s.close(20 * time.Second)
	if n := s.dropped.Load(); n != 1 {
		t.Errorf("%d lines are dropped", n)
	}
}

// lockedBuffer may be read while it is written to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
