// Package process runs child processes that never outlive their parent.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Process is a child process. Safe for concurrent use.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	tail tail
}

// Start starts binary with args, in this process's environment and env. out receives
// what it writes; nil: only the end is kept, for Output.
func Start(binary string, args, env []string, out io.Writer) (*Process, error) {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), env...)
	return StartCommand(cmd, out)
}

// StartCommand is Start for a command with other settings. If it has a cmd.Stdout, out
// and Output have what the process writes to stderr alone.
func StartCommand(cmd *exec.Cmd, out io.Writer) (*Process, error) {
	p := &Process{cmd: cmd, done: make(chan struct{})}
	var w io.Writer = &p.tail
	if out != nil {
		w = io.MultiWriter(w, out)
	}
	p.cmd.Stderr = w
	if p.cmd.Stdout == nil {
		p.cmd.Stdout = w
	}
	p.cmd.SysProcAttr = childAttributes()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", cmd.Path, err)
	}
	go func() { // ends with the process
		p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode returns what the process ended with, -1 after a signal. Call it once Done
// is closed.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Output returns the end of what the process wrote.
func (p *Process) Output() string { return p.tail.String() }

// Await calls ready, with pauses of every, until it returns nil. The error of a process
// that ended, or of a ctx that did, has what ready and the process said last.
func (p *Process) Await(ctx context.Context, every time.Duration, ready func() error) error {
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			err = fmt.Errorf("the process ended: %w", err)
		case <-ctx.Done():
		case <-time.After(every):
			continue
		}
		return fmt.Errorf("%s does not get ready: %w; it said: %s", filepath.Base(p.cmd.Path), err, p.Output())
	}
}

// Stop ends the process with SIGTERM. A process that needs longer than grace is killed,
// and that is an error.
func (p *Process) Stop(grace time.Duration) error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
		p.Kill()
		return fmt.Errorf("%s did not stop within %s", filepath.Base(p.cmd.Path), grace)
	}
}

// Kill ends the process at once and waits for its end.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// KillGroup is Kill for the process and its children.
func (p *Process) KillGroup() {
	syscall.Kill(-p.Pid(), syscall.SIGKILL) // it leads a group of its own
	<-p.done
}

// Freeze halts the process, as a machine does that is suspended: its connections stay,
// and nobody answers them. It may be frozen or ended already.
func (p *Process) Freeze() { p.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Process) Thaw() { p.cmd.Process.Signal(syscall.SIGCONT) }

// Find returns the path of a program that make put into the folder bin of the module.
func Find(name string) (string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is missing: run `make build tools`", path)
	}
	return path, nil
}

// ModuleRoot returns the folder of the module that holds the working directory.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
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
