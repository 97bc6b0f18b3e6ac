package gateway

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"yatagarasu/loadtest/s3server"
)

// listed is a page of a listing as programs get it.
type listed struct {
	Folder  string
	Entries []struct {
		Name, Key, Type, Link string
		Size                  *int64
		Modified              string `json:"last_modified"`
	}
	Next string
}

// names returns the names of the entries of a page, folders with a slash.
func (l listed) names() (names []string) {
	for _, e := range l.Entries {
		if e.Type == "folder" {
			e.Name += "/"
		}
		names = append(names, e.Name)
	}
	return names
}

// list returns a page of a listing.
func (tg *testGateway) list(t *testing.T, target string, headers ...string) (l listed) {
	t.Helper()
	r, body := tg.do("GET", target, append(headers, "Accept: application/json")...)
	if err := json.Unmarshal(body, &l); err != nil || r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: status %d, type %q, %v: %.300s", target, r.StatusCode, r.Header.Get("Content-Type"), err, body)
	}
	return l
}

// listAllPages follows the links of a listing to its end, and returns the names of all entries.
func (tg *testGateway) listAllPages(t *testing.T, folder string, headers ...string) (names []string, pages int) {
	t.Helper()
	for target := folder; ; {
		l := tg.list(t, target, headers...)
		names = append(names, l.names()...)
		if pages++; l.Next == "" {
			return names, pages
		}
		if pages > 1000 {
			t.Fatalf("%s has no end: %s", folder, l.Next)
		}
		target = folder + l.Next
	}
}

// wantNames fails t if a listing has other names.
func wantNames(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("listed are %q, want %q", got, want)
	}
}

// withListing gives the last bucket of a configuration listings, with further keys of its block.
func withListing(yaml string, more ...string) string {
	return yaml + "    listing: {enabled: true" + strings.Join(append([]string{""}, more...), ", ") + "}\n"
}

// listedObject is an object of a lister.
type listedObject struct {
	Key          string
	Size         int
	LastModified string
}

// lister is an origin that lists keys as ListObjectsV2 says, and has objects that say their own
// keys.
type lister struct {
	keys      []string // sorted
	repeating bool     // it lists a folder again whose key start-after names
	hook      func(w http.ResponseWriter, r *http.Request) (done bool)
}

// startLister starts an origin that lists keys.
func startLister(t *testing.T, l *lister) *testOrigin {
	slices.Sort(l.keys)
	return startOrigin(t, l.serve)
}

func (l *lister) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	switch {
	case l.hook != nil && l.hook(w, r):
	case r.URL.Path == "/things" && q.Get("list-type") == "2":
		l.list(w, q)
	default:
		key := strings.TrimPrefix(r.URL.Path, "/things/")
		if !slices.Contains(l.keys, key) {
			s3Answer(404, "NoSuchKey")(w, r)
			return
		}
		io.WriteString(w, key)
	}
}

func (l *lister) list(w http.ResponseWriter, q url.Values) {
	type folder struct{ Prefix string }
	var page struct {
		XMLName        xml.Name `xml:"ListBucketResult"`
		IsTruncated    bool
		EncodingType   string
		Contents       []listedObject
		CommonPrefixes []folder
	}
	page.EncodingType = "url"
	most, _ := strconv.Atoi(q.Get("max-keys"))
	last := ""
	for _, key := range l.keys {
		rest, below := strings.CutPrefix(key, q.Get("prefix"))
		if !below || key <= q.Get("start-after") {
			continue
		}
		name := ""
		if segment, _, ok := strings.Cut(rest, q.Get("delimiter")); ok {
			name = q.Get("prefix") + segment + "/"
		}
		if name != "" && (name == last || !l.repeating && name == q.Get("start-after")) {
			continue
		}
		if len(page.Contents)+len(page.CommonPrefixes) == most {
			page.IsTruncated = true
			break
		}
		if last = name; name != "" {
			page.CommonPrefixes = append(page.CommonPrefixes, folder{url.QueryEscape(name)})
		} else {
			page.Contents = append(page.Contents, listedObject{url.QueryEscape(key), len(key), "2026-01-02T03:04:05.678Z"})
		}
	}
	w.Header().Set("Content-Type", "application/xml")
	if err := xml.NewEncoder(w).Encode(page); err != nil {
		panic(err)
	}
}

// lists returns the queries of the lists that an origin was asked for.
func (o *testOrigin) lists() (queries []string) {
	for _, r := range o.seen() {
		if r.URL.Query().Get("list-type") == "2" {
			queries = append(queries, r.URL.RawQuery)
		}
	}
	return queries
}

// storeAll stores objects whose bodies are their keys.
func storeAll(t *testing.T, server *s3server.Server, keys ...string) {
	t.Helper()
	var objects []s3server.Object
	for _, key := range keys {
		objects = append(objects, s3server.Object{Key: key, Body: key})
	}
	if err := server.Seed(t.Context(), s3Bucket, objects...); err != nil {
		t.Fatal(err)
	}
}

// TestListing has the cases that listings must meet, by their numbers; 20
// is TestListingInBrowser.
func TestListing(t *testing.T) {
	t.Run("18_every_key_is_reachable", func(t *testing.T) { eachS3(t, testEveryKeyIsListed) })
	t.Run("18_with_pages_of_any_size", testPagesOfAnySize)
	t.Run("19_a_key_of_markup_is_text", testKeyOfMarkup)
	t.Run("21_the_credential_may_not_list", testMayNotList)
	t.Run("21_at_a_real_server", testMayNotListAtMinIO)
}

func testEveryKeyIsListed(t *testing.T, server *s3server.Server, _ *minio.Client) {
	var many []string
	for i := range 1001 {
		many = append(many, fmt.Sprintf("many/k%04d", i))
	}
	storeAll(t, server, many...)
	storeAll(t, server, "few/dir/a", "few/dir/b", "few/dir/c/d", "few/dir.x", "few/dir2/x", "few/dira", "few/é b/+", "few/z", "few/é b+")
	few := []string{"dir.x", "dir/", "dir2/", "dira", "z", "é b+", "é b/"}
	for i := range many {
		many[i] = strings.TrimPrefix(many[i], "many/")
	}
	for size, folders := range map[int]map[string][]string{
		1000: {"/pub/many/": many, "/pub/few/": few, "/pub/": {"few/", "many/"}, "/pub/few/dir/": {"a", "b", "c/"}},
		300:  {"/pub/many/": many},
		2:    {"/pub/few/": few},
		1:    {"/pub/few/": few, "/pub/": {"few/", "many/"}},
	} {
		gw := startGateway(t, withListing(realBucket(server.Endpoint()), fmt.Sprint("page_size: ", size)))
		for folder, want := range folders {
			got, pages := gw.listAllPages(t, folder)
			if !slices.Equal(got, want) || pages != (len(want)+size-1)/size {
				t.Errorf("%s in pages of %d: %d entries on %d pages, want %d: %.500q", folder, size, len(got), pages, len(want), got)
			}
		}
		if r, body := gw.do("GET", "/pub/none/"); r.StatusCode != 404 {
			t.Errorf("a folder that is not there: status %d, %s", r.StatusCode, body)
		}
		if r, body := gw.do("GET", "/pub/many/"); size == 1000 && (r.StatusCode != 200 || strings.Count(string(body), "<tr") != 1+1+1000 || !strings.HasSuffix(string(body), "</html>\n")) {
			t.Errorf("the page for people: status %d, %d bytes, %d rows", r.StatusCode, len(body), strings.Count(string(body), "<tr"))
		}
	}
}

// testPagesOfAnySize has origins that understand start-after differently, with and without a
// key_prefix, and keys that are hard to name.
func testPagesOfAnySize(t *testing.T) {
	names := []string{"", "a", "a/b", "a/b/c", "a.b", "a0", "b//c", "b/c", "c\x01d", "c/\xff", "\x01", "e", "\U0010FFFF", "~/\U0010FFFF"}
	want := []string{"\x01", "a", "a.b", "a/", "a0", "b/", "c\x01d", "c/", "e", "~/", "\U0010FFFF"}
	for _, repeating := range []bool{false, true} {
		for _, prefix := range []string{"", "site/v1/"} {
			for _, folder := range []string{"", "f/", "f/ü g/"} {
				l := &lister{repeating: repeating, keys: []string{"other", "site/v2/x", "site/v1", "f", "f0"}}
				for _, name := range names {
					l.keys = append(l.keys, prefix+folder+name)
				}
				l.keys = slices.DeleteFunc(l.keys, func(key string) bool { return key == "" })
				if prefix == "" && folder == "" {
					l.keys = slices.DeleteFunc(l.keys, func(key string) bool {
						return slices.Contains([]string{"other", "site/v2/x", "site/v1", "f", "f0"}, key)
					})
				}
				o := startLister(t, l)
				var lines []string
				if prefix != "" {
					lines = append(lines, "key_prefix: "+prefix)
				}
				for _, size := range []int{1, 2, 3, 5, 1000} {
					gw := startGateway(t, withListing(oneBucket("/pub", o.URL, lines...), fmt.Sprint("page_size: ", size)))
					got, _ := gw.listAllPages(t, "/pub/"+escapeKey(folder))
					if !slices.Equal(got, want) {
						t.Errorf("repeating %t, %q, in pages of %d:\n got %q\nwant %q", repeating, prefix+folder, size, got, want)
					}
				}
			}
		}
	}
}

// TestListingOfOddBytes lists keys that are no UTF-8, which no link can name: each once, without a
// link, and what is behind them.
func TestListingOfOddBytes(t *testing.T) {
	o := startLister(t, &lister{keys: []string{"a", "b\xe9", "b\xff", "c", "d\xff"}})
	for _, size := range []int{3, 4, 5, 1000} {
		gw := startGateway(t, withListing(oneBucket("/pub", o.URL), fmt.Sprint("page_size: ", size)))
		got, _ := gw.listAllPages(t, "/pub/")
		wantNames(t, got, "a", "b\ufffd", "b\ufffd", "c", "d\ufffd")
		for _, e := range gw.list(t, "/pub/").Entries {
			if (e.Link == "") != strings.Contains(e.Name, "\ufffd") {
				t.Errorf("%q has the link %q", e.Name, e.Link)
			}
		}
	}
}

func testKeyOfMarkup(t *testing.T) {
	const key, link = `x/<img src=x onerror=alert(1)>"'&`, `./%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%22%27%26`
	gw := startGateway(t, withListing(oneBucket("/pub", startLister(t, &lister{keys: []string{key, key + "/inner"}}).URL)))
	r, body := gw.do("GET", "/pub/x/", "Accept: text/html")
	page := string(body)
	if r.StatusCode != 200 || strings.Contains(page, "<img") || strings.Count(page, "&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;") != 2 {
		t.Errorf("status %d: the key is not shown as text: %s", r.StatusCode, page)
	}
	if !strings.Contains(page, `<a href="`+link+`">`) || !strings.Contains(page, `<a href="`+link+`/">`) {
		t.Errorf("the links are not encoded: %s", page)
	}
	if r, body := gw.do("GET", "/pub/x/"+link[2:]); r.StatusCode != 200 || string(body) != key {
		t.Errorf("the link leads to status %d, %s", r.StatusCode, body)
	}
}

func testMayNotList(t *testing.T) {
	for _, line := range []string{"access_denied: 403", "access_denied: 404"} {
		o := startOrigin(t, s3Answer(403, "AccessDenied"))
		gw := startGateway(t, withListing(oneBucket("/pub", o.URL, line)))
		for range 3 {
			r, body := gw.do("GET", "/pub/")
			if r.StatusCode != 403 || !strings.Contains(string(body), `"error":"listing_denied"`) {
				t.Errorf("%s: status %d, %s", line, r.StatusCode, body)
			}
		}
		gw.log.waitFor(t, `"reason":"listing_denied"`)
		if n := strings.Count(gw.log.String(), "s3:ListBucket"); n != 1 {
			t.Errorf("the log says %d times that the bucket cannot be listed:\n%s", n, gw.log.String())
		}
	}
}

// testMayNotListAtMinIO has credentials that may read, and may or may not list the bucket, or a
// folder of it.
func testMayNotListAtMinIO(t *testing.T) {
	server, _ := startS3(t, s3server.MinIO)
	storeAll(t, server, "pub/a", "other/b")
	const read = `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::` + s3Bucket + `/*"}`
	const list = `{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::` + s3Bucket + `"`
	for name, c := range map[string]struct {
		statements string
		statuses   map[string]int
	}{
		"not at all": {read, map[string]int{"/pub/pub/": 403, "/pub/": 403, "/pub/none/": 403, "/pub/pub/a": 200}},
		"a folder":   {read + "," + list + `,"Condition":{"StringEquals":{"s3:prefix":"pub/"}}}`, map[string]int{"/pub/pub/": 200, "/pub/": 403, "/pub/other/": 403}},
		"all":        {read + "," + list + "}", map[string]int{"/pub/pub/": 200, "/pub/": 200, "/pub/none/": 404}},
	} {
		session, err := (&credentials.STSAssumeRole{STSEndpoint: server.Endpoint(), Options: credentials.STSAssumeRoleOptions{
			AccessKey: s3AccessKey, SecretKey: s3SecretKey, Location: "us-east-1", DurationSeconds: 3600,
			Policy: `{"Version":"2012-10-17","Statement":[` + c.statements + `]}`,
		}}).RetrieveWithCredContext(&credentials.CredContext{Client: http.DefaultClient})
		if err != nil {
			t.Fatal(err)
		}
		yaml := strings.NewReplacer("AKmain", session.AccessKeyID, "secret-of-main", session.SecretAccessKey).
			Replace(oneBucket("/pub", server.Endpoint(), fmt.Sprintf("session_token: %q", session.SessionToken)))
		gw := startGateway(t, withListing(yaml))
		for target, status := range c.statuses {
			if r, body := gw.do("GET", target); r.StatusCode != status || status == 403 && !strings.Contains(string(body), "listing_denied") {
				t.Errorf("%s: %s: status %d, want %d: %.300s", name, target, r.StatusCode, status, body)
			}
		}
	}
}
