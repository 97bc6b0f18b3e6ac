package gateway

import (
	"os"
	"regexp"
	"strings"
	"testing"

	idp "yatagarasu/loadtest/issuer"
)

// pageExample is what a complete configuration of docs/AUTHENTICATION.md promises.
type pageExample struct {
	reads  []string // what a good token reads
	denied []string // what it does not
	public []string // what everybody reads

	// sign returns what signs tokens, where the test makes them, and text with what verifies them
	// in its place. A token with the claim more reads what is denied to a good one.
	sign func(t *testing.T, text string) (string, func(claims string) (token string))
	more string

	// clients get tokens from an issuer: the first one good ones, the others such as read nothing.
	clients []idp.Client
	// at are addresses in the text, and the paths that the issuer has in their place.
	at map[string]string

	cookie, query string // other sources of tokens than the header
}

// askerSecret is that of the clients that ask the issuer about tokens.
const askerSecret = "50% :of+it"

// issuerClient returns a client that gets tokens of this form, for an audience.
func issuerClient(id string, format idp.Format, audience string, claims map[string]any, scopes ...string) idp.Client {
	return idp.Client{ID: id, Secret: id + "-secret", Format: format, Audience: []string{audience}, Claims: claims, Scopes: scopes}
}

// pageClaims are those of tokens that the test signs: first of a good one, then of such as read
// nothing.
var pageClaims = []string{
	`"iss":"https://login.example.com","aud":"files"`,
	`"iss":"https://login.example.com","aud":"other"`,
	`"iss":"https://login.example.com"`,
	`"iss":"https://other.example.com","aud":"files"`,
}

// pageExamples has each example by its heading.
var pageExamples = map[string]pageExample{
	"A secret": {
		reads: []string{"/team/x", "/team/logos/x"}, public: []string{"/team/logos/x"},
		cookie: "session", query: "token",
		sign: func(_ *testing.T, text string) (string, func(string) string) {
			return text, func(claims string) string { return handmade(`{"alg":"HS256"}`, claims) }
		},
	},
	"A public key": {
		reads: []string{"/teams/x", "/teams/acme/x"}, denied: []string{"/teams/acme/reports/x"},
		sign: func(t *testing.T, text string) (string, func(string) string) {
			key, file, _ := rsaKey(t, 2048)
			return replaced(t, text, `"issuer.pem"`, `"`+file+`"`), func(claims string) string {
				return signRS256(t, key, b64(`{"alg":"RS256"}`)+"."+b64(claims))
			}
		},
		more: `"role":"analyst"`,
	},
	"A key set": {
		reads: []string{"/tenants/acme/x"}, denied: []string{"/tenants/other/x", "/tenants/x"},
		clients: []idp.Client{
			issuerClient("app", idp.JWT, "files", map[string]any{"tenant": "acme"}),
			issuerClient("stranger", idp.JWT, "files", map[string]any{"tenant": "stranger"}),
			issuerClient("elsewhere", idp.JWT, "elsewhere", map[string]any{"tenant": "acme"}),
		},
		at: map[string]string{"https://issuer.example.com/.well-known/jwks.json": "/keys", `"https://issuer.example.com"`: ""},
	},
	"Keycloak": {
		reads: []string{"/files/x"},
		clients: []idp.Client{
			issuerClient("app", idp.JWT, "files", map[string]any{"realm_access": map[string]any{"roles": []string{"offline_access", "files-reader"}}}),
			issuerClient("stranger", idp.JWT, "files", map[string]any{"realm_access": map[string]any{"roles": []string{"offline_access"}}}),
			issuerClient("elsewhere", idp.JWT, "elsewhere", map[string]any{"realm_access": map[string]any{"roles": []string{"files-reader"}}}),
		},
		at: map[string]string{`"https://idp.example.com/realms/x"`: ""},
	},
	"Hydra": {
		reads: []string{"/tenants/acme/x"}, denied: []string{"/tenants/other/x", "/tenants/x"},
		clients: []idp.Client{
			issuerClient("app", idp.Opaque, "https://files.example.com", map[string]any{"ext": map[string]any{"tenant": "acme"}}),
			issuerClient("stranger", idp.Opaque, "https://files.example.com", map[string]any{"tenant": "acme"}),
			issuerClient("elsewhere", idp.Opaque, "https://elsewhere.example.com", map[string]any{"ext": map[string]any{"tenant": "acme"}}),
		},
		at: map[string]string{
			`"https://hydra.example.com"`: "", `"https://hydra.example.com/"`: "/",
			`"https://hydra-admin.example.com/admin/oauth2/introspect"`: "/oauth/introspect",
		},
	},
	"Another server that can be asked": {
		reads: []string{"/files/x"},
		clients: []idp.Client{
			issuerClient("app", idp.JWE, "files", nil, "other", "files:read"),
			issuerClient("stranger", idp.JWE, "files", nil, "files:reads"),
			issuerClient("elsewhere", idp.JWE, "elsewhere", nil, "files:read"),
		},
		at: map[string]string{`"https://tokens.example.com/introspect"`: "/oauth/introspect"},
	},
}

// replaced returns text with new in the place of old, which must be there.
func replaced(t *testing.T, text, old, new string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("the example lacks %s:\n%s", old, text)
	}
	return strings.ReplaceAll(text, old, new)
}

// TestAuthenticationPage starts the gateway with each complete configuration of
// docs/AUTHENTICATION.md, over an origin and an issuer in the place of those that it names. Nothing
// else is changed in it but how long verdicts are remembered.
func TestAuthenticationPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/AUTHENTICATION.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, section := range strings.Split(string(page), "\n## ")[1:] {
		heading, _, _ := strings.Cut(section, "\n")
		for _, block := range regexp.MustCompile("(?ms)^```yaml title=\"config.yaml\"\n(.*?)^```$").FindAllStringSubmatch(section, -1) {
			found++
			e, ok := pageExamples[heading]
			if !ok {
				t.Errorf("nothing is asked of the example below %q", heading)
				continue
			}
			t.Run(heading, func(t *testing.T) { e.test(t, block[1]) })
		}
	}
	if found != len(pageExamples) {
		t.Errorf("the page has %d examples, want %d", found, len(pageExamples))
	}
}

// test starts the gateway with the example, and asks it.
func (e *pageExample) test(t *testing.T, text string) {
	origin := startOrigin(t, serveText("hello"))
	text = replaced(t, text, "region: \"eu-central-1\"\n", "region: \"eu-central-1\"\n      endpoint: \""+origin.URL+"\"\n")
	text = strings.NewReplacer("${AWS_ACCESS_KEY_ID}", "AK", "${AWS_SECRET_ACCESS_KEY}", "secret", "${JWT_SECRET}", tokenSecret, "${INTROSPECTION_SECRET}", askerSecret).Replace(text)
	asks := strings.Contains(text, "introspection:\n")
	if asks {
		text = regexp.MustCompile(`(?m)^ +(negative_)?cache: "\d+s".*\n`).ReplaceAllString(text, "")
		text = replaced(t, text, "introspection:\n", "introspection:\n          cache: \"1s\"\n          negative_cache: \"1s\"\n")
	}
	var tokens []string // the first is good
	var stronger string
	var is *idp.Server
	if e.sign != nil {
		changed, sign := e.sign(t, text)
		text = changed
		for _, claims := range pageClaims {
			tokens = append(tokens, sign(`{"sub":"alice","exp":`+in(3600)+`,`+claims+`}`))
		}
		if e.more != "" {
			stronger = sign(`{"sub":"alice","exp":` + in(3600) + `,` + pageClaims[0] + `,` + e.more + `}`)
		}
	} else {
		is = idp.ForTest(t, idp.Options{Path: "/realms/x", Clients: append([]idp.Client{
			{ID: "files", Secret: askerSecret, Introspects: true}, {ID: "gateway", Secret: askerSecret, Introspects: true},
		}, e.clients...)})
		for old, path := range e.at {
			if new := is.URL() + path; strings.HasPrefix(old, `"`) {
				text = replaced(t, text, old, `"`+new+`"`)
			} else {
				text = replaced(t, text, old, new)
			}
		}
		for _, c := range e.clients {
			tokens = append(tokens, e.token(t, is, c.ID))
		}
	}
	gw := startGateway(t, text)
	status := func(target, token string) int {
		t.Helper()
		var header []string
		if token != "" {
			header = []string{"Authorization: Bearer " + token}
		}
		r, _ := gw.do("GET", target, header...)
		return r.StatusCode
	}
	expect := func(want int, token string, targets ...string) {
		t.Helper()
		for _, target := range targets {
			if got := status(target, token); got != want {
				t.Errorf("%s: status %d, want %d; the log:\n%s", target, got, want, gw.log)
			}
		}
	}
	good := tokens[0]
	expect(200, good, e.reads...)
	expect(200, good, e.reads...) // remembered
	expect(403, good, e.denied...)
	if e.more != "" {
		expect(200, stronger, e.denied...)
	}
	expect(200, "", e.public...)
	expect(401, "", e.reads[0])
	for _, bad := range append(tokens[1:], "nobody.knows.it") {
		expect(403, bad, e.reads[0])
	}
	if e.query != "" {
		expect(200, "", e.reads[0]+"?"+e.query+"="+good)
	}
	if e.cookie != "" {
		if r, body := gw.do("GET", e.reads[0], "Cookie: a=b; "+e.cookie+"="+good); r.StatusCode != 200 {
			t.Errorf("in a cookie: %d %s", r.StatusCode, body)
		}
	}
	if asks {
		client := e.clients[0]
		if err := is.Revoke(t.Context(), client.ID, client.Secret, good); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the revoked token is refused", func() bool { return status(e.reads[0], good) == 403 })
		gw.log.waitFor(t, `"reason":"token_inactive"`)
		expect(200, e.token(t, is, client.ID), e.reads...)
	}
}

// token returns a new token of a client.
func (e *pageExample) token(t *testing.T, is *idp.Server, client string) string {
	t.Helper()
	token, err := is.Token(t.Context(), client, client+"-secret")
	if err != nil {
		t.Fatal(err)
	}
	return token
}
