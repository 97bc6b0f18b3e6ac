package gateway

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"yatagarasu/loadtest/rawserver"
)

// TestThreatLate has origins send a response of their choice some time after another one,
// whose connection answers everything with it from then on. No other object may get it, from
// the origin or from the cache. The answer to HEAD takes its time, so that the rest of its
// connection is long enough for a busy machine.
func TestThreatLate(t *testing.T) {
	const evil = okHead + "Content-Length: 4\r\n\r\nevil"
	for _, c := range []struct {
		name, method, first string
		takes               time.Duration
	}{
		{"T91a_HEAD", "HEAD", okHead + "Content-Length: 60\r\n\r\n", 300 * time.Millisecond},
		{"T91a_HEAD_without_a_length", "HEAD", okHead + "\r\n", 300 * time.Millisecond},
		{"T91a_304", "GET", "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nContent-Length: 60\r\n\r\n", 0},
		{"T91a_304_chunked", "GET", "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
		{"T91a_204", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 60\r\n\r\n", 0},
		{"T91b_complete", "GET", okHead + "Content-Length: 4\r\n\r\nbody", 0},
	} {
		for _, after := range []time.Duration{time.Millisecond, 5 * time.Millisecond} {
			for _, scheme := range []string{"http", "https"} {
				for _, cached := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/after_%s/%s/cache_%t", c.name, after, scheme, cached), func(t *testing.T) {
						t.Parallel()
						late := make(chan bool, 2)
						var dirty sync.Map // connections on which it comes
						script := func(conn net.Conn, _ int, head string) bool {
							switch _, here := dirty.Load(conn); {
							case here:
								io.WriteString(conn, evil)
							case strings.Contains(head, "/things/dirty"):
								dirty.Store(conn, true)
								time.Sleep(c.takes)
								io.WriteString(conn, c.first)
								go func() { // ends with its write
									time.Sleep(after) // the lateness, which is what is tested
									io.WriteString(conn, evil)
									late <- true
								}()
							default:
								io.WriteString(conn, okHead+"Content-Length: 4\r\n\r\ngood")
							}
							return true
						}
						var config *tls.Config
						var more []string
						if scheme == "https" {
							cert, key := writeCertificate(t)
							pair, err := tls.LoadX509KeyPair(cert, key)
							if err != nil {
								t.Fatal(err)
							}
							config = &tls.Config{Certificates: []tls.Certificate{pair}}
							more = append(more, fmt.Sprintf("ca_file: %q", cert))
						}
						yaml := oneBucket("/pub", scheme+"://"+rawserver.Start(t, config, script).Addr, more...)
						if cached {
							yaml += "    cache: {enabled: true}\n"
						}
						gw := startGateway(t, yaml)
						clean := func(name string) {
							t.Helper()
							for range 2 {
								if r, body := gw.do("GET", "/pub/"+name); r.StatusCode != 200 || string(body) != "good" {
									t.Errorf("%s: status %d, %q", name, r.StatusCode, body)
								}
							}
						}
						for i := range 2 {
							gw.do(c.method, fmt.Sprint("/pub/dirty", i), `If-None-Match: "e"`)
							if !strings.HasPrefix(c.name, "T91b") { // it is on its way
								clean(fmt.Sprint("during", i))
							}
							<-late
							clean(fmt.Sprint("after", i))
						}
						gw.settle(t)
					})
				}
			}
		}
	}
}
