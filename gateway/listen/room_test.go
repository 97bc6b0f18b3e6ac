package listen

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
)

// TestRoom has a table that is full take one more connection. Each connection is written as its
// address, and what it did; one after another, a second apart.
func TestRoom(t *testing.T) {
	const (
		silent = "silent" // nothing
		idle   = "idle"   // a request, which was answered
		head   = "head"   // the beginning of one
		busy   = "busy"   // a whole one, which is not answered
	)
	for _, c := range []struct {
		name  string
		conns string
		again int // connection that has one more request answered at the end; 0: none
		want  int // the one that makes room, from 1; 0: the new one is refused
	}{
		{"the one idle longest", "a:idle a:idle a:idle", 0, 1},
		{"one that was used again does not", "a:idle a:idle a:idle", 1, 2},
		{"by idleness, not by age", "a:busy a:idle a:idle", 2, 3},
		{"one with a request does not", "a:busy a:busy a:idle", 0, 3},
		{"if all have one, none does", "a:busy b:busy c:busy", 0, 0},
		{"one that never sent anything", "a:busy a:silent a:busy", 0, 2},
		{"a silent one as an idle one", "a:idle a:silent a:idle", 0, 1},
		{"a head that does not end is no request", "a:busy a:head a:busy", 0, 2},
		{"a head counts from its first byte", "a:idle a:head a:silent", 0, 1},
		{"of the address that has most", "b:idle a:idle a:idle c:idle", 0, 2},
		{"of the address that has most without a request", "b:busy b:busy b:idle a:idle a:idle", 0, 4},
		{"of two that have as many, the longest", "b:idle a:idle a:idle b:idle c:idle", 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var table Conns
				kinds := strings.Fields(c.conns)
				table.Limit(len(kinds), 0)
				addr := func(of string) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, of[0]}) }
				request := func(conn *fakeConn) {
					table.Track(conn, fasthttp.StateActive)
					table.Serving(conn)
					table.Track(conn, fasthttp.StateIdle)
				}
				var conns []*fakeConn
				for _, kind := range kinds {
					conn := new(fakeConn)
					if !table.add(conn, addr(kind)) {
						t.Fatalf("%s is refused", kind)
					}
					conns = append(conns, conn)
				}
				for i, kind := range kinds { // once the table is full, as only then heads are looked at
					time.Sleep(time.Second) // of the test's own clock
					conn := conns[i]
					switch table.Track(conn, fasthttp.StateNew); kind[2:] {
					case idle:
						request(conn)
					case head:
						table.Track(conn, fasthttp.StateActive)
					case busy:
						table.Track(conn, fasthttp.StateActive)
						table.Serving(conn)
					case silent:
					default:
						t.Fatal(kind)
					}
				}
				time.Sleep(time.Second) // of the test's own clock
				if c.again > 0 {
					request(conns[c.again-1])
				}
				time.Sleep(time.Second) // of the test's own clock
				if added := table.add(new(fakeConn), addr("z")); added != (c.want > 0) {
					t.Errorf("added: %t", added)
				}
				for i, conn := range conns {
					if conn.shut.Load() != (i+1 == c.want) || conn.closed.Load() {
						t.Errorf("connection %d is shut: %t, closed: %t; want %d to make room", i+1, conn.shut.Load(), conn.closed.Load(), c.want)
					}
				}
				if n := table.Displaced.Load(); n != uint64(min(c.want, 1)) {
					t.Errorf("%d have made room", n)
				}
			})
		})
	}
}

// TestRoomInALargeTable makes room many times: always the one idle longest, though all are
// looked at only now and then, and none that was used since.
func TestRoomInALargeTable(t *testing.T) {
	const most = 4000
	var table Conns
	table.Limit(most, 0)
	own := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	conns := make([]*fakeConn, 0, 2*most)
	one := func() {
		conn := new(fakeConn)
		if !table.add(conn, own(len(conns))) {
			t.Fatalf("connection %d is refused", len(conns))
		}
		table.Track(conn, fasthttp.StateActive)
		table.Serving(conn)
		table.Track(conn, fasthttp.StateIdle)
		conns = append(conns, conn)
	}
	for range most {
		one()
	}
	used := map[int]bool{}
	next := 0 // the one idle longest
	for i := range 1000 {
		if i%10 == 5 {
			again := next + 3
			table.Track(conns[again], fasthttp.StateActive)
			table.Track(conns[again], fasthttp.StateIdle)
			used[again] = true
		}
		for used[next] {
			next++
		}
		one()
		if !conns[next].shut.Load() {
			t.Fatalf("connection %d does not make room", next)
		}
		table.Track(conns[next], fasthttp.StateClosed)
		next++
	}
	if n := table.Len(); n != most {
		t.Errorf("%d are open, want %d", n, most)
	}
	for i, conn := range conns {
		if conn.shut.Load() && (used[i] || i >= next) {
			t.Errorf("connection %d made room; used since: %t", i, used[i])
		}
	}
}

// TestRoomIsBounded has connections that were told to go stay open.
func TestRoomIsBounded(t *testing.T) {
	const most = 200
	for _, c := range []struct {
		name string
		then func(*Conns, *fakeConn) // what comes on one that was told
		wait time.Duration           // until the next ones come
		gone bool                    // it counts as gone for now
	}{
		{"nothing", func(*Conns, *fakeConn) {}, 0, true},
		{"nothing for long", func(*Conns, *fakeConn) {}, 2 * leaveTime, false},
		{"a head", func(table *Conns, conn *fakeConn) { table.Track(conn, fasthttp.StateActive) }, 0, true},
		{"a request", func(table *Conns, conn *fakeConn) {
			table.Track(conn, fasthttp.StateActive)
			table.Serving(conn)
		}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var table Conns
				table.Limit(most, 0)
				told := map[*fakeConn]bool{}
				var conns []*fakeConn
				open := func(n int) (refused int) {
					for range n {
						conn := new(fakeConn)
						if !table.add(conn, netip.MustParseAddr("192.0.2.1")) {
							refused++
						} else {
							conns = append(conns, conn)
						}
						if n := table.Len(); n > most+maxLeaving {
							t.Fatalf("%d are open", n)
						}
					}
					return refused
				}
				if open(most+maxLeaving) != 0 {
					t.Fatal("refused, though others make room")
				}
				for _, conn := range conns {
					if conn.shut.Load() {
						told[conn] = true
						c.then(&table, conn)
					}
				}
				if len(told) != maxLeaving {
					t.Fatalf("%d were told to go, want %d", len(told), maxLeaving)
				}
				time.Sleep(c.wait) // of the test's own clock
				if refused := open(20); refused != 20 {
					t.Errorf("%d of 20 are refused with as many beyond the limit as may be", refused)
				}
				close := func() (n int) { // the server notices
					for _, conn := range conns {
						if conn.shut.Load() && !told[conn] && table.find(conn) != nil {
							table.Track(conn, fasthttp.StateClosed)
							n++
						}
					}
					return n
				}
				if closed := close(); (closed == 0) != c.gone {
					t.Errorf("%d others are closed for those that stay", closed)
				}
				if c.gone {
					return
				}
				for range 20 { // those that stay count like any
					if open(1) != 0 || close() != 1 {
						t.Fatal("none makes room for a new one")
					}
				}
				if n := table.Len(); n != most {
					t.Errorf("%d are open, want %d", n, most)
				}
			})
		})
	}
}

// TestRoomAfterACrowd has a head begin while the table is crowded, and end when it is not: as
// others come again, its request is under way.
func TestRoomAfterACrowd(t *testing.T) {
	for name, displaced := range map[string]bool{"a_head": false, "a_head_that_is_told_to_go": true} {
		t.Run(name, func(t *testing.T) {
			var table Conns
			table.Limit(4, 0)
			add := func() *fakeConn {
				conn := new(fakeConn)
				if !table.add(conn, netip.MustParseAddr("192.0.2.1")) {
					t.Fatal("refused")
				}
				return conn
			}
			head := add()
			others := []*fakeConn{add(), add(), add()}
			table.Track(head, fasthttp.StateActive)
			if displaced {
				for _, conn := range others {
					table.Track(conn, fasthttp.StateActive)
					table.Serving(conn)
				}
				others = append(others, add())
			}
			for _, conn := range others {
				table.Track(conn, fasthttp.StateClosed)
			}
			table.Serving(head)
			if n := table.Active(); n != 1 {
				t.Errorf("%d are active, want the one whose head has ended", n)
			}
			for range 10 {
				add()
			}
			if head.shut.Load() != displaced {
				t.Errorf("told to go: %t", !displaced)
			}
			if n := table.CloseAll(); n != 1 {
				t.Errorf("%d requests are cut, want 1", n)
			}
			for c := range table.all {
				table.remove(c.conn)
			}
			if n := table.heads.Load(); n != 0 {
				t.Errorf("%d heads are left", n)
			}
		})
	}
}

// TestRoomInAnAddress keeps the limit of an address: none of its connections makes room.
func TestRoomInAnAddress(t *testing.T) {
	var table Conns
	table.Limit(3, 2)
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i, c := range []struct {
		addr netip.Addr
		want bool
	}{{one, true}, {one, true}, {one, false}, {other, true}, {other, true}, {other, false}} {
		if got := table.add(new(fakeConn), c.addr); got != c.want {
			t.Errorf("connection %d: %t", i, got)
		}
	}
	if n := table.Displaced.Load(); n != 1 {
		t.Errorf("%d made room, want the one for the limit of all", n)
	}
}

// BenchmarkRoom is what a new connection costs at the limit, with 65,536 open.
func BenchmarkRoom(b *testing.B) {
	for _, clients := range []int{1, 1 << 16} {
		b.Run(fmt.Sprintf("%dclients", clients), func(b *testing.B) {
			const most = 1 << 16
			var table Conns
			table.Limit(most, 0)
			n := 0
			add := func() bool {
				n++
				return table.add(&fakeConn{}, netip.AddrFrom4([4]byte{10, byte(n % clients >> 16), byte(n % clients >> 8), byte(n % clients)}))
			}
			for range most {
				add()
			}
			refused := 0
			for b.Loop() {
				if !add() {
					refused++
				}
				for c := range table.all { // the server notices
					if c.conn.(*fakeConn).shut.Load() {
						table.remove(c.conn)
					}
					break
				}
				if len(table.room.leaving) > maxLeaving/2 {
					b.StopTimer()
					for c := range table.all {
						if c.conn.(*fakeConn).shut.Load() {
							table.remove(c.conn)
						}
					}
					b.StartTimer()
				}
			}
			b.ReportMetric(float64(refused)/float64(b.N), "refused/op")
		})
	}
}
