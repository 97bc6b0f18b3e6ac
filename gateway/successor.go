package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// successor is a process that is to take over.
type successor struct {
	cmd   *exec.Cmd
	conn  net.Conn
	lines *bufio.Scanner
	ended chan struct{} // closed when the process is no more
}

// startCurrent starts a process that has the configuration of this one, and holds up
// reloads. After one that came meanwhile, which the new process may not have read, it is
// started again: else a hand-over would undo what was said to be in effect.
func (g *Gateway) startCurrent(ctx context.Context) upgrade {
	for {
		gen := g.generation.Load()
		s, err := g.startSuccessor(ctx)
		if err != nil {
			return upgrade{err: err}
		}
		over := make(chan struct{})
		select {
		case g.reloads.holds <- over:
		case <-ctx.Done():
			s.end()
			return upgrade{err: context.Cause(ctx)}
		}
		if g.generation.Load() == gen {
			return upgrade{successor: s, over: over}
		}
		close(over)
		s.end()
		g.log.Info().Msg("the configuration was reloaded meanwhile: starting the new process again")
	}
}

// startSuccessor starts the program anew with the listening sockets, and waits until it
// is ready, or ctx ends.
func (g *Gateway) startSuccessor(ctx context.Context) (*successor, error) {
	switch {
	case g.opts.Program == "":
		return nil, errors.New("this process does not know how it was started")
	case os.Getpid() == 1:
		return nil, errors.New("this is process 1, with which its container ends; start another container instead")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, g.opts.UpgradeTimeout, fmt.Errorf("it is not ready within %s", g.opts.UpgradeTimeout))
	defer cancel()
	s, err := g.launch()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	said, err := s.expect(saysReady)
	if err == nil {
		return s, nil
	}
	late := context.Cause(ctx)
	code := s.end()
	switch {
	case late != nil:
		return nil, late
	case len(said) > 0:
		return nil, fmt.Errorf("it ended, %s: %s", code, said[0])
	}
	return nil, fmt.Errorf("it ended, %s", code)
}

// launch starts the process.
func (g *Gateway) launch() (*successor, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("cannot make a connection for the new process: %w", err)
	}
	files, names := []*os.File{theirs}, []string{socketUpgrade}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	pass := func(ln *net.TCPListener, name string) error {
		f, err := duplicate(ln)
		if err != nil {
			return fmt.Errorf("cannot pass on the socket of %s: %w", ln.Addr(), err)
		}
		files, names = append(files, f), append(names, name)
		return nil
	}
	err = pass(g.listener.Load().TCPListener, socketMain)
	if ln := g.metricsListener.Load(); err == nil && ln != nil {
		err = pass(ln, socketMetrics)
	}
	cmd := exec.Command(g.opts.Program, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = files
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, "WATCHDOG_PID=") // it is this process's
	}), "LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"), envParent+"="+strconv.Itoa(os.Getpid()))
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		ours.Close()
		return nil, err
	}
	s := newSuccessor(cmd, ours)
	go s.wait() // ends with the process, or this one
	return s, nil
}

func newSuccessor(cmd *exec.Cmd, conn net.Conn) *successor {
	return &successor{cmd: cmd, conn: conn, lines: bufio.NewScanner(io.LimitReader(conn, 64<<10)), ended: make(chan struct{})}
}

func (s *successor) wait() {
	s.cmd.Wait()
	close(s.ended)
}

// expect reads until the process says what, and returns what it says instead.
func (s *successor) expect(what string) (said []string, err error) {
	for s.lines.Scan() {
		if s.lines.Text() == what {
			return said, nil
		}
		said = append(said, s.lines.Text())
	}
	if err := s.lines.Err(); err != nil {
		return said, err
	}
	return said, io.ErrUnexpectedEOF
}

// end ends the process, if it has not ended, and says how it did.
func (s *successor) end() string {
	s.conn.Close()
	select {
	case <-s.ended:
	case <-time.After(time.Second):
		s.cmd.Process.Kill()
		<-s.ended
	}
	return s.cmd.ProcessState.String()
}

// duplicate returns a copy of the listener's descriptor. That of ln.File would, once
// used, make the socket itself blocking, and with it Accept deaf to Close.
func duplicate(ln *net.TCPListener) (*os.File, error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, failure := -1, error(nil)
	if err := raw.Control(func(own uintptr) { fd, failure = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if failure != nil {
		return nil, failure
	}
	return os.NewFile(uintptr(fd), ln.Addr().String()), nil
}

// socketPair returns both ends of a connection.
func socketPair() (net.Conn, *os.File, error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "upgrade"), os.NewFile(uintptr(fds[1]), "upgrade")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}
