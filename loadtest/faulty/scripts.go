package faulty

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Raw writes text and keeps the connection.
func Raw(text string) Script {
	return func(c net.Conn, _ *Request) bool {
		_, err := io.WriteString(c, text)
		return err == nil
	}
}

// OK answers 200 with body, none to HEAD, its Content-Length and headers, each
// "Name: value".
func OK(body string, headers ...string) Script { return respond(http.StatusOK, body, headers) }

// Status answers code with an error document, as S3 writes them, and headers.
func Status(code int, xml string, headers ...string) Script {
	return respond(code, xml, append([]string{"Content-Type: application/xml"}, headers...))
}

// Redirect answers code with a Location and no body.
func Redirect(code int, location string) Script {
	return respond(code, "", []string{"Location: " + location})
}

func respond(code int, body string, headers []string) Script {
	answer := head(code, int64(len(body)), headers)
	return func(c net.Conn, r *Request) bool {
		text := answer
		if r.Method != http.MethodHead {
			text += body
		}
		_, err := io.WriteString(c, text)
		return err == nil
	}
}

// head returns a response head; a negative length leaves Content-Length out.
func head(code int, length int64, headers []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", code, http.StatusText(code))
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if length >= 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", length)
	}
	return b.String() + "\r\n"
}

// Truncate claims a body of claim bytes, sends n and closes. With n over claim it
// sends more than it said.
func Truncate(n, claim int64, headers ...string) Script {
	return func(c net.Conn, _ *Request) bool {
		if _, err := io.WriteString(c, head(http.StatusOK, claim, headers)); err == nil {
			io.CopyN(c, zeros{}, n)
		}
		return false
	}
}

// Reset sends the first after bytes of a body that is said to be longer, then
// resets the connection; a negative after resets it before the head. The kernel
// may drop the last bytes with the reset where the client does not keep up.
func Reset(after int64) Script {
	return func(c net.Conn, _ *Request) bool {
		if after >= 0 {
			if _, err := io.WriteString(c, head(http.StatusOK, after+1<<20, nil)); err == nil {
				io.CopyN(c, zeros{}, after)
			}
		}
		tcp(c).SetLinger(0)
		tcp(c).Close() // under TLS too: no close_notify alert before the reset
		return false
	}
}

// Drip answers like OK, a byte of the body at each interval.
func Drip(interval time.Duration, body string, headers ...string) Script {
	return func(c net.Conn, r *Request) bool {
		if _, err := io.WriteString(c, head(http.StatusOK, int64(len(body)), headers)); err != nil {
			return false
		}
		for i := range len(body) {
			if !r.Wait(interval) {
				return false
			}
			if _, err := io.WriteString(c, body[i:i+1]); err != nil {
				return false
			}
		}
		return true
	}
}

// Endless sends a body of 1 EiB, as fast as the client takes it.
func Endless(headers ...string) Script { return Truncate(1<<60, 1<<60, headers...) }

// EndlessHead sends header lines until the client leaves.
func EndlessHead() Script {
	lines := strings.Repeat("X-Padding: "+strings.Repeat("x", 100)+"\r\n", 100)
	return func(c net.Conn, _ *Request) bool {
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n")
		for err == nil {
			_, err = io.WriteString(c, lines)
		}
		return false
	}
}

// HugeHead answers 200 with a head of n bytes, at least those it needs, and no body.
func HugeHead(n int) Script {
	short := head(http.StatusOK, 0, []string{"X-Padding: "})
	return OK("", "X-Padding: "+strings.Repeat("x", max(0, n-len(short))))
}

// Continue1xx sends n interim responses, 100 and 103 in turn, and then s.
func Continue1xx(n int, s Script) Script {
	return func(c net.Conn, r *Request) bool {
		for i := range n {
			text := "HTTP/1.1 100 Continue\r\n\r\n"
			if i%2 == 1 {
				text = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
			}
			if _, err := io.WriteString(c, text); err != nil {
				return false
			}
		}
		return s(c, r)
	}
}

// Unsolicited answers as s does and sends extra after it: at once when late is 0,
// else that much later, when the client has pooled the connection.
func Unsolicited(s Script, extra string, late time.Duration) Script {
	return func(c net.Conn, r *Request) bool {
		if !s(c, r) || late > 0 && !r.Wait(late) {
			return false
		}
		_, err := io.WriteString(c, extra)
		return err == nil
	}
}

// Chunked answers 200 with body in chunks of at most 1,000 bytes. Without
// terminated it closes before the last, empty chunk: a truncation that looks like
// an end.
func Chunked(body string, terminated bool, headers ...string) Script {
	var b strings.Builder
	b.WriteString(head(http.StatusOK, -1, append([]string{"Transfer-Encoding: chunked"}, headers...)))
	for body != "" {
		n := min(len(body), 1000)
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	if terminated {
		return Raw(b.String() + "0\r\n\r\n")
	}
	return CloseAfter(1, Raw(b.String()))
}

// UntilClose answers 200 with a body that has no length and ends with the
// connection.
func UntilClose(body string, headers ...string) Script {
	return CloseAfter(1, Raw(head(http.StatusOK, -1, headers)+body))
}

// BlackHole reads on and never answers.
func BlackHole() Script {
	return func(c net.Conn, _ *Request) bool {
		io.Copy(io.Discard, c) // ends when the client leaves or the origin closes
		return false
	}
}

// Delay waits before it answers as s does.
func Delay(d time.Duration, s Script) Script {
	return func(c net.Conn, r *Request) bool { return r.Wait(d) && s(c, r) }
}

// CloseAfter answers as s does and closes each connection after its n-th answer,
// without a word about it in the response.
func CloseAfter(n int, s Script) Script {
	return func(c net.Conn, r *Request) bool { return s(c, r) && r.OnConn < n }
}

// Sequence answers the origin's first request with the first script and so on, by
// Request.N; the last one answers all that follow. There must be one.
func Sequence(scripts ...Script) Script {
	return func(c net.Conn, r *Request) bool {
		return scripts[min(r.N, int64(len(scripts)))-1](c, r)
	}
}

// tcp returns the socket under c.
func tcp(c net.Conn) *net.TCPConn {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	return c.(*net.TCPConn)
}

// zeros reads as zero bytes without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
