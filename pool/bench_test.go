//go:build !race

package pool

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/loadtest/rawserver"
)

// BenchmarkExchange moves a body from an origin to a client over loopback, by
// an Exchange and by its twin, fasthttp.HostClient. Origin and client run in
// the same process and cost both the same; cpu-ns/op is the CPU time of the
// whole process, which counts what the kernel does for splice as well.
func BenchmarkExchange(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"1KiB", 1 << 10}, {"100KiB", 100 << 10}, {"1MiB", 1 << 20}, {"100MiB", 100 << 20}} {
		addr := rawserver.StartQuiet(b, response(noise(size.n))).Addr
		b.Run("own/"+size.name, func(b *testing.B) {
			u := NewUpstream(Options{Address: addr, Buffers: NewBuffers(DefaultBufferSize, 0)})
			defer u.Close()
			p := pace(b, 1<<10, time.Minute)
			head := []byte(getHead)
			var x Exchange
			measure(b, size.n, func(ours net.Conn) (int64, error) {
				defer x.Close()
				if err := u.Do(&x, head, false); err != nil {
					return 0, err
				}
				if !x.FitsBuffer() {
					return x.Stream(ours, p)
				}
				body, err := x.Body()
				if err != nil {
					return 0, err
				}
				n, err := ours.Write(body)
				return int64(n), err
			})
		})
		b.Run("hostclient/"+size.name, func(b *testing.B) {
			c := fasthttp.HostClient{Addr: addr, StreamResponseBody: true, ReadBufferSize: 16 << 10}
			var req fasthttp.Request
			req.SetRequestURI("http://" + addr + "/x")
			var resp fasthttp.Response
			measure(b, size.n, func(ours net.Conn) (int64, error) {
				if err := c.Do(&req, &resp); err != nil {
					return 0, err
				}
				n, err := io.Copy(ours, resp.BodyStream())
				resp.CloseBodyStream()
				return n, err
			})
		})
	}
}

// measure runs move, which sends a body of size bytes to its connection.
func measure(b *testing.B, size int, move func(net.Conn) (int64, error)) {
	ours, client := pair(b, false)
	go func() { // ends with the connection
		buf := make([]byte, 256<<10)
		for {
			if _, err := client.Read(buf); err != nil {
				return
			}
		}
	}()
	b.ReportAllocs()
	b.SetBytes(int64(size))
	begin := cpuTime()
	for b.Loop() {
		if n, err := move(ours); err != nil || n != int64(size) {
			b.Fatalf("%d bytes, %v", n, err)
		}
	}
	b.ReportMetric(float64(cpuTime()-begin)/float64(b.N), "cpu-ns/op")
}

// cpuTime returns the user and system time of the process.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkHead asks for heads, after each of which a connection rests: dials/op tells how
// many of them need a new one, conns how many there are in the end. The origin takes so long
// for each, as one over a network does.
func BenchmarkHead(b *testing.B) {
	for _, c := range []struct {
		name     string
		takes    time.Duration
		workers  int
		maxConns int
	}{
		{"serial", time.Millisecond, 1, 0},
		{"parallel", time.Millisecond, 16, 0},
		{"parallel/at once", 0, 16, 0},
		{"parallel/at the bound", time.Millisecond, 16, 32},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := rawserver.Start(b, nil, func(conn net.Conn, n int, head string) bool {
				time.Sleep(c.takes)
				return headAnswer(conn, n, head)
			})
			u := NewUpstream(Options{Address: s.Addr, Buffers: NewBuffers(0, 0), MaxConns: c.maxConns})
			defer u.Close()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for range c.workers {
				wg.Go(func() {
					var x Exchange
					for left.Add(-1) >= 0 {
						if err := u.Do(&x, []byte(headHead), true); err != nil {
							b.Error(err)
							return
						}
						x.Close()
					}
				})
			}
			wg.Wait()
			var stats Stats
			u.UpdateStats(&stats)
			b.ReportMetric(float64(stats.Dials)/float64(b.N), "dials/op")
			b.ReportMetric(float64(stats.Open), "conns")
		})
	}
}
