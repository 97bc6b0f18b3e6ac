package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"yatagarasu/gateway/handover"
	"yatagarasu/gateway/inspect"
	"yatagarasu/gateway/observe"
)

// logHelper makes the test's binary write a line to the log that it names.
const logHelper = "YATAGARASU_TEST_LOG_OUTPUT"

// TestStdoutIsSocket has a process log to the path of its standard output, which is a
// socket, as under systemd.
func TestStdoutIsSocket(t *testing.T) {
	if name := os.Getenv(logHelper); name != "" {
		out, err := observe.OpenLog(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Fprintln(out, "a line for "+name)
		os.Exit(0)
	}
	for name, stream := range map[string]int{"/dev/stdout": 1, "/dev/stderr": 2, "/proc/self/fd/1": 1, "/dev/fd/2": 2} {
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
			defer ours.Close()
			cmd := exec.Command(os.Args[0], "-test.run=^TestStdoutIsSocket$")
			cmd.Env = append(os.Environ(), logHelper+"="+name)
			var other bytes.Buffer
			if cmd.Stdout, cmd.Stderr = io.Writer(theirs), &other; stream == 2 {
				cmd.Stdout, cmd.Stderr = &other, theirs
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			theirs.Close()
			got, err := io.ReadAll(ours)
			if werr := cmd.Wait(); err != nil || werr != nil || string(got) != "a line for "+name+"\n" {
				t.Errorf("%q, %v, %v, %s", got, err, werr, other.String())
			}
		})
	}
}

// TestListenAdvice has an advice for each cause for which a port cannot be opened.
func TestListenAdvice(t *testing.T) {
	for _, c := range []struct {
		address string
		err     error
		fix     string
	}{
		{"0.0.0.0:8080", syscall.EADDRINUSE, "stop the program that listens there, or choose another server.address"},
		{"0.0.0.0:80", syscall.EACCES, "ports below 1024 (CAP_NET_BIND_SERVICE)"},
		{"0.0.0.0:8080", syscall.EACCES, "something forbids it, such as SELinux"},
		{"0.0.0.0:0", syscall.EACCES, "something forbids it, such as SELinux"},
		{"192.0.2.1:80", syscall.EADDRNOTAVAIL, "this machine has no such address"},
		{"[::1]:80", syscall.EAFNOSUPPORT, "no addresses of this family"},
		{"no-such-host:80", &net.DNSError{Err: "no such host", IsNotFound: true}, "no name server knows the host"},
		{"0.0.0.0:80", syscall.EMFILE, "ulimit -n"},
		{"0.0.0.0:80", errors.New("another"), "; choose another server.address"},
	} {
		err := handover.ListenProblem(c.address, &net.OpError{Op: "listen", Err: c.err}, "server.address")
		if !strings.Contains(err.Error(), c.fix) || !errors.Is(err, c.err) || !strings.HasPrefix(err.Error(), "cannot listen on "+c.address+": ") {
			t.Errorf("%v, want %s", err, c.fix)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	g := configuredGateway(t, oneBucket("/pub", "http://127.0.0.1:1")+"metrics: {enabled: true, address: 127.0.0.1, port: "+port+"}\n", "error")
	if err := g.openMetrics(); err == nil || !strings.HasSuffix(err.Error(), "; stop the program that listens there, or choose another metrics.port or metrics.address") {
		t.Error(err)
	}
	g.address = taken.Addr().String()
	if _, err := g.listen(); err == nil || !strings.HasSuffix(err.Error(), "; stop the program that listens there, or choose another server.address or -listen.address") {
		t.Error(err)
	}
}

// TestDoctorOfPlainHTTP has TLS spoken to a port of plain HTTP.
func TestDoctorOfPlainHTTP(t *testing.T) {
	plain := startOrigin(t, serveText("x"))
	gw := configuredGateway(t, oneBucket("/p", strings.Replace(plain.URL, "http:", "https:", 1), "timeouts: {dial: "+(5*time.Second).String()+"}"), "error")
	var out strings.Builder
	if inspect.Doctor(gw.Generation.Load(), "", &out, io.Discard) != 1 || !strings.Contains(out.String(), "fix: the origin speaks no TLS there") {
		t.Error(out.String())
	}
}
