package gateway

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// gatedWriter writes once gate is closed.
type gatedWriter struct {
	syncBuffer
	gate chan struct{}
}

func (w *gatedWriter) Write(b []byte) (int, error) {
	<-w.gate
	return w.syncBuffer.Write(b)
}

// TestSink has a writer that is stuck and comes back.
func TestSink(t *testing.T) { synctest.Test(t, testSink) }

func testSink(t *testing.T) {
	out := &gatedWriter{gate: make(chan struct{})}
	var told uint64
	s := newLogSink(out, 1000, func(n uint64) { told += n })
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
		s := newLogSink(new(brokenWriter), 1<<20, func(n uint64) { told <- n })
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
	var out syncBuffer
	s := newLogSink(&out, 4<<10, func(uint64) {})
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
	s := newLogSink(io.Discard, 1<<20, func(uint64) {})
	defer s.close(time.Second)
	line := bytes.Repeat([]byte("x"), 300)
	for range 10_000 {
		s.WriteLevel(zerolog.InfoLevel, line)
	}
	if n := testing.AllocsPerRun(1000, func() { s.WriteLevel(zerolog.InfoLevel, line) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// logLines are the lines of a file, decoded.
func logLines(t *testing.T, path string) (lines []map[string]any) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var line map[string]any
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, s.Bytes())
		}
		lines = append(lines, line)
	}
	return lines
}

// TestLogRotation renames the log under load and has it opened again: no line is lost.
func TestLogRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	gw := startGateway(t, oneBucket("/pub", startOrigin(t, serveText("hello")).URL)+fmt.Sprintf("logging: {output: %q}\n", path), func(o *Options) { o.Output = nil })
	const rounds, each = 5, 40
	for i := range rounds {
		for range each {
			gw.do("GET", "/pub/x")
		}
		if err := os.Rename(path, fmt.Sprint(path, ".", i)); err != nil {
			t.Fatal(err)
		}
		gw.signals <- syscall.SIGUSR1
		waitForFile(t, path)
	}
	if err := gw.stop(); err != nil {
		t.Error(err)
	}
	n := 0
	for i := range rounds + 1 {
		name := path
		if i < rounds {
			name = fmt.Sprint(path, ".", i)
		}
		for _, line := range logLines(t, name) {
			if line["message"] == "request" {
				n++
			}
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm()&0o007 != 0 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if n != rounds*each {
		t.Errorf("%d lines of %d requests", n, rounds*each)
	}
}

func TestLogOutputThatIsNone(t *testing.T) {
	folder := t.TempDir()
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, output string
		unseen       bool // by who only looks
	}{
		{"in a folder that is none", "/no/such/folder/log", false},
		{"in a file", pipe + "/log", false},
		{"a folder", folder, false},
		{"a pipe that nobody reads", pipe, true},
	} {
		for _, yaml := range []string{"logging: {output: %q}\n", "logging: {audit: {enabled: true, output: %q}}\n"} {
			o := NewOptions()
			o.ConfigPath = filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(o.ConfigPath, []byte(oneBucket("/pub", "http://127.0.0.1:1")+fmt.Sprintf(yaml, c.output)), 0o600); err != nil {
				t.Fatal(err)
			}
			for setUp, ok := range map[string]bool{"New": false, "inspect": c.unseen} {
				ended := make(chan error, 1)
				go func() { // ends at once, unless the test fails
					var err error
					if setUp == "New" {
						_, err = New(o)
					} else {
						_, err = Inspect(o)
					}
					ended <- err
				}()
				select {
				case err := <-ended:
					if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), c.output) {
						t.Errorf("%s, %s: %s: %v", c.name, strings.TrimSpace(yaml), setUp, err)
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("%s: %s does not return", c.name, setUp)
				}
			}
		}
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
	out, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.(*logFile).file.Close()
	s := newLogSink(out, 1<<20, func(uint64) {})
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
