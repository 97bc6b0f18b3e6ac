//go:build !race

package limit

import (
	"net/netip"
	"testing"
	"time"
)

func TestAllocs(t *testing.T) {
	r, table := NewRate(Limit{1, 10}), NewTable(Limit{1, 10}, 1000)
	s := NewAddresses(prefixes("192.0.2.0/24 2001:db8::/32"), prefixes("192.0.2.7/32"))
	all, part := NewScope(&Bounds{All: Limit{1000, 10}, PerSubject: Limit{1000, 10}, MaxInFlight: 1, Clients: 1000}, nil), NewScope(&Bounds{PerAddress: Limit{1, 10}, Clients: 1000}, nil)
	a := netip.MustParseAddr("2001:db8::1")
	now, taken, refused, admitted := time.Duration(0), 0, 0, 0
	decide := func() {
		now += time.Millisecond
		if !s.Allow(a) {
			t.Fatal("refused")
		}
		if r.Take(now) == 0 {
			r.Return()
		}
		if table.Take(AddressKey(a), now) == 0 {
			taken++
		} else {
			refused++
		}
		if by, _ := all.Admit(part, a, now); by == Admitted {
			all.AdmitSubject(part, 7, a, now)
			all.Leave(part)
			admitted++
		}
	}
	r.Share()
	table.Share()
	decide()
	if n := testing.AllocsPerRun(2000, decide); n > 0 {
		t.Errorf("%v allocations per decision, want none", n)
	}
	if taken < 10 || refused < 1000 || admitted < 10 {
		t.Errorf("%d taken, %d refused, %d admitted", taken, refused, admitted)
	}
}
