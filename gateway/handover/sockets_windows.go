package handover

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// The system's errors of a listener, for ListenProblem.
const (
	errnoInUse      = windows.WSAEADDRINUSE
	errnoForbidden  = windows.WSAEACCES
	errnoPermission = windows.ERROR_ACCESS_DENIED
	errnoNoAddress  = windows.WSAEADDRNOTAVAIL
	errnoNoFamily   = windows.WSAEAFNOSUPPORT
	errnoFiles      = windows.WSAEMFILE
	errnoAllFiles   = windows.WSAENOBUFS
)

// errNoHandOver is why no process takes over here.
var errNoHandOver = errors.New("on Windows no process takes over the sockets of another one")

func closeOnExec(fd int) { windows.CloseOnExec(windows.Handle(fd)) }

func checkListens(*os.File) error { return errNoHandOver }

func sendMessage(*net.UnixConn, []byte, *os.File) error { return errNoHandOver }

func monotonic() (time.Duration, error) { return 0, errNoHandOver }

func duplicate(*net.TCPListener) (*os.File, error) { return nil, errNoHandOver }

func socketPair() (net.Conn, *os.File, error) { return nil, nil, errNoHandOver }
