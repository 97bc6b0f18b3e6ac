package keys

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"yatagarasu/gateway/config/access"
	"yatagarasu/loadtest/keyserver"
)

// discoveryText returns a discovery document of these members: names and values in turn. One
// without a value, which is "", is left out.
func discoveryText(t testing.TB, members ...string) string {
	t.Helper()
	doc := make(map[string]string)
	for i := 0; i < len(members); i += 2 {
		if members[i+1] != "" {
			doc[members[i]] = members[i+1]
		}
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestReadIssuer(t *testing.T) {
	const name = "https://issuer.example.com/realms/x"
	good := Issuer{KeySet: "https://issuer.example.com/keys", Introspection: "https://issuer.example.com/introspect"}
	of := func(issuer string) string {
		return discoveryText(t, "issuer", issuer, "jwks_uri", good.KeySet, "introspection_endpoint", good.Introspection)
	}
	with := func(member, raw string) string {
		is := map[string]string{"issuer": name, "jwks_uri": good.KeySet, "introspection_endpoint": good.Introspection}[member]
		return strings.Replace(of(name), fmt.Sprintf("%q:%q", member, is), fmt.Sprintf("%q:%s", member, raw), 1)
	}
	const strict, another = "no strict JSON object", "its discovery document is that of"
	for _, c := range []struct {
		name, of, document string
		want               Issuer
		problem            string
	}{
		{"all that is asked for", name, of(name), good, ""},
		{"much that is not", name, `{"x":[{"jwks_uri":1}],` + of(name)[1:], good, ""},
		{"no introspection endpoint", name, discoveryText(t, "issuer", name, "jwks_uri", good.KeySet), Issuer{KeySet: good.KeySet}, ""},
		{"another host for the keys", name, with("jwks_uri", `"https://keys.example.net/x?v=1"`), Issuer{KeySet: "https://keys.example.net/x?v=1", Introspection: good.Introspection}, ""},
		{"plain http on a loopback host", "http://127.0.0.1:1", discoveryText(t, "issuer", "http://127.0.0.1:1", "jwks_uri", "http://localhost:2/keys"), Issuer{KeySet: "http://localhost:2/keys"}, ""},
		{"https, named by plain http", "http://[::1]:1", discoveryText(t, "issuer", "http://[::1]:1", "jwks_uri", good.KeySet), Issuer{KeySet: good.KeySet}, ""},

		{"empty", name, "", Issuer{}, strict},
		{"markup", name, "<html>", Issuer{}, strict},
		{"a list", name, "[" + of(name) + "]", Issuer{}, strict},
		{"a truncated document", name, strings.TrimSuffix(of(name), "}"), Issuer{}, strict},
		{"something behind the document", name, of(name) + "{}", Issuer{}, strict},
		{"no UTF-8", name, "{\"x\":\"\xff\"," + of(name)[1:], Issuer{}, strict},
		{"two issuers", name, `{"issuer":"https://evil.example.net",` + of(name)[1:], Issuer{}, strict},
		{"two key sets", name, `{"jwks_uri":"https://evil.example.net",` + of(name)[1:], Issuer{}, strict},
		{"two key sets, one name escaped", name, `{"jwks\u005furi":"https://evil.example.net",` + of(name)[1:], Issuer{}, strict},
		{"two members that nobody asks for", name, `{"x":1,"x":2,` + of(name)[1:], Issuer{}, strict},
		{"deep nesting", name, `{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `,` + of(name)[1:], Issuer{}, strict},

		{"no issuer", name, discoveryText(t, "jwks_uri", good.KeySet), Issuer{}, another},
		{"an issuer that is no string", name, with("issuer", `["`+name+`"]`), Issuer{}, another},
		{"another issuer", name, of("https://issuer.example.com/realms/y"), Issuer{}, another + ` "https://issuer.example.com/realms/y"`},
		{"a slash more", name, of(name + "/"), Issuer{}, another + ` "` + name + `/"; jwt.issuer_url must be the same, to the last slash`},
		{"a slash less", name + "/", of(name), Issuer{}, "to the last slash"},
		{"capital letters", name, of("https://Issuer.example.com/realms/x"), Issuer{}, another},
		{"the default port", name, of("https://issuer.example.com:443/realms/x"), Issuer{}, another},
		{"a name in another case", name, strings.Replace(of(name), `"issuer"`, `"Issuer"`, 1), Issuer{}, another},
		{"line breaks for the log", name, of("x\ny"), Issuer{}, another + ` "x\ny"`},

		{"no key set", name, discoveryText(t, "issuer", name, "introspection_endpoint", good.Introspection), Issuer{}, "has no jwks_uri"},
		{"a key set named in another case", name, strings.Replace(of(name), "jwks_uri", "JWKS_URI", 1), Issuer{}, "has no jwks_uri"},
		{"a key set that is null", name, with("jwks_uri", "null"), Issuer{}, "the jwks_uri in its discovery document is no URL"},
		{"a key set that is a list", name, with("jwks_uri", `["`+good.KeySet+`"]`), Issuer{}, "the jwks_uri in its discovery document is no URL"},
		{"an empty key set", name, with("jwks_uri", `""`), Issuer{}, "is no URL"},
		{"a path", name, with("jwks_uri", `"/keys"`), Issuer{}, "is no URL"},
		{"a host without a scheme", name, with("jwks_uri", `"//issuer.example.com/keys"`), Issuer{}, "is not https"},
		{"a file", name, with("jwks_uri", `"file:///etc/passwd"`), Issuer{}, "is no URL"},
		{"a file of a host", name, with("jwks_uri", `"file://localhost/etc/passwd"`), Issuer{}, "is not https"},
		{"plain http", name, with("jwks_uri", `"http://issuer.example.com/keys"`), Issuer{}, "the jwks_uri in its discovery document is not https"},
		{"plain http for link-local metadata", name, with("jwks_uri", `"http://169.254.169.254/latest/meta-data/"`), Issuer{}, "is not https"},
		{"plain http that only looks like a loopback host", name, with("jwks_uri", `"http://127.0.0.1.example.net/keys"`), Issuer{}, "is not https"},
		{"plain http for this machine, by an issuer that is not on it", name, with("jwks_uri", `"http://127.0.0.1:9000/admin"`), Issuer{}, "is not https"},
		{"credentials", name, with("jwks_uri", `"https://user:pass@issuer.example.com/keys"`), Issuer{}, "contains credentials"},
		{"a fragment", name, with("jwks_uri", `"https://issuer.example.com/keys#x"`), Issuer{}, "contains credentials or a fragment"},
		{"a line break in a URL", name, with("jwks_uri", `"https://issuer.example.com/\r\nX: y"`), Issuer{}, "is no URL"},
		{"port 0", name, with("jwks_uri", `"https://issuer.example.com:0/keys"`), Issuer{}, "is no URL"},

		{"an endpoint that is null", name, with("introspection_endpoint", "null"), Issuer{}, "the introspection_endpoint in its discovery document is no URL"},
		{"an endpoint that is a number", name, with("introspection_endpoint", "7"), Issuer{}, "the introspection_endpoint in its discovery document is no URL"},
		{"an endpoint by plain http", name, with("introspection_endpoint", `"http://issuer.example.com/introspect"`), Issuer{}, "the introspection_endpoint in its discovery document is not https"},
		{"an endpoint on this machine, of an issuer that is not", name, with("introspection_endpoint", `"http://localhost/introspect"`), Issuer{}, "the introspection_endpoint in its discovery document is not https"},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, err := readIssuer([]byte(c.document), c.of)
			switch {
			case c.problem != "":
				if err == nil || !strings.Contains(err.Error(), c.problem) || i != nil {
					t.Errorf("%+v, %v, want %q\n%s", i, err, c.problem, c.document)
				}
			case err != nil || *i != c.want:
				t.Errorf("%+v, %v\n%s", i, err, c.document)
			}
		})
	}
}

// FuzzReadIssuer has documents that are believed say of themselves, to another reader as well, that
// they are this issuer's, and name no place that the file could not.
func FuzzReadIssuer(f *testing.F) {
	const name = "https://issuer.example.com"
	good := discoveryText(f, "issuer", name, "jwks_uri", name+"/keys", "introspection_endpoint", name+"/introspect")
	for _, s := range []string{
		good, strings.Replace(good, "https://issuer.example.com/keys", "http://127.0.0.1/keys", 1), `{"issuer":"x",` + good[1:], strings.Replace(good, "/keys", `\u002fkeys?a#b`, 1),
		strings.Replace(good, `"issuer"`, `"\u0069ssuer"`, 1), strings.Replace(good, `"https://issuer.example.com/introspect"`, "null", 1), `{"issuer":"https://issuer.example.com","jwks_uri":"https://a@b"}`, "{}", "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := readIssuer(data, name)
		if err != nil {
			return
		}
		var other map[string]any
		if err := json.Unmarshal(data, &other); err != nil {
			t.Fatalf("%q is believed: %v", data, err)
		}
		endpoint, found := other["introspection_endpoint"]
		if other["issuer"] != name || other["jwks_uri"] != i.KeySet || found && endpoint != i.Introspection || !found && i.Introspection != "" {
			t.Errorf("%q is read as %+v", data, i)
		}
		for _, url := range []string{i.KeySet, i.Introspection} {
			r, err := http.NewRequest("GET", url, nil)
			if url == "" && url == i.Introspection {
				continue
			}
			if problem, _ := access.URLProblem(url); problem != "" || err != nil || r.URL.Scheme != "https" || r.URL.User != nil || r.URL.Host == "" {
				t.Errorf("%q names %q: %s, %v", data, url, problem, err)
			}
		}
	})
}

// scribe answers 404 but for what a test puts at a path, and notes what it is asked.
type scribe struct {
	*httptest.Server
	mu    sync.Mutex // guards the following fields
	pages map[string]http.HandlerFunc
	asked []string
}

func startScribe(t *testing.T, serve func(*httptest.Server)) *scribe {
	t.Helper()
	s := &scribe{pages: make(map[string]http.HandlerFunc)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.RequestURI)
		page := s.pages[r.RequestURI]
		s.mu.Unlock()
		if r.Method != "GET" || !strings.Contains(r.Header.Get("Accept"), "application/json") || r.Header.Get("Authorization") != "" {
			t.Errorf("%s %s, %v", r.Method, r.RequestURI, r.Header)
		}
		if page == nil {
			page = http.NotFound
		}
		page(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	serve(s.Server)
	t.Cleanup(s.Close)
	return s
}

// put has what is at a path be this alone from now on, and forgets what was asked.
func (s *scribe) put(path string, page http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages, s.asked = map[string]http.HandlerFunc{path: page}, nil
}

func (s *scribe) paths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// TestDiscoverPaths has documents at the two places where they may be.
func TestDiscoverPaths(t *testing.T) {
	s := startScribe(t, (*httptest.Server).Start)
	for _, c := range []struct{ issuer, behind, between string }{
		{"", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"},
		{"/", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"},
		{"/realms/x", "/realms/x/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realms/x"},
		{"/realms/x/", "/realms/x/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realms/x"},
		{"/a%2Fb%20c", "/a%2Fb%20c/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/a%2Fb%20c"},
	} {
		document := keyserver.Text(discoveryText(t, "issuer", s.URL+c.issuer, "jwks_uri", s.URL+"/keys"))
		for at, want := range map[string][]string{c.behind: {c.behind}, c.between: {c.behind, c.between}} {
			s.put(at, document)
			i, err := Discover(t.Context(), s.URL+c.issuer, nil, time.Minute)
			if err != nil || i.KeySet != s.URL+"/keys" || i.Introspection != "" || !slices.Equal(s.paths(), want) {
				t.Errorf("%q at %s: %+v, %v; asked were %q", c.issuer, at, i, err, s.paths())
			}
		}
		// Another answer than that there is nothing is no reason to look elsewhere.
		s.put(c.behind, keyserver.Status(500))
		if i, err := Discover(t.Context(), s.URL+c.issuer, nil, time.Minute); err == nil || !strings.Contains(err.Error(), "status 500") || len(s.paths()) != 1 {
			t.Errorf("%q behind an error: %+v, %v; asked were %q", c.issuer, i, err, s.paths())
		}
		s.put("/elsewhere", document)
		if i, err := Discover(t.Context(), s.URL+c.issuer, nil, time.Minute); err == nil || !strings.Contains(err.Error(), "status 404") || len(s.paths()) != 2 {
			t.Errorf("%q at neither: %+v, %v; asked were %q", c.issuer, i, err, s.paths())
		}
	}
}

// hostileAnswers are those that bring no document, with what the error says.
func hostileAnswers(elsewhere string) map[string]struct {
	answer http.HandlerFunc
	says   string
} {
	return map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"503": {keyserver.Status(503), "status 503"},
		"404": {keyserver.Status(404), "status 404"},
		"204": {keyserver.Status(204), "status 204"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere, http.StatusFound)
		}, "redirects"},
		"a permanent redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere, http.StatusPermanentRedirect)
		}, "redirects"},
		"a huge document":    {keyserver.Text(strings.Repeat(" ", maxSize+1)), "larger than 1 MiB"},
		"a head without end": {func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, "server response headers exceeded"},
		"silence":            {keyserver.Hang, "deadline exceeded"},
		"drips": {func(w http.ResponseWriter, r *http.Request) {
			for drip := time.Tick(time.Millisecond); r.Context().Err() == nil; <-drip {
				io.WriteString(w, " ")
				w.(http.Flusher).Flush()
			}
		}, "deadline exceeded"},
		"a lost connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"a truncated document": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{}")
		}, "unexpected EOF"},
	}
}

func TestDiscoverFails(t *testing.T) {
	elsewhere := keyserver.Start(t, keyserver.Text("{}"))
	s := keyserver.Start(t, nil)
	for name, c := range hostileAnswers(elsewhere.URL) {
		t.Run(name, func(t *testing.T) {
			timeout := time.Minute
			if c.says == "deadline exceeded" {
				timeout = 50 * time.Millisecond
			}
			s.Set(c.answer)
			if i, err := Discover(t.Context(), s.URL, nil, timeout); err == nil || !strings.HasPrefix(err.Error(), "its discovery document cannot be fetched: ") || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%+v, %v, want %q", i, err, c.says)
			}
		})
	}
	if n := elsewhere.Fetches(); n != 0 {
		t.Errorf("a redirect is followed %d times", n)
	}
	if _, err := Discover(t.Context(), "http://[::1", nil, time.Minute); err == nil || !strings.Contains(err.Error(), "its name is no URL") {
		t.Errorf("an issuer without a URL: %v", err)
	}
}

func TestDiscoverAuthority(t *testing.T) {
	s := startScribe(t, (*httptest.Server).StartTLS)
	s.put("/.well-known/openid-configuration", keyserver.Text(discoveryText(t, "issuer", s.URL, "jwks_uri", s.URL+"/keys")))
	roots := x509.NewCertPool()
	if i, err := Discover(t.Context(), s.URL, roots, time.Minute); err == nil || !strings.Contains(err.Error(), "certificate") || len(s.paths()) != 0 {
		t.Errorf("by nobody's authority: %+v, %v; asked were %q", i, err, s.paths())
	}
	roots.AddCert(s.Certificate())
	if i, err := Discover(t.Context(), s.URL, roots, time.Minute); err != nil || i.KeySet != s.URL+"/keys" {
		t.Errorf("by its own: %+v, %v", i, err)
	}
	// The block's authorities count for the document.
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, more := range map[string][]string{"its key set cannot be fetched: it answers with status 404": {"ca_file: " + file}, "certificate": nil} {
		k, err := New(load(t, append(more, "issuer_url: "+s.URL)...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Start(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with %q: %v", more, err)
		}
	}
}

// network has the answers at URLs, and asks no sockets, which the clock of synctest would not wait
// for. Safe for concurrent use.
type network struct {
	mu      sync.Mutex // guards the following fields
	answers map[string]http.HandlerFunc
	asked   map[string]int
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	url := r.URL.String()
	n.mu.Lock()
	n.asked[url]++
	answer := n.answers[url]
	n.mu.Unlock()
	if answer == nil {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	answer(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// set has this be at a URL from now on; nil: nobody listens there.
func (n *network) set(url string, answer http.HandlerFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers[url] = answer
}

// fetches returns how often a URL was asked for.
func (n *network) fetches(url string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[url]
}

// An issuer, where its document and what that names are, and a place of somebody else's.
const (
	issuerName    = "https://issuer.example.com"
	issuerPage    = issuerName + discoveryBehind
	issuerKeys    = issuerName + "/keys"
	issuerAsk     = issuerName + "/introspect"
	elsewhereKeys = "https://elsewhere.example.net/keys"
	elsewhereAsk  = "https://elsewhere.example.net/introspect"

	introspects = "introspection: {client_id: gateway, client_secret: s}"
)

// issuerText returns the document of an issuer that names these.
func issuerText(t testing.TB, keySet, introspection string) http.HandlerFunc {
	t.Helper()
	return keyserver.Text(discoveryText(t, "issuer", issuerName, "jwks_uri", keySet, "introspection_endpoint", introspection))
}

// issued is an issuer that publishes key "one", and has "two" in reserve, and what was told of
// fetching from it.
type issued struct {
	network
	t        *testing.T
	one, two string // tokens
	oneSet   http.HandlerFunc
	twoSet   http.HandlerFunc
	worked   int // key sets that were fetched; guarded by mu, like the following fields
	problems []string
	tooOld   int
}

func newIssued(t *testing.T) *issued {
	one, two := keyserver.NewKey(t), keyserver.NewKey(t)
	i := &issued{
		t: t, one: signedBy(t, "ES256", one, "one"), two: signedBy(t, "ES256", two, "two"),
		oneSet: keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"one": one})), twoSet: keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"two": two})),
	}
	i.answers, i.asked = make(map[string]http.HandlerFunc), make(map[string]int)
	i.set(issuerPage, issuerText(t, issuerKeys, issuerAsk))
	i.set(issuerKeys, i.oneSet)
	return i
}

// keys returns keys of the issuer that are not started, and inherit those of old, if there are any.
func (i *issued) keys(old *Keys, more ...string) *Keys {
	i.t.Helper()
	o := Options{OnFetch: func(_ string, err error) {
		i.mu.Lock()
		defer i.mu.Unlock()
		if err != nil {
			i.problems = append(i.problems, err.Error())
			return
		}
		i.worked++
	}, OnTooOld: func(string, time.Duration) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.tooOld++
	}}
	k, err := New(load(i.t, append(more, "issuer_url: "+issuerName)...), o)
	if err != nil {
		i.t.Fatal(err)
	}
	client := newClient(nil, k.set.o.FetchTimeout)
	client.Transport = i
	k.set.fetch = k.fetchOfIssuer(client)
	if old != nil {
		k.Inherit(old)
	}
	return k
}

// start returns such keys, started.
func (i *issued) start(old *Keys, more ...string) *Keys {
	i.t.Helper()
	k := i.keys(old, more...)
	if err := k.Start(); err != nil {
		i.t.Fatal(err)
	}
	return k
}

// told returns what went wrong since the last call, and how often keys were fetched.
func (i *issued) told() (problems string, worked int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	problems, worked = strings.Join(i.problems, "\n"), i.worked
	i.problems, i.worked = nil, 0
	return problems, worked
}

// expect compares what k verifies and whom it has asked about tokens.
func (i *issued) expect(k *Keys, when string, one, two bool, endpoint string) {
	i.t.Helper()
	synctest.Wait()
	if errOne, errTwo := verify(i.t, k, i.one), verify(i.t, k, i.two); (errOne == nil) != one || (errTwo == nil) != two || k.Ring().Fetched != (one || two) {
		i.t.Errorf("%s: one: %v, two: %v", when, errOne, errTwo)
	}
	if got := k.IntrospectionEndpoint(); got != endpoint {
		i.t.Errorf("%s: tokens are asked about at %q, want %q", when, got, endpoint)
	}
}

// aWhile has several fetches, whether they fail or not, and is far below any maximum age.
const aWhile = 20 * time.Minute

// TestIssuerAway is T126: while the document cannot be fetched, the last good copy counts, and the
// keys that it names are kept fresh.
func TestIssuerAway(t *testing.T) {
	for name, c := range hostileAnswers(elsewhereKeys) {
		if name == "a truncated document" || name == "a head without end" {
			continue // which need a server
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssued(t)
				k := i.start(nil, introspects)
				defer k.Close()
				i.expect(k, "at first", true, false, issuerAsk)
				if problems, worked := i.told(); problems != "" || worked != 1 {
					t.Errorf("%q, %d fetches", problems, worked)
				}
				answer := c.answer
				if name == "a lost connection" {
					answer = nil
				}
				i.set(issuerPage, answer)
				i.set(issuerKeys, i.twoSet)
				i.set(elsewhereKeys, i.oneSet)
				time.Sleep(aWhile)
				i.expect(k, "without a document", false, true, issuerAsk)
				if problems, worked := i.told(); worked < 3 || !strings.Contains(problems, "cannot fetch the issuer "+issuerName) {
					t.Errorf("%d fetches, and %q", worked, problems)
				}
				i.set(issuerKeys, keyserver.Status(500))
				k.Refresh()
				if problems, worked := i.told(); worked != 0 || strings.Contains(problems, "\n") || !strings.HasPrefix(problems, "cannot use the issuer "+issuerName+": its discovery document cannot be fetched: ") || !strings.HasSuffix(problems, "; nor can the key set that it named: it answers with status 500") {
					t.Errorf("%d fetches, and %q", worked, problems)
				}
				i.set(issuerKeys, i.twoSet)
				i.set(issuerPage, issuerText(t, issuerKeys, elsewhereAsk))
				time.Sleep(aWhile)
				i.expect(k, "with a document again", false, true, elsewhereAsk)
				if n := i.fetches(elsewhereKeys); n != 0 {
					t.Errorf("a redirect is followed %d times", n)
				}
			})
		})
	}
}

// TestIssuerWrong is T125: a document that is wrong is no source of keys, nor of whom to ask about
// tokens. What there was before is trusted for its maximum age.
func TestIssuerWrong(t *testing.T) {
	right := discoveryText(t, "issuer", issuerName, "jwks_uri", elsewhereKeys, "introspection_endpoint", elsewhereAsk)
	for name, c := range map[string]struct{ document, says string }{
		"of another issuer":               {strings.Replace(right, issuerName, issuerName+"/", 1), "is that of"},
		"two key sets":                    {`{"jwks_uri":"` + issuerKeys + `",` + right[1:], "no strict JSON object"},
		"keys by plain http":              {strings.Replace(right, "https://elsewhere", "http://elsewhere", 2), "is not https"},
		"keys on this machine":            {strings.Replace(right, elsewhereKeys, "http://127.0.0.1/keys", 1), "the jwks_uri in its discovery document is not https"},
		"no keys":                         {strings.Replace(right, "jwks_uri", "x", 1), "has no jwks_uri"},
		"nobody to ask":                   {strings.Replace(right, "introspection_endpoint", "x", 1), "has no introspection_endpoint; set jwt.introspection.url"},
		"an endpoint that is no string":   {strings.Replace(right, `"`+elsewhereAsk+`"`, `["`+elsewhereAsk+`"]`, 1), "the introspection_endpoint in its discovery document is no URL"},
		"an endpoint that is plain http":  {strings.Replace(right, elsewhereAsk, "http://elsewhere.example.net/introspect", 1), "is not https"},
		"markup":                          {"<html>", "no strict JSON object"},
		"an endpoint that is there twice": {`{"introspection_endpoint":"` + issuerAsk + `",` + right[1:], "no strict JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssued(t)
				i.set(elsewhereKeys, i.twoSet)
				k := i.start(nil, introspects)
				defer k.Close()
				i.told()
				i.set(issuerPage, keyserver.Text(c.document))
				time.Sleep(aWhile)
				i.expect(k, "with a wrong document", true, false, issuerAsk)
				if problems, worked := i.told(); worked != 0 || !strings.Contains(problems, "cannot use the issuer "+issuerName+": ") || !strings.Contains(problems, c.says) {
					t.Errorf("%d fetches, and %q", worked, problems)
				}
				if verifyLater(t, k, i.two) == nil || i.fetches(elsewhereKeys)+i.fetches("http://127.0.0.1/keys") != 0 {
					t.Error("what it names is asked")
				}
				time.Sleep(24 * time.Hour)
				i.expect(k, "a day later", false, false, "")
				if i.tooOld != 1 {
					t.Errorf("told of it %d times", i.tooOld)
				}
				i.set(issuerPage, keyserver.Text(right))
				time.Sleep(aWhile)
				i.expect(k, "with a right one", false, true, elsewhereAsk)
			})
		})
	}
}

// TestIssuerMoves is T129: an issuer that names other places.
func TestIssuerMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssued(t)
		k := i.start(nil)
		defer k.Close()
		i.set(elsewhereKeys, i.twoSet)
		i.set(issuerPage, issuerText(t, elsewhereKeys, elsewhereAsk))
		if err := verifyLater(t, k, i.two); err != nil {
			t.Errorf("a token with a key from the new place: %v", err)
		}
		i.expect(k, "in another place", false, true, elsewhereAsk)
		before := i.fetches(issuerKeys)
		i.set(issuerPage, nil)
		time.Sleep(aWhile)
		i.expect(k, "the document is away", false, true, elsewhereAsk)
		if n := i.fetches(issuerKeys) - before; n != 0 {
			t.Errorf("the old place was asked %d times", n)
		}
		// Where nothing is at the new place, the keys at hand stay; who is asked about tokens is
		// what the issuer says now.
		i.set(issuerPage, issuerText(t, issuerName+"/nothing", issuerAsk))
		i.told()
		time.Sleep(aWhile)
		i.expect(k, "without keys at the new place", false, true, issuerAsk)
		if problems, worked := i.told(); worked != 0 || !strings.Contains(problems, "cannot use the issuer "+issuerName+": its key set cannot be fetched: ") {
			t.Errorf("%d fetches, and %q", worked, problems)
		}
		i.set(issuerPage, issuerText(t, issuerKeys, ""))
		time.Sleep(aWhile)
		i.expect(k, "back, with nobody to ask", true, false, "")
	})
}

// TestIssuerTooOld is T127: whoever can keep the gateway from an issuer's document keeps neither the
// keys of a place that the issuer has left alive, nor the place where tokens are asked about.
func TestIssuerTooOld(t *testing.T) {
	const day = 24 * time.Hour
	away := func(t *testing.T, maxAge string) (*issued, *Keys) {
		i := newIssued(t)
		k := i.start(nil, introspects, "jwks_max_age: "+maxAge)
		i.set(issuerPage, nil)
		return i, k
	}
	t.Run("T127_a_document_that_cannot_be_refreshed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i, k := away(t, "24h")
			defer k.Close()
			time.Sleep(day - time.Minute)
			i.expect(k, "almost a day later", true, false, issuerAsk)
			time.Sleep(2 * time.Minute)
			i.expect(k, "a day later", false, false, "")
			asked := i.fetches(issuerKeys)
			time.Sleep(day)
			i.expect(k, "two days later", false, false, "")
			if n := i.fetches(issuerKeys) - asked; n != 0 || i.tooOld != 1 {
				t.Errorf("the place was asked %d times more, told of it %d times", n, i.tooOld)
			}
			i.set(issuerPage, issuerText(t, issuerKeys, issuerAsk))
			time.Sleep(aWhile)
			i.expect(k, "when it can be fetched again", true, false, issuerAsk)
		})
	})
	t.Run("T127_a_reload_makes_it_no_younger", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i, first := away(t, "24h")
			began := time.Now()
			time.Sleep(12 * time.Hour)
			k := i.start(first, introspects, "jwks_max_age: 20h")
			first.Close()
			defer k.Close()
			if name, fetched, _ := k.Set(); name != issuerName || !fetched.Equal(began) {
				t.Errorf("%s is of %v, want %v", name, fetched, began)
			}
			time.Sleep(8*time.Hour - time.Minute)
			i.expect(k, "before 20 h", true, false, issuerAsk)
			time.Sleep(2 * time.Minute)
			i.expect(k, "after 20 h", false, false, "")
		})
	})
	t.Run("T127_for_good", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i, k := away(t, "0")
			defer k.Close()
			time.Sleep(100 * day)
			i.expect(k, "after 100 days", true, false, issuerAsk)
		})
	})
	t.Run("keys_alone_are_away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := newIssued(t)
			k := i.start(nil, introspects)
			defer k.Close()
			i.set(issuerKeys, nil)
			time.Sleep(2 * day)
			i.expect(k, "two days later", false, false, issuerAsk)
		})
	})
}

// TestIssuerAtStart is T128: an issuer that is away at the start.
func TestIssuerAtStart(t *testing.T) {
	for name, c := range map[string]struct {
		page, keys http.HandlerFunc
		says       string
		endpoint   string // where tokens are asked about all the same
	}{
		"nobody there":  {nil, nil, "its discovery document cannot be fetched: connection refused", ""},
		"no document":   {keyserver.Status(404), nil, "its discovery document cannot be fetched: ", ""},
		"a wrong one":   {keyserver.Text("{}"), nil, "its discovery document is that of", ""},
		"nobody to ask": {issuerText(t, issuerKeys, ""), nil, "its discovery document has no introspection_endpoint", ""},
		"no keys there": {issuerText(t, issuerKeys, issuerAsk), keyserver.Status(500), "its key set cannot be fetched: it answers with status 500", issuerAsk},
		"no key there":  {issuerText(t, issuerKeys, issuerAsk), keyserver.Text(`{"keys":[]}`), "it has no key", issuerAsk},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssued(t)
				i.set(issuerPage, c.page)
				i.set(issuerKeys, c.keys)
				if err := i.keys(nil, introspects).Start(); err == nil || !strings.HasPrefix(err.Error(), "cannot use the issuer "+issuerName+": ") || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %q", err, c.says)
				}
				k := i.start(nil, introspects, "jwks_optional: true")
				defer k.Close()
				i.expect(k, "at first", false, false, c.endpoint)
				if k.None() || !k.MayFetch("ES256") || k.WaitForNewer(k.Ring(), k.Deadline()) {
					t.Error("there will be no keys, or there are")
				}
				i.set(issuerPage, issuerText(t, issuerKeys, issuerAsk))
				i.set(issuerKeys, i.oneSet)
				time.Sleep(aWhile)
				i.expect(k, "when it is up", true, false, issuerAsk)
			})
		})
	}
}

// TestIssuerInherited is T129: reloads while the issuer is away.
func TestIssuerInherited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssued(t)
		old := i.start(nil)
		defer old.Close()
		i.set(issuerPage, nil)
		k := i.start(old, introspects)
		i.expect(k, "the same issuer", true, false, issuerAsk)
		k.Close()
		k = i.keys(old, "algorithm: RS256")
		i.expect(k, "another algorithm", false, false, "")
		if err := k.Start(); err == nil {
			t.Error("another algorithm: it starts")
		}
		// The same place is another source if the file names it, and another issuer one anyway.
		for _, c := range []string{"jwks_url: " + issuerName, "issuer_url: " + issuerName + "/"} {
			k, err := New(load(t, c), Options{})
			if err != nil {
				t.Fatal(err)
			}
			k.Inherit(old)
			i.expect(k, c, false, false, "")
		}
	})
	// A copy that does not say what the new configuration needs is none: the reload fails.
	synctest.Test(t, func(t *testing.T) {
		i := newIssued(t)
		i.set(issuerPage, issuerText(t, issuerKeys, ""))
		old := i.start(nil)
		defer old.Close()
		k := i.keys(old, introspects)
		i.expect(k, "without anybody to ask", false, false, "")
		if err := k.Start(); err == nil || !strings.Contains(err.Error(), "has no introspection_endpoint; set jwt.introspection.url") {
			t.Errorf("it starts: %v", err)
		}
		k = i.start(old, "introspection: {client_id: gateway, client_secret: s, url: "+elsewhereAsk+"}")
		defer k.Close()
		i.expect(k, "asked elsewhere", true, false, "")
	})
	// A document without keys is worth keeping where tokens are asked about.
	synctest.Test(t, func(t *testing.T) {
		i := newIssued(t)
		i.set(issuerKeys, nil)
		old := i.start(nil, introspects, "jwks_optional: true")
		defer old.Close()
		i.set(issuerPage, nil)
		k := i.start(old, introspects, "jwks_optional: true")
		defer k.Close()
		i.expect(k, "a document alone", false, false, issuerAsk)
		if err := i.keys(old, introspects).Start(); err == nil {
			t.Error("it starts without keys")
		}
	})
}
