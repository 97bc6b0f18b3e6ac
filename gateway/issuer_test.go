package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	oidc "yatagarasu/loadtest/issuer"
)

// issuerClients get tokens of a real issuer, or ask about them there.
var issuerClients = []oidc.Client{
	{ID: "app", Secret: "app-secret", Audience: []string{"gateway"}},
	{ID: "batch", Secret: "batch-secret", Format: oidc.Opaque, Audience: []string{"gateway"}},
	{ID: "gateway", Secret: "gateway-secret", Introspects: true},
}

// tokenOf returns a token by client credentials.
func tokenOf(t *testing.T, s *oidc.Server, client string) string {
	t.Helper()
	raw, err := s.Token(t.Context(), client, client+"-secret")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// refreshEachSecond is as often as may be.
func refreshEachSecond(o *Options) { o.AuthRefresh = time.Second }

// awaitFetch waits for a fetch of a key set that has begun after the call: of two that end, one did.
func (tg *testGateway) awaitFetch(outcome string) {
	tg.t.Helper()
	name := fmt.Sprintf("yatagarasu_jwks_fetches_total{outcome=%q}", outcome)
	before := tg.metricValue(name)
	eventually(tg.t, "two fetches of the key set are "+outcome, func() bool { return tg.metricValue(name) >= before+2 })
}

// The phases of a token.
const (
	tokenLive    int32 = iota // its key is published, and the gateway has seen it
	tokenLeaving              // its key is being withdrawn
	tokenGone                 // its key was withdrawn before the last fetch
)

// bearers send requests with tokens of all phases, and count the verdicts.
type bearers struct {
	t       *testing.T
	target  string
	clients sync.WaitGroup
	stop    atomic.Bool
	http    http.Client

	mu     sync.Mutex // guards the following field
	tokens []*usedToken

	read, refused, wrong atomic.Int64
}

// usedToken is a token in use.
type usedToken struct {
	raw   string
	phase atomic.Int32
}

// startBearers starts clients, which end with the test or before, by end.
func startBearers(t *testing.T, target string, clients int) *bearers {
	b := &bearers{t: t, target: target, http: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: 30 * time.Second}}
	for at := range clients {
		b.clients.Go(func() {
			for n := at; !b.stop.Load(); n++ {
				b.mu.Lock()
				var token *usedToken
				if len(b.tokens) > 0 {
					token = b.tokens[n%len(b.tokens)]
				}
				b.mu.Unlock()
				if token != nil {
					b.use(token)
				}
			}
		})
	}
	t.Cleanup(b.end)
	return b
}

func (b *bearers) end() {
	b.stop.Store(true)
	b.clients.Wait()
	b.http.CloseIdleConnections()
}

// add has a token used from now on. Its key is at hand.
func (b *bearers) add(raw string) *usedToken {
	token := &usedToken{raw: raw}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = append(b.tokens, token)
	return token
}

// use sends one request. A verdict counts where the phase was the same all the time.
func (b *bearers) use(token *usedToken) {
	phase := token.phase.Load()
	status, err := b.get(token.raw)
	switch same := token.phase.Load() == phase; {
	case err == nil && status == 200 && phase != tokenGone:
		b.read.Add(1)
	case err == nil && status == 403 && phase != tokenLive:
		b.refused.Add(1)
	case err == nil && (status == 200 || status == 403) && !same:
	case b.wrong.Add(1) < 5:
		b.t.Errorf("a token in phase %d gets %d, %v", phase, status, err)
	}
}

func (b *bearers) get(token string) (status int, err error) {
	r, err := http.NewRequest("GET", b.target, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := b.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode == 200 && string(text) != "hello" {
		err = fmt.Errorf("the object is %q", text)
	}
	return answer.StatusCode, err
}

// TestIssuer is T129: a real issuer, of which the configuration has the name alone, rotates its keys
// under load, goes away and comes back. No token gets a wrong verdict.
func TestIssuer(t *testing.T) {
	s := oidc.ForTest(t, oidc.Options{Algorithm: "ES256", Path: "/realms/x", Clients: issuerClients})
	origin := startOrigin(t, serveText("hello"))
	gw := startGateway(t, "server: {ready: config}\n"+metricsYAML+"buckets:\n"+
		protectedYAML("main", "/pub", origin.URL, "issuer_url: "+s.URL(), "audience: gateway"), refreshEachSecond)
	load := startBearers(t, gw.url("/pub/x"), 4)
	rotate := func(publish time.Duration) {
		t.Helper()
		if err := s.Rotate(t.Context(), publish); err != nil {
			t.Fatal(err)
		}
	}
	// reads has a token read before the others use it.
	reads := func(raw string) *usedToken {
		t.Helper()
		if status, err := load.get(raw); status != 200 || err != nil {
			t.Errorf("%d, %v", status, err)
		}
		return load.add(raw)
	}
	latest := reads(tokenOf(t, s, "app"))
	reads(tokenOf(t, s, "app"))

	// The old key stays published. The new one works with its first token, which waits a second for it
	// at most: only on a machine that is so slow it may be refused.
	for range 3 {
		rotate(time.Hour)
		raw, began := tokenOf(t, s, "app"), time.Now()
		if status, err := load.get(raw); (status != 200 || err != nil) && time.Since(began) < time.Second {
			t.Errorf("a token with a new key: %d, %v", status, err)
		}
		eventually(t, "a new key is at hand", func() bool { status, err := load.get(raw); return status == 200 && err == nil })
		latest = load.add(raw)
	}
	// The old key is withdrawn.
	for range 2 {
		latest.phase.Store(tokenLeaving)
		rotate(0)
		raw := tokenOf(t, s, "app")
		gw.awaitFetch("ok")
		latest.phase.Store(tokenGone)
		latest = reads(raw)
	}
	spare := tokenOf(t, s, "app")
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	gw.awaitFetch("failed")
	reads(spare) // which nobody has verified before
	gw.log.waitFor(t, "its discovery document cannot be fetched")
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	rotate(time.Hour)
	raw := tokenOf(t, s, "app")
	gw.awaitFetch("ok")
	reads(raw)

	seen := load.read.Load()
	eventually(t, "the load goes on", func() bool { return load.read.Load() > seen+20 && load.refused.Load() > 0 })
	load.end()
	t.Logf("%d reads, %d refusals, %d wrong verdicts", load.read.Load(), load.refused.Load(), load.wrong.Load())
	if log := gw.log.String(); strings.Contains(log, spare) || strings.Contains(log, raw) {
		t.Error("the log has a token")
	}
}

// TestIssuerIsDownAtStart is T128: without the issuer nobody can say whether a token is good. A
// gateway that may start then answers 503, never 401 or 403, until there is one.
func TestIssuerIsDownAtStart(t *testing.T) {
	s := oidc.ForTest(t, oidc.Options{Algorithm: "EdDSA", Clients: issuerClients})
	signed, opaque := tokenOf(t, s, "app"), tokenOf(t, s, "batch")
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	origin := startOrigin(t, serveText("hello"))
	yaml := func(optional string) string {
		lines := []string{"issuer_url: " + s.URL(), "audience: gateway", "jwks_optional: " + optional}
		return "server: {ready: config}\n" + metricsYAML + "buckets:\n" + protectedYAML("keys", "/keys", origin.URL, lines...) +
			protectedYAML("asks", "/asks", origin.URL, append(lines, "introspection: {client_id: gateway, client_secret: gateway-secret}")...)
	}
	gw, write := fileGateway(t, yaml("true"), refreshEachSecond)
	expect := func(want int) (got string) {
		t.Helper()
		for target, token := range map[string]string{"/keys/x": signed, "/asks/x": opaque, "/asks/y": signed} {
			r, body := gw.do("GET", target, "Authorization: Bearer "+token)
			if r.StatusCode != want || want == 503 && r.Header.Get("Retry-After") == "" || want == 200 && string(body) != "hello" {
				got += fmt.Sprintf("%s: %d %s %v\n", target, r.StatusCode, body, r.Header)
			}
		}
		return got
	}
	if got := expect(503); got != "" {
		t.Error(got)
	}
	if r, body := gw.do("GET", "/asks/x"); r.StatusCode != 401 {
		t.Errorf("without a token: %d %s", r.StatusCode, body)
	}
	write(yaml("false"))
	if r := gw.requestReload(); len(r.Errors) != 1 || !strings.Contains(r.Errors[0], "cannot use the issuer "+s.URL()+": its discovery document cannot be fetched: ") {
		t.Errorf("an issuer that must be there: %+v", r)
	}
	if n := len(origin.seen()); n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all tokens read", func() bool { return expect(200) == "" })
	for _, target := range []string{"/keys/x", "/asks/x"} {
		if r, body := gw.do("GET", target, "Authorization: Bearer "+opaque+"x"); r.StatusCode != 403 {
			t.Errorf("%s by another token: %d %s", target, r.StatusCode, body)
		}
	}
	if r := gw.requestReload(); len(r.Errors) > 0 {
		t.Errorf("it is there: %+v", r)
	}
	if got := expect(200); got != "" {
		t.Error(got)
	}
	if log := gw.log.String(); strings.Contains(log, signed) || strings.Contains(log, opaque) || strings.Contains(log, "gateway-secret") {
		t.Error("the log has a secret")
	}
}
