package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	oidc "yatagarasu/loadtest/issuer"
)

// opaqueToken is a token that says nothing of itself.
const opaqueToken = "2YotnFZFEjr1zCsicMWpAA2YotnFZFEjr1zCsicM"

// startJudge starts an issuer that answers about tokens by a function, which ends with the test.
func startJudge(t testing.TB, answer http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s
}

// saysActive answers that every token is good, for a reader of a folder.
func saysActive(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"active":true,"sub":"alice","role":"reader","folder":"dir","exp":`+in(3600)+`}`)
}

// judgedYAML is a bucket whose tokens are all good, by their issuer.
func judgedYAML(t testing.TB, name, prefix, endpoint string, lines ...string) string {
	t.Helper()
	return judgedBy(startJudge(t, saysActive).URL, name, prefix, endpoint, lines...)
}

// judgedBy is a bucket whose tokens are judged by an issuer.
func judgedBy(url, name, prefix, endpoint string, lines ...string) string {
	return protectedYAML(name, prefix, endpoint, append([]string{`introspection: {url: "` + url + `", client_id: gateway, client_secret: issuer-secret, timeout: 500ms, cache: 1s, negative_cache: 1s}`}, lines...)...)
}

// TestIntrospection has a real issuer give tokens to machines, which read objects until they are
// revoked.
func TestIntrospection(t *testing.T) {
	for _, c := range []struct {
		name  string
		o     oidc.Options
		lines string // url: the file names the endpoint
	}{
		{"opaque, by the issuer's name", oidc.Options{}, ""},
		{"with a path, over TLS", oidc.Options{Path: "/realms/x", TLS: true}, ""},
		{"by the endpoint alone", oidc.Options{}, "url"},
	} {
		for _, format := range []oidc.Format{oidc.Opaque, oidc.JWT, oidc.JWE} {
			t.Run(c.name+", "+string(format), func(t *testing.T) {
				t.Parallel()
				c := c
				c.o.Clients = []oidc.Client{
					{ID: "gateway", Secret: "issuer secret: 100%", Introspects: true},
					{ID: "reader", Secret: "reader-secret", Format: format, Audience: []string{"files"}, Claims: map[string]any{"tenant": "acme"}},
					{ID: "other", Secret: "other-secret", Format: format, Audience: []string{"mail"}, Claims: map[string]any{"tenant": "acme"}},
				}
				s := oidc.ForTest(t, c.o)
				origin := startOrigin(t, serveText("hello"))
				ca, where, url := "", `issuer_url: "`+s.URL()+`"`, ""
				if s.CA() != "" {
					ca = "ca_file: " + s.CA()
				}
				if c.lines == "url" {
					where, url = "issuer: \""+s.URL()+"\"", `url: "`+introspectionEndpoint(t, s.URL())+`", `
				}
				gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+protectedYAML("files", "/files", origin.URL, where, ca, "audience: files",
					`introspection: {`+url+`client_id: gateway, client_secret: "issuer secret: 100%", cache: 1s, negative_cache: 1s}`,
					`claims: [{claim: tenant, operator: equals, value: "${path.0}"}]`)+"    cache: {enabled: true}\n")
				token, other := issued(t, s, "reader"), issued(t, s, "other")
				is := func(path, token string, want int, body string) {
					t.Helper()
					r, text := gw.do("GET", path, "Authorization: Bearer "+token)
					if r.StatusCode != want || !strings.Contains(string(text), body) {
						t.Errorf("%s: status %d, want %d: %s", path, r.StatusCode, want, text)
					}
				}
				is("/files/acme/x", token, 200, "hello")
				is("/files/acme/x", token, 200, "hello")
				is("/files/umbrella/x", token, 403, "insufficient_scope")
				is("/files/acme/x", other, 403, "invalid_token") // a token for somebody else
				is("/files/acme/x", "made-up", 403, "invalid_token")
				asked, err := s.Requests(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				want := 3
				if format == oidc.JWT && c.lines == "" {
					want = 2 // that of somebody else says so itself, signed
				}
				if n := lookUps(asked); n != want {
					t.Errorf("%d look-ups, want %d: %v", n, want, asked)
				}
				if err := s.Revoke(t.Context(), "reader", "reader-secret", token); err != nil {
					t.Fatal(err)
				}
				revoked := time.Now()
				status := 0
				eventually(t, "the revoked token is refused", func() bool {
					r, _ := gw.do("GET", "/files/acme/x", "Authorization: Bearer "+token)
					status = r.StatusCode
					return status != 200
				})
				if after := time.Since(revoked); status != 403 || after > 10*time.Second { // 1 s, and what a busy machine takes
					t.Errorf("status %d after %v", status, after)
				}
				is("/files/acme/x", token, 403, "invalid_token")
				is("/files/acme/x", issued(t, s, "reader"), 200, "hello")
				for _, secret := range []string{token, "issuer secret", "issuer+secret", "made-up"} {
					if strings.Contains(gw.log.String(), secret) {
						t.Errorf("the log has %q", secret)
					}
				}
			})
		}
	}
}

// issued returns a new token of a client of s.
func issued(t *testing.T, s *oidc.Server, client string) string {
	t.Helper()
	token, err := s.Token(t.Context(), client, client+"-secret")
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// lookUps returns how many requests were about tokens, of those by path.
func lookUps(byPath map[string]int) (n int) {
	for path, count := range byPath {
		if strings.Contains(path, "introspect") {
			n += count
		}
	}
	return n
}

// introspectionEndpoint returns what an issuer names in its discovery document.
func introspectionEndpoint(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), `"introspection_endpoint":"`)
	endpoint, _, found := strings.Cut(rest, `"`)
	if !found {
		t.Fatalf("no introspection_endpoint in %s", text)
	}
	return endpoint
}

// TestIntrospectionOutage has the issuer go away, freeze and come back: who is remembered reads on for
// that long, others are told to try again, and nobody is let in or logged out.
func TestIntrospectionOutage(t *testing.T) {
	t.Parallel()
	s := oidc.ForTest(t, oidc.Options{Clients: []oidc.Client{
		{ID: "gateway", Secret: "issuer-secret", Introspects: true}, {ID: "reader", Secret: "reader-secret", Format: oidc.Opaque, Audience: []string{"files"}},
	}})
	origin := startOrigin(t, serveText("hello"))
	judged := func(cache string) string {
		return `introspection: {client_id: gateway, client_secret: issuer-secret, timeout: 500ms, cache: ` + cache + `}`
	}
	gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+
		protectedYAML("long", "/long", origin.URL, `issuer_url: "`+s.URL()+`"`, "audience: files", judged("1h"))+
		protectedYAML("short", "/short", origin.URL, `issuer_url: "`+s.URL()+`"`, "audience: files", judged("1s")))
	known, later := issued(t, s, "reader"), issued(t, s, "reader")
	status := func(path, token string) int {
		r, body := gw.do("GET", path, "Authorization: Bearer "+token)
		if r.StatusCode == 503 && (r.Header.Get("Retry-After") == "" || r.Header.Get("WWW-Authenticate") != "" || !strings.Contains(string(body), `"error":"issuer_unavailable"`)) {
			t.Errorf("503 without a reason or a time: %v, %s", r.Header, body)
		}
		return r.StatusCode
	}
	for _, path := range []string{"/long/x", "/short/x"} {
		if n := status(path, known); n != 200 {
			t.Fatalf("%s: %d", path, n)
		}
	}
	outage := func(what string) {
		t.Helper()
		eventually(t, what+": what is remembered shortly is forgotten", func() bool { return status("/short/x", known) == 503 })
		for range 20 {
			if n := status("/long/x", known); n != 200 {
				t.Errorf("%s: a token that is remembered: %d", what, n)
			}
			if n := status("/long/x", later); n != 503 {
				t.Errorf("%s: one that is not: %d", what, n)
			}
			if n := status("/short/x", "made-up"); n != 503 {
				t.Errorf("%s: one that is none: %d", what, n)
			}
		}
		gw.log.waitFor(t, "the issuer of tokens cannot be asked")
	}
	s.Freeze()
	outage("frozen")
	s.Thaw()
	eventually(t, "it is asked again", func() bool { return status("/short/x", known) == 200 })
	gw.log.waitFor(t, "the issuer of tokens can be asked again")
	s.Kill()
	outage("killed")
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is asked again", func() bool { return status("/short/x", known) == 200 && status("/long/x", later) == 200 })
	eventually(t, "what is none is refused", func() bool { return status("/short/x", "made-up") == 403 })
}

// TestIntrospectionAnswers has issuers that answer otherwise than they should, through sockets: the
// client gets 503 within the timeout, and the origin nothing.
func TestIntrospectionAnswers(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	json := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, text)
		}
	}
	good := `"exp":` + in(3600)
	elsewhere := startJudge(t, saysActive)
	for name, answer := range map[string]http.HandlerFunc{
		"active_as_text":    json(`{"active":"true",` + good + `}`),
		"duplicate_members": json(`{"active":false,"active":true,` + good + `}`),
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"html": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<html>{"active":true}</html>`)
		},
		"too_long": json(`{"active":true,` + good + `,"x":"` + strings.Repeat("x", 64<<10) + `"}`),
		"drips": func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			for range 100 {
				fmt.Fprint(w, " ")
				http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(100 * time.Millisecond): // as slow as that
				}
			}
			fmt.Fprint(w, `{"active":true,`+good+`}`)
		},
		"our_credential_is_refused": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
		"not_found":                 func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+judgedBy(startJudge(t, answer).URL, "files", "/files", origin.URL))
			r, body := gw.do("GET", "/files/"+name, "Authorization: Bearer "+opaqueToken)
			if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || r.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("status %d, %v: %s", r.StatusCode, r.Header, body)
			}
			for _, seen := range origin.seen() {
				if strings.HasSuffix(seen.URL.Path, name) {
					t.Error("the origin was asked")
				}
			}
			gw.log.waitFor(t, `"reason":"issuer_unavailable"`)
			if strings.Contains(gw.log.String(), opaqueToken) {
				t.Error("the log has the token")
			}
		})
	}
}

// TestIntrospectionOfAThousand has a thousand clients come at once with one new token: the issuer is
// asked once.
func TestIntrospectionOfAThousand(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	var asked atomic.Int64
	slow := make(chan struct{})
	judge := startJudge(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-slow
		saysActive(w, r)
	})
	yaml := strings.NewReplacer("timeout: 500ms", "timeout: 20s", "cache: 1s", "cache: 60s").Replace(judgedBy(judge.URL, "files", "/files", origin.URL))
	gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+yaml+"    cache: {enabled: true}\n")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			r, err := http.NewRequest("GET", gw.url("/files/dir/x"), nil)
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer "+opaqueToken)
			answer, err := client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer answer.Body.Close()
			if body, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != 200 || string(body) != "hello" {
				t.Errorf("status %d, %q, %v", answer.StatusCode, body, err)
			}
		})
	}
	gw.awaitInFlight(1000)
	close(slow)
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("%d look-ups", n)
	}
}

// TestListingWithoutTheIssuer has a public folder with private objects in it, and an issuer that is
// away: who shows a token is told to come again, and sees no page without what is his.
func TestListingWithoutTheIssuer(t *testing.T) {
	var up atomic.Bool
	judge := startJudge(t, func(w http.ResponseWriter, r *http.Request) {
		if !up.Load() {
			w.WriteHeader(503)
			return
		}
		saysActive(w, r)
	})
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		io.WriteString(w, `<ListBucketResult><KeyCount>2</KeyCount><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>1</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents><Contents><Key>mine/x</Key><Size>1</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents></ListBucketResult>`)
	})
	gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+judgedBy(judge.URL, "files", "/files", origin.URL)+
		"      rules: [{path: /, enabled: false}, {path: /mine, claims: [{claim: role, operator: equals, value: reader}]}]\n    listing: {enabled: true, formats: [json]}\n")
	is := func(want int, token string, also ...string) {
		t.Helper()
		lines := []string{"Accept: application/json"}
		if token != "" {
			lines = append(lines, "Authorization: Bearer "+token)
		}
		r, body := gw.do("GET", "/files/", lines...)
		if r.StatusCode != want || want == 503 && r.Header.Get("Retry-After") == "" {
			t.Errorf("%q: status %d, want %d: %s", token, r.StatusCode, want, body)
		}
		for _, text := range also {
			if !strings.Contains(string(body), text) {
				t.Errorf("%q: the page lacks %s: %s", token, text, body)
			}
		}
	}
	is(200, "", `"a"`)
	is(503, opaqueToken, "issuer_unavailable")
	up.Store(true)
	eventually(t, "the issuer is asked again", func() bool {
		r, _ := gw.do("GET", "/files/", "Accept: application/json", "Authorization: Bearer "+opaqueToken)
		return r.StatusCode == 200
	})
	is(200, opaqueToken, `"a"`, "mine")
}
