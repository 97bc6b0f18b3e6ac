package faulty

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

const okHead = "HTTP/1.1 200 OK\r\n"

// TestScripts reads what each script writes for one request, byte for byte. The
// client has said that it sends no more, so a script that keeps the connection
// ends it too.
func TestScripts(t *testing.T) {
	for _, c := range []struct {
		name   string
		script Script
		want   string
	}{
		{"raw", Raw("anything\n"), "anything\n"},
		{"ok", OK("body", `ETag: "e"`, "X-Y: z"), okHead + "ETag: \"e\"\r\nX-Y: z\r\nContent-Length: 4\r\n\r\nbody"},
		{"status", Status(503, "<Error/>", "Retry-After: 1"), "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nRetry-After: 1\r\nContent-Length: 8\r\n\r\n<Error/>"},
		{"redirect", Redirect(307, "http://elsewhere/"), "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n"},
		{"too little", Truncate(3, 9, "X: y"), okHead + "X: y\r\nContent-Length: 9\r\n\r\n\x00\x00\x00"},
		{"too much", Truncate(3, 1), okHead + "Content-Length: 1\r\n\r\n\x00\x00\x00"},
		{"interim", Continue1xx(2, OK("")), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n" + okHead + "Content-Length: 0\r\n\r\n"},
		{"unsolicited", Unsolicited(OK("a"), "HTTP/1.1 200", 0), okHead + "Content-Length: 1\r\n\r\naHTTP/1.1 200"},
		{"unsolicited later", Unsolicited(OK("a"), "!", time.Millisecond), okHead + "Content-Length: 1\r\n\r\na!"},
		{"unsolicited after a close", Unsolicited(UntilClose("a"), "!", 0), okHead + "\r\na"},
		{"chunked", Chunked(strings.Repeat("a", 1001), true, "X: y"), okHead + "Transfer-Encoding: chunked\r\nX: y\r\n\r\n3e8\r\n" + strings.Repeat("a", 1000) + "\r\n1\r\na\r\n0\r\n\r\n"},
		{"chunked, cut off", Chunked("abc", false), okHead + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"},
		{"until close", UntilClose("abc"), okHead + "\r\nabc"},
		{"drip", Drip(time.Millisecond, "abc"), okHead + "Content-Length: 3\r\n\r\nabc"},
		{"delay", Delay(time.Millisecond, OK("")), okHead + "Content-Length: 0\r\n\r\n"},
		{"black hole", BlackHole(), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dial(t, started(t, c.script))
			send(t, conn, "GET / HTTP/1.1\r\n\r\n")
			conn.CloseWrite()
			if b, err := io.ReadAll(conn); err != nil || string(b) != c.want {
				t.Errorf("%q, %v\nwant %q", b, err, c.want)
			}
		})
	}
}

func TestDripAndDelayTakeTheirTime(t *testing.T) {
	const interval = 20 * time.Millisecond
	for name, s := range map[string]Script{"drip": Drip(interval, "abc"), "delay": Delay(3*interval, OK("abc"))} {
		begin := time.Now()
		r, err := http.Get(started(t, s).Endpoint())
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		if took := time.Since(begin); err != nil || string(b) != "abc" || took < 3*interval {
			t.Errorf("%s: %q, %v in %s", name, b, err, took)
		}
	}
}

func TestReset(t *testing.T) {
	for after, want := range map[int64]string{-1: "", 0: okHead + "Content-Length: 1048576\r\n\r\n", 3: okHead + "Content-Length: 1048579\r\n\r\n\x00\x00\x00"} {
		conn := dial(t, started(t, Reset(after)))
		send(t, conn, "GET / HTTP/1.1\r\n\r\n")
		if b, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) || string(b) != want {
			t.Errorf("after %d: %q, %v; want %q and a reset", after, b, err, want)
		}
	}
}

func TestEndlessUntilTheClientLeaves(t *testing.T) {
	for name, s := range map[string]Script{"body": Endless(), "head": EndlessHead()} {
		o := started(t, s)
		conn := dial(t, o)
		send(t, conn, "GET / HTTP/1.1\r\n\r\n")
		if n, err := io.CopyN(io.Discard, conn, 20<<20); err != nil {
			t.Errorf("%s ends after %d bytes: %v", name, n, err)
		}
		conn.Close()
		for deadline := time.Now().Add(5 * time.Second); o.Open() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s goes on without a client", name)
			}
		}
	}
}

func TestHugeHead(t *testing.T) {
	for _, n := range []int{0, 100, 20_000} {
		conn := dial(t, started(t, HugeHead(n)))
		send(t, conn, "GET / HTTP/1.1\r\n\r\n")
		conn.CloseWrite()
		b, err := io.ReadAll(conn)
		if err != nil || len(b) < n || len(b) > max(n, 60) || !strings.HasSuffix(string(b), "\r\n\r\n") {
			t.Errorf("%d: %d bytes, %v", n, len(b), err)
		}
	}
}

func TestCloseAfterClosesEachConnection(t *testing.T) {
	o := started(t, CloseAfter(2, OK("")))
	answer := okHead + "Content-Length: 0\r\n\r\n"
	for range 2 {
		conn := dial(t, o)
		send(t, conn, strings.Repeat("GET / HTTP/1.1\r\n\r\n", 2))
		if b, err := io.ReadAll(conn); err != nil || string(b) != answer+answer {
			t.Errorf("%q, %v", b, err)
		}
	}
}

func TestSequence(t *testing.T) {
	o := started(t, Sequence(CloseAfter(1, Raw("1")), Raw("2"), Raw("3")))
	for _, want := range []string{"1", "2", "3", "3"} {
		conn := dial(t, o)
		send(t, conn, "GET / HTTP/1.1\r\n\r\n")
		conn.CloseWrite()
		if b, err := io.ReadAll(conn); err != nil || string(b) != want {
			t.Errorf("%q, %v, want %q", b, err, want)
		}
	}
}
