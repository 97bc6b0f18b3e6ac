package gateway

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/admin"
	"yatagarasu/gateway/introspect"
	"yatagarasu/loadtest/browser/pagetest"
	"yatagarasu/loadtest/keyserver"
)

// issuerSays answers with JSON.
func issuerSays(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, text)
	}
}

// active is what an issuer says of a token of alice for an hour.
func active() http.HandlerFunc {
	return issuerSays(`{"active":true,"sub":"alice","exp":` + in(3600) + `}`)
}

// askedYAML is a bucket whose tokens an issuer judges, with further lines of its jwt block.
func askedYAML(name, endpoint, url string, lines ...string) string {
	return protectedYAML(name, "/"+name, endpoint, append([]string{`introspection: {url: "` + url + `", client_id: gateway, client_secret: ` + issuerSecret + `, timeout: 1s}`}, lines...)...)
}

const issuerSecret = "the-secret-at-the-issuer"

// watched is a gateway whose operators look at it, with these buckets.
func watched(t *testing.T, buckets string, tune ...func(*Options)) *testGateway {
	t.Helper()
	return startGateway(t, "server: {ready: config, limits: {token_failures_per_second: 0}}\nmetrics: {enabled: true, address: 127.0.0.1, port: 0}\nbuckets:\n"+buckets, tune...)
}

// TestIssuersAreShown has metrics and status say what comes of look-ups, and whether the issuer is
// asked, of buckets that it judges alone.
func TestIssuersAreShown(t *testing.T) {
	origin := startOrigin(t, serveText("hello")).URL
	issuer := keyserver.Start(t, active())
	gw := watched(t, askedYAML("files", origin, issuer.URL+"/introspect?key=hidden")+askedYAML("more", origin, issuer.URL+"/introspect")+
		privateYAML("keyed", "/keyed", origin)+bucketYAML("pub", "/pub", origin))
	name := issuer.URL + "/introspect"
	n := 0
	asks := func(bucket string, status int) string {
		t.Helper()
		n++
		r, body := gw.do("GET", "/"+bucket+"/x", fmt.Sprintf("Authorization: Bearer token-%d", n))
		if r.StatusCode != status {
			t.Errorf("%s: status %d, want %d: %s", bucket, r.StatusCode, status, body)
		}
		id := `"request_id":"` + r.Header.Get("X-Request-ID") + `"`
		gw.log.waitFor(t, id)
		return lineWith(gw.log.String(), id)
	}
	counts := func(bucket string) (list []int) {
		for _, outcome := range introspect.Outcomes {
			list = append(list, int(gw.metricValue(fmt.Sprintf("yatagarasu_introspections_total{bucket=%q,outcome=%q}", bucket, outcome))))
		}
		return list
	}
	is := func(want admin.StatusReply, files, more string) {
		t.Helper()
		if got := gw.statusCall(); fmt.Sprint(got.Issuers) != fmt.Sprint(want.Issuers) {
			t.Errorf("issuers %v, want %v", got.Issuers, want.Issuers)
		}
		if f, m := fmt.Sprint(counts("files")), fmt.Sprint(counts("more")); f != files || m != more {
			t.Errorf("active, inactive, failed, skipped: files %s, more %s; want %s, %s", f, m, files, more)
		}
	}
	of := func(up bool, active, inactive, failed, skipped uint64) (s admin.StatusReply) {
		s.Issuers = append(s.Issuers, struct {
			Name    string            `json:"name"`
			Up      bool              `json:"up"`
			LookUps map[string]uint64 `json:"look_ups"`
		}{name, up, map[string]uint64{"active": active, "inactive": inactive, "failed": failed, "skipped": skipped}})
		return s
	}

	text := gw.metricsText() // before anybody came, so that the first failure is a rise
	is(of(true, 0, 0, 0, 0), "[0 0 0 0]", "[0 0 0 0]")
	asks("files", 200)
	asks("more", 200)
	gw.do("GET", "/files/y", fmt.Sprintf("Authorization: Bearer token-%d", n-1)) // remembered
	issuer.Set(issuerSays(`{"active":false}`))
	if line := asks("files", 403); !strings.Contains(line, `"auth":{"outcome":"denied","reason":"token_inactive"}`) || !strings.Contains(line, `"reason":"token_inactive"}`+"\n") && !strings.Contains(line, `"reason":"token_inactive",`) || strings.Contains(line, "cause") {
		t.Errorf("the line of an inactive token: %s", line)
	}
	is(of(true, 2, 1, 0, 0), "[1 1 0 0]", "[1 0 0 0]")

	issuer.Set(keyserver.Status(503))
	for range 5 {
		if line := asks("files", 503); !strings.Contains(line, `"auth":{"outcome":"denied","reason":"issuer_unavailable"}`) || !strings.Contains(line, `"cause":"it is overloaded (status 503)"`) {
			t.Errorf("the line of a token that is not judged: %s", line)
		}
	}
	if line := asks("files", 503); !strings.Contains(line, `"cause":"the issuer has failed and is left alone for a moment"`) {
		t.Errorf("the line of a token that is not asked about: %s", line)
	}
	is(of(false, 2, 1, 5, 1), "[1 1 5 1]", "[1 0 0 0]")
	if up := gw.metricValue(fmt.Sprintf("yatagarasu_issuer_up{issuer=%q}", name)); up != 0 {
		t.Errorf("up: %v", up)
	}
	gw.log.waitFor(t, "the issuer of tokens cannot be asked")
	issuer.Set(active())
	eventually(t, "it is asked again", func() bool {
		n++
		r, _ := gw.do("GET", "/files/x", fmt.Sprintf("Authorization: Bearer token-%d", n))
		return r.StatusCode == 200
	})
	if up := gw.metricValue(fmt.Sprintf("yatagarasu_issuer_up{issuer=%q}", name)); up != 1 {
		t.Errorf("up: %v", up)
	}
	gw.log.waitFor(t, "the issuer of tokens can be asked again")
	if took := gw.metricValue(`yatagarasu_introspection_duration_seconds_count{bucket="files"}`); took != 2+5+1 {
		t.Errorf("%v durations: those that are skipped take none", took)
	}

	for _, text := range []string{text, gw.metricsText()} {
		for line := range strings.Lines(text) {
			introspects := strings.HasPrefix(line, "yatagarasu_introspection")
			if introspects && !strings.Contains(line, `{bucket="files"`) && !strings.Contains(line, `{bucket="more"`) || strings.Contains(line, "jwks_age") {
				t.Errorf("a metric of what no issuer judges: %s", line)
			}
		}
		if !strings.Contains(text, "# TYPE yatagarasu_introspection_duration_seconds histogram\n") || !strings.Contains(text, "# TYPE yatagarasu_introspections_total counter\n") {
			t.Errorf("the metrics lack a family: %s", text)
		}
	}
}

// discovery answers for an issuer of this name with its document, its keys and verdicts.
func discovery(t *testing.T, s *keyserver.Server, key crypto.Signer, verdict http.HandlerFunc) http.HandlerFunc {
	set := keyserver.KeySet(t, map[string]crypto.Signer{"k": key})
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			issuerSays(fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q,"introspection_endpoint":%q}`, s.URL, s.URL+"/keys", s.URL+"/introspect"))(w, r)
		case "/keys":
			issuerSays(set)(w, r)
		default:
			verdict(w, r)
		}
	}
}

// TestDiscoveredKeySetsAreShown has a key set that its issuer names bear the issuer's name, in
// metrics and status, beside one that has an address, and one that is missing.
func TestDiscoveredKeySetsAreShown(t *testing.T) {
	origin := startOrigin(t, serveText("hello")).URL
	key := keyserver.NewKey(t)
	issuer := keyserver.Start(t, keyserver.Status(404))
	issuer.Set(discovery(t, issuer, key, active()))
	plain := keyserver.Start(t, keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"k": key})))
	gone := keyserver.Start(t, keyserver.Status(500))
	gw := watched(t, protectedYAML("a", "/a", origin, "issuer_url: "+issuer.URL, `introspection: {client_id: gateway, client_secret: `+issuerSecret+`}`)+
		protectedYAML("b", "/b", origin, "jwks_url: "+plain.URL+"/keys?hidden", "algorithm: ES256")+
		protectedYAML("c", "/c", origin, "issuer_url: "+gone.URL, "jwks_optional: true", `introspection: {client_id: gateway, client_secret: `+issuerSecret+`}`))
	s := gw.statusCall()
	known, missing := 0, ""
	for _, k := range s.KeySets {
		switch {
		case k.MaxAge != 86400:
			t.Errorf("%s is trusted for %v s", k.Name, k.MaxAge)
		case k.Fetched == nil:
			missing += k.Name
		case time.Since(*k.Fetched) < time.Minute && (k.Name == issuer.URL || k.Name == plain.URL+"/keys"):
			known++
		}
	}
	if known != 2 || missing != gone.URL || len(s.KeySets) != 3 {
		t.Errorf("key sets %+v", s.KeySets)
	}
	up := make(map[string]bool)
	for _, i := range s.Issuers {
		up[i.Name] = i.Up
	}
	if len(up) != 2 || !up[issuer.URL] || up[gone.URL] {
		t.Errorf("issuers %+v", s.Issuers)
	}
	text := gw.metricsText()
	for want, there := range map[string]bool{
		fmt.Sprintf("\nyatagarasu_jwks_age_seconds{jwks=%q} ", issuer.URL):               true,
		fmt.Sprintf("\nyatagarasu_jwks_age_seconds{jwks=%q} ", gone.URL):                 false,
		fmt.Sprintf("\nyatagarasu_jwks_max_age_seconds{jwks=%q} 86400\n", issuer.URL):    true,
		fmt.Sprintf("\nyatagarasu_jwks_max_age_seconds{jwks=%q} 86400\n", gone.URL):      true,
		fmt.Sprintf("\nyatagarasu_issuer_up{issuer=%q} 1\n", issuer.URL):                 true,
		fmt.Sprintf("\nyatagarasu_issuer_up{issuer=%q} 0\n", gone.URL):                   true,
		fmt.Sprintf("\nyatagarasu_issuer_up{issuer=%q} 0\n", plain.URL+"/keys"):          false,
		"\nyatagarasu_introspections_total{bucket=\"a\",outcome=\"skipped\"} 0\n":        true,
		"\nyatagarasu_introspections_total{bucket=\"b\",outcome=\"skipped\"} 0\n":        false,
		"\nyatagarasu_jwks_fetches_total{outcome=\"ok\"} 2\n":                            true,
		"\nyatagarasu_jwks_fetches_total{outcome=\"failed\"} 1\n":                        true,
		fmt.Sprintf("\nyatagarasu_jwks_age_seconds{jwks=%q} ", plain.URL+"/keys"):        true,
		fmt.Sprintf("\nyatagarasu_jwks_age_seconds{jwks=%q} ", issuer.URL+"/keys"):       false,
		fmt.Sprintf("\nyatagarasu_jwks_age_seconds{jwks=%q} ", plain.URL+"/keys?hidden"): false,
	} {
		if strings.Contains(text, want) != there {
			t.Errorf("the metrics have %q: %t", want, !there)
		}
	}
	gw.log.waitFor(t, `"jwks":"`+gone.URL+`"`)
	if line := lineWith(gw.log.String(), `"jwks":"`+gone.URL+`"`); !strings.Contains(line, "its discovery document cannot be fetched") {
		t.Errorf("the log has %s", line)
	}
}

// TestNoTokenIsTold has an issuer work, fail and refuse in all ways, with the token and the
// gateway's secret in whatever it sends: neither is told anywhere.
func TestNoTokenIsTold(t *testing.T) {
	t.Parallel()
	origin := startOrigin(t, serveText("hello")).URL
	key := keyserver.NewKey(t)
	issuer := keyserver.Start(t, keyserver.Status(404))
	issuer.Set(discovery(t, issuer, key, active()))
	audit := filepath.Join(t.TempDir(), "audit.log")
	buckets := askedYAML("files", origin, issuer.URL+"/introspect") +
		protectedYAML("signed", "/signed", origin, "jwks_url: "+issuer.URL+"/keys", "token_sources: [{type: bearer}, {type: query, name: t}]",
			`introspection: {url: "`+issuer.URL+`/introspect", client_id: gateway, client_secret: `+issuerSecret+`, auth: post, timeout: 1s}`)
	gw := watched(t, buckets+"logging: {level: trace, slow: 1ms, audit: {enabled: true, output: "+audit+"}}\n", func(o *Options) { o.LogRefused = 0 })

	hijack := func(answer func(token string) string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			token := r.PostFormValue("token") + issuerSecret
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			fmt.Fprint(c, answer(token))
			c.Close()
		}
	}
	echo := func(status int, kind, form string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			token := r.PostFormValue("token") + issuerSecret
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Location", "http://127.0.0.1:1/?"+token)
			w.Header().Set("WWW-Authenticate", token)
			w.WriteHeader(status)
			fmt.Fprintf(w, form, token)
		}
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	verdicts := map[string]http.HandlerFunc{
		"active":              active(),
		"inactive":            echo(200, "application/json", `{"active":false,"x":%q}`),
		"about another":       issuerSays(`{"active":true,"sub":"mallory","exp":` + in(3600) + `}`),
		"no JSON":             echo(200, "application/json", `{"active":tru %s`),
		"no verdict":          echo(200, "application/json", `{"active":%q}`),
		"another type":        echo(200, "text/html; %s", `<p>%s`),
		"a redirect":          echo(302, "application/json", `%s`),
		"refuses the gateway": echo(401, "application/json", `{"error":%q}`),
		"a fault":             echo(500, "application/json", `{"error":%q}`),
		"slow": func(w http.ResponseWriter, r *http.Request) {
			r.ParseForm() // or it is not noticed that the client goes
			keyserver.Hang(w, r)
		},
		"hangs up":                 hijack(func(string) string { return "" }),
		"no HTTP":                  hijack(func(token string) string { return token + "\r\n\r\n" }),
		"a status that is none":    hijack(func(token string) string { return "HTTP/1.1 " + token + "\r\n\r\n" }),
		"a header without a colon": hijack(func(token string) string { return head + token + "\r\n\r\n" }),
		"a length that is none":    hijack(func(token string) string { return head + "Content-Length: " + token + "\r\n\r\n" }),
		"an encoding that is none": hijack(func(token string) string { return head + "Transfer-Encoding: " + token + "\r\n\r\n" }),
		"chunks that are none":     hijack(func(token string) string { return head + "Transfer-Encoding: chunked\r\n\r\n" + token + "\r\n" }),
		"a trailer without a colon": hijack(func(token string) string {
			return head + "Transfer-Encoding: chunked\r\nTrailer: x\r\n\r\n0\r\n" + token + "\r\n\r\n"
		}),
		"a body that is cut":             hijack(func(token string) string { return head + "Content-Length: 99999\r\n\r\n" + token }),
		"interim answers without an end": hijack(func(token string) string { return strings.Repeat("HTTP/1.1 103 "+token+"\r\n\r\n", 20) }),
	}
	var told strings.Builder // all that clients and operators get
	secrets := map[string]string{"the secret": issuerSecret, "the credential": base64.StdEncoding.EncodeToString([]byte("gateway:" + issuerSecret))}
	n := 0
	reasons := make(map[string]bool)
	for name, verdict := range verdicts {
		eventually(t, "the issuer is asked again", func() bool { // it is left alone after failures
			issuer.Set(discovery(t, issuer, key, active()))
			n++
			files, _ := gw.do("GET", "/files/x", fmt.Sprintf("Authorization: Bearer again-%d", n))
			signed, _ := gw.do("GET", "/signed/x", "Authorization: Bearer "+fmt.Sprintf("again-%d", n))
			return files.StatusCode == 200 && signed.StatusCode == 200
		})
		issuer.Set(discovery(t, issuer, key, verdict))
		n++
		opaque := fmt.Sprintf("0paque%dToken-that-nobody-else-may_see~", n)
		jwt := keyserver.Sign(t, "ES256", key, "k", time.Now().Add(time.Hour))
		for what, token := range map[string]string{"an opaque token": opaque, "a JWT": jwt} {
			sum := sha256.Sum256([]byte(token))
			secrets[what+", "+name] = token
			secrets[what+"'s hash, "+name] = hex.EncodeToString(sum[:])[:16]
			secrets[what+"'s hash in base64, "+name] = base64.StdEncoding.EncodeToString(sum[:])[:16]
		}
		secrets["a signature, "+name] = jwt[strings.LastIndexByte(jwt, '.')+1:]
		for _, target := range []string{"/files/x", "/signed/x", "/signed/y?t="} {
			for _, token := range []string{opaque, jwt, opaque + "=x"} {
				var r *http.Response
				var body []byte
				if strings.HasSuffix(target, "=") {
					r, body = gw.do("GET", target+token)
				} else {
					r, body = gw.do("GET", target, "Authorization: Bearer "+token)
				}
				fmt.Fprintln(&told, r.Header, string(body))
				if own := name == "about another" && (target == "/files/x" || token == opaque); r.StatusCode == 200 && name != "active" && !own { // no key says whose it is
					t.Errorf("%s, %s: a token is let in", name, target)
				}
				id := `"request_id":"` + r.Header.Get("X-Request-ID") + `"`
				gw.log.waitFor(t, id)
				line := lineWith(gw.log.String(), id)
				reasons[regexp.MustCompile(`"auth":\{"outcome":"[a-z]+"(,"reason":"[a-z_]+")?`).FindString(line)] = true
			}
		}
	}
	for _, target := range []string{"/metrics", "/admin/status", "/admin/config", "/ready", "/"} {
		_, body := gw.admin("GET", target, "")
		told.WriteString(body)
	}
	if err := gw.stop(); err != nil {
		t.Error(err)
	}
	audited, err := os.ReadFile(audit)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"auth":{"outcome":"allowed"`, `"auth":{"outcome":"denied","reason":"token_inactive"`, `"auth":{"outcome":"denied","reason":"issuer_unavailable"`, `"auth":{"outcome":"denied","reason":"token_malformed"`} {
		if !reasons[want] || !strings.Contains(string(audited), want) {
			t.Errorf("no request has %s in its line and in the audit log: %v", want, reasons)
		}
	}
	for where, text := range map[string]string{"the log": gw.log.String(), "the audit log": string(audited), "what is told": told.String()} {
		for what, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s has %s: %.300s", where, what, text[max(0, at-150):])
			}
		}
	}
}

// TestStatusPageShowsIssuers looks at the card of key sets and issuers: there is none without them,
// and the page says so when an issuer fails.
func TestStatusPageShowsIssuers(t *testing.T) {
	origin := startOrigin(t, serveText("hello")).URL
	key := keyserver.NewKey(t)
	issuer := keyserver.Start(t, keyserver.Status(404))
	issuer.Set(discovery(t, issuer, key, issuerSays(`{"active":true,"iss":"`+issuer.URL+`","exp":`+in(3600)+`}`)))
	plain := keyserver.Start(t, keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"k": key})))
	gw := watched(t, protectedYAML("a", "/a", origin, "issuer_url: "+issuer.URL, `introspection: {client_id: gateway, client_secret: `+issuerSecret+`}`)+
		protectedYAML("b", "/b", origin, "jwks_url: "+plain.URL+"/a-longer-path-of-a-realm/protocol/openid-connect/certs", "algorithm: ES256", "jwks_max_age: 0")+
		askedYAML("c", origin, plain.URL+"/introspect"))
	without := startGateway(t, adminYAML(origin))
	b := pagetest.Start(t)
	look := func(gw *testGateway, name, ready string) {
		t.Helper()
		lookAtStatusPage(t, b, gw, "issuers-"+name, ready)
	}
	state := func(want string) string {
		return fmt.Sprintf(`document.getElementById('state').textContent === %q`, want)
	}
	cells := func(row, want string) string {
		return fmt.Sprintf(`[...[...document.querySelectorAll('#tokens tbody tr')].find(r => r.cells[0].textContent === %q).cells].slice(1).map(c => c.textContent.replace(/\d+ s ago/, 'ago')).join('|') === %q`, row, want)
	}
	look(without, "none", state("Serving")+` && document.getElementById('tokens-card').offsetParent === null`)

	ask := func(bucket string, n, status int) {
		t.Helper()
		for i := range n {
			if r, body := gw.do("GET", "/"+bucket+"/x", fmt.Sprintf("Authorization: Bearer %s-%d-%d", bucket, status, i)); r.StatusCode != status {
				t.Errorf("status %d, want %d: %s", r.StatusCode, status, body)
			}
		}
	}
	ask("a", 3, 200)
	issuer.Set(discovery(t, issuer, key, issuerSays(`{"active":false}`)))
	ask("a", 2, 403)
	look(gw, "well", state("Serving")+" && "+cells(issuer.URL, "fetched ago trusted for 1 d|answers|3|2|0|0")+" && "+
		cells(plain.URL+"/introspect", "|answers|0|0|0|0")+" && "+cells(plain.URL+"/a-longer-path-of-a-realm/protocol/openid-connect/certs", "fetched ago trusted for good|||||"))
	issuer.Set(keyserver.Status(503))
	ask("a", 7, 503)
	look(gw, "failing", state("Serving; an issuer of tokens fails")+" && "+cells(issuer.URL, "fetched ago trusted for 1 d|not asked it fails|3|2|5|2"))
	if complaints := b.Complaints(); len(complaints) > 0 {
		t.Errorf("the page complains: %s", complaints)
	}
}
