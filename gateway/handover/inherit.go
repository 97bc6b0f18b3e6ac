// Package handover passes sockets between processes: from a service manager, and from the
// running gateway to the one that takes over. It speaks to both.
package handover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// The names of inherited sockets.
const (
	SocketMain     = "http"
	SocketMetrics  = "metrics"
	SocketRedirect = "redirect" // server.https.redirect_address
)

// Inherited are the listening sockets that the process was started with: by a
// service manager, as sd_listen_fds(3) says, or by an earlier process of the gateway,
// which hands over to this one. A nil one holds none. Not safe for concurrent use.
type Inherited struct {
	listeners map[string]*net.TCPListener // by name; taken ones are no longer there
	from      net.Conn                    // to the process that hands over; nil: none does
}

// NewInherited returns what a process inherits: listeners by name, and a connection to the
// process that hands over, nil if none does. It owns both from then on.
func NewInherited(from net.Conn, listeners map[string]*net.TCPListener) *Inherited {
	return &Inherited{listeners: listeners, from: from}
}

// Inherit takes over the sockets that the environment tells of, and clears the
// environment of them. Call it before anything else opens descriptors.
func Inherit() (*Inherited, error) {
	in, err := inherit(os.Getenv, os.Getpid(), os.Getppid(), 3) // SD_LISTEN_FDS_START
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
	names := strings.Split(lookup("LISTEN_FDNAMES"), ":")
	var faults []error
	for i := range n {
		given := ""
		if i < len(names) {
			given = names[i]
		}
		closeOnExec(first + i)
		file := os.NewFile(uintptr(first+i), given)
		if parent != "" && given == socketUpgrade {
			if in.from, err = net.FileConn(file); err != nil {
				faults = append(faults, fmt.Errorf("cannot talk to the process that hands over: %w", err))
			}
		} else if err := in.add(file, given); err != nil {
			faults = append(faults, fmt.Errorf("inherited socket %d, named %q, %w", first+i, given, err))
		}
		file.Close() // listener and connection have copies
	}
	if err := errors.Join(faults...); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// add takes over a copy of a descriptor. The first one that is not named as another listener's
// is the main listener's, whatever its name.
func (in *Inherited) add(file *os.File, given string) error {
	name := given
	if _, taken := in.listeners[SocketMain]; name != SocketMetrics && name != SocketRedirect && !taken {
		name = SocketMain
	}
	if _, taken := in.listeners[name]; taken || name != SocketMain && name != SocketMetrics && name != SocketRedirect {
		return fmt.Errorf("is one too many: a socket unit needs one ListenStream=, and FileDescriptorName=%s or %s if it is not the main listener's", SocketMetrics, SocketRedirect)
	}
	ln, err := listenerOf(file)
	if err == nil {
		in.listeners[name] = ln
	}
	return err
}

// listenerOf returns the listener on a copy of the file's descriptor.
func listenerOf(file *os.File) (*net.TCPListener, error) {
	if err := checkListens(file); err != nil {
		return nil, err
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
		if !sameAddress(address, ln.Addr().(*net.TCPAddr)) {
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

// sameAddress tells whether a socket with the configured address has the actual one. A host
// name is not looked up: it may be any.
func sameAddress(configured string, actual *net.TCPAddr) bool {
	host, port, err := net.SplitHostPort(configured)
	if err != nil || port != "0" && port != strconv.Itoa(actual.Port) {
		return false
	}
	ip := net.ParseIP(host)
	if host == "" || ip.IsUnspecified() {
		return actual.IP.IsUnspecified()
	}
	return ip == nil || ip.Equal(actual.IP)
}

// close closes all.
func (in *Inherited) close() {
	for _, ln := range in.listeners {
		ln.Close()
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

// Any tells whether the process was started with anything of what Inherited holds.
func (in *Inherited) Any() bool { return in.HandedOver() || in != nil && len(in.listeners) > 0 }

// HandedOver tells whether another process hands, or has handed, its sockets over to this one.
func (in *Inherited) HandedOver() bool { return in != nil && in.from != nil }

// Claim says that this process would serve, and waits until it is to, for up to limit:
// the one that began the upgrade may be in a reload, which comes first. If that process
// ends, so does the wait.
func (in *Inherited) Claim(limit time.Duration) error {
	in.from.SetDeadline(time.Now().Add(limit))
	answer := make([]byte, len(saysServe)+1)
	_, err := io.WriteString(in.from, saysReady+"\n")
	if err == nil {
		_, err = io.ReadFull(in.from, answer)
	}
	if err != nil || string(answer) != saysServe+"\n" {
		return errors.New("the process that began the upgrade gave it up")
	}
	return nil
}

// Confirm says that this process serves, and waits until the other one is done with
// the service manager.
func (in *Inherited) Confirm() {
	in.from.SetDeadline(time.Now().Add(2 * upgradeStep))
	io.WriteString(in.from, saysServing+"\n")
	io.Copy(io.Discard, in.from)
	in.from.Close()
}

// Stderr returns a writer to w which, during an upgrade, tells the process that began
// it as well what goes wrong.
func (in *Inherited) Stderr(w io.Writer) io.Writer {
	if !in.HandedOver() {
		return w
	}
	return &startWriter{w: w, from: in.from}
}

// startWriter writes to both; from may be gone.
type startWriter struct{ w, from io.Writer }

// Write implements io.Writer.
func (s *startWriter) Write(p []byte) (int, error) {
	s.from.Write(p)
	return s.w.Write(p)
}

// ListenProblem says why the address cannot be listened on, and what to do about it,
// where keys are what it comes from.
func ListenProblem(address string, err error, keys string) error {
	_, port, _ := net.SplitHostPort(address)
	number, _ := strconv.Atoi(port)
	_, ofName := errors.AsType[*net.DNSError](err)
	fix := "choose another " + keys
	switch {
	case errors.Is(err, errnoInUse):
		fix = "stop the program that listens there, or choose another " + keys
	case errors.Is(err, errnoForbidden) && number > 0 && number < 1024:
		fix = "let the gateway use ports below 1024 (CAP_NET_BIND_SERVICE), or choose another " + keys
	case errors.Is(err, errnoForbidden), errors.Is(err, errnoPermission):
		fix = "something forbids it, such as SELinux or a sandbox: allow it there, or choose another " + keys
	case errors.Is(err, errnoNoAddress):
		fix = "this machine has no such address: write one that it has, or none for all, as " + keys
	case errors.Is(err, errnoNoFamily):
		fix = "this machine has no addresses of this family: write one of the other as " + keys
	case ofName:
		fix = "no name server knows the host: write an address as " + keys
	case errors.Is(err, errnoFiles), errors.Is(err, errnoAllFiles):
		fix = "raise the limit of open files: ulimit -n"
	}
	return fmt.Errorf("cannot listen on %s: %w; %s", address, err, fix)
}
