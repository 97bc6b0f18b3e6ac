package gateway

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"yatagarasu/gateway/handover"
)

// TestInheritClears holds that a child of the gateway cannot take the variables for
// its own.
func TestInheritClears(t *testing.T) {
	for name, value := range map[string]string{"LISTEN_FDS": "0", "LISTEN_PID": strconv.Itoa(os.Getpid()), "LISTEN_FDNAMES": "", "LISTEN_PIDFDID": "1"} {
		t.Setenv(name, value)
	}
	if _, err := handover.Inherit(); err != nil {
		t.Fatal(err)
	}
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "LISTEN_") {
			t.Errorf("%s is still set", e)
		}
	}
}

// TestInheritedListener serves on an inherited socket, whose connections must be
// what those of a listener of its own are.
func TestInheritedListener(t *testing.T) {
	socket, metrics := listenLocal(t), listenLocal(t)
	in := handover.NewInherited(nil, map[string]*net.TCPListener{handover.SocketMain: socket, handover.SocketMetrics: metrics})
	g := handlerGateway(t, "http://127.0.0.1:1", "warn")
	g.opts.Inherited = in
	l, err := g.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Addr().String() != socket.Addr().String() {
		t.Errorf("listens on %s, not on the inherited %s", l.Addr(), socket.Addr())
	}
	expectBareTCP(t, l)
	dial(t, metrics.Addr().String()).Close() // it is left, for the metrics listener
	in.CloseUnused(&g.Log)
	if c, err := net.Dial("tcp", metrics.Addr().String()); err == nil {
		c.Close()
		t.Error("the unused socket is kept")
	}
}

// listenLocal returns a socket on loopback.
func listenLocal(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.(*net.TCPListener)
}
