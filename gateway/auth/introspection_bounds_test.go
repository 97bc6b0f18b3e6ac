package auth

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestIntrospectionOnce has a thousand requests with one new token at a time.
func TestIntrospectionOnce(t *testing.T) {
	j := newJudge(t)
	j.set("new", active(""))
	j.hold = make(chan struct{})
	p := j.policy(t, NewGuard(usual, 1000, nil))
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			token := "new"
			if i%10 == 0 {
				token = "bad"
			}
			q := request(token, "x")
			q.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			want := map[string]Reason{"new": Allowed, "bad": TokenInactive}[token]
			if v := p.Authorize(q); v.Reason != want {
				t.Errorf("%s: %s", token, v.Reason)
			}
		})
	}
	for deadline := time.Now().Add(10 * time.Second); j.lookUps("new") == 0 || j.lookUps("bad") == 0; time.Sleep(time.Millisecond) { // until they are asked about
		if time.Now().After(deadline) {
			t.Fatal("nobody asks")
		}
	}
	close(j.hold)
	all.Wait()
	if j.lookUps("new") != 1 || j.lookUps("bad") != 1 {
		t.Errorf("%d and %d look-ups", j.lookUps("new"), j.lookUps("bad"))
	}
	// One that looked for the verdict before it was there, and came when nobody was asking any more.
	if e := p.verifyOnce([]byte("new"), sumOf("new"), request("new", "x")); e.reason != Allowed || j.lookUps("new") != 1 {
		t.Errorf("one that comes late: %s, %d look-ups", e.reason, j.lookUps("new"))
	}
	if len(p.flights.waiting) != 0 {
		t.Errorf("%d flights are left", len(p.flights.waiting))
	}
}

// TestIntrospectionCharges has a client send tokens that the issuer does not know: it is bounded, and
// others are not.
func TestIntrospectionCharges(t *testing.T) {
	j := newJudge(t)
	p := j.policy(t, NewGuard(usual, 1000, nil))
	from := func(client, token string) Reason {
		q := request(token, "x")
		q.Client = netip.MustParseAddr(client)
		return p.Authorize(q).Reason
	}
	counts := make(map[Reason]int)
	for i := range 3 * usual.Burst {
		counts[from("192.0.2.1", fmt.Sprint("guess", i))]++
	}
	if counts[TokenInactive] < usual.Burst || counts[TokenInactive] > usual.Burst+25 || counts[TooManyFailures] == 0 || len(counts) != 2 {
		t.Errorf("%v", counts)
	}
	j.set("good", active(""))
	if r := from("192.0.2.1", "good"); r != TooManyFailures {
		t.Errorf("a good token of that client: %s", r)
	}
	if r := from("192.0.2.2", "good"); r != Allowed {
		t.Errorf("of another: %s", r)
	}
	if r := from("192.0.2.1", "good"); r != Allowed {
		t.Errorf("remembered: %s", r)
	}
}

// TestIntrospectionOfOneWhoMakesItFail has one client send tokens that the issuer stumbles over while
// nobody else asks, or is slow with: others are served, and those tokens are not asked about for long.
func TestIntrospectionOfOneWhoMakesItFail(t *testing.T) {
	for _, slow := range []bool{false, true} {
		t.Run(fmt.Sprint("slow ", slow), func(t *testing.T) {
			j := newJudge(t)
			var evil atomic.Int64
			issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case !strings.HasPrefix(r.PostFormValue("token"), "evil"):
					j.Config.Handler.ServeHTTP(w, r)
				case evil.Add(1) > 0 && slow:
					<-r.Context().Done()
				default:
					w.WriteHeader(http.StatusBadRequest)
				}
			}))
			defer issuer.Close()
			a := loadAuth(t, "jwt: {introspection: {url: \""+issuer.URL+"\", client_id: g, client_secret: s, timeout: 1s}}")
			v, err := NewVerifier(a.JWT, Options{})
			if err != nil {
				t.Fatal(err)
			}
			p := NewPolicy(a, "files", v, NewTokenCache(1000, 1<<20), NewGuard(usual, 1000, nil))
			from := func(client, token string) Reason {
				q := request(token, "x")
				q.Client = netip.MustParseAddr(client)
				return p.Authorize(q).Reason
			}
			var all sync.WaitGroup
			for i := range 20 {
				all.Go(func() {
					for k := range 20 {
						if r := from("192.0.2.1", fmt.Sprint("evil", i, "-", k)); r != IssuerUnavailable {
							t.Error(r)
						}
					}
				})
			}
			all.Wait()
			if n := evil.Load(); n > 50 {
				t.Errorf("%d look-ups for who has failed", n)
			}
			for _, token := range []string{"one", "two"} {
				j.set(token, active(""))
				if r := from("192.0.2.2", token); r != Allowed {
					t.Errorf("another client: %s", r)
				}
			}
			if r := from("192.0.2.2", "bad"); r != TokenInactive {
				t.Errorf("another client's bad token: %s", r)
			}
			if n := j.lookUps("one"); n != 1 {
				t.Errorf("%d look-ups", n)
			}
		})
	}
}

// TestIntrospectionChargesStumbles has a client send tokens that the issuer stumbles over, while it
// answers others: they are charged as those that it does not know.
func TestIntrospectionChargesStumbles(t *testing.T) {
	j := newJudge(t)
	j.set("good", active(""))
	p := j.policy(t, NewGuard(usual, 1000, nil))
	if v := p.Authorize(sentBy("192.0.2.2", "good")); v.Reason != Allowed {
		t.Fatal(v.Reason)
	}
	counts := make(map[Reason]int)
	for i := range 3 * usual.Burst {
		token := fmt.Sprint("stumble", i)
		j.set(token, "{")
		counts[p.Authorize(sentBy("192.0.2.1", token)).Reason]++
	}
	if counts[IssuerUnavailable] < usual.Burst || counts[TooManyFailures] == 0 || len(counts) != 2 {
		t.Errorf("%v", counts)
	}
}

// TestIntrospectionFollowers has the first that asks about a token be refused for its own failures:
// those who wait for it ask themselves.
func TestIntrospectionFollowers(t *testing.T) {
	j := newJudge(t)
	j.set("good", active(""))
	p := j.policy(t, NewGuard(usual, 1000, nil))
	synctest.Test(t, func(t *testing.T) {
		f, leads := p.flights.join(sumOf("good"))
		if !leads {
			t.Fatal("somebody leads")
		}
		done := make(chan Reason, 1)
		go func() { done <- p.Authorize(request("good", "x")).Reason }() // ends with the flight
		synctest.Wait()                                                  // until it waits for that
		f.e = &entry{reason: TooManyFailures}
		p.flights.mu.Lock()
		delete(p.flights.waiting, sumOf("good"))
		p.flights.mu.Unlock()
		close(f.done)
		if r := <-done; r != Allowed || j.lookUps("good") != 1 {
			t.Errorf("%s, %d look-ups", r, j.lookUps("good"))
		}
	})
}

// TestIntrospectionMaxInFlight has more tokens than are asked about at a time: they wait, and then
// give up.
func TestIntrospectionMaxInFlight(t *testing.T) {
	j := newJudge(t)
	j.hold = make(chan struct{})
	defer close(j.hold)
	p := j.policy(t, NewGuard(usual, 1000, nil))
	if free := p.verifier.asking.Free(); free != 64 {
		t.Errorf("%d at a time by default", free)
	}
	c := *p.verifier.config
	c.Introspection.MaxInFlight = 1
	v, err := NewVerifier(&c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.verifier = v
	go p.Authorize(request("first", "x"))                                                                     // ends with the issuer
	for deadline := time.Now().Add(10 * time.Second); j.lookUps("first") == 0; time.Sleep(time.Millisecond) { // until it is asked about
		if time.Now().After(deadline) {
			t.Fatal("nobody asks")
		}
	}
	if v := p.Authorize(request("second", "x")); v.Reason != VerifiersBusy || j.lookUps("second") != 0 {
		t.Errorf("%s, %d look-ups", v.Reason, j.lookUps("second"))
	}
}
