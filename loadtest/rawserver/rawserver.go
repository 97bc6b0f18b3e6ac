// Package rawserver is an HTTP origin for tests that answers with whatever
// bytes a script chooses, over a raw connection.
package rawserver

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Script answers request n of connection c, counted from 1; head is the request
// head as it came. The connection is closed when Script returns false.
type Script func(c net.Conn, n int, head string) bool

// Server is a running origin. It ends, with all its connections, when the test
// does.
type Server struct {
	Addr     string       // host:port on loopback
	Conns    atomic.Int64 // connections accepted so far
	Requests atomic.Int64 // requests so far

	mu   sync.Mutex // guards open
	open []net.Conn
}

// Start starts an origin; over TLS if config is not nil.
func Start(t testing.TB, config *tls.Config, script Script) *Server {
	t.Helper()
	return start(t, func(s *Server, c net.Conn) {
		if config != nil {
			c = tls.Server(c, config)
		}
		s.serve(c, script)
	})
}

// StartQuiet starts an origin that answers every request with the same bytes
// and allocates nothing while doing so, for counting the allocations of others.
func StartQuiet(t testing.TB, response []byte) *Server {
	t.Helper()
	return start(t, func(_ *Server, c net.Conn) { repeat(c, response) })
}

func start(t testing.TB, serve func(*Server, net.Conn)) *Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: ln.Addr().String()}
	t.Cleanup(func() {
		ln.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range s.open {
			c.Close()
		}
	})
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if errors.Is(err, syscall.EMFILE) {
				time.Sleep(time.Millisecond) // a test has none left: there is nothing else to wait for
				continue
			}
			if err != nil {
				return
			}
			s.Conns.Add(1)
			s.mu.Lock()
			s.open = append(s.open, c)
			s.mu.Unlock()
			go func() { // ends with the connection
				defer c.Close()
				serve(s, c)
			}()
		}
	}()
	return s
}

func (s *Server) serve(c net.Conn, script Script) {
	defer c.Close()
	br := bufio.NewReader(c)
	for n := 1; ; n++ {
		var head strings.Builder
		for !strings.HasSuffix(head.String(), "\r\n\r\n") {
			line, err := br.ReadString('\n')
			if err != nil {
				return
			}
			head.WriteString(line)
		}
		s.Requests.Add(1)
		if !script(c, n, head.String()) {
			return
		}
	}
}

func repeat(c net.Conn, response []byte) {
	buf, n := make([]byte, 8<<10), 0
	for {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		if n += m; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			n = 0
			if _, err := c.Write(response); err != nil {
				return
			}
		}
	}
}
