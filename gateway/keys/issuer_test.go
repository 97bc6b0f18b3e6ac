package keys

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
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
	for want, more := range map[string][]string{"it answers with status 404": {"ca_file: " + file}, "certificate": nil} {
		k, err := New(load(t, append(more, "issuer_url: "+s.URL)...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Start(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with %q: %v", more, err)
		}
	}
}
