package gateway

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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
		_, err := openLog(c.path)
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

// logHelper makes the test's binary write a line to the log that it names.
const logHelper = "YATAGARASU_TEST_LOG_OUTPUT"

// TestStdoutIsSocket has a process log to the path of its standard output, which is a
// socket, as under systemd.
func TestStdoutIsSocket(t *testing.T) {
	if name := os.Getenv(logHelper); name != "" {
		out, err := openLog(name)
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
		err := listenProblem(c.address, &net.OpError{Op: "listen", Err: c.err}, "server.address")
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

// TestDoctorAdvice has an advice for each cause of what the doctor finds under one name.
func TestDoctorAdvice(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		fix  string
	}{
		{"authority", x509.UnknownAuthorityError{}, "set s3.ca_file"},
		{"name", x509.HostnameError{Host: "h", Certificate: new(x509.Certificate)}, "write the name that is in the origin's certificate"},
		{"expired", x509.CertificateInvalidError{Reason: x509.Expired, Cert: new(x509.Certificate)}, "have the origin's certificate renewed"},
		{"plain HTTP", tls.RecordHeaderError{Msg: "no TLS"}, "write http:// into s3.endpoint"},
		{"refused", tls.AlertError(40), "the origin refuses the handshake"},
		{"silence", os.ErrDeadlineExceeded, "what is silent at the port"},
		{"another", errors.New("another"), "set s3.ca_file to the authority of the origin's certificate, or write"},
	} {
		if got := tlsFix(fmt.Errorf("handshake: %w", c.err)); !strings.Contains(got, c.fix) {
			t.Errorf("%s: %s, want %s", c.name, got, c.fix)
		}
	}
	unknown := "buckets:\n  - {name: n, path_prefix: /p, s3: {bucket: b-b, region: us-east-1, credentials: {source: environment}, endpoint: %s}}\n"
	for _, c := range []struct{ name, yaml, proxy, reason, fix string }{
		{"key of the file", oneBucket("/p", "http://127.0.0.1:1"), "", "credentials", "check access_key and secret_key"},
		{"key of another source", fmt.Sprintf(unknown, "http://127.0.0.1:1"), "", "credentials", "check the source in s3.credentials"},
		{"name of an endpoint", oneBucket("/p", "http://no-such-host.invalid"), "", "dns", "check the host in s3.endpoint"},
		{"name of AWS", "buckets:\n  - {name: n, path_prefix: /p, s3: {bucket: b-b, region: us-east-9, access_key: a, secret_key: s}}\n", "", "dns", "check s3.region and s3.bucket"},
		{"name of a proxy", oneBucket("/p", "http://origin.invalid"), "http://127.0.0.1:1", "dns", "check the proxy"},
		{"port of a proxy", oneBucket("/p", "http://origin.invalid"), "http://127.0.0.1:1", "connect", "check the proxy"},
		{"port of an endpoint", oneBucket("/p", "http://127.0.0.1:1"), "", "connect", "check the port in s3.endpoint"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("HTTP_PROXY", c.proxy)
			d := &diagnosis{replica: configuredGateway(t, c.yaml, "error").generation.Load().buckets[0].origin.replicas[0]}
			if got := d.fix(finding{reason: c.reason}); !strings.HasPrefix(got, c.fix) {
				t.Errorf("%s, want %s", got, c.fix)
			}
		})
	}
	// The real thing: TLS to a port of plain HTTP.
	plain := startOrigin(t, serveText("x"))
	gw := configuredGateway(t, oneBucket("/p", strings.Replace(plain.URL, "http:", "https:", 1), "timeouts: {dial: "+(5*time.Second).String()+"}"), "error")
	var out strings.Builder
	if Doctor(gw.generation.Load(), "", &out, io.Discard) != 1 || !strings.Contains(out.String(), "fix: the origin speaks no TLS there") {
		t.Error(out.String())
	}
}
