package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// buildProgram returns the path of the built program.
func buildProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "yatagarasu")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// writeConfig writes a configuration file and returns its path.
func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// bucketConfig is a configuration with one bucket at /pub; more follows it.
func bucketConfig(endpoint, more string) string {
	return fmt.Sprintf(`
server: {address: "127.0.0.1:0"}
metrics: {enabled: true, address: 127.0.0.1, port: 0}
buckets:
  - name: pub
    path_prefix: /pub
    s3: {bucket: things, region: us-east-1, endpoint: %q, access_key: AK, secret_key: secret-text}
%s`, endpoint, more)
}

// output is the file that a process, and those it starts, write to.
type output struct{ file *os.File }

func (o *output) String() string {
	b, err := os.ReadFile(o.file.Name())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// waitFor waits until text was written n times.
func (o *output) waitFor(t *testing.T, n int, text string) {
	t.Helper()
	if !polled(func() bool { return strings.Count(o.String(), text) >= n }) {
		t.Fatalf("%q is not written %d times, but:\n%s", text, n, o)
	}
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	if !polled(cond) {
		t.Fatal("never:", what)
	}
}

// polled tells whether cond comes to hold within half a minute. It is for what other
// processes do, of which nothing tells the test when it happens.
func polled(cond func() bool) bool {
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) { // the only way to look again later
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// startProcess starts a program whose output is kept; it is killed after the test.
func startProcess(t *testing.T, cmd *exec.Cmd) *output {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	out := &output{file}
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return out
}

// waitExit returns the exit code of a process.
func waitExit(t *testing.T, cmd *exec.Cmd, out *output) int {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
		return cmd.ProcessState.ExitCode()
	case <-time.After(60 * time.Second):
		t.Fatalf("the process does not end:\n%s", out)
		return 0
	}
}

// get returns status and body of an answer on a connection of its own; 0 if there is
// none.
func get(url string) (int, string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, string(body)
}

// TestSocketActivation starts the program as a service manager does that listens
// for it: what was sent before it ran is answered.
func TestSocketActivation(t *testing.T) {
	program := buildProgram(t)
	config := writeConfig(t, bucketConfig("http://127.0.0.1:1", ""))
	listen := func() (*net.TCPListener, *os.File) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return ln.(*net.TCPListener), f
	}
	main, mainFile := listen()
	metrics, metricsFile := listen()
	activate := func(pid string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", `LISTEN_PID=`+pid+` exec "$0" "$@"`, program, "-config", config)
		cmd.ExtraFiles = []*os.File{metricsFile, mainFile}
		cmd.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=metrics:yatagarasu.socket")
		return cmd
	}

	early, err := net.Dial("tcp", main.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	fmt.Fprintf(early, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	cmd := activate("$$")
	out := startProcess(t, cmd)
	early.SetReadDeadline(time.Now().Add(30 * time.Second))
	if answer, err := io.ReadAll(early); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Errorf("a request sent before the start: %q, %v\n%s", answer, err, out)
	}
	if code, body := get("http://" + metrics.Addr().String() + "/metrics"); code != 200 || !strings.Contains(body, "yatagarasu_requests_total") {
		t.Errorf("the metrics listener: %d %.200s", code, body)
	}
	out.waitFor(t, 1, `"address":"`+main.Addr().String()+`"`)
	cmd.Process.Signal(os.Interrupt)
	if code := waitExit(t, cmd, out); code != 0 {
		t.Errorf("exit code %d:\n%s", code, out)
	}

	cmd = activate("1")
	out = startProcess(t, cmd)
	if code := waitExit(t, cmd, out); code != 1 || !strings.Contains(out.String(), "LISTEN_PID=1, and this one is") {
		t.Errorf("sockets of another process: exit code %d:\n%s", code, out)
	}
}
