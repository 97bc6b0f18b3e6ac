//go:build !race

package pool

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// quiet is an origin that answers every request on a connection with the same
// bytes and allocates nothing while doing so.
func quiet(t testing.TB, response []byte) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer c.Close()
				buf, n := make([]byte, 4<<10), 0
				for {
					m, err := c.Read(buf[n:])
					if err != nil {
						return
					}
					if n += m; bytes.HasSuffix(buf[:n], headEnd) {
						n = 0
						if _, err := c.Write(response); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

func response(body []byte) []byte {
	return append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"e\"\r\nContent-Length: %d\r\n\r\n", len(body)), body...)
}

// TestExchangeAllocs guards an exchange on a kept connection.
func TestExchangeAllocs(t *testing.T) {
	body := noise(1 << 10)
	u := NewUpstream(Options{Address: quiet(t, response(body)), Buffers: NewBuffers(0, 0)})
	defer u.Close()
	head := []byte(getHead)
	var x Exchange
	run := func() {
		if err := u.Do(&x, head, false); err != nil {
			t.Fatal(err)
		}
		got, err := x.Body()
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		x.Close()
	}
	run()
	if n := testing.AllocsPerRun(300, run); n > 0 {
		t.Errorf("%v allocations per exchange, want 0", n)
	}
}

// TestStreamAllocs guards a body that is spliced.
func TestStreamAllocs(t *testing.T) {
	body := noise(300_000)
	u := NewUpstream(Options{Address: quiet(t, response(body)), Buffers: NewBuffers(0, 0)})
	defer u.Close()
	p := pace(t, 1<<10, time.Minute)
	ours, client := pair(t, false)
	got := make([]byte, len(body))
	arrived := make(chan error)
	read := make(chan bool)
	go func() { // ends with read
		for range read {
			_, err := io.ReadFull(client, got)
			arrived <- err
		}
	}()
	defer close(read)
	head := []byte(getHead)
	var x Exchange
	run := func() {
		read <- true
		if err := u.Do(&x, head, false); err != nil {
			t.Fatal(err)
		}
		n, err := x.Stream(ours, p)
		if err != nil || n != int64(len(body)) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if err := <-arrived; err != nil || !bytes.Equal(got, body) {
			t.Fatalf("the client has other bytes, %v", err)
		}
		x.Close()
	}
	run()
	if n := testing.AllocsPerRun(100, run); n > 0 {
		t.Errorf("%v allocations per streamed body, want 0", n)
	}
}
