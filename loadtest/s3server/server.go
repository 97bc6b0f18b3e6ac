// Package s3server starts real S3 servers as child processes, for tests and for
// the demo.
package s3server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Kind is a program that speaks S3.
type Kind uint8

// The kinds of servers.
const (
	MinIO     Kind = iota
	VersityGW      // over a folder whose sub-folders are the buckets
)

// Options describe one server.
type Options struct {
	Kind   Kind
	Binary string // path of the program, see Find
	Dir    string // where it keeps its data
	// Meta is a folder for VersityGW's metadata, so that Dir holds objects alone
	// and needs no extended attributes; empty: one beside Dir.
	Meta      string
	AccessKey string
	SecretKey string // at least 8 bytes
	Region    string
	Port      int // on 127.0.0.1; 0: a free one
	// Log receives the server's output; nil: kept for error messages only.
	Log io.Writer
}

// Server is a running S3 server. Its methods are not for concurrent use, apart
// from Endpoint and Done.
type Server struct {
	opts Options
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	tail *tail
}

// Start starts a server and waits until it answers, at most until ctx ends. The
// process ends with Stop, or when the calling process dies.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Port == 0 {
		port, err := freePort()
		if err != nil {
			return nil, fmt.Errorf("cannot find a free port: %w", err)
		}
		o.Port = port
	}
	if o.Meta == "" {
		o.Meta = filepath.Join(filepath.Dir(o.Dir), "meta-"+filepath.Base(o.Dir))
	}
	s := &Server{opts: o}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	o := &s.opts
	address := fmt.Sprintf("127.0.0.1:%d", o.Port)
	var args, env []string
	switch o.Kind {
	case MinIO:
		console, err := freePort()
		if err != nil {
			return fmt.Errorf("cannot find a free port: %w", err)
		}
		args = []string{"server", "--quiet", "--address", address, "--console-address", fmt.Sprintf("127.0.0.1:%d", console), o.Dir}
		env = []string{"MINIO_ROOT_USER=" + o.AccessKey, "MINIO_ROOT_PASSWORD=" + o.SecretKey, "MINIO_UPDATE=off", "MINIO_BROWSER=off", "MINIO_CI_CD=1", "MINIO_SITE_REGION=" + o.Region}
	case VersityGW:
		if err := os.MkdirAll(o.Meta, 0o755); err != nil {
			return err
		}
		args = []string{"--quiet", "--keep-alive", "--port", address, "--region", o.Region, "posix", "--sidecar", o.Meta, "--bucketlinks", o.Dir}
		env = []string{"ROOT_ACCESS_KEY_ID=" + o.AccessKey, "ROOT_SECRET_ACCESS_KEY=" + o.SecretKey}
	}
	s.tail = new(tail)
	s.cmd = exec.Command(o.Binary, args...)
	s.cmd.Env = append(os.Environ(), env...)
	var out io.Writer = s.tail
	if o.Log != nil {
		out = io.MultiWriter(s.tail, o.Log)
	}
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = ChildAttributes()
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", o.Binary, err)
	}
	done := make(chan struct{})
	s.done = done
	go func() { // ends with the process
		s.cmd.Wait()
		close(done)
	}()
	if err := s.await(ctx); err != nil {
		s.Kill()
		return fmt.Errorf("%s does not answer on %s: %w; it said: %s", filepath.Base(o.Binary), address, err, s.tail)
	}
	return nil
}

// await polls until the server answers HTTP with anything but a 503, which
// MinIO sends while it initialises.
func (s *Server) await(ctx context.Context) error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		r, err := client.Get(s.Endpoint() + "/")
		if err == nil {
			r.Body.Close()
			if r.StatusCode != http.StatusServiceUnavailable {
				return nil
			}
		}
		select {
		case <-s.done:
			return errors.New("the process ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Endpoint returns the server's base URL.
func (s *Server) Endpoint() string { return fmt.Sprintf("http://127.0.0.1:%d", s.opts.Port) }

// Pid returns the process id.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Done is closed when the process has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Output returns the last lines that the server wrote.
func (s *Server) Output() string { return s.tail.String() }

// Stop ends the process: SIGTERM, after 5 seconds SIGKILL. It may be called
// again.
func (s *Server) Stop() error {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
		return nil
	case <-time.After(5 * time.Second):
		s.Kill()
		return fmt.Errorf("%s did not stop by itself", filepath.Base(s.opts.Binary))
	}
}

// Kill ends the process at once and waits for its end.
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	<-s.done
}

// Restart starts the server again on the same port, after Stop or Kill.
func (s *Server) Restart(ctx context.Context) error { return s.start(ctx) }

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// Find returns the path of a program that `make tools` installed in bin of the
// module that holds the working directory.
func Find(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			path := filepath.Join(dir, "bin", name)
			if _, err := os.Stat(path); err != nil {
				return "", fmt.Errorf("%s is not installed: run `make tools`", path)
			}
			return path, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the working directory is in no Go module")
		}
		dir = parent
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if n := len(t.b) - 4096; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
