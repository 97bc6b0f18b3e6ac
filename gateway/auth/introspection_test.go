package auth

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"yatagarasu/gateway/introspect"
	"yatagarasu/gateway/keys"
	"yatagarasu/gateway/token"
	"yatagarasu/loadtest/keyserver"
)

// judge is a scripted issuer. Safe for concurrent use.
type judge struct {
	*httptest.Server

	mu      sync.Mutex        // guards the following fields
	answers map[string]string // bodies by token; others are inactive
	asked   map[string]int    // look-ups by token
	status  int               // of every answer; 0: 200
	hold    chan struct{}     // where not nil, answers wait until it is closed
}

// newJudge starts an issuer that ends with the test.
func newJudge(t testing.TB) *judge {
	j := &judge{answers: make(map[string]string), asked: make(map[string]int)}
	j.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.PostFormValue("token")
		j.mu.Lock()
		j.asked[token]++
		answer, known := j.answers[token]
		status, hold := j.status, j.hold
		j.mu.Unlock()
		if hold != nil {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
		if !known {
			answer = `{"active":false}`
		}
		w.Header().Set("Content-Type", "application/json")
		if status != 0 {
			w.WriteHeader(status)
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(j.Close)
	return j
}

// set has a token be answered for with a body.
func (j *judge) set(token, answer string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.answers[token] = answer
}

// fail has every answer have a status.
func (j *judge) fail(status int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.status = status
}

// lookUps returns how often was asked about a token.
func (j *judge) lookUps(token string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.asked[token]
}

// policy returns a policy that has its tokens judged by j; more are lines of the jwt block.
func (j *judge) policy(t testing.TB, guard *Guard, more ...string) *Policy {
	t.Helper()
	return j.policyIn(t, NewTokenCache(1000, 1<<20), guard, more...)
}

func (j *judge) policyIn(t testing.TB, cache *TokenCache, guard *Guard, more ...string) *Policy {
	t.Helper()
	a := loadAuth(t, "jwt:\n  introspection: {url: \""+j.URL+"\", client_id: gateway, client_secret: s, timeout: 10s}\n"+indent(strings.Join(append(more, ""), "\n"), "  "))
	v, err := NewVerifier(a.JWT, Options{Keys: keys.Options{}})
	if err != nil {
		t.Fatal(err)
	}
	return NewPolicy(a, "files", v, cache, guard)
}

// active is an answer about a token that is good at now, with further members.
func active(more string) string {
	s := fmt.Sprintf(`{"active":true,"sub":"alice","exp":%d`, now.Add(time.Hour).Unix())
	if more != "" {
		s += "," + more
	}
	return s + "}"
}

// at returns the request of q at another time.
func at(q *Request, after time.Duration) *Request {
	later := *q
	later.Now = now.Add(after)
	return &later
}

func sumOf(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// introspected is as repeated, with a token of forty letters that its issuer judges.
func introspected(t testing.TB) (*Policy, *Request) {
	j := newJudge(t)
	const opaque = "2YotnFZFEjr1zCsicMWpAA2YotnFZFEjr1zCsicM"
	j.set(opaque, active(`"role":"reader","level":7,"tenant":"acme","groups":["a","b","c"],"iss":"https://issuer.example.com/"`))
	return j.policy(t, nil, `claims:
  - {claim: role, operator: in, value: [admin, reader]}
  - {claim: level, operator: gte, value: 3}
  - {claim: tenant, operator: equals, value: "${path.0}"}`), request(opaque, "acme/reports/2026.pdf")
}

// TestIntrospectionVerdicts has all that holds for claims hold for an issuer's answer.
func TestIntrospectionVerdicts(t *testing.T) {
	j := newJudge(t)
	for name, c := range map[string]struct {
		answer, block string
		want          Reason
	}{
		"active":                    {active(""), "", Allowed},
		"inactive":                  {`{"active":false}`, "", TokenInactive},
		"inactive, with claims":     {`{"active":false,"sub":"alice","exp":9999999999}`, "", TokenInactive},
		"active as text":            {strings.Replace(active(""), "true", `"true"`, 1), "", IssuerUnavailable},
		"active as a number":        {strings.Replace(active(""), "true", "1", 1), "", IssuerUnavailable},
		"no active":                 {`{"sub":"alice","exp":9999999999}`, "", IssuerUnavailable},
		"active twice":              {`{"active":false,"active":true,"exp":9999999999}`, "", IssuerUnavailable},
		"a claim twice":             {active(`"sub":"bob"`), "", IssuerUnavailable},
		"a nested name twice":       {active(`"x":{"a":1,"a":2}`), "", IssuerUnavailable},
		"Active":                    {strings.Replace(active(""), `"active"`, `"Active"`, 1), "", IssuerUnavailable},
		"two documents":             {active("") + active(""), "", IssuerUnavailable},
		"a list":                    {"[" + active("") + "]", "", IssuerUnavailable},
		"nothing":                   {"", "", IssuerUnavailable},
		"bad UTF-8":                 {active("\"x\":\"\xff\""), "", IssuerUnavailable},
		"expired":                   {strings.Replace(active(""), fmt.Sprint(now.Add(time.Hour).Unix()), fmt.Sprint(now.Add(-time.Minute).Unix()), 1), "", Expired},
		"exp as text":               {`{"active":true,"exp":"9999999999"}`, "", DateInvalid},
		"without exp":               {`{"active":true}`, "", ExpiryMissing},
		"without exp, which may be": {`{"active":true}`, "require_exp: false", Allowed},
		"not yet":                   {active(fmt.Sprintf(`"nbf":%d`, now.Add(time.Minute).Unix())), "", NotYetValid},
		"another issuer":            {active(`"iss":"https://other"`), "issuer: https://this", IssuerRefused},
		"no issuer":                 {active(""), "issuer: https://this", IssuerRefused},
		"this issuer":               {active(`"iss":"https://this"`), "issuer: https://this", Allowed},
		"for another":               {active(`"aud":"mail"`), "audience: files", AudienceRefused},
		"for whom it does not say":  {active(""), "audience: files", AudienceRefused},
		"for several":               {active(`"aud":["mail","files"]`), "audience: files", Allowed},
		"an aud nobody expects":     {active(`"aud":"files"`), "", AudienceRefused},
		"a rule that holds":         {active(`"ext":{"role":"admin"}`), `claims: [{claim: ext.role, operator: equals, value: admin}]`, Allowed},
		"a rule that does not":      {active(`"ext":{"role":"guest"}`), `claims: [{claim: ext.role, operator: equals, value: admin}]`, ClaimRefused},
		"a refresh token of Hydra":  {active(`"token_use":"refresh_token"`), "", TokenInactive},
		"a refresh token, Keycloak": {active(`"typ":"Refresh"`), "", TokenInactive},
		"an access token":           {active(`"token_use":"access_token","typ":"Bearer"`), "", Allowed},
	} {
		t.Run(name, func(t *testing.T) {
			raw := strings.NewReplacer(" ", "-", ",", "-").Replace(name)
			j.set(raw, c.answer)
			p := j.policy(t, nil, c.block)
			v := p.Authorize(request(raw, "x"))
			if v.Reason != c.want {
				t.Fatalf("%s, want %s", v.Reason, c.want)
			}
			if want := (c.want == Allowed || c.want == ClaimRefused) && strings.Contains(c.answer, "alice"); (v.Subject == "alice" && v.SubjectID != 0) != want {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestIntrospectionRemembers has a verdict hold for its time, and no longer than the token.
func TestIntrospectionRemembers(t *testing.T) {
	j := newJudge(t)
	j.set("good", active(""))
	j.set("short", strings.Replace(active(""), fmt.Sprint(now.Add(time.Hour).Unix()), fmt.Sprint(now.Add(20*time.Second).Unix()), 1))
	j.set("over", strings.Replace(active(""), fmt.Sprint(now.Add(time.Hour).Unix()), fmt.Sprint(now.Add(-time.Second).Unix()), 1))
	p := j.policy(t, nil)
	is := func(token string, after time.Duration, want Reason, lookUps int) {
		t.Helper()
		if v := p.Authorize(at(request(token, "x"), after)); v.Reason != want || j.lookUps(token) != lookUps {
			t.Errorf("%s after %v: %s, %d look-ups; want %s, %d", token, after, v.Reason, j.lookUps(token), want, lookUps)
		}
	}
	is("good", 0, Allowed, 1)
	is("good", 0, Allowed, 1)
	is("good", 59*time.Second, Allowed, 1)
	is("good", time.Minute, Allowed, 2)
	is("short", 0, Allowed, 1)
	is("short", 19*time.Second, Allowed, 1)
	is("short", 20*time.Second, Allowed, 2) // within the leeway, and asked about
	is("over", 0, Allowed, 1)
	is("over", 0, Allowed, 2)
	is("bad", 0, TokenInactive, 1)
	is("bad", 9*time.Second, TokenInactive, 1)
	j.set("bad", active(""))
	is("bad", 10*time.Second, Allowed, 2)

	j.set("good", `{"active":false}`) // revoked
	is("good", 119*time.Second, Allowed, 2)
	is("good", 120*time.Second, TokenInactive, 3)
	is("good", 129*time.Second, TokenInactive, 3)

	j.set("for-others", active(`"aud":"mail"`))
	is("for-others", 0, AudienceRefused, 1)
	is("for-others", 9*time.Second, AudienceRefused, 1)

	j.set("soon", active(fmt.Sprintf(`"nbf":%d`, now.Add(35*time.Second).Unix()))) // the leeway is 30 s
	is("soon", 0, NotYetValid, 1)
	is("soon", 4*time.Second, NotYetValid, 1)
	is("soon", 5*time.Second, Allowed, 2)
}

// TestIntrospectionPromisesMore has the issuer say that a signed token is good for longer than the token
// itself does: the earlier end counts.
func TestIntrospectionPromisesMore(t *testing.T) {
	j := newJudge(t)
	p := j.policy(t, nil, "algorithm: HS256", "secret: "+secret)
	short := handmade(plainHeader, fmt.Sprintf(`{"sub":"alice","exp":%d}`, now.Add(20*time.Second).Unix()))
	j.set(short, active(""))
	for _, c := range []struct {
		after time.Duration
		want  Reason
	}{{0, Allowed}, {19 * time.Second, Allowed}, {49 * time.Second, Allowed}, {50 * time.Second, Expired}} {
		if v := p.Authorize(at(request(short, "x"), c.after)); v.Reason != c.want {
			t.Errorf("after %v: %s, want %s", c.after, v.Reason, c.want)
		}
	}
}

// TestIntrospectionWhileKeysChange has the key of a token be withdrawn while its issuer is asked about
// it: the verdict is not remembered beside the new keys.
func TestIntrospectionWhileKeysChange(t *testing.T) {
	j := newJudge(t)
	j.hold = make(chan struct{})
	first, second := keyserver.NewKey(t), keyserver.NewKey(t)
	s := keyserver.Start(t, keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"one": first})))
	p := j.policy(t, nil, `jwks_url: "`+s.URL+`"`)
	if err := p.verifier.Start(); err != nil {
		t.Fatal(err)
	}
	defer p.verifier.Close()
	raw := signedBy(t, "ES256", first, "one")
	j.set(raw, active(""))
	done := make(chan Reason)
	go func() { done <- p.Authorize(request(raw, "x")).Reason }()                                         // ends with the issuer
	for deadline := time.Now().Add(10 * time.Second); j.lookUps(raw) == 0; time.Sleep(time.Millisecond) { // until it is asked
		if time.Now().After(deadline) {
			t.Fatal("nobody asks")
		}
	}
	s.Set(keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"two": second})))
	p.verifier.Refresh()
	close(j.hold)
	if r := <-done; r != Allowed {
		t.Fatal(r)
	}
	if v := p.Authorize(request(raw, "x")); v.Reason != KeyUnknown {
		t.Errorf("with a key that is withdrawn: %s", v.Reason)
	}
}

// TestIntrospectionOfAnIssuerThatFails has tokens that are remembered go on, and no other be let in or
// refused for good.
func TestIntrospectionOfAnIssuerThatFails(t *testing.T) {
	j := newJudge(t)
	j.set("good", active(""))
	p := j.policy(t, nil)
	if v := p.Authorize(request("good", "x")); v.Reason != Allowed {
		t.Fatal(v.Reason)
	}
	for _, status := range []int{401, 403, 404, 429, 500, 503, 302} {
		j.fail(status)
		for _, token := range []string{"new", "good"} {
			want := map[string]Reason{"new": IssuerUnavailable, "good": Allowed}[token]
			if v := p.Authorize(request(token, "x")); v.Reason != want {
				t.Errorf("%d, %s: %s, want %s", status, token, v.Reason, want)
			}
		}
		if v := p.Authorize(at(request("good", "x"), time.Minute)); v.Reason != IssuerUnavailable {
			t.Errorf("%d, once its time is over: %s", status, v.Reason)
		}
		j.fail(0)
		p = j.policy(t, nil) // with a breaker that is closed
		p.Authorize(request("good", "x"))
	}
	if r := IssuerUnavailable.Answer(); r != Unavailable {
		t.Errorf("answer %d", r)
	}
}

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

// TestIntrospectionOutage has the issuer be away for many clients: soon nobody waits for it, and it is
// asked again when it is back.
func TestIntrospectionOutage(t *testing.T) {
	for _, clients := range []int{1, 100} {
		t.Run(fmt.Sprint(clients, " clients"), func(t *testing.T) {
			j := newJudge(t)
			j.fail(http.StatusServiceUnavailable)
			p := j.policy(t, NewGuard(usual, 1000, nil))
			sent := 0
			next := func() Reason {
				sent++
				token := fmt.Sprint("t", sent)
				j.set(token, active(""))
				q := request(token, "x")
				q.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(sent % clients)})
				return p.Authorize(q).Reason
			}
			for range 100 {
				if r := next(); r != IssuerUnavailable {
					t.Fatal(r)
				}
			}
			j.mu.Lock()
			asked := len(j.asked)
			j.mu.Unlock()
			if _, failing := p.verifier.Introspection(); asked > 20 || !failing {
				t.Errorf("%d look-ups, failing %t", asked, failing)
			}
			j.fail(0)
			for deadline := time.Now().Add(10 * time.Second); next() != Allowed; time.Sleep(10 * time.Millisecond) { // until it is asked again
				if time.Now().After(deadline) {
					t.Fatal("it is not asked again")
				}
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

// TestIntrospectionSettings has what the file says of look-ups count.
func TestIntrospectionSettings(t *testing.T) {
	var credential atomic.Value
	var hang atomic.Bool
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _, header := r.BasicAuth()
		credential.Store(fmt.Sprint(id, header, r.PostFormValue("client_id"), r.PostFormValue("client_secret")))
		if hang.Load() {
			<-r.Context().Done()
		}
		w.Header().Set("Content-Type", "application/json")
		if r.PostFormValue("token") == "good" {
			fmt.Fprint(w, active(""))
		} else {
			fmt.Fprint(w, `{"active":false}`)
		}
	}))
	defer issuer.Close()
	a := loadAuth(t, "jwt: {introspection: {url: \""+issuer.URL+"\", client_id: g, client_secret: s, auth: post, timeout: 200ms, cache: 5m, negative_cache: 2m}}")
	v, err := NewVerifier(a.JWT, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPolicy(a, "files", v, NewTokenCache(1000, 1<<20), nil)
	for _, c := range []struct {
		token string
		after time.Duration
		hang  bool
		want  Reason
	}{
		{"good", 0, false, Allowed}, {"bad", 0, false, TokenInactive},
		{"good", 5*time.Minute - 1, true, Allowed}, {"bad", 2*time.Minute - 1, true, TokenInactive},
		{"bad", 2 * time.Minute, true, IssuerUnavailable}, {"good", 5 * time.Minute, true, IssuerUnavailable},
	} {
		hang.Store(c.hang)
		began := time.Now()
		if v := p.Authorize(at(request(c.token, "x"), c.after)); v.Reason != c.want {
			t.Errorf("%s after %v: %s, want %s", c.token, c.after, v.Reason, c.want)
		}
		if took := time.Since(began); took > 1900*time.Millisecond { // which is below the default
			t.Errorf("%s after %v takes %v", c.token, c.after, took)
		}
	}
	if sent := credential.Load(); sent != "falsegs" {
		t.Errorf("the credential is sent so: %v", sent)
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

// TestIntrospectionUnasked has what no issuer is asked about.
func TestIntrospectionUnasked(t *testing.T) {
	j := newJudge(t)
	p := j.policy(t, nil)
	for _, c := range []struct {
		token string
		want  Reason
	}{
		{"a b", TokenMalformed}, {"a%20b", TokenMalformed}, {"a\"b", TokenMalformed}, {"é", TokenMalformed}, {"a=b", TokenMalformed}, {"=", TokenMalformed},
		{strings.Repeat("a", token.MaxLen+1), TokenTooLong},
	} {
		if v := p.Authorize(request(c.token, "x")); v.Reason != c.want {
			t.Errorf("%.20q: %s, want %s", c.token, v.Reason, c.want)
		}
	}
	if v := p.Authorize(requestWith("x")); v.Reason != TokenMissing {
		t.Errorf("none: %s", v.Reason)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.asked) > 0 {
		t.Errorf("asked about %d", len(j.asked))
	}
}

// TestIntrospectionBesideKeys has a token that a key can verify be verified first, and an issuer's
// answer be about that token.
func TestIntrospectionBesideKeys(t *testing.T) {
	j := newJudge(t)
	p := j.policy(t, nil, "algorithm: HS256", "secret: "+secret, "audience: files", `claims: [{claim: role, operator: equals, value: admin}]`)
	is := func(name, token, answer string, want Reason, lookUps int) {
		t.Helper()
		if answer != "" {
			j.set(token, answer)
		}
		if v := p.Authorize(request(token, "x")); v.Reason != want || j.lookUps(token) != lookUps {
			t.Errorf("%s: %s, %d look-ups; want %s, %d", name, v.Reason, j.lookUps(token), want, lookUps)
		}
	}
	full := `"aud":"files","role":"admin","jti":"1"`
	is("both say yes", valid(full), `{"active":true}`, Allowed, 1)
	is("the issuer says more", valid(`"aud":"files","a":1`), `{"active":true,"role":"admin"}`, Allowed, 1)
	is("and otherwise", valid(full+`,"a":2`), `{"active":true,"role":"guest"}`, ClaimRefused, 1)
	is("for others, it says", valid(full+`,"a":3`), `{"active":true,"aud":"mail"}`, AudienceRefused, 1)
	is("revoked", valid(full+`,"a":4`), `{"active":false}`, TokenInactive, 1)
	is("another's answer, by sub", valid(full+`,"a":5`), `{"active":true,"sub":"bob"}`, IssuerUnavailable, 1)
	is("another's answer, by jti", valid(full+`,"a":6`), `{"active":true,"jti":"2"}`, IssuerUnavailable, 1)
	is("another's answer, by iss", valid(full+`,"a":7,"iss":"https://this"`), `{"active":true,"iss":"https://other"}`, IssuerUnavailable, 1)
	is("for others, it says itself", valid(`"aud":"mail","role":"admin"`), `{"active":true,"aud":"files"}`, AudienceRefused, 0)
	is("badly signed", badlySigned(valid(full)), active(full), SignatureInvalid, 0)
	is("another algorithm", handmade(`{"alg":"HS384"}`, claimsAt(full)), active(full), AlgorithmRefused, 0)
	is("none", b64(`{"alg":"none"}`)+"."+b64(claimsAt(full))+".", active(full), AlgorithmRefused, 0)
	is("expired", handmade(plainHeader, `{"exp":1}`), active(full), Expired, 0)
	is("with crit", handmade(`{"alg":"HS256","crit":["x"]}`, claimsAt(full)), active(full), CriticalHeader, 0)
	is("opaque", "opaque", active(full), Allowed, 1)
	for _, written := range []string{valid(`"aud":"mail"`) + "=", badlySigned(valid(full)) + "==", strings.Replace(valid(full), ".", ".+", 1), b64(`{"alg":"HS256","alg":"none"}`) + "." + b64(claimsAt(full)) + "."} {
		is("signed, and written otherwise", written, `{"active":true,"aud":"files","role":"admin"}`, TokenMalformed, 0)
	}
	is("encrypted, in five parts", "eyJhbGciOiJkaXIifQ..a.b.c", active(full), Allowed, 1)
	is("opaque, and less", "opaque2", active(`"aud":"files"`), ClaimRefused, 1)

	p = j.policy(t, nil, "algorithm: HS256", "secret: "+secret, "typ: at+jwt")
	is("a token without a header, where one is asked for", "opaque3", active(""), TypeRefused, 0)
	is("one with it", handmade(`{"alg":"HS256","typ":"at+jwt"}`, claimsAt("")), `{"active":true}`, Allowed, 1)
}

// TestIntrospectionOfAnotherBucket has a token that one bucket takes be shown to another, whose issuer
// does not know it.
func TestIntrospectionOfAnotherBucket(t *testing.T) {
	one, two := newJudge(t), newJudge(t)
	cache := NewTokenCache(1000, 1<<20)
	first, second := one.policyIn(t, cache, nil), two.policyIn(t, cache, nil)
	signed := newPolicyIn(t, hs256(""), cache)
	mine := valid("")
	one.set(mine, active(""))
	for range 2 {
		if v := first.Authorize(request(mine, "x")); v.Reason != Allowed {
			t.Errorf("its own bucket: %s", v.Reason)
		}
		if v := signed.Authorize(request(mine, "x")); v.Reason != Allowed {
			t.Errorf("a bucket with its key: %s", v.Reason)
		}
		if v := second.Authorize(request(mine, "x")); v.Reason != TokenInactive {
			t.Errorf("another one: %s", v.Reason)
		}
	}
}

// TestIntrospectedSubjects has two issuers that do not say their names have a subject of the same name:
// they are two, and one of each is the same in all buckets.
func TestIntrospectedSubjects(t *testing.T) {
	one, two := newJudge(t), newJudge(t)
	id := func(j *judge, token, answer string) uint64 {
		j.set(token, answer)
		v := j.policy(t, nil).Authorize(request(token, "x"))
		if v.Reason != Allowed || v.Subject != "alice" || v.SubjectID == 0 {
			t.Fatalf("%+v", v)
		}
		return v.SubjectID
	}
	first := id(one, "a", active(""))
	if again := id(one, "b", active("")); again != first {
		t.Error("another token of the subject is of another one")
	}
	if other := id(two, "c", active("")); other == first {
		t.Error("the other issuer's is the same")
	}
	if id(one, "d", active(`"iss":"https://i"`)) != id(two, "e", active(`"iss":"https://i"`)) {
		t.Error("of an issuer by its name there are two")
	}
}

// TestIntrospectionHasNoToken has verdicts be remembered without the tokens that they are about.
func TestIntrospectionHasNoToken(t *testing.T) {
	j := newJudge(t)
	j.set("a-token-to-look-for", active(""))
	p := j.policy(t, nil)
	p.Authorize(request("a-token-to-look-for", "x"))
	var stats Stats
	if p.cache.UpdateStats(&stats); stats.Tokens != 1 {
		t.Errorf("%d verdicts are remembered", stats.Tokens)
	}
	for i := range p.cache.shards {
		for k := range p.cache.shards[i].entries {
			if strings.Contains(k.token, "look-for") || len(k.token) != 32 {
				t.Errorf("the cache has %q", k.token)
			}
		}
	}
}

// TestIntrospectionAuthorities has each place be believed by the authorities that are configured for it,
// and by no others.
func TestIntrospectionAuthorities(t *testing.T) {
	j := newJudge(t)
	endpoint := httptest.NewTLSServer(j.Config.Handler)
	defer endpoint.Close()
	var issuer *httptest.Server
	issuer = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			fmt.Fprint(w, keyserver.KeySet(t, map[string]crypto.Signer{"one": keyserver.NewKey(t)}))
			return
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"introspection_endpoint":%q}`, issuer.URL, issuer.URL+"/keys", endpoint.URL)
	}))
	defer issuer.Close()
	j.set("opaque", active(fmt.Sprintf(`"iss":%q`, issuer.URL)))
	file := func(name string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	theirs, other := file("theirs.pem", endpoint.Certificate().Raw), file("other.pem", otherAuthority(t))
	url, found := `url: "`+endpoint.URL+`", `, `issuer_url: "`+issuer.URL+`", `
	for name, c := range map[string]struct {
		jwt, introspection string
		want               Reason
	}{
		"the system's":                       {"", url, IssuerUnavailable},
		"its own":                            {"", url + "ca_file: " + theirs + ", ", Allowed},
		"another":                            {"", url + "ca_file: " + other + ", ", IssuerUnavailable},
		"the issuer's, for a url of its own": {found + "ca_file: " + theirs + ", ", url, IssuerUnavailable},
		"the issuer's, for what it names":    {found + "ca_file: " + theirs + ", ", "", Allowed},
		"another than the issuer's":          {found + "ca_file: " + theirs + ", ", "ca_file: " + other + ", ", IssuerUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			a := loadAuth(t, "jwt: {"+c.jwt+"introspection: {"+c.introspection+"client_id: g, client_secret: s}}")
			v, err := NewVerifier(a.JWT, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Start(); err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			if got := NewPolicy(a, "files", v, NewTokenCache(1000, 1<<20), nil).Authorize(request("opaque", "x")); got.Reason != c.want {
				t.Errorf("%s, want %s", got.Reason, c.want)
			}
		})
	}
}

// otherAuthority returns the certificate of an authority that has signed nothing, in DER.
func otherAuthority(t *testing.T) []byte {
	t.Helper()
	key := keyserver.NewKey(t)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestOnAsked has the outcome and time of each look-up be told, and nothing else.
func TestOnAsked(t *testing.T) {
	j := newJudge(t)
	j.set("good", active(""))
	p := j.policy(t, nil)
	var told []string
	p.OnAsked(func(o introspect.Outcome, took time.Duration) {
		if told = append(told, introspect.Outcomes[o]); took < 0 {
			t.Error(took)
		}
	})
	for _, token := range []string{"good", "good", "bad", "bad", "a b"} {
		p.Authorize(request(token, "x"))
	}
	j.fail(500)
	p.Authorize(request("other", "x"))
	if got := strings.Join(told, " "); got != "active inactive failed" {
		t.Error(got)
	}
	if name, failing := p.verifier.Introspection(); name != j.URL || failing {
		t.Errorf("%q, failing %t", name, failing)
	}
	if name, failing := newPolicy(t, hs256("")).verifier.Introspection(); name != "" || failing {
		t.Errorf("%q, failing %t", name, failing)
	}
}

// TestOnIssuer has the operator be told that the issuer is away, and is back, by the name that the
// configuration has.
func TestOnIssuer(t *testing.T) {
	j := newJudge(t)
	j.fail(503)
	a := loadAuth(t, "jwt: {introspection: {url: \""+j.URL+"/i?secret=x\", client_id: g, client_secret: s, auth: post}}")
	var told []string
	v, err := NewVerifier(a.JWT, Options{OnIssuer: func(name string, err error) { told = append(told, fmt.Sprint(name, " ", err)) }})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPolicy(a, "files", v, NewTokenCache(1000, 1<<20), nil)
	for i := range 6 {
		p.Authorize(request(fmt.Sprint("t", i), "x"))
	}
	if want := j.URL + "/i it is overloaded (status 503)"; len(told) != 1 || told[0] != want {
		t.Errorf("%q, want %q", told, want)
	}
}

// TestIntrospectionEndpointOfTheIssuer has the discovery document say where to ask.
func TestIntrospectionEndpointOfTheIssuer(t *testing.T) {
	j := newJudge(t)
	key := keyserver.NewKey(t)
	var issuer *httptest.Server
	issuer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"introspection_endpoint":%q}`, issuer.URL, issuer.URL+"/keys", j.URL)
		case "/keys":
			fmt.Fprint(w, keyserver.KeySet(t, map[string]crypto.Signer{"one": key}))
		}
	}))
	defer issuer.Close()
	a := loadAuth(t, "jwt: {issuer_url: \""+issuer.URL+"\", introspection: {client_id: g, client_secret: s}}")
	v, err := NewVerifier(a.JWT, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPolicy(a, "files", v, NewTokenCache(1000, 1<<20), nil)
	j.set("opaque", active(fmt.Sprintf(`"iss":%q`, issuer.URL)))
	j.set("of-another", active(`"iss":"https://another"`))
	if got := p.Authorize(request("opaque", "x")); got.Reason != IssuerUnavailable {
		t.Errorf("before it is known: %s", got.Reason)
	}
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for token, want := range map[string]Reason{"opaque": Allowed, "of-another": IssuerRefused, "unknown": TokenInactive, signedBy(t, "ES256", key, "one"): IssuerRefused, signedBy(t, "ES256", keyserver.NewKey(t), "one"): IssuerRefused} {
		if got := p.Authorize(request(token, "x")); got.Reason != want {
			t.Errorf("%.20s: %s, want %s", token, got.Reason, want)
		}
	}
}
