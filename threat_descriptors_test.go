package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestThreatDescriptors has 240 idle clients before a process that may have 256 descriptors,
// and a healthy origin.
func TestThreatDescriptors(t *testing.T) {
	t.Run("T92_idle_clients", func(t *testing.T) {
		origin := originOf(t, "hello")
		cmd := exec.Command("sh", "-c", `ulimit -n 256; exec "$0" "$@"`, buildProgram(t), "-config", writeConfig(t, bucketConfig(origin, "")))
		out := startProcess(t, cmd)
		out.waitFor(t, 1, `"message":"serving"`)
		out.waitFor(t, 1, `"max_connections":65536,"allowed":123,"open_files":256,"wanted_open_files":68896`)
		address := addressOf(t, out, "serving")
		metrics := "http://" + addressOf(t, out, "serving metrics")

		// An idle client holds a connection on which it was answered, until others need it.
		var held []net.Conn
		for range 240 {
			c, err := net.DialTimeout("tcp", address, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			c.SetDeadline(time.Now().Add(30 * time.Second))
			if status := statusOn(t, c); status != 200 {
				t.Fatalf("client %d: status %d:\n%s", len(held), status, out)
			}
			held = append(held, c)
		}
		for _, c := range held[len(held)-100:] {
			if status := statusOn(t, c); status != 200 {
				t.Fatalf("status %d on a connection that is open", status)
			}
		}
		code, body := get(metrics + "/metrics")
		if code != 200 {
			t.Fatalf("the metrics listener: %d %s", code, body)
		}
		for _, want := range []string{
			`yatagarasu_client_connections_limit 123`,
			`yatagarasu_displaced_connections_total 117`,
			`yatagarasu_upstream_breaker_opens_total{bucket="pub",origin="` + strings.TrimPrefix(origin, "http://") + `"} 0`,
		} {
			if !strings.Contains(body, want+"\n") {
				t.Errorf("%s is missing", want)
			}
		}
		if strings.Contains(out.String(), "too many open files") || strings.Contains(body, `reason="descriptors"`) || strings.Contains(body, `reason="connect"`) {
			t.Errorf("it ran out of descriptors:\n%s", out)
		}
	})
}

// originOf starts an origin that closes each connection after its answer.
func originOf(t *testing.T, body string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.Header().Set("ETag", `"e"`)
		io.WriteString(w, body)
	})}
	t.Cleanup(func() { s.Close() })
	go s.Serve(ln) // ends with Close
	return "http://" + ln.Addr().String()
}

// addressOf returns the address in the log line with a message.
func addressOf(t *testing.T, out *output, message string) string {
	t.Helper()
	out.waitFor(t, 1, `"message":"`+message+`"`)
	found := regexp.MustCompile(`"address":"([^"]*)"[^\n]*"message":"` + message + `"`).FindStringSubmatch(out.String())
	if found == nil {
		t.Fatalf("%q names no address:\n%s", message, out)
	}
	return found[1]
}

// statusOn asks for the object on a connection, which may have been refused before.
func statusOn(t *testing.T, c net.Conn) int {
	t.Helper()
	fmt.Fprintf(c, "GET /pub/x HTTP/1.1\r\nHost: x\r\n\r\n") // may fail after a refusal, which can be read all the same
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode
}
