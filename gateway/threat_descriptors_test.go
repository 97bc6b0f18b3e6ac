package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"yatagarasu/pool"
)

func TestThreatWithoutDescriptors(t *testing.T) {
	t.Run("T92_no_descriptor_for_an_origin", func(t *testing.T) {
		origin := startFaulty(t, hangsUp(okHead+"Connection: close\r\nContent-Length: 5\r\n\r\nhello"))
		gw := startGateway(t, oneBucket("/pub", origin.endpoint))
		c := dial(t, gw.addr)
		answers := bufio.NewReader(c)
		ask := func(key string) (int, string) {
			t.Helper()
			fmt.Fprintf(c, "GET /pub/%s HTTP/1.1\r\nHost: x\r\n\r\n", key)
			r, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			return r.StatusCode, string(body)
		}
		if status, body := ask("x"); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		gw.settle(t)
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		none := syscall.Rlimit{Cur: 0, Max: limit.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
			t.Fatal(err)
		}
		defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
		for i := range 30 {
			if status, body := ask(fmt.Sprint("x", i)); status != 503 || !strings.Contains(body, `"overloaded"`) {
				t.Errorf("%d %s", status, body)
			}
		}
		if state, opens := gw.breakerOf(0); state != pool.BreakerClosed || opens > 0 {
			t.Errorf("the breaker is %v, and opened %d times", state, opens)
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		if status, body := ask("x"); status != 200 {
			t.Errorf("with descriptors again: %d %s", status, body)
		}
		gw.log.waitFor(t, `"reason":"descriptors"`)
	})
}

// TestClientsWithin has each limit of open files leave some for origins, and what is said to be
// wanted do.
func TestClientsWithin(t *testing.T) {
	for _, c := range []struct{ files, origins, want int }{
		{64, 1024, 3}, {256, 1024, 123}, {1024, 1024, 587}, {4096, 4, 3796}, {65536, 1024, 62176}, {1 << 20, 1 << 20, 698763}, {10, 1024, 1},
	} {
		if got := clientsWithin(c.files, c.origins); got != c.want {
			t.Errorf("%d descriptors, %d connections to origins: %d, want %d", c.files, c.origins, got, c.want)
		}
	}
	for _, clients := range []int{1, 100, 1000, 65536, 1_000_000} {
		for _, origins := range []int{1, 1024, 100_000} {
			n := filesFor(clients, origins)
			if got := clientsWithin(n, origins); got < clients {
				t.Errorf("%d clients, %d connections to origins: %d descriptors do for %d", clients, origins, n, got)
			}
			if got := clientsWithin(n*9/10, origins); got >= clients && clients > 1000 {
				t.Errorf("%d clients, %d connections to origins: %d descriptors are too many", clients, origins, n)
			}
		}
	}
}

// TestReloadKeepsDescriptors has a reload ask for more clients than there are descriptors for.
func TestReloadKeepsDescriptors(t *testing.T) {
	files := openFiles()
	gw := startGateway(t, "server: {ready: config, limits: {max_connections: 7}}\nbuckets:\n"+bucketYAML("main", "/pub", "http://127.0.0.1:1"))
	if got := gw.conns.Most(); got != 7 {
		t.Errorf("max_connections: 7 is %d", got)
	}
	c := mustConfig(t, fmt.Sprintf("server: {ready: config, limits: {max_connections: %d}}\nbuckets:\n", files)+bucketYAML("main", "/pub", "http://127.0.0.1:1"))
	gw.limitConns(c)
	if got, want := gw.conns.Most(), clientsWithin(files, 1024); got != want {
		t.Errorf("max_connections: %d is %d, want %d", files, got, want)
	}
	gw.log.waitFor(t, fmt.Sprintf(`"max_connections":%d,"allowed":%d,"open_files":%d,"wanted_open_files":%d`, files, clientsWithin(files, 1024), files, filesFor(files, 1024)))
	c.Server.Limits.MaxConnections = 0
	gw.limitConns(c)
	if got, want := gw.conns.Most(), clientsWithin(files, 1024); got != want {
		t.Errorf("no limit is %d, want %d", got, want)
	}
}
