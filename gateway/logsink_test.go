package gateway

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

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
