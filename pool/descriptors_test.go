package pool

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"yatagarasu/loadtest/rawserver"
)

// withoutDescriptors runs f while the process can open nothing.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := syscall.Rlimit{Cur: 0, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// TestNoDescriptors has connections fail for want of descriptors: neither the origin nor an
// address of it is to blame.
func TestNoDescriptors(t *testing.T) {
	s := rawserver.StartQuiet(t, []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	_, port, _ := net.SplitHostPort(s.Addr)
	for _, c := range []struct {
		name, host string
		answers    bool
	}{
		{"an address", "127.0.0.1", true},
		{"a name that needs a name server", "no-such-name.invalid", false},
	} {
		u := NewUpstream(Options{Address: net.JoinHostPort(c.host, port), Buffers: NewBuffers(DefaultBufferSize, 0), DialTimeout: 5 * time.Second})
		defer u.Close()
		var x Exchange
		head := []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		withoutDescriptors(t, func() {
			err := u.Do(&x, head, false)
			if ReasonOf(err) != ReasonDescriptors || ResultOf(err) != ResultNone {
				t.Errorf("%s: %v", c.name, err)
			}
		})
		if c.answers {
			if err := u.Do(&x, head, false); err != nil {
				t.Errorf("%s: %v, though there are descriptors again", c.name, err)
			}
			x.Close()
		}
	}

	u := NewUpstream(Options{Address: net.JoinHostPort("127.0.0.1", port), Buffers: NewBuffers(DefaultBufferSize, 0)})
	defer u.Close()
	u.addresses.list = append(u.addresses.list, u.addresses.list[0].Next())
	var x Exchange
	withoutDescriptors(t, func() {
		if err := u.Do(&x, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), false); ReasonOf(err) != ReasonDescriptors {
			t.Errorf("two addresses: %v", err)
		}
	})
	if n := u.addresses.putAside(); n != 0 {
		t.Errorf("%d addresses are put aside", n)
	}
}

// TestShortages has errors as the library wraps them.
func TestShortages(t *testing.T) {
	dial := func(ip string, call string, cause syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 80}, Err: os.NewSyscallError(call, cause)}
	}
	for _, c := range []struct {
		name string
		err  error
		want Reason
	}{
		{"EMFILE", dial("192.0.2.1", "socket", syscall.EMFILE), ReasonDescriptors},
		{"ENFILE", dial("192.0.2.1", "socket", syscall.ENFILE), ReasonDescriptors},
		{"ENOBUFS", dial("192.0.2.1", "socket", syscall.ENOBUFS), ReasonDescriptors},
		{"ENOMEM", dial("192.0.2.1", "connect", syscall.ENOMEM), ReasonDescriptors},
		{"no port left", dial("192.0.2.1", "connect", syscall.EADDRNOTAVAIL), ReasonDescriptors},
		{"no IPv6", dial("::1", "connect", syscall.EADDRNOTAVAIL), ReasonConnect},
		{"refused", dial("192.0.2.1", "connect", syscall.ECONNREFUSED), ReasonConnect},
		{"wrapped", fmt.Errorf("cannot ask a name server: %w", syscall.EMFILE), ReasonDescriptors},
		{"a file", &os.PathError{Op: "open", Path: "x", Err: syscall.EMFILE}, ReasonDescriptors},
		{"text alone", errors.New("too many open files"), ReasonConnect},
	} {
		if got := dialError(PhaseConnect, c.err); got.Reason != c.want {
			t.Errorf("%s: %s, want %s", c.name, got.Reason, c.want)
		}
	}
	if got := ioError(PhaseSend, true, dial("192.0.2.1", "write", syscall.ENOBUFS)); got.Reason != ReasonDescriptors {
		t.Errorf("a write without buffers: %s", got.Reason)
	}
}
