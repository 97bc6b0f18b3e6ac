package auth

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

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
