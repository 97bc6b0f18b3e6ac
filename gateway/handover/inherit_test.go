package handover

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// descriptors copies the sockets to consecutive descriptors, and returns the first.
// Who inherits them closes them.
func descriptors(t *testing.T, sockets ...interface{ File() (*os.File, error) }) int {
	t.Helper()
	const first = 300 // nothing else comes near
	for i, s := range sockets {
		f, err := s.File()
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup2(int(f.Fd()), first+i); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return first
}

func tcpListener(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.(*net.TCPListener)
}

func TestInherit(t *testing.T) {
	first, second, third := tcpListener(t), tcpListener(t), tcpListener(t)
	local, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(t.TempDir(), "s")})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	datagram, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer datagram.Close()
	conn, err := net.DialTCP("tcp", nil, first.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	upgrading, other, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer upgrading.Close()
	defer other.Close()
	link := upgrading.(*net.UnixConn)

	const pid, parent = 77, 76
	type sockets []interface{ File() (*os.File, error) }
	for _, c := range []struct {
		name    string
		sockets sockets
		env     map[string]string // over LISTEN_FDS and LISTEN_PID as they should be
		want    map[string]*net.TCPListener
		upgrade bool
		err     string
	}{
		{name: "none"},
		{name: "one without a name", sockets: sockets{first}, want: map[string]*net.TCPListener{"http": first}},
		{name: "by name", sockets: sockets{first, second}, env: map[string]string{"LISTEN_FDNAMES": "metrics:http"}, want: map[string]*net.TCPListener{"metrics": first, "http": second}},
		{name: "the first is the main listener's", sockets: sockets{first, second}, env: map[string]string{"LISTEN_FDNAMES": "yatagarasu.socket:metrics"}, want: map[string]*net.TCPListener{"http": first, "metrics": second}},
		{name: "the first that is not the metrics listener's", sockets: sockets{first, second}, env: map[string]string{"LISTEN_FDNAMES": "metrics:yatagarasu.socket"}, want: map[string]*net.TCPListener{"metrics": first, "http": second}},
		{name: "three", sockets: sockets{first, second, third}, env: map[string]string{"LISTEN_FDNAMES": "redirect:a:metrics"}, want: map[string]*net.TCPListener{"redirect": first, "http": second, "metrics": third}},
		{name: "metrics alone", sockets: sockets{first}, env: map[string]string{"LISTEN_FDNAMES": "metrics"}, want: map[string]*net.TCPListener{"metrics": first}},
		{name: "two without names", sockets: sockets{first, second}, err: `inherited socket 301, named "", is one too many: a socket unit needs one ListenStream=, and FileDescriptorName=metrics`},
		{name: "two of one name", sockets: sockets{first, second, third}, env: map[string]string{"LISTEN_FDNAMES": "http:metrics:metrics"}, err: `socket 302, named "metrics", is one too many`},
		{name: "of an earlier process", sockets: sockets{link, first}, env: map[string]string{"LISTEN_PID": "", "YATAGARASU_PARENT": "76", "LISTEN_FDNAMES": "upgrade:http"}, want: map[string]*net.TCPListener{"http": first}, upgrade: true},
		{name: "of an earlier process that is no more", sockets: sockets{link, first}, env: map[string]string{"LISTEN_PID": "", "YATAGARASU_PARENT": "75", "LISTEN_FDNAMES": "upgrade:http"}, err: "is for a child of the process YATAGARASU_PARENT=75, and the parent of this one is 76"},
		{name: "an upgrade that is none", sockets: sockets{first, link}, env: map[string]string{"LISTEN_FDNAMES": "http:upgrade"}, err: `named "upgrade", is one too many`},
		{name: "another process's", sockets: sockets{first}, env: map[string]string{"LISTEN_PID": "78"}, err: "LISTEN_PID=78, and this one is 77; have a script that starts the gateway exec it"},
		{name: "nobody's", sockets: sockets{first}, env: map[string]string{"LISTEN_PID": ""}, err: "this one is 77"},
		{name: "a count that is none", env: map[string]string{"LISTEN_FDS": "two"}, err: `LISTEN_FDS is "two"`},
		{name: "a negative count", env: map[string]string{"LISTEN_FDS": "-1"}, err: `LISTEN_FDS is "-1"`},
		{name: "fewer than promised", sockets: sockets{first}, env: map[string]string{"LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:metrics"}, err: "socket 301, named \"metrics\", is no socket"},
		{name: "a datagram socket", sockets: sockets{datagram}, err: "is no TCP socket; use ListenStream="},
		{name: "a connection", sockets: sockets{conn}, err: "does not listen; use Accept=no"},
		{name: "a local socket", sockets: sockets{local}, err: "listens on unix; the gateway needs a TCP port"},
		{name: "all faults at once", sockets: sockets{datagram, conn}, env: map[string]string{"LISTEN_FDNAMES": "http:metrics"}, err: "does not listen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := map[string]string{"LISTEN_PID": strconv.Itoa(pid), "LISTEN_FDS": strconv.Itoa(len(c.sockets))}
			for k, v := range c.env {
				env[k] = v
			}
			in, err := inherit(func(name string) string { return env[name] }, pid, parent, descriptors(t, c.sockets...))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("the error is %v, want %q", err, c.err)
				}
				if env["LISTEN_PID"] == strconv.Itoa(pid) && c.sockets != nil {
					if _, err := unix.FcntlInt(300, unix.F_GETFD, 0); err != unix.EBADF {
						t.Errorf("a descriptor is left open: %v", err)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer in.close()
			if in.HandedOver() != c.upgrade {
				t.Errorf("handed over: %t, want %t", in.HandedOver(), c.upgrade)
			}
			if in.Any() != (c.sockets != nil) {
				t.Errorf("anything: %t", in.Any())
			}
			if len(in.listeners) != len(c.want) {
				t.Errorf("%d sockets, want %d", len(in.listeners), len(c.want))
			}
			for name, ln := range c.want {
				if in.listeners[name] == nil || in.listeners[name].Addr().String() != ln.Addr().String() {
					t.Errorf("%s is %v, want %v", name, in.listeners[name], ln.Addr())
				}
			}
		})
	}
}

func TestInheritedAddress(t *testing.T) {
	for _, c := range []struct {
		configured, actual string
		want               bool
	}{
		{"0.0.0.0:8080", "0.0.0.0:8080", true},
		{"0.0.0.0:8080", "[::]:8080", true},
		{":8080", "[::]:8080", true},
		{"127.0.0.1:0", "127.0.0.1:4242", true},
		{"gateway.example:8080", "192.0.2.1:8080", true},
		{"127.0.0.1:8080", "127.0.0.1:8081", false},
		{"127.0.0.1:8080", "0.0.0.0:8080", false},
		{":8080", "127.0.0.1:8080", false},
		{"0.0.0.0:8080", "127.0.0.1:8080", false},
		{"8080", "127.0.0.1:8080", false},
	} {
		actual, err := net.ResolveTCPAddr("tcp", c.actual)
		if err != nil {
			t.Fatal(err)
		}
		if got := sameAddress(c.configured, actual); got != c.want {
			t.Errorf("%s for %s: %v", c.configured, c.actual, got)
		}
	}
}

func TestNotifierEnvironment(t *testing.T) {
	for _, c := range []struct {
		name     string
		env      map[string]string
		address  string
		watchdog time.Duration
	}{
		{"nothing is set", nil, "", 0},
		{"a watchdog without a socket", map[string]string{"WATCHDOG_USEC": "1000"}, "", 0},
		{"socket alone", map[string]string{"NOTIFY_SOCKET": "/run/n"}, "/run/n", 0},
		{"abstract", map[string]string{"NOTIFY_SOCKET": "@n"}, "@n", 0},
		{"an address of another kind", map[string]string{"NOTIFY_SOCKET": "vsock:2:1"}, "", 0},
		{"watchdog of any process", map[string]string{"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000"}, "/run/n", 30 * time.Second},
		{"watchdog of this process", map[string]string{"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, "/run/n", 30 * time.Second},
		{"watchdog of another process", map[string]string{"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, "/run/n", 0},
		{"watchdog that is no time", map[string]string{"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "soon"}, "/run/n", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := zerolog.Nop()
			n := NewNotifier(func(name string) string { return c.env[name] }, 7, &log)
			address := ""
			if n.address != nil {
				address = n.address.Name
			}
			if address != c.address || n.watchdog != c.watchdog {
				t.Errorf("address %q, watchdog %s; want %q, %s", address, n.watchdog, c.address, c.watchdog)
			}
		})
	}
}

func TestProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	given := os.Args[0]
	defer func() { os.Args[0] = given }()
	for arg, want := range map[string]string{self: self, link: link, "sh": self, "/no/such/file": self} {
		os.Args[0] = arg
		if got, err := Program(); err != nil || got != want {
			t.Errorf("started as %s: %s, %v; want %s", arg, got, err, want)
		}
	}
}
