package pool

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
)

// TestBodyOverRecords reads whole bodies from behind TLS, where the head comes in a
// small buffer: alone, with a part of the body, and with all of it.
func TestBodyOverRecords(t *testing.T) {
	for _, size := range []int{1, smallSize - 100, smallSize, smallSize + 1, 40_000, DefaultBufferSize - 1, DefaultBufferSize} {
		for _, first := range []int{0, 1, 1000, size} {
			for _, surplus := range []string{"", "x"} {
				t.Run(fmt.Sprintf("%d bytes, %d with the head, surplus %q", size, first, surplus), func(t *testing.T) {
					body := noise(size)
					first := min(first, size)
					s := startScripted(t, true, func(c net.Conn, _ int, _ string) bool {
						c.Write(append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size), body[:first]...))
						io.WriteString(c, string(body[first:])+surplus)
						return surplus == ""
					})
					u := s.upstream()
					var x Exchange
					do(t, u, &x)
					if !x.FitsBuffer() {
						t.Fatal("it does not fit")
					}
					got, err := x.Body()
					if err != nil || !bytes.Equal(got, body) {
						t.Fatalf("%d bytes, %v", len(got), err)
					}
					if n := u.opts.Buffers.InUse(); n != 1 {
						t.Errorf("%d buffers", n)
					}
					x.Close()
					if surplus == "" {
						idle(t, u, 1)
					}
				})
			}
		}
	}
	t.Run("one byte too large", func(t *testing.T) {
		s := startScripted(t, true, answer(ok(string(noise(DefaultBufferSize+1)))))
		var x Exchange
		do(t, s.upstream(), &x)
		if x.FitsBuffer() {
			t.Error("it fits")
		}
		x.Close()
	})
}
