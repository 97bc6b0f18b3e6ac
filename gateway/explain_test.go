package gateway

import (
	"strings"
	"testing"

	"yatagarasu/gateway/generation"
	"yatagarasu/gateway/inspect"
)

func TestExplainPrivateBucket(t *testing.T) {
	g := configuredGateway(t, "buckets:\n"+bucketYAML("pub", "/pub", "http://origin.test")+privateYAML("files", "/files", "http://origin.test",
		"token_sources: [{type: bearer}, {type: query, name: token}]", "claims: [{claim: role, operator: equals, value: admin}]")+
		protectedYAML("idp", "/idp", "http://origin.test", "jwks_url: https://idp.example.test/keys"), "warn")
	forged := b64(`{"alg":"RS256","kid":"one"}`) + "." + b64(`{"exp":`+in(3600)+`}`) + "." + b64(strings.Repeat("x", 256))
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
