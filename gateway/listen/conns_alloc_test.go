//go:build !race

package listen

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/valyala/fasthttp"
)

// TestConnStateAllocs guards what the state of connections costs each request.
func TestConnStateAllocs(t *testing.T) {
	t.Run("alone", func(t *testing.T) { guardConnState(t, new(Conns)) })
	crowded := new(Conns)
	crowded.Limit(1, 0)
	t.Run("crowded", func(t *testing.T) { guardConnState(t, crowded) })
}

func guardConnState(t *testing.T, table *Conns) {
	_, c := tcpPair(t)
	if !table.add(c, netip.MustParseAddr("192.0.2.1")) {
		t.Fatal("refused")
	}
	turn := func() {
		table.Track(c, fasthttp.StateActive)
		table.Serving(c)
		table.Track(c, fasthttp.StateIdle)
	}
	turn()
	if n := testing.AllocsPerRun(500, turn); n > 0 {
		t.Errorf("%v allocations per request, want 0", n)
	}
	if n := table.Active(); n != 0 {
		t.Errorf("%d connections are active, want 0", n)
	}
}

// BenchmarkConnState is what the states of its connection cost a request, among
// 10,000 connections.
func BenchmarkConnState(b *testing.B) {
	var table Conns
	conns := make([]net.Conn, 10_000)
	for i := range conns {
		conns[i] = &fakeConn{}
		if !table.add(conns[i], netip.MustParseAddr("192.0.2.1")) {
			b.Fatal("refused")
		}
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := rand.IntN(len(conns)); pb.Next(); i++ {
			c := conns[i%len(conns)]
			table.Track(c, fasthttp.StateActive)
			table.Track(c, fasthttp.StateIdle)
		}
	})
}
