package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// Successor is a process that is to take over.
type Successor struct {
	Cmd   *exec.Cmd
	conn  net.Conn
	lines *bufio.Scanner
	ended chan struct{} // closed when the process is no more
}

// Start starts program anew with the listening sockets, by their names, and waits
// until it is ready, for up to limit, or ctx ends.
func Start(ctx context.Context, program string, limit time.Duration, sockets map[string]*net.TCPListener) (*Successor, error) {
	switch {
	case program == "":
		return nil, errors.New("this process does not know how it was started")
	case os.Getpid() == 1:
		return nil, errors.New("this is process 1, with which its container ends; start another container instead")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it is not ready within %s", limit))
	defer cancel()
	s, err := launch(program, sockets)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	said, err := s.Expect(saysReady)
	if err == nil {
		return s, nil
	}
	late := context.Cause(ctx)
	code := s.End()
	switch {
	case late != nil:
		return nil, late
	case len(said) > 0:
		return nil, fmt.Errorf("it ended, %s: %s", code, said[0])
	}
	return nil, fmt.Errorf("it ended, %s", code)
}

// launch starts the process.
func launch(program string, sockets map[string]*net.TCPListener) (*Successor, error) {
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
	for _, name := range slices.Sorted(maps.Keys(sockets)) {
		f, err := duplicate(sockets[name])
		if err != nil {
			ours.Close()
			return nil, fmt.Errorf("cannot pass on the socket of %s: %w", sockets[name].Addr(), err)
		}
		files, names = append(files, f), append(names, name)
	}
	cmd := exec.Command(program, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = files
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, "WATCHDOG_PID=") // it is this process's
	}), "LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"), envParent+"="+strconv.Itoa(os.Getpid()))
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, err
	}
	s := NewSuccessor(cmd, ours)
	go s.Wait() // ends with the process, or this one
	return s, nil
}

func NewSuccessor(cmd *exec.Cmd, conn net.Conn) *Successor {
	return &Successor{Cmd: cmd, conn: conn, lines: bufio.NewScanner(io.LimitReader(conn, 64<<10)), ended: make(chan struct{})}
}

func (s *Successor) Wait() {
	s.Cmd.Wait()
	close(s.ended)
}

// Expect reads until the process says what, and returns what it says instead.
func (s *Successor) Expect(what string) (said []string, err error) {
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

// End ends the process, if it has not ended, and says how it did.
func (s *Successor) End() string {
	s.conn.Close()
	select {
	case <-s.ended:
	case <-time.After(time.Second):
		s.Cmd.Process.Kill()
		<-s.ended
	}
	return s.Cmd.ProcessState.String()
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

// TakeOver has the process serve, and tells the service manager of it by n. After an error
// this one goes on to serve.
func (s *Successor) TakeOver(n *Notifier) error {
	s.conn.SetDeadline(time.Now().Add(upgradeStep))
	_, err := io.WriteString(s.conn, saysServe+"\n")
	if err == nil {
		_, err = s.Expect(saysServing)
	}
	if err != nil {
		return fmt.Errorf("it does not serve: %w, %s", err, s.End())
	}
	n.Send("MAINPID="+strconv.Itoa(s.Cmd.Process.Pid), "STATUS=handed over to a new process")
	if err := n.Barrier(upgradeStep); err != nil {
		n.log.Warn().Err(err).Msg("the service manager does not confirm that it follows the new process")
	}
	n.silence()
	s.conn.Close()
	return nil
}

// PassOn has s do what a signal that came here asks for.
func (s *Successor) PassOn(signal os.Signal, log *zerolog.Logger) {
	if err := s.Cmd.Process.Signal(signal); err != nil {
		log.Warn().Err(err).Str("signal", signal.String()).Msg("a signal for the new process cannot be passed on")
		return
	}
	log.Info().Str("signal", signal.String()).Int("pid", s.Cmd.Process.Pid).Msg("passed on to the new process")
}
