package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// privateListing is a private bucket with listings, whose paths have these rules.
func privateListing(endpoint, rules string, more ...string) string {
	sources := "token_sources: [{type: bearer}, {type: query, name: token}]"
	return withListing("server: {ready: config}\nbuckets:\n"+privateYAML("main", "/pub", endpoint, sources)+"      rules: ["+rules+"]\n", more...)
}

// TestListingShowsWhatATokenMayRead has tokens of two departments list the same folders: each
// sees what it may read, and nothing tells it what else there is.
func TestListingShowsWhatATokenMayRead(t *testing.T) {
	keys := []string{"all.txt", "teams/", "teams/red/a", "teams/red/b", "teams/blue/a", "open/x", "secret/x", "z"}
	o := startLister(t, &lister{keys: keys})
	gw := startGateway(t, privateListing(o.URL,
		`{path: /teams/red, claims: [{claim: team, operator: equals, value: red}]}, {path: /teams/blue, claims: [{claim: team, operator: equals, value: blue}]},`+
			` {path: /secret, claims: [{claim: team, operator: equals, value: nobody}]}, {path: /open, enabled: false}`))
	red, blue := "Authorization: Bearer "+goodToken(`"team":"red"`), "Authorization: Bearer "+goodToken(`"team":"blue"`)
	for range 2 { // the second time from memory
		wantNames(t, gw.list(t, "/pub/", red).names(), "all.txt", "open/", "teams/", "z")
		wantNames(t, gw.list(t, "/pub/teams/", red).names(), "red/")
		wantNames(t, gw.list(t, "/pub/teams/", blue).names(), "blue/")
		wantNames(t, gw.list(t, "/pub/teams/red/", red).names(), "a", "b")
		wantNames(t, gw.list(t, "/pub/open/").names(), "x")
	}
	if lists := o.lists(); len(lists) != 4 {
		t.Errorf("S3 is asked for %q: tokens share what is there", lists)
	}

	// The folder is judged as any key is, before S3 is asked.
	asked := len(o.seen())
	for target, want := range map[string]struct {
		token  string
		status int
	}{
		"/pub/":                     {"", 401},
		"/pub":                      {"", 401},
		"/pub/teams/red/":           {blue, 403},
		"/pub/secret/":              {red, 403},
		"/pub/none/":                {"", 401},
		"/pub/?start-after=teams/":  {"Authorization: Bearer junk", 403},
		"/pub/teams/?start-after=x": {"", 401},
	} {
		if r, body := gw.do("GET", target, headersOf(want.token)...); r.StatusCode != want.status || strings.Contains(string(body), "entries") {
			t.Errorf("%s with %.20q: status %d, want %d: %s", target, want.token, r.StatusCode, want.status, body)
		}
	}
	if n := len(o.seen()); n != asked {
		t.Errorf("S3 is asked %d times for those who are refused", n-asked)
	}

	r, body := gw.do("GET", "/pub/teams/?token="+goodToken(`"team":"red"`))
	if cc := r.Header.Get("Cache-Control"); r.StatusCode != 200 || !strings.Contains(cc, "no-store") || strings.Contains(cc, "max-age") || strings.Contains(string(body), "token") {
		t.Errorf("status %d, Cache-Control %q: %s", r.StatusCode, cc, body)
	}
	if strings.Contains(string(body), "blue") {
		t.Errorf("the page for people names what the token may not read: %s", body)
	}
}

// headersOf returns a list of a header, or none.
func headersOf(header string) []string {
	if header == "" {
		return nil
	}
	return []string{header}
}

// TestListingOfWhatMayNotBeRead pages through folders of which a token may read next to nothing:
// it comes to the end, and is told of nothing that it may not read.
func TestListingOfWhatMayNotBeRead(t *testing.T) {
	keys := []string{"last.txt", "mine/x"}
	for i := range 300 {
		keys = append(keys, fmt.Sprintf("hidden-%03d-of-others/x", i), fmt.Sprintf("other/hidden-%03d", i))
	}
	o := startLister(t, &lister{keys: keys})
	rule := `{path: /other, claims: [{claim: own, operator: exists, value: true}]}`
	for i := range 300 {
		rule += fmt.Sprintf(`, {path: /hidden-%03d-of-others, claims: [{claim: own, operator: exists, value: true}]}`, i)
	}
	gw := startGateway(t, privateListing(o.URL, rule, "page_size: 20"))
	token := "Authorization: Bearer " + goodToken()
	var names []string
	for target, pages := "/pub/", 0; ; pages++ {
		l := gw.list(t, target, token)
		names = append(names, l.names()...)
		if l.Next == "" {
			break
		}
		if target = "/pub/" + l.Next; strings.Contains(target, "of-others") || strings.Contains(target, "hidden-") && len(target) > len("/pub/?start-after=hidden-00") {
			t.Errorf("a link names what the token may not read: %s", target)
		}
		if pages > 300 {
			t.Fatal("there is no end")
		}
	}
	wantNames(t, names, "last.txt", "mine/")
	if r, body := gw.do("GET", "/pub/other/", token); r.StatusCode != 403 {
		t.Errorf("status %d: %s", r.StatusCode, body)
	}
}

// TestListingOfNothingToSee answers as if a folder were not there of which the client may see
// nothing.
func TestListingOfNothingToSee(t *testing.T) {
	o := startLister(t, &lister{keys: []string{"a/b/c", "a/.git/x", "marked/", "marked/b/c"}})
	gw := startGateway(t, privateListing(o.URL, `{path: /a/b, claims: [{claim: x, operator: exists, value: true}]}, {path: /marked/b, claims: [{claim: x, operator: exists, value: true}]}`, `hide: [".*"]`))
	token := "Authorization: Bearer " + goodToken()
	there, body := gw.do("GET", "/pub/a/", token)
	none, same := gw.do("GET", "/pub/0/", token)
	strip := func(b []byte) string { return string(b[:strings.Index(string(b), "request_id")]) }
	if there.StatusCode != 404 || none.StatusCode != 404 || strip(body) != strip(same) {
		t.Errorf("status %d, %s; of what is not there %d, %s", there.StatusCode, body, none.StatusCode, same)
	}
	wantNames(t, gw.list(t, "/pub/marked/", token).names())
}

// TestListingHides leaves names out, and has no listing of what is left out.
func TestListingHides(t *testing.T) {
	keys := []string{".env", ".git/config", "app.js", "app.js.map", "map", "x/.ssh/id", "x/y", "docs/a", "docsx/a"}
	o := startLister(t, &lister{keys: keys})
	yaml := oneBucket("/pub", o.URL)
	gw := startGateway(t, withListing(yaml, `hide: [".*", "*.map"]`))
	wantNames(t, gw.list(t, "/pub/").names(), "app.js", "docs/", "docsx/", "map", "x/")
	wantNames(t, gw.list(t, "/pub/x/").names(), "y")
	for _, target := range []string{"/pub/.git/", "/pub/x/.ssh/"} {
		if r, body := gw.do("GET", target); r.StatusCode != 404 {
			t.Errorf("%s: status %d, %s", target, r.StatusCode, body)
		}
	}
	if r, body := gw.do("GET", "/pub/.env"); r.StatusCode != 200 || string(body) != ".env" {
		t.Errorf("status %d, %s: what is hidden is there all the same", r.StatusCode, body)
	}

	// Where listings are not offered, all is as it was.
	gw = startGateway(t, withListing(yaml, "paths: [/docs]"))
	wantNames(t, gw.list(t, "/pub/docs/").names(), "a")
	asked := len(o.lists())
	for target, status := range map[string]int{"/pub/": 403, "/pub": 403, "/pub/docsx/": 404, "/pub/x/": 404} {
		if r, body := gw.do("GET", target); r.StatusCode != status || status == 403 && !strings.Contains(string(body), "no_object_key") {
			t.Errorf("%s: status %d, want %d: %s", target, r.StatusCode, status, body)
		}
	}
	_, body := gw.do("GET", "/pub/docs/", "Accept: text/html")
	if page := string(body); strings.Contains(page, "Parent folder") || strings.Contains(page, `href="../"`) {
		t.Errorf("the page leads to where there is no listing: %s", page)
	}
	if n := len(o.lists()); n != asked {
		t.Errorf("S3 is asked for %d lists where none are offered", n-asked)
	}
	if i := slices.IndexFunc(o.seen(), func(r *http.Request) bool { return r.URL.Path == "/things/x/" }); i < 0 {
		t.Error("a key that ends in a slash does not go to S3 where there is no listing")
	}
}

// TestListingBelowKeyPrefix puts the prefix before the folder, and takes it off again.
func TestListingBelowKeyPrefix(t *testing.T) {
	o := startLister(t, &lister{keys: []string{"site/v1/", "site/v1/a/b", "site/v1/c", "site/v10/x", "secret"}})
	gw := startGateway(t, withListing(oneBucket("/pub", o.URL, "key_prefix: site/v1/"), "page_size: 1"))
	got, _ := gw.listAllPages(t, "/pub/")
	wantNames(t, got, "a/", "c")
	l := gw.list(t, "/pub/a/")
	if len(l.Entries) != 1 || l.Entries[0].Key != "a/b" || l.Folder != "a/" {
		t.Errorf("%+v", l)
	}
	want := []string{
		"delimiter=%2F&encoding-type=url&list-type=2&max-keys=2&prefix=site%2Fv1%2F",
		"delimiter=%2F&encoding-type=url&list-type=2&max-keys=2&prefix=site%2Fv1%2F&start-after=site%2Fv1%2Fa%2F%F4%8F%BF%BF",
		"delimiter=%2F&encoding-type=url&list-type=2&max-keys=2&prefix=site%2Fv1%2Fa%2F",
	}
	if got := o.lists(); !slices.Equal(got, want) {
		t.Errorf("S3 is asked for %q, want %q", got, want)
	}
	if r, body := gw.do("GET", "/pub/?start-after=../../secret"); r.StatusCode != 200 || strings.Contains(string(body), "secret<") {
		t.Errorf("status %d: %s", r.StatusCode, body)
	}
}

// TestListingGivesBack has pages of one client's own, small and large, leave no memory held.
func TestListingGivesBack(t *testing.T) {
	keys := []string{"secret/x"}
	for i := range 900 {
		keys = append(keys, fmt.Sprintf("key-%04d", i), fmt.Sprintf("few/%d/secret", i/300))
	}
	o := startLister(t, &lister{keys: append(keys, "few/secret/x")})
	rule := `{path: /secret, claims: [{claim: x, operator: exists, value: true}]}, {path: /few/secret, claims: [{claim: x, operator: exists, value: true}]}`
	gw := startGateway(t, privateListing(o.URL, rule))
	token := "Authorization: Bearer " + goodToken()
	for target, least := range map[string]int{"/pub/": 200_000, "/pub/few/": 1000} {
		for _, method := range []string{"GET", "HEAD"} {
			if r, body := gw.do(method, target, token); r.StatusCode != 200 || method == "GET" && (len(body) < least || strings.Contains(string(body), "secret")) {
				t.Errorf("%s %s: status %d, %d bytes", method, target, r.StatusCode, len(body))
			}
		}
	}
	pages := gw.Generation.Load().ByName["main"].Pages
	eventually(t, "nothing is held", func() bool { return pages.Room.Bytes() == 0 })
}
