package limit

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestAdmit has each limit of a whole, and of a part of it, refuse, and give back to the rates that
// others share what it refuses.
func TestAdmit(t *testing.T) {
	one, two := Limit{0.001, 1}, Limit{0.001, 2}
	client := netip.MustParseAddr("192.0.2.7")
	for _, c := range []struct {
		name     string
		all, own Bounds
		asked    int // requests
		want     Refusal
		rate     bool // the rate of all still has a token
	}{
		{"nothing refuses", Bounds{All: Limit{0.001, 3}}, Bounds{}, 2, Admitted, true},
		{"addresses of all", Bounds{All: one, Deny: prefixes("192.0.2.0/24")}, Bounds{}, 1, ByAddress, true},
		{"addresses of a part", Bounds{All: one}, Bounds{Allow: prefixes("192.0.3.0/24")}, 1, ByAddress, true},
		{"rate of all", Bounds{All: one}, Bounds{All: two}, 2, ByRate, false},
		{"rate of a part", Bounds{All: two}, Bounds{All: one}, 2, ByOwnRate, true},
		{"rate of an address", Bounds{All: two, PerAddress: one}, Bounds{PerAddress: two}, 2, ByAddressRate, true},
		{"rate of an address, of a part", Bounds{All: two, PerAddress: two}, Bounds{PerAddress: one}, 2, ByAddressRate, true},
		{"requests under way", Bounds{All: two, MaxInFlight: 1}, Bounds{MaxInFlight: 2}, 2, ByInFlight, true},
		{"requests under way, of a part", Bounds{All: two, MaxInFlight: 2}, Bounds{MaxInFlight: 1}, 2, ByOwnInFlight, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.all.Clients, c.own.Clients = 100, 100
			all, own := NewScope(&c.all, nil), NewScope(&c.own, nil)
			var by Refusal
			for range c.asked {
				if by != Admitted {
					t.Fatalf("refused by %d too soon", by)
				}
				by, _ = all.Admit(own, client, 0)
			}
			if by != c.want {
				t.Errorf("refused by %d, want %d", by, c.want)
			}
			if taken := all.rate.Take(0) == 0; taken != c.rate {
				t.Errorf("the rate of all has a token: %t", taken)
			}
			under := int64(c.asked)
			if c.want != Admitted {
				under--
			}
			if all.InFlight.Load() != under || own.InFlight.Load() != under {
				t.Errorf("%d and %d count as under way, want %d", all.InFlight.Load(), own.InFlight.Load(), under)
			}
			for range under {
				all.Leave(own)
			}
			if by, _ := all.Admit(nil, netip.MustParseAddr("2001:db8::1"), time.Hour); by == Admitted && all.InFlight.Load() != 0 {
				t.Error("a request for no part counts as under way")
			}
		})
	}
}

// TestAdmitSubject has the rates of a subject refuse, and the request be given back.
func TestAdmitSubject(t *testing.T) {
	one, two := Limit{0.001, 1}, Limit{0.001, 2}
	client := netip.MustParseAddr("192.0.2.7")
	for name, c := range map[string]struct{ all, own Bounds }{
		"of all":    {Bounds{All: two, PerSubject: one}, Bounds{All: two}},
		"of a part": {Bounds{All: two, PerAddress: two, PerSubject: two}, Bounds{All: two, PerSubject: one}},
	} {
		c.all.Clients, c.own.Clients = 100, 100
		all, own := NewScope(&c.all, nil), NewScope(&c.own, nil)
		for i := range 2 {
			if by, _ := all.Admit(own, client, 0); by != Admitted {
				t.Fatalf("%s: refused by %d", name, by)
			}
			if wait := all.AdmitSubject(own, 7, client, 0); (wait > 0) != (i == 1) {
				t.Errorf("%s: request %d waits %v", name, i, wait)
			}
		}
		if all.rate.Take(0) > 0 || own.rate.Take(0) > 0 {
			t.Errorf("%s: the refused request is not given back", name)
		}
	}
}

// TestScopesFollow has a scope take over what has not changed.
func TestScopesFollow(t *testing.T) {
	b := Bounds{All: Limit{1, 1}, PerAddress: Limit{1, 1}, PerSubject: Limit{1, 1}, Clients: 100, Shared: true}
	old := NewScope(&b, nil)
	old.InFlight.Add(1)
	b.PerAddress.Burst = 2
	s := NewScope(&b, old)
	if s.rate != old.rate || s.perSubject != old.perSubject || s.perAddress == old.perAddress || s.InFlight.Load() != 1 {
		t.Error("what is the same is not taken over, or what is not is")
	}
	var names []string
	for name, rate := range s.Rates() {
		names = append(names, name)
		if _, burst := rate.Limit(); (burst == 2000) != (name == "address") {
			t.Errorf("%s: a burst of %d", name, burst)
		}
	}
	if !slices.Equal(names, []string{"all", "address", "subject"}) {
		t.Errorf("shared are %q", names)
	}
	if s.perAddress.Take(7, 0); len(s.perAddress.Collect(make([]Used, 0, 1))) != 1 {
		t.Error("what is taken of a new rate is not noted")
	}
	for name := range s.Rates() {
		if name != "all" {
			t.Errorf("%s follows the end", name)
		}
		break
	}
}
