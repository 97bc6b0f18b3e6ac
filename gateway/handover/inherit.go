package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// The names of inherited sockets.
const (
	SocketMain    = "http"
	SocketMetrics = "metrics"
)

// firstInherited is the first descriptor that a service manager hands over.
const firstInherited = 3

// Inherited are the listening sockets that the process was started with: by a
// service manager, as sd_listen_fds(3) says, or by an earlier process of the gateway,
// which hands over to this one. A nil one holds none.
type Inherited struct {
	listeners map[string]*net.TCPListener // by name; taken ones are no longer there
	from      net.Conn                    // to the process that hands over; nil: none does
}

// NewInherited returns what a process inherits: listeners by name, and a connection to the
// process that hands over, nil if none does. It owns both.
func NewInherited(from net.Conn, listeners map[string]*net.TCPListener) *Inherited {
	return &Inherited{listeners: listeners, from: from}
}

// Inherit takes over the sockets that the environment tells of, and clears the
// environment of them. Call it before anything else opens descriptors.
func Inherit() (*Inherited, error) {
	in, err := inherit(os.Getenv, os.Getpid(), os.Getppid(), firstInherited)
	for _, name := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID", envParent} {
		os.Unsetenv(name)
	}
	return in, err
}

// inherit is Inherit for the process pid, whose parent is ppid, with descriptors from
// first on.
func inherit(lookup func(string) string, pid, ppid, first int) (*Inherited, error) {
	in := NewInherited(nil, make(map[string]*net.TCPListener))
	count := lookup("LISTEN_FDS")
	if count == "" {
		return in, nil
	}
	parent := lookup(envParent)
	if parent != "" && parent != strconv.Itoa(ppid) {
		return nil, fmt.Errorf("LISTEN_FDS is for a child of the process %s=%s, and the parent of this one is %d; unset both to start without an upgrade", envParent, parent, ppid)
	}
	if p := lookup("LISTEN_PID"); parent == "" && p != strconv.Itoa(pid) {
		return nil, fmt.Errorf("LISTEN_FDS is for the process LISTEN_PID=%s, and this one is %d; have a script that starts the gateway exec it, or unset LISTEN_FDS", p, pid)
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 16 {
		return nil, fmt.Errorf("LISTEN_FDS is %q; it must be a number of sockets up to 16", count)
	}
	for i := range n {
		unix.CloseOnExec(first + i)
	}
	var names []string
	if all := lookup("LISTEN_FDNAMES"); all != "" {
		names = strings.Split(all, ":")
	}
	var faults []error
	for i := range n {
		given := ""
		if i < len(names) {
			given = names[i]
		}
		if parent != "" && given == socketUpgrade {
			faults = append(faults, in.connect(first+i))
			continue
		}
		faults = append(faults, in.add(first+i, given))
	}
	if err := errors.Join(faults...); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// add takes over a descriptor. The first one that is not the metrics listener's is
// the main listener's, whatever its name.
func (in *Inherited) add(fd int, given string) error {
	file := os.NewFile(uintptr(fd), given)
	defer file.Close() // the listener has a copy
	name := given
	if _, taken := in.listeners[SocketMain]; name != SocketMetrics && !taken {
		name = SocketMain
	}
	if _, taken := in.listeners[name]; taken || name != SocketMain && name != SocketMetrics {
		return fmt.Errorf("inherited socket %d, named %q, is one too many: a socket unit needs one ListenStream=, and FileDescriptorName=%s if it is the metrics listener's", fd, given, SocketMetrics)
	}
	ln, err := listenerOf(file)
	if err != nil {
		return fmt.Errorf("inherited socket %d, named %q, %w", fd, given, err)
	}
	in.listeners[name] = ln
	return nil
}

// connect takes over the connection to the process that hands over.
func (in *Inherited) connect(fd int) error {
	file := os.NewFile(uintptr(fd), socketUpgrade)
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return fmt.Errorf("cannot talk to the process that hands over: %w", err)
	}
	in.from = c
	return nil
}

// listenerOf returns the listener on a copy of the file's descriptor.
func listenerOf(file *os.File) (*net.TCPListener, error) {
	fd := int(file.Fd())
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, fmt.Errorf("is no socket: %w; LISTEN_FDS must be the number of sockets that are passed on", err)
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	switch {
	case kind != unix.SOCK_STREAM:
		return nil, errors.New("is no TCP socket; use ListenStream= in the socket unit, not ListenDatagram= or another")
	case err != nil || listens == 0:
		return nil, errors.New("does not listen; use Accept=no in the socket unit")
	}
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("cannot be listened on: %w", err)
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		ln.Close()
		return nil, fmt.Errorf("listens on %s; the gateway needs a TCP port: ListenStream=host:port in the socket unit", ln.Addr().Network())
	}
	return tcp, nil
}

// Listen returns the inherited listener of a name, or opens one on address.
func (in *Inherited) Listen(name, address string, log *zerolog.Logger) (*net.TCPListener, error) {
	if in != nil && in.listeners[name] != nil {
		ln := in.listeners[name]
		delete(in.listeners, name)
		if !means(address, ln.Addr().(*net.TCPAddr)) {
			log.Warn().Str("socket", name).Str("configured", address).Str("inherited", ln.Addr().String()).
				Msg("the inherited socket has another address than the configuration; it is used as it is")
		}
		return ln, nil
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// means tells whether the configured address may have become actual. A host name is
// not looked up.
func means(configured string, actual *net.TCPAddr) bool {
	host, port, err := net.SplitHostPort(configured)
	if err != nil {
		return false
	}
	if port != "0" && port != strconv.Itoa(actual.Port) {
		return false
	}
	switch ip := net.ParseIP(host); {
	case host == "":
		return actual.IP.IsUnspecified()
	case ip == nil:
		return true
	case ip.IsUnspecified():
		return actual.IP.IsUnspecified()
	default:
		return ip.Equal(actual.IP)
	}
}

// close closes all.
func (in *Inherited) close() {
	for name, ln := range in.listeners {
		ln.Close()
		delete(in.listeners, name)
	}
	if in.from != nil {
		in.from.Close()
	}
}

// CloseUnused closes the listeners that nothing took, and says so.
func (in *Inherited) CloseUnused(log *zerolog.Logger) {
	if in == nil {
		return
	}
	for name, ln := range in.listeners {
		ln.Close()
		delete(in.listeners, name)
		log.Warn().Str("socket", name).Msg("the inherited socket is not used: the configuration has no such listener")
	}
}

// ListenProblem says why the address cannot be listened on, and what to do about it,
// where keys are what it comes from.
func ListenProblem(address string, err error, keys string) error {
	_, port, _ := net.SplitHostPort(address)
	number, _ := strconv.Atoi(port)
	var dns *net.DNSError
	fix := "choose another " + keys
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		fix = "stop the program that listens there, or choose another " + keys
	case errors.Is(err, syscall.EACCES) && number > 0 && number < 1024:
		fix = "let the gateway use ports below 1024 (CAP_NET_BIND_SERVICE), or choose another " + keys
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		fix = "something forbids it, such as SELinux or a sandbox: allow it there, or choose another " + keys
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		fix = "this machine has no such address: write one that it has, or none for all, as " + keys
	case errors.Is(err, syscall.EAFNOSUPPORT):
		fix = "this machine has no addresses of this family: write one of the other as " + keys
	case errors.As(err, &dns):
		fix = "no name server knows the host: write an address as " + keys
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		fix = "raise the limit of open files: ulimit -n"
	}
	return fmt.Errorf("cannot listen on %s: %w; %s", address, err, fix)
}
