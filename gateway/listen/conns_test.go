package listen

import (
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// fakeConn is a connection that knows whether it was shut.
type fakeConn struct {
	net.Conn
	shut, closed atomic.Bool
}

func (c *fakeConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func (c *fakeConn) CloseRead() error { c.shut.Store(true); return nil }

func (c *fakeConn) Close() error { c.closed.Store(true); return nil }

// tcpPair returns both ends of a connection.
func tcpPair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err = ln.(*net.TCPListener).AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

func TestConnsDrain(t *testing.T) {
	const (
		fresh  = fasthttp.StateNew
		active = fasthttp.StateActive
		idle   = fasthttp.StateIdle
	)
	for _, c := range []struct {
		name   string
		age    time.Duration // before Drain
		state  fasthttp.ConnState
		time   time.Duration // given to Drain
		then   fasthttp.ConnState
		after  time.Duration // from Drain to then
		shut   time.Duration // from Drain; -1: never
		silent bool          // there is no then
	}{
		{name: "an idle one at once", state: idle, silent: true, shut: 0},
		{name: "an idle one after its time", state: idle, time: 3 * time.Second, silent: true, shut: 3 * time.Second},
		{name: "one that was idle, and is not any more", state: idle, time: 3 * time.Second, then: active, after: time.Second, shut: -1},
		{name: "one with a request under way", state: active, silent: true, shut: -1},
		{name: "when the request has ended", state: active, then: idle, after: 10 * time.Second, shut: 10 * time.Second},
		{name: "some time after the request has ended", state: active, time: 3 * time.Second, then: idle, after: 10 * time.Second, shut: 13 * time.Second},
		{name: "a new one has time for its request", state: fresh, age: 2 * time.Second, silent: true, shut: 3 * time.Second},
		{name: "a new one that uses it", state: fresh, then: active, after: time.Second, shut: -1},
		{name: "one that has long been silent", state: fresh, age: time.Minute, silent: true, shut: 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var table Conns
				conn := new(fakeConn)
				table.add(conn, netip.MustParseAddr("192.0.2.1"))
				time.Sleep(c.age) // of the test's own clock
				table.Track(conn, c.state)
				began := time.Now()
				gone := table.Drain(c.time)
				if !c.silent {
					time.AfterFunc(c.after, func() { table.Track(conn, c.then) })
				}
				for time.Since(began) < time.Minute && !conn.shut.Load() {
					synctest.Wait()
					if !conn.shut.Load() {
						time.Sleep(100 * time.Millisecond) // of the test's own clock
					}
				}
				switch took := time.Since(began); {
				case c.shut < 0 && conn.shut.Load():
					t.Errorf("shut after %s", took)
				case c.shut >= 0 && took != c.shut:
					t.Errorf("shut after %s, want %s", took, c.shut)
				}
				select {
				case <-gone:
					t.Error("drained, but open")
				default:
				}
				table.remove(conn)
				select {
				case <-gone:
					t.Error("drained, but more may come")
				default:
				}
				table.Seal()
				<-gone
				<-table.Drain(0)
			})
		})
	}
}

// TestConnsDismissAnswers holds that a request which has arrived on an idle
// connection is still read when the connection is let go.
func TestConnsDismissAnswers(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems drop what has arrived")
	}
	client, server := tcpPair(t)
	var table Conns
	table.add(server, netip.MustParseAddr("192.0.2.1"))
	table.Track(server, fasthttp.StateIdle)
	const request = "GET / HTTP/1.1\r\n"
	io.WriteString(client, request)
	raw, err := server.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Read(func(fd uintptr) bool { // until it has arrived
		n, _, _ := unix.Recvfrom(int(fd), make([]byte, 100), unix.MSG_PEEK)
		return n == len(request)
	})
	if err != nil {
		t.Fatal(err)
	}
	table.Drain(0)
	got, err := io.ReadAll(server)
	if string(got) != request || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := io.WriteString(server, "answer"); err != nil {
		t.Errorf("the answer: %v", err)
	}
}
