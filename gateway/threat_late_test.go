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
									arrived(conn) // what comes after the next request is its answer, to whoever sees it
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

// TestThreatOriginLines has origins write heads that two readers may read differently.
func TestThreatOriginLines(t *testing.T) {
	const length = "Content-Length: 4\r\n"
	for name, head := range map[string]string{
		"T91c_bare_LF_after_the_status":  "HTTP/1.1 200 OK\n" + length,
		"T91c_bare_LF_after_a_header":    okHead + "A: b\nContent-Type: text/html\r\n" + length,
		"T91c_bare_LF_before_the_end":    okHead + "Content-Length: 4\n",
		"T91d_two_types":                 okHead + "Content-Type: text/plain\r\nContent-Type: text/html\r\n" + length,
		"T91d_two_codings":               okHead + "Content-Encoding: gzip\r\nContent-Encoding: br\r\n" + length,
		"T91d_two_tags":                  okHead + "ETag: \"f\"\r\n" + length,
		"T91d_two_dispositions":          okHead + "Content-Disposition: inline\r\nContent-Disposition: attachment\r\n" + length,
		"T91d_two_dates_of_modification": okHead + "Last-Modified: Fri, 02 Jan 2026 03:04:05 GMT\r\nLast-Modified: Sat, 03 Jan 2026 03:04:05 GMT\r\n" + length,
	} {
		t.Run(name, func(t *testing.T) {
			origin := startFaulty(t, func(c net.Conn, _ string) bool {
				io.WriteString(c, head+"\r\nbody")
				return true
			})
			gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+bucketYAML("main", "/pub", origin.endpoint)+"    cache: {enabled: true}\n"+bucketYAML("raw", "/raw", origin.endpoint))
			for i, target := range []string{"/pub/x", "/pub/x", "/raw/x"} {
				if r, body := gw.do("GET", target); r.StatusCode != 502 || strings.Contains(string(body), "body") {
					t.Errorf("%s: status %d, %q", target, r.StatusCode, body)
				}
				if n := origin.Requests.Load(); n != int64(i+1) {
					t.Errorf("%d requests after %d", n, i+1)
				}
			}
			gw.log.waitFor(t, `"reason":"protocol"`)
			gw.settle(t)
			if n := origin.Conns.Load(); n != 3 {
				t.Errorf("%d connections, want a new one each time", n)
			}
		})
	}
}
