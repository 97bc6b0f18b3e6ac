package gateway

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStopWaitsForLastBytes stops the gateway when all of a body is written, and its client has
// not received the last megabyte: with a container, what is in a socket then would be lost.
func TestStopWaitsForLastBytes(t *testing.T) {
	const size, last = 8 << 20, 1 << 20
	// The client reads all but the last megabyte, which fits into the gateway's socket.
	stopWithRest := func(t *testing.T, timeout time.Duration) (gw *testGateway, rest io.Reader, stopped <-chan error) {
		t.Helper()
		gw = startGateway(t, cachedYAML(startOrigin(t, serveText(strings.Repeat("0123456789abcdef", size/16))).URL), func(o *Options) { o.ShutdownTimeout = timeout })
		gw.do("GET", "/pub/x")
		gw.settleFills(t)
		r := slowClient(t, gw)
		stopped = gw.beginStop()
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, answer.Body, size-last); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the gateway waits for the client", func() bool { return strings.Contains(gw.log.String(), "waiting for clients to receive the last bytes") })
		return gw, answer.Body, stopped
	}
	t.Run("until they are received", func(t *testing.T) {
		_, rest, stopped := stopWithRest(t, time.Hour)
		select {
		case err := <-stopped:
			t.Fatalf("the gateway has stopped, with %v, before", err)
		case <-time.After(10 * closingPoll): // it goes on waiting
		}
		if n, err := io.Copy(io.Discard, rest); err != nil || n != last {
			t.Errorf("%d more bytes, %v", n, err)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	t.Run("for the timeout", func(t *testing.T) {
		gw, _, stopped := stopWithRest(t, 5*time.Second)
		if err := <-stopped; err != nil {
			t.Errorf("%v: nothing was cut", err)
		}
		if !strings.Contains(gw.log.String(), "clients have not received their last bytes") {
			t.Errorf("no word of it:\n%s", gw.log.String())
		}
	})
	t.Run("until a second signal", func(t *testing.T) {
		gw, _, stopped := stopWithRest(t, time.Hour)
		gw.signals <- syscall.SIGTERM
		if err := <-stopped; err != nil {
			t.Errorf("%v: nothing was cut", err)
		}
	})
}
