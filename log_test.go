package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"yatagarasu/loadtest/port"
)

// freeAddresses returns addresses that are the program's alone.
func freeAddresses(t *testing.T, n int) (list []string) {
	t.Helper()
	for range n {
		n, err := port.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, port.Address(n))
	}
	return list
}

// startInto starts the program with its log, and what else it says, going to w, and
// waits until it serves a bucket at /pub. It returns its addresses too: the main one
// and that of the metrics.
func startInto(t *testing.T, w *os.File) (cmd *exec.Cmd, main, metrics string) {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
	}))
	t.Cleanup(origin.Close)
	free := freeAddresses(t, 2)
	_, metricsPort, _ := net.SplitHostPort(free[1])
	config := strings.Replace(bucketConfig(origin.URL, "cache: {enabled: true}\n"), "port: 0", "port: "+metricsPort, 1)
	cmd = exec.Command(buildProgram(t), "-config", writeConfig(t, config), "-listen.address", free[0], "-log.buffer", "64KiB")
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { cmd.Process.Kill() })
	eventually(t, "the program serves", func() bool { status, _ := get("http://" + free[0] + "/ready"); return status == 200 })
	return cmd, free[0], free[1]
}

// droppedLines returns the number of lines that the log lacks.
func droppedLines(metrics string) (n int) {
	_, text := get("http://" + metrics + "/metrics")
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, `yatagarasu_log_dropped_total{log="main"} `); ok {
			fmt.Sscan(rest, &n)
		}
	}
	return n
}

// TestLogReaderEnds has the reader of the program's log go away, as a crashed log
// shipper does: the program goes on and counts the lines.
func TestLogReaderEnds(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd, main, metrics := startInto(t, w)
	r.Close()
	eventually(t, "a line is dropped", func() bool {
		if status, body := get("http://" + main + "/pub/x"); status != 200 {
			t.Fatalf("status %d: %s", status, body)
		}
		return droppedLines(metrics) > 0
	})
	if status, body := get("http://" + main + "/pub/x"); status != 200 {
		t.Errorf("status %d: %s", status, body)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestStuckLog has the program write its log to a pipe that nobody reads: requests go
// on, lines are dropped and counted; and when somebody reads again, the log says so.
func TestStuckLog(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd, main, metrics := startInto(t, w)
	client := &http.Client{Timeout: 10 * time.Second}
	ask := func(n int) (p99 time.Duration) {
		var took []time.Duration
		for range n {
			begin := time.Now()
			resp, err := client.Get("http://" + main + "/pub/x")
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Fatalf("status %d", resp.StatusCode)
			}
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		return took[n*99/100]
	}
	before := ask(100) // they fit the pipe and the buffer
	if n := droppedLines(metrics); n != 0 {
		t.Fatalf("%d lines are dropped early", n)
	}
	stuck := ask(3000)
	lost := droppedLines(metrics)
	t.Logf("99th percentile %v with a log that is written, %v with one that is stuck; %d lines dropped", before, stuck, lost)
	if lost < 1000 {
		t.Errorf("%d lines are dropped", lost)
	}
	told := make(chan string, 1)
	go func() { // ends with the pipe
		for s := bufio.NewScanner(r); s.Scan(); {
			if strings.Contains(s.Text(), "lines of the log were dropped") {
				select {
				case told <- s.Text():
				default:
				}
			}
		}
	}()
	select {
	case line := <-told:
		t.Log(line)
	case <-time.After(10 * time.Second):
		t.Error("the log does not tell of the dropped lines")
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
