//go:build unix

package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The system's errors of a listener, for ListenProblem.
const (
	errnoInUse      = unix.EADDRINUSE
	errnoForbidden  = unix.EACCES
	errnoPermission = unix.EPERM
	errnoNoAddress  = unix.EADDRNOTAVAIL
	errnoNoFamily   = unix.EAFNOSUPPORT
	errnoFiles      = unix.EMFILE
	errnoAllFiles   = unix.ENFILE
)

// closeOnExec keeps a descriptor from the processes that this one starts.
func closeOnExec(fd int) { unix.CloseOnExec(fd) }

// checkListens says why the file is no listening TCP socket.
func checkListens(file *os.File) error {
	fd := int(file.Fd())
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return fmt.Errorf("is no socket: %w; LISTEN_FDS must be the number of sockets that are passed on", err)
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	switch {
	case kind != unix.SOCK_STREAM:
		return errors.New("is no TCP socket; use ListenStream= in the socket unit, not ListenDatagram= or another")
	case err != nil || listens == 0:
		return errors.New("does not listen; use Accept=no in the socket unit")
	}
	return nil
}

// sendMessage sends a message on a connected datagram socket, and with it a file, if one is
// passed: net cannot.
func sendMessage(c *net.UnixConn, message []byte, passed *os.File) error {
	var control []byte
	if passed != nil {
		control = unix.UnixRights(int(passed.Fd()))
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), message, control, nil, 0)
		return sent != unix.EAGAIN
	})
	return errors.Join(err, sent)
}

// monotonic returns the time of CLOCK_MONOTONIC.
func monotonic() (time.Duration, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano()), err
}

// duplicate returns a copy of the listener's descriptor. That of ln.File would, once
// used, make the socket itself blocking, and with it Accept deaf to Close.
func duplicate(ln *net.TCPListener) (*os.File, error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, failure := -1, error(nil)
	err = raw.Control(func(own uintptr) { fd, failure = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, failure); err != nil {
		return nil, err
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
