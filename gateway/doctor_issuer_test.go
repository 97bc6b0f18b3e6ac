package gateway

import (
	"crypto"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	openid "yatagarasu/loadtest/issuer"
	"yatagarasu/loadtest/keyserver"
)

// TestDoctorAsksIssuers has a real issuer, and ways in which it and a jwt block do not fit.
func TestDoctorAsksIssuers(t *testing.T) {
	idp, secure := startProvider(t, openid.Options{Path: "/realms/x"}), startProvider(t, openid.Options{TLS: true})
	other := filepath.Join(t.TempDir(), "other.pem")
	if err := os.WriteFile(other, authorityOf(t), 0o600); err != nil {
		t.Fatal(err)
	}
	origin := startFaulty(t, failing(0, "hello", nil)).endpoint
	named, ask := "issuer_url: "+idp.URL(), introspectionYAML("timeout: 2s")
	as := func(id, secret string) string {
		return fmt.Sprintf("introspection: {client_id: %s, client_secret: %s}", id, secret)
	}
	at := func(url string) string { return introspectionYAML("url: " + url) }
	for _, c := range []struct {
		name  string
		lines []string // of the jwt block
		code  int
		says  []string // regular expressions
	}{
		{"sound", []string{named, ask}, 0, []string{`ISSUER ` + idp.URL() + `  FOR files, more\n`, `discovery +ok \S+\n`, `keys +ok \S+ +1 key\(s\) for RS256\n`, `introspection +ok \S+ +` + idp.URL() + `/oauth/introspect\n`, `\n2 origin\(s\), 1 issuer\(s\): all is well`}},
		{"its keys alone", []string{named}, 0, []string{`discovery +ok`, `keys +ok`, `introspection +-\n`}},
		{"a key set alone", []string{"jwks_url: " + idp.URL() + "/keys?of-the-url"}, 0, []string{`ISSUER ` + idp.URL() + `/keys  FOR`, `discovery +-\n`, `keys +ok`}},
		{"an endpoint alone", []string{at(idp.URL() + "/oauth/introspect?of-the-url")}, 0, []string{`keys +-\n`, `introspection +ok`}},
		{"TLS", []string{"issuer_url: " + secure.URL(), "ca_file: " + secure.CA(), ask}, 0, []string{`discovery +ok`, `keys +ok`, `introspection +ok`}},
		{"an unknown authority", []string{"issuer_url: " + secure.URL(), "ca_file: " + other, ask}, 1, []string{`discovery +FAIL\nkeys +-\nintrospection +-\n`, `: discovery: .*certificate`, `fix: set jwt.ca_file to the authority`}},
		{"an authority for the endpoint alone", []string{introspectionYAML("url: " + secure.URL() + "/oauth/introspect, ca_file: " + other)}, 1, []string{`fix: set jwt.introspection.ca_file to the authority`}},
		{"no TLS there", []string{"issuer_url: https" + strings.TrimPrefix(idp.URL(), "http"), ask}, 1, []string{`fix: the issuer speaks no TLS there`}},
		{"a wrong secret", []string{named, as("gateway", "wrong-secret")}, 1, []string{`keys +ok`, `introspection +FAIL\n`, `introspect: it does not accept the gateway's client_id and client_secret \(status 401\)`, `fix: check jwt.introspection.client_id, client_secret and auth`}},
		{"a client that may not introspect", []string{named, as("app", "app-secret")}, 1, []string{`introspection +FAIL\n`, `fix: .* let this client introspect`}},
		{"another name", []string{"issuer_url: " + idp.URL() + "/", ask}, 1, []string{`: discovery: its discovery document is that of "` + idp.URL() + `"`, `fix: set jwt.issuer_url to that name`}},
		{"no issuer of this name", []string{"issuer_url: " + strings.Replace(idp.URL(), "/realms/x", "/realms/y", 1), ask}, 1, []string{`: discovery: .*404`, `fix: check jwt.issuer_url; where the issuer has no such document`}},
		{"no introspection there", []string{at(idp.URL() + "/oauth/nothing")}, 1, []string{`introspection: \S+: there is no introspection at this URL \(status 404\)`, `fix: check jwt.introspection.url: what answers there is no introspection endpoint`}},
		{"no key set there", []string{"jwks_url: " + idp.URL() + "/.well-known/openid-configuration"}, 1, []string{`: keys: \S+: it has no key`, `fix: check jwt.jwks_url: it must be a key set`}},
		{"its document is down, its endpoint known", []string{"issuer_url: http://127.0.0.1:1", at(idp.URL() + "/oauth/introspect")}, 1, []string{`discovery +FAIL\nkeys +-\nintrospection +ok`, `fix: check the host and port in jwt.issuer_url`}},
		{"down", []string{at("http://127.0.0.1:1/introspect")}, 1, []string{`introspection: http://127.0.0.1:1/introspect: .*refused`, `fix: check the host and port in jwt.introspection.url`}},
		{"a host without an address", []string{"issuer_url: https://no-such-issuer.invalid", ask}, 1, []string{`fix: check the host in jwt.issuer_url, and the name servers`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			jwt := "jwt:\n  audience: files\n  " + strings.Join(c.lines, "\n  ") + "\nbuckets:\n"
			protected := "    auth: {enabled: true}\n"
			yaml := jwt + bucketYAML("files", "/files", origin) + protected + bucketYAML("more", "/more", origin) + protected
			doctorSays(t, yaml, "o", c.code, c.says)
		})
	}
	before := requestsOf(t, idp)
	doctorSays(t, "jwt:\n  audience: files\n  "+named+"\n  "+ask+"\nbuckets:\n"+bucketYAML("files", "/files", origin)+"    auth: {enabled: true}\n"+
		bucketYAML("more", "/more", origin)+"    auth: {enabled: true}\n"+protectedYAML("own", "/own", origin, "audience: files", at(idp.URL()+"/oauth/introspect")), "o", 0,
		[]string{`(?s)ISSUER \S+  FOR files, more\n.*ISSUER \S+/oauth/introspect  FOR own\n.*3 origin\(s\), 2 issuer\(s\): all is well`})
	if n := requestsOf(t, idp) - before; n != 4 {
		t.Errorf("an issuer of two blocks gets %d requests, want 4", n)
	}
}

// authorityOf returns the certificate of another server.
func authorityOf(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(startProvider(t, openid.Options{TLS: true}).CA())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestDoctorAsksScriptedIssuers has issuers that answer as none should.
func TestDoctorAsksScriptedIssuers(t *testing.T) {
	keySet := keyserver.KeySet(t, map[string]crypto.Signer{"one": keyserver.NewKey(t)})
	origin := startFaulty(t, failing(0, "hello", nil)).endpoint
	const endpoint, inactive = `"introspection_endpoint":"%[1]s/introspect"`, `{"active":false}`
	for _, c := range []struct {
		name                           string
		document, keys, answer, format string // %[1]s in the document is the server's URL
		status                         int    // of the answer; 0: 200
		code                           int
		says                           []string
	}{
		{"sound", endpoint, keySet, inactive, "application/json", 0, 0, []string{`keys +ok \S+ +1 key\(s\) for ES256\n`, `introspection +ok`}},
		{"no introspection_endpoint", `"a":1`, keySet, inactive, "application/json", 0, 1, []string{`: introspection: the issuer's discovery document has no introspection_endpoint`, `fix: set jwt.introspection.url`}},
		{"an endpoint that is no URL", `"introspection_endpoint":"/introspect"`, keySet, inactive, "application/json", 0, 1, []string{`: discovery: the introspection_endpoint in its discovery document is no`, `fix: check jwt.issuer_url`}},
		{"no document", "", keySet, inactive, "application/json", 0, 1, []string{`: discovery: its discovery document is no strict JSON object`, `fix: check jwt.issuer_url: what answers there is no issuer`}},
		{"keys for nothing", endpoint, `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, inactive, "application/json", 0, 1, []string{`: keys: \S+/keys: none of its keys can be used`, `fix: check jwks_uri of the issuer's discovery document`, `introspection +ok`}},
		{"HTML", endpoint, keySet, "<html>", "text/html", 0, 1, []string{`introspect: its answer is no JSON`, `fix: check introspection_endpoint of the issuer's discovery document: what answers`}},
		{"HTML that says that it is JSON", endpoint, keySet, "<html>", "application/json", 0, 1, []string{`introspect: its answer is no strict JSON object`, `what answers there is no introspection endpoint`}},
		{"everybody is let in", endpoint, keySet, `{"active":true}`, "application/json", 0, 1, []string{`it says that a token is active which it cannot know`, `who answers there lets everybody in`}},
		{"forbidden", endpoint, keySet, "", "", 403, 1, []string{`\(status 403\)`, `fix: check jwt.introspection.client_id`}},
		{"overloaded", endpoint, keySet, "", "", 503, 1, []string{`it is overloaded \(status 503\)`, `fix: the issuer is overloaded`}},
		{"elsewhere", endpoint, keySet, "", "", 302, 1, []string{`it redirects \(status 302\)`, `fix: set jwt.introspection.url to the address`}},
		{"silent", endpoint, keySet, "", "", -1, 1, []string{`it does not answer in time`, `raise jwt.introspection.timeout`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mux := http.NewServeMux()
			s := httptest.NewServer(mux)
			defer s.Close()
			mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
				if c.document == "" {
					io.WriteString(w, "<html>")
					return
				}
				fmt.Fprintf(w, `{"issuer":"%[1]s","jwks_uri":"%[1]s/keys",`+c.document+`}`, s.URL)
			})
			mux.HandleFunc("/keys", keyserver.Text(c.keys))
			mux.HandleFunc("/introspect", func(w http.ResponseWriter, r *http.Request) {
				if token := r.FormValue("token"); len(token) < 20 {
					t.Errorf("asked about %q", token)
				}
				if c.status < 0 {
					keyserver.Hang(w, r)
					return
				}
				w.Header().Set("Content-Type", c.format)
				if c.status > 0 {
					w.WriteHeader(c.status)
				}
				io.WriteString(w, c.answer)
			})
			doctorSays(t, "buckets:\n"+protectedYAML("files", "/files", origin, "issuer_url: "+s.URL, "audience: files", introspectionYAML("timeout: 200ms")), "o", c.code, c.says)
		})
	}
}
