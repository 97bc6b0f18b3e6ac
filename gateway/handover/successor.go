package handover

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// An upgrade: the running process starts the program anew with its listening sockets
// and a connection to itself. On that connection,
//
//	the new one says  READY=1    it is set up, and would serve
//	the old one says  SERVE=1    from here on there is no way back
//	the new one says  SERVING=1  it accepts connections
//
// The old one then accepts no more, tells the service manager, closes the connection,
// and finishes what is under way. Whatever goes wrong before SERVE=1, the new process
// has not accepted a connection and ends, and the old one goes on. Until READY=1, what
// the new process writes to standard error goes to the old one too, which logs it.
const (
	socketUpgrade = "upgrade"
	saysReady     = "READY=1"
	saysServe     = "SERVE=1"
	saysServing   = "SERVING=1"

	// upgradeStep bounds each step of the conversation after SERVE=1.
	upgradeStep = 5 * time.Second
)

// envParent has the process that begins an upgrade, in place of LISTEN_PID: the new
// one's own number cannot be told before it exists.
const envParent = "YATAGARASU_PARENT"

// Successor is a process that is to take over. Use Start; TakeOver or End is its end. Not
// safe for concurrent use, but for PassOn.
type Successor struct {
	Cmd   *exec.Cmd
	conn  net.Conn       // to the process
	lines *bufio.Scanner // of what the process says on conn
	ended chan struct{}  // closed when the process is no more
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
	ended := "it ended, " + s.End()
	if len(said) > 0 {
		ended += ": " + said[0]
	}
	return nil, cmp.Or(late, errors.New(ended))
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

// NewSuccessor returns the process of cmd, with a connection to it. Whoever starts cmd calls
// Wait then.
func NewSuccessor(cmd *exec.Cmd, conn net.Conn) *Successor {
	return &Successor{Cmd: cmd, conn: conn, lines: bufio.NewScanner(io.LimitReader(conn, 64<<10)), ended: make(chan struct{})}
}

// Wait waits until the process has ended. Call it once, in a goroutine of its own.
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
	return said, cmp.Or(s.lines.Err(), io.ErrUnexpectedEOF)
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
	n.silent.Store(true)
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

// Program returns the path that the program was started by, absolute. What is there
// later is its next version; a symbolic link is kept for that.
func Program() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot find the program's own path: %w", err)
	}
	started, err := exec.LookPath(os.Args[0])
	if err == nil {
		started, err = filepath.Abs(started)
	}
	a, _ := os.Stat(started) // nothing is the same as what is not there
	b, _ := os.Stat(self)
	if err != nil || !os.SameFile(a, b) {
		return self, nil
	}
	return started, nil
}
