package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// TestLean has connections beyond -listen.lean-after answered as those before, one
// request after the other and several at once, and holding less while they are idle.
func TestLean(t *testing.T) {
	origin := startOrigin(t, serveText(strings.Repeat("x", 200<<10)))
	var each [2]int64
	var stack int64                        // of a lean one
	conns := spareDescriptors(t, 2000) / 2 // enough for what earlier tests leave behind to be little
	for i, after := range []int{1 << 20, 0} {
		gw := startGateway(t, oneBucket("/pub", origin.URL)+"    cache: {enabled: true}\n", func(o *Options) { o.LogLevel, o.LeanAfter = "error", after })
		runtime.GC() // with heapNow's the second: buffers that are pooled are gone
		before, stacks := heapNow(), stacksNow()
		for range conns {
			c, err := net.Dial("tcp", gw.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			br := bufio.NewReaderSize(c, 1<<10)
			for _, n := range []int{1, 1, 3} {
				head := "GET /pub/x HTTP/1.1\r\nHost: a\r\nRange: bytes=0-99\r\n\r\n"
				if _, err := io.WriteString(c, strings.Repeat(head, n)); err != nil {
					t.Fatal(err)
				}
				for range n {
					expectPart(t, br, 100)
				}
			}
		}
		each[i], stack = (heapNow()-before)/int64(conns), (stacksNow()-stacks)/int64(conns)
	}
	t.Logf("%d bytes of each connection, lean %d, %d of stack; of them the test's own 2 KiB or so", each[0], each[1], stack)
	if each[0]-each[1] < 12<<10 {
		t.Errorf("a lean connection saves %d bytes, not its read buffer", each[0]-each[1])
	}
	if stack > 6<<10 && !raceEnabled {
		t.Errorf("the stack of a lean connection has %d bytes, as if it had handled the request", stack)
	}
}

func stacksNow() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.StackInuse)
}

func expectPart(t *testing.T, br *bufio.Reader, size int) {
	t.Helper()
	r, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusPartialContent || string(body) != strings.Repeat("x", size) {
		t.Fatalf("status %d, %d bytes, %v", r.StatusCode, len(body), err)
	}
}
