package gateway

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestMemoryHoldsNoConnection has a client that does not read be answered from memory
// after the origin was asked: the only connection there is serves others meanwhile.
func TestMemoryHoldsNoConnection(t *testing.T) {
	body := sixteens(8 << 20)
	for says, then := range map[string]http.HandlerFunc{
		"REVALIDATED": version(body),
		"STALE":       s3Answer(500, "InternalError"),
	} {
		t.Run(says, func(t *testing.T) {
			origin := startScripted(t, version(body))
			yaml := onceYAML(cachedYAML(origin.URL, "ttl: 60s", "stale_if_error: 600s"))
			gw := startGateway(t, strings.Replace(yaml, "    s3:\n", "    s3:\n      max_connections: 1\n", 1))
			clock := gw.withClock()
			gw.expect(t, "/pub/x", 200, body, "MISS")
			gw.settleFills(t)
			clock.advance(61 * time.Second)
			origin.set(then)
			c := dial(t, gw.addr)
			c.(*net.TCPConn).SetReadBuffer(4096)
			fmt.Fprint(c, "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n")
			r, err := http.ReadResponse(bufio.NewReaderSize(c, 4096), nil)
			if err != nil || r.StatusCode != 200 || cacheHeader(r) != says {
				t.Fatalf("%v %v", r, err)
			}
			eventually(t, "the connection to the origin is let go of", func() bool { return gw.Origins.Buffers.InUse() == 0 })
			origin.set(version("v"))
			gw.expect(t, "/pub/other", 200, "v", "MISS")
		})
	}
}
