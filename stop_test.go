package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// gatedOrigin serves objects of size bytes, of which it sends the second half after
// gate is closed; all else it answers at once.
func gatedOrigin(t *testing.T, size int, gate <-chan struct{}) *httptest.Server {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/things/slow") {
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		w.Write(make([]byte, size/2))
		w.(http.Flusher).Flush()
		select {
		case <-gate:
			w.Write(make([]byte, size-size/2))
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(origin.Close)
	return origin
}

var servingAt = regexp.MustCompile(`"address":"([^"]+)".*"message":"(serving(?: metrics)?)"`)

// addresses returns where the last process that began to serve does so.
func addresses(t *testing.T, out *output, n int) (main, metrics string) {
	t.Helper()
	out.waitFor(t, n, `"message":"serving"`)
	for _, m := range servingAt.FindAllStringSubmatch(out.String(), -1) {
		if m[2] == "serving" {
			main = m[1]
		} else {
			metrics = m[1]
		}
	}
	return main, metrics
}

// begin requests an object and reads the first half.
func begin(client *http.Client, url string, half int) (*http.Response, error) {
	r, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, r.Body, int64(half)); err != nil {
		return nil, err
	}
	return r, nil
}

// TestProcessStop ends the program in the middle of many downloads.
func TestProcessStop(t *testing.T) {
	const downloads, size = 200, 512 << 10
	program := buildProgram(t)
	for _, c := range []struct {
		name    string
		cache   string
		flags   []string
		release bool
		code    int
		log     string
	}{
		{"all complete within the grace period", "", []string{"-shutdown.drain", "300ms", "-shutdown.timeout", "1m"}, true, 0, "nothing was cut"},
		{"also those that fill the cache", "cache: {enabled: true, max_size: 1GiB}", []string{"-shutdown.drain", "300ms", "-shutdown.timeout", "1m"}, true, 0, "nothing was cut"},
		{"the rest is cut", "", []string{"-shutdown.timeout", "300ms"}, false, 1, fmt.Sprintf(`"requests":%d`, downloads)},
		{"the rest is cut where it fills the cache", "cache: {enabled: true, max_size: 1GiB}", []string{"-shutdown.timeout", "300ms"}, false, 1, fmt.Sprintf(`"requests":%d`, downloads)},
	} {
		t.Run(c.name, func(t *testing.T) {
			gate := make(chan struct{})
			origin := gatedOrigin(t, size, gate)
			cmd := exec.Command(program, append([]string{"-config", writeConfig(t, bucketConfig(origin.URL, c.cache))}, c.flags...)...)
			out := startProcess(t, cmd)
			main, metrics := addresses(t, out, 1)

			var bodies [downloads]io.ReadCloser
			var wg sync.WaitGroup
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for i := range bodies {
				wg.Go(func() {
					r, err := begin(client, fmt.Sprintf("http://%s/pub/slow%d", main, i), size/2)
					if err != nil {
						t.Error(err)
						return
					}
					bodies[i] = r.Body
				})
			}
			wg.Wait()
			if t.Failed() {
				t.FailNow()
			}
			idle, err := net.Dial("tcp", main)
			if err != nil {
				t.Fatal(err)
			}
			defer idle.Close()
			idleReader := bufio.NewReader(idle)
			fmt.Fprintf(idle, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
			if r, err := http.ReadResponse(idleReader, nil); err != nil || r.Close {
				t.Fatal(err)
			} else {
				io.Copy(io.Discard, r.Body)
			}

			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			out.waitFor(t, 1, `"message":"stopping"`)
			for deadline := time.Now().Add(10 * time.Second); ; {
				code, body := get("http://" + metrics + "/ready")
				if code == 503 && strings.Contains(body, `"stopping"`) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("/ready: %d %s", code, body)
				}
			}
			// The idle connection ends while the downloads go on.
			idle.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := idleReader.ReadByte(); err != io.EOF {
				t.Errorf("the idle connection: %v", err)
			}
			if c.release {
				if code, _ := get("http://" + metrics + "/ready"); code != 503 {
					t.Errorf("/ready while finishing: %d", code)
				}
				if conn, err := net.Dial("tcp", main); err == nil {
					conn.Close()
					t.Error("new connections are accepted after the drain delay")
				}
				close(gate)
			}
			for i := range bodies {
				wg.Go(func() {
					defer bodies[i].Close()
					if n, err := io.Copy(io.Discard, bodies[i]); c.release != (err == nil && n == size/2) {
						t.Errorf("download %d: %d more bytes, %v", i, n, err)
					}
				})
			}
			wg.Wait()
			if code := waitExit(t, cmd, out); code != c.code || !strings.Contains(out.String(), c.log) {
				t.Errorf("exit code %d, want %d and a line with %s:\n%.3000s", code, c.code, c.log, lastLines(out.String(), 8))
			}
			if n := strings.Count(out.String(), `"path":"/pub/slow`); n != downloads {
				t.Errorf("%d access lines for %d downloads", n, downloads)
			}
		})
	}
}

// lastLines returns the last n lines of text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
