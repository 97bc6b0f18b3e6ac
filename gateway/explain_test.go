package gateway

import (
	"crypto"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/generation"
	"yatagarasu/gateway/inspect"
	openid "yatagarasu/loadtest/issuer"
	"yatagarasu/loadtest/keyserver"
)

func TestExplainPrivateBucket(t *testing.T) {
	g := configuredGateway(t, "buckets:\n"+bucketYAML("pub", "/pub", "http://origin.test")+privateYAML("files", "/files", "http://origin.test",
		"token_sources: [{type: bearer}, {type: query, name: token}]", "claims: [{claim: role, operator: equals, value: admin}]")+
		protectedYAML("idp", "/idp", "http://origin.test", "jwks_url: https://idp.example.test/keys")+
		protectedYAML("named", "/named", "http://origin.test", "issuer_url: https://idp.example.test", "issuer: [\"https://idp.example.test\"]"), "warn")
	forged := b64(`{"alg":"RS256","kid":"one"}`) + "." + b64(`{"exp":`+in(3600)+`}`) + "." + b64(strings.Repeat("x", 256))
	named := b64(`{"alg":"RS256","kid":"one"}`) + "." + b64(`{"iss":"https://idp.example.test","exp":`+in(3600)+`}`) + "." + b64(strings.Repeat("x", 256))
	good, guest := goodToken(`"role":"admin"`), goodToken(`"role":"guest"`)
	for _, c := range []struct {
		url, token string
		served     bool
		want       []string
	}{
		{"/files/x", "", false, []string{"token_missing", "answer:    401"}},
		{"/files/x", good, true, []string{"source:    bearer", "signed by: key 0", "rule:      holds: role equals \"admin\"", "upstream:  GET http://origin.test/things/x"}},
		{"/files/x", guest, false, []string{"rule:      fails: role equals \"admin\"; the claim is \"guest\"", "answer:    403"}},
		{"/files/x?token=" + good, "", true, []string{"source:    query"}},
		{"/files/x?token=" + good, "junk", false, []string{"source:    bearer", "token_malformed", "answer:    403"}},
		{"/files/", "", false, []string{"answer:    401"}},
		{"/files/", good, false, []string{"answer:    403", "names no object"}},
		{"/idp/x", forged, false, []string{"signature: not checked", "allowed if the signature holds", "upstream:  GET http://origin.test/things/x"}},
		{"/named/x", named, false, []string{"signature: not checked: the keys of https://idp.example.test are not fetched for an explanation", "allowed if the signature holds"}},
		{"/pub/x", good, true, []string{"not asked for: the bucket is public"}},
	} {
		out := explains(t, g, c.url, c.token, c.served, c.want)
		for _, token := range []string{good, guest, tokenSecret} {
			if strings.Contains(out, token[strings.LastIndexByte(token, '.')+1:]) {
				t.Errorf("%s: a token or a secret is printed:\n%s", c.url, out)
			}
		}
	}
}

// explains expects that what g says of a request has all of want, and returns it.
func explains(t *testing.T, g *Gateway, url, token string, served bool, want []string) string {
	t.Helper()
	var out strings.Builder
	if got := inspect.Explain(g.Generation.Load(), &out, url, token); got != served {
		t.Errorf("%s: %t\n%s", url, got, out.String())
	}
	for _, w := range want {
		if !strings.Contains(out.String(), w) {
			t.Errorf("%s: no %q in\n%s", url, w, out.String())
		}
	}
	return out.String()
}

func TestExplainSite(t *testing.T) {
	g := configuredGateway(t, "buckets:\n"+bucketYAML("site", "/site", "http://origin.test", "key_prefix: v1/")+`    cors: {origins: ["https://*.example.org", "https://a.example.com"]}
    content_types: {guess: true, map: {.yaml: text/plain}}
    headers:
      - {match: {path: "/a/*", content_type: text/html}, set: {X-A: b}, remove: etags}
      - {set: {cache-control: no-cache}, when: always}
`+bucketYAML("all", "/all", "http://origin.test")+"    cors: {origins: \"*\"}\n", "warn")
	explains(t, g, "/site/a/x.css", "", true, []string{"type:      text/css; charset=utf-8, if the origin has none\n", "cors:      pages of https://a.example.com, https://*.example.org may read\n",
		"headers[0]: for the type text/html: removes etags; sets X-A: b\n", "headers[1]: errors too: sets Cache-Control: no-cache\n", "upstream:  GET http://origin.test/things/v1/a/x.css\n"})
	if out := explains(t, g, "/site/b.yaml", "", true, []string{"type:      text/plain\n"}); strings.Contains(out, "headers[0]") {
		t.Errorf("a rule for another path:\n%s", out)
	}
	explains(t, g, "/all/x", "", true, []string{"cors:      every page may read\n"})
}

func TestExplain(t *testing.T) {
	yaml := "buckets:\n" + bucketYAML("assets", "/assets", "https://s3.example.test:9000", "allow_query: [versionId]") +
		strings.Replace(bucketYAML("other", "/assets/inner", "http://[::1]"), "    s3:", "    hosts: [\"other.test\"]\n    s3:", 1)
	g, err := newGateway(NewOptions(), mustConfig(t, yaml))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { generation.Close(g.Generation.Load()) })
	for _, c := range []struct {
		url    string
		served bool
		want   []string
	}{
		{"/assets/a/b.png", true, []string{"route:     /assets\n", "bucket:    assets\n", `key:       "a/b.png"`, "GET https://s3.example.test:9000/things/a/b.png\n", "dials:     s3.example.test:9000"}},
		{"http://other.test/assets/inner/x", true, []string{"bucket:    other", "GET http://[::1]/things/x\n", "dials:     [::1]:80"}},
		{"HTTPS://any.test:8443/assets/inner/x", true, []string{"bucket:    assets", `"inner/x"`}},
		{"/assets/a%20b%2Fc", true, []string{`"a b/c"`, "/things/a%20b/c"}},
		{"/assets/a?versionId=v1&token=secret", true, []string{"/things/a?versionId=v1\n", "the origin gets versionId=v1;"}},
		{"/assets/a?token=secret", true, []string{"the origin gets nothing;"}},
		{"/assets", false, []string{"403"}},
		{"/assets/../x", false, []string{"400", "'..'"}},
		{"/assets%2Fx", false, []string{"400"}},
		{"/nowhere/x", false, []string{"404", "/assets, /assets/inner"}},
		{"/assets/a?versionId=", false, []string{"400"}},
		{"/assetsx/a", false, []string{"404", "segment boundaries"}},
		{"/Assets/a", false, []string{"404", "by case"}},
		{"/assets/" + strings.Repeat("a", 20<<10), false, []string{"414"}},
		{"/assets/" + strings.Repeat("a", 1025), false, []string{"bucket:    assets", "answer:"}},
		{"/ready", false, []string{"own /ready"}},
		{"/metrics", false, []string{"404", "reserved"}},
		{"/health", false, []string{"own /health"}},
		{"/admin/reload", false, []string{"404", "reserved"}},
		{"http://other.test", false, []string{"404"}},
		{"http://other.test?x", false, []string{"404"}},
		{"ftp://other.test/x", false, []string{"400"}},
		{"http://other.test:8443/assets/inner/x", true, []string{"target:    /assets/inner/x\n", "bucket:    other"}},
		{"http://secret@other.test/assets/inner/x", false, []string{"target:    /assets/inner/x\n", "400", "userinfo"}},
		{"http://:80/assets/x", false, []string{"400"}},
		{"http://other.test:65536/assets/x", false, []string{"400"}},
		{"http://other.test//assets/x", false, []string{"400"}},
		{"/assets/http://other.test/x", true, []string{"bucket:    assets", `"http://other.test/x"`}},
		{"assets/x", false, []string{"400"}},
	} {
		if out := explains(t, g, c.url, "", c.served, c.want); strings.Contains(out, "secret") {
			t.Errorf("%s: a secret is printed:\n%s", c.url, out)
		}
	}
}

func TestExplainWebsite(t *testing.T) {
	const website = `    website: {index: index.html, clean_urls: true, spa: {fallback: app.html, assets: [/assets]}, error_documents: [{status: 404, key: 404.html}], redirects: [{from: "/x", to: "/y"}, {from: "/old/*", to: "/new/*", status: 308}], files: {/robots.txt: "abc"}}` + "\n"
	g := configuredGateway(t, "buckets:\n"+bucketYAML("pub", "/pub", "http://origin.test")+website+
		privateYAML("files", "/files", "http://origin.test")+"      rules: [{path: /open, enabled: false}, {path: /open/index.html, claims: [{claim: role, operator: equals, value: admin}]}]\n"+website+
		bucketYAML("closed", "/closed", "http://origin.test")+"    maintenance: {enabled: true}\n", "warn")
	for _, c := range []struct {
		url    string
		served bool
		want   []string
	}{
		{"/pub/", true, []string{`object:    "index.html", the index`, "upstream:  GET http://origin.test/things/index.html", `if absent: "app.html", the application's fallback`, `if absent: 404 with "404.html"`}},
		{"/pub/dir/page?a=b", true, []string{"upstream:  GET http://origin.test/things/dir/page\n", `if absent: "dir/page.html", by clean_urls`, `if absent: 302 to /pub/dir/page/?a=b, if there is "dir/page/index.html"`, `if absent: "app.html"`}},
		{"/pub/old/a%20b?q", false, []string{"answer:    308: to /pub/new/a%20b?q, by website.redirects[1]"}},
		{"/pub/robots.txt", false, []string{"answer:    200: the 3 bytes that website.files has"}},
		{"/pub?x", false, []string{"answer:    302: to /pub/?x"}},
		{"/files/", false, []string{"answer:    401"}},
		{"/files/open/", false, []string{`object:    "open/index.html"`, "answer:    401"}},
		{"/files/open/x", true, []string{"judged:"}},
		{"/closed/x", false, []string{"answer:    503: maintenance is enabled"}},
	} {
		explains(t, g, c.url, "", c.served, c.want)
	}
	listed := configuredGateway(t, "buckets:\n"+bucketYAML("pub", "/pub", "http://origin.test")+"    website: {index: index.html}\n    listing: {enabled: true}\n", "warn")
	explains(t, listed, "/pub/a/", "", true, []string{`object:    "a/index.html", the index`, "if absent: a listing of the folder"})
	paged := configuredGateway(t, "buckets:\n"+bucketYAML("pub", "/pub", "http://origin.test")+"    listing: {enabled: true, page_size: 20, hide: .*}\n", "warn")
	explains(t, paged, "/pub/a/?continue=x", "", true, []string{"continue:", "only the process that wrote that", "max-keys=1000"})
	if out := explains(t, g, "/pub/assets/x.js", "", true, nil); strings.Contains(out, "app.html") || strings.Contains(out, "x.js.html") {
		t.Errorf("an asset has a fallback:\n%s", out)
	}
}

// gatewaySecret is the secret of the client "gateway" of test issuers, which needs to be encoded.
const gatewaySecret = "s%+ecret of the gateway"

// startProvider starts a real issuer of the clients app and robot, whose tokens are JWTs and opaque;
// the client gateway may introspect, and both others may not.
func startProvider(t *testing.T, o openid.Options) *openid.Server {
	t.Helper()
	role := map[string]any{"role": "reader"}
	o.Clients = []openid.Client{
		{ID: "app", Secret: "app-secret", Audience: []string{"files"}, Claims: role},
		{ID: "robot", Secret: "robot-secret", Format: openid.Opaque, Audience: []string{"files"}, Claims: role},
		{ID: "gateway", Secret: gatewaySecret, Introspects: true},
	}
	return openid.ForTest(t, o)
}

// introspectionYAML is the line introspection of a jwt block, with these keys beside the credential.
func introspectionYAML(more string) string {
	return fmt.Sprintf("introspection: {client_id: gateway, client_secret: %q, %s}", gatewaySecret, more)
}

// TestExplainIssuer has tokens of a real issuer, which judges them.
func TestExplainIssuer(t *testing.T) {
	idp := startProvider(t, openid.Options{Path: "/realms/x"})
	token := func(client string) string {
		text, err := idp.Token(t.Context(), client, client+"-secret")
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	app, robot, revoked := token("app"), token("robot"), token("app")
	if err := idp.Revoke(t.Context(), "app", "app-secret", revoked); err != nil {
		t.Fatal(err)
	}
	forged := app[:strings.LastIndexByte(app, '.')+1] + b64(strings.Repeat("x", 256))
	key := keyserver.NewKey(t)
	const reader, admin = "claims: [{claim: role, operator: equals, value: reader}]", "claims: [{claim: role, operator: equals, value: admin}]"
	url := "introspection: {client_id: gateway, client_secret: \"" + gatewaySecret + "\", url: " + idp.URL() + "/oauth/introspect?secret=of-the-url, cache: 5m, negative_cache: 3s}"
	bucket := func(name string, lines ...string) string {
		return protectedYAML(name, "/"+name, "http://origin.test", append(lines, "audience: files")...)
	}
	g := configuredGateway(t, "buckets:\n"+bucket("idp", "issuer_url: "+idp.URL(), introspectionYAML("cache: 60s"), reader)+
		bucket("query", "issuer_url: "+idp.URL(), introspectionYAML("cache: 60s"), "token_sources: [{type: query, name: token}]")+
		bucket("admins", "issuer_url: "+idp.URL(), introspectionYAML("cache: 60s"), admin)+
		bucket("opaque", url, reader)+
		bucket("post", strings.Replace(url, "cache:", "auth: post, cache:", 1), reader)+
		bucket("keys", "jwks_url: "+idp.URL()+"/keys", url, reader)+
		bucket("typ", "jwks_url: "+idp.URL()+"/keys", url, "typ: at+jwt")+
		bucket("nokeys", "jwks_url: http://127.0.0.1:1/keys", url, reader)+
		bucket("wrong", "issuer_url: "+idp.URL(), "introspection: {client_id: gateway, client_secret: not that}")+
		bucket("others", "issuer_url: "+idp.URL()+"/", introspectionYAML("cache: 60s"))+
		bucket("down", "issuer_url: http://127.0.0.1:1/realms/x", introspectionYAML("cache: 60s"))+
		bucket("far", "jwks_url: "+startKeys(t, key)+"/keys", url, reader), "warn")
	named := "asks:      the introspection_endpoint that " + idp.URL() + " names in its discovery document about each token, as client \"gateway\" by basic; remembers for 1m0s that one is active, at most until its exp, and for 10s that one is not\n"
	for _, c := range []struct {
		name, url, token string
		served           bool
		want             []string
	}{
		{"without a token", "/idp/x", "", false, []string{named, "token_missing", "answer:    401"}},
		{"as the file says", "/post/x", "", false, []string{"asks:      " + idp.URL() + "/oauth/introspect about each token, as client \"gateway\" by post; remembers for 5m0s", "and for 3s"}},
		{"a JWT", "/idp/x", app, true, []string{named, "header:    alg \"RS256\"", "signed by: key 0 of the set", "issuer:    the token is active\n", "sub:       \"app\"", "rule:      holds: role", "auth:      the token is valid", "upstream:  GET"}},
		{"an opaque token", "/idp/x", robot, true, []string{"token:     no key verifies it", "issuer:    the token is active\n", "sub:       \"robot\"", "aud:       [\"files\"]", "rule:      holds: role"}},
		{"an opaque token, without keys", "/opaque/x", robot, true, []string{"issuer:    the token is active\n"}},
		{"a JWT, without keys", "/opaque/x", app, true, []string{"token:     no key verifies it", "sub:       \"app\""}},
		{"keys of a URL", "/keys/x", app, true, []string{"signed by: key 0 of the set", "issuer:    the token is active\n"}},
		{"revoked", "/keys/x", revoked, false, []string{"signed by: key 0", "issuer:    the token is not active\n", "auth:      token_inactive", "answer:    403"}},
		{"unknown", "/idp/x", "unknown", false, []string{"token_inactive"}},
		{"forged", "/idp/x", forged, false, []string{"verifies:  key 0 of the set", "auth:      signature_invalid"}},
		{"a rule that fails", "/admins/x", app, false, []string{"issuer:    the token is active\n", "rule:      fails: role", "claim_refused"}},
		{"no type", "/typ/x", robot, false, []string{"wants:     typ at+jwt, which a token that is no signed JWT does not have", "type_refused"}},
		{"no token", "/opaque/x", "a b", false, []string{"token_malformed"}},
		{"too long", "/opaque/x", strings.Repeat("x", 9000), false, []string{"token_too_long"}},
		{"a token of the URL", "/query/x?token=" + app, "", false, []string{"signature: not checked: the keys of " + idp.URL() + " are not fetched", "auth:      up to the issuer, which is not asked about a token of the URL: give it by -token\n", "upstream:  GET"}},
		{"without its keys", "/nokeys/x", app, false, []string{"fetch:     cannot use the key set http://127.0.0.1:1/keys", "signature: not checked: the keys of http://127.0.0.1:1/keys cannot be fetched", "issuer:    the token is active\n", "rule:      holds: role", "auth:      allowed if the signature holds", "upstream:  GET"}},
		{"with the keys of another", "/far/x", app, false, []string{"verifies:  key 0 of the set (ES256", "key_unknown"}},
		{"a wrong secret", "/wrong/x", app, false, []string{"signed by:", "issuer:    it does not accept the gateway's client_id and client_secret", "auth:      issuer_unavailable", "answer:    503"}},
		{"another issuer", "/others/x", robot, false, []string{"fetch:     cannot use the issuer " + idp.URL() + "/: its discovery document is that of", "issuer_unavailable"}},
		{"down", "/down/x", robot, false, []string{"fetch:     cannot use the issuer http://127.0.0.1:1/realms/x: its discovery document cannot be fetched", "issuer_unavailable"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := requestsOf(t, idp)
			out := explains(t, g, c.url, c.token, c.served, c.want)
			for _, secret := range []string{app, robot, "of-the-url", "not that", gatewaySecret} {
				if shown := strings.ReplaceAll(out, c.url, ""); strings.Contains(shown, secret[strings.LastIndexByte(secret, '.')+1:]) {
					t.Errorf("a token or a secret is printed:\n%s", out)
				}
			}
			if asked := requestsOf(t, idp) - before; c.token == "" && asked != 0 {
				t.Errorf("without -token, the issuer gets %d requests", asked)
			}
			if n := strings.Count(out, "fetch:  "); n > 1 {
				t.Errorf("it says %d times why nothing can be fetched:\n%s", n, out)
			}
		})
	}
}

// requestsOf returns how many requests an issuer has had.
func requestsOf(t *testing.T, idp *openid.Server) (n int) {
	t.Helper()
	all, err := idp.Requests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range all {
		n += of
	}
	return n
}

// startKeys starts a server that publishes a key, and returns its URL.
func startKeys(t *testing.T, key crypto.Signer) string {
	return keyserver.Start(t, keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"far": key}))).URL
}

// TestExplainAnswers has an issuer that says of a JWT what a sound one does not.
func TestExplainAnswers(t *testing.T) {
	good := goodToken(`"role":"admin"`)
	for _, c := range []struct {
		name, answer string
		served       bool
		want         []string
	}{
		{"another role", `{"active":true,"role":"guest"}`, false, []string{"signed by: key 0", "issuer:    the token is active\n", "rule:      fails: role equals \"admin\"; the claim is \"guest\""}},
		{"the token's own role", `{"active":true}`, true, []string{"rule:      holds: role"}},
		{"a subject beside that", `{"active":true,"exp":` + in(60) + `}`, true, []string{"sub:       \"alice\""}},
		{"another subject", `{"active":true,"sub":"bob"}`, false, []string{"issuer:    its answer is about another token", "issuer_unavailable"}},
		{"expired", `{"active":true,"exp":1}`, false, []string{"exp:       1 (1970-01-01T00:00:01Z)", "auth:      expired"}},
		{"a refresh token", `{"active":true,"token_use":"refresh_token"}`, false, []string{"issuer:    the token is active, but no access token, by token_use or typ\n", "token_inactive"}},
		{"not active", `{"active":false}`, false, []string{"issuer:    the token is not active\n", "token_inactive"}},
		{"a word", `{"active":"true"}`, false, []string{"issuer:    its answer does not say whether the token is active", "issuer_unavailable", "answer:    503"}},
		{"no JSON", `<html>`, false, []string{"issuer:    its answer is no strict JSON object", "issuer_unavailable"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			idp := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, c.answer)
			})
			g := configuredGateway(t, "buckets:\n"+privateYAML("files", "/files", "http://origin.test", introspectionYAML("url: "+idp.URL), "claims: [{claim: role, operator: equals, value: admin}]"), "warn")
			out := explains(t, g, "/files/x", good, c.served, c.want)
			if n := strings.Count(out, "sub:  "); n != 1 {
				t.Errorf("the subject is shown %d times:\n%s", n, out)
			}
			if n := len(idp.seen()); n != 1 {
				t.Errorf("the issuer is asked %d times", n)
			}
			forged := good[:strings.LastIndexByte(good, '.')+1] + b64(strings.Repeat("x", 32))
			explains(t, g, "/files/x", forged, false, []string{"signature_invalid"})
			if n := len(idp.seen()); n != 1 {
				t.Error("the issuer is asked about a forged token")
			}
		})
	}
	late := keyserver.Start(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // or it does not see that the client goes
		keyserver.Hang(w, r)
	})
	g := configuredGateway(t, "buckets:\n"+privateYAML("files", "/files", "http://origin.test", introspectionYAML("timeout: 100ms, url: "+late.URL)), "warn")
	begin := time.Now()
	explains(t, g, "/files/x", good, false, []string{"issuer:    it does not answer in time", "issuer_unavailable"})
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("an issuer that is silent takes %v", took)
	}
}
