package gateway

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestListingTellsNothingOfWhatIsNotSeen has a folder with secrets between what a token may read, and
// one without: from whatever text a page begins, and however long it is, both have the same.
func TestListingTellsNothingOfWhatIsNotSeen(t *testing.T) {
	t.Parallel()
	random := 30
	if raceEnabled {
		random = 10 // each takes ten times as long
	}
	var visible []string
	for i := range 2100 {
		visible = append(visible, fmt.Sprintf("m/v-%04d", i))
	}
	visible = append(visible, "m/zz/x", "m/a", "m/b/c")
	rules, all := "", slices.Clone(visible)
	for _, name := range []string{"merger-with-acme", "v-0500-secret", "v-1998x", "a0", "~last"} {
		rules += fmt.Sprintf(`{path: /m/%s, claims: [{claim: own, operator: exists, value: true}]},`, name)
		all = append(all, "m/"+name+"/x")
	}
	for i := range 1100 {
		all = append(all, fmt.Sprintf("m/v-1000/%04d", i), fmt.Sprintf("m/.hidden-%04d", i), fmt.Sprintf("m/v-1000.map-%04d", i))
	}
	rules += `{path: /m/v-1000.map, claims: [{claim: own, operator: exists, value: true}]}`
	with, without := startLister(t, &lister{keys: all}), startLister(t, &lister{keys: append(visible, "m/v-1000/x")})
	rnd := rand.New(rand.NewPCG(1, 2))
	token := "Authorization: Bearer " + goodToken()
	for _, size := range []int{1, 3, 1000} {
		more := []string{fmt.Sprint("page_size: ", size), `hide: [".*", "v-1000.map-*"]`}
		a, b := startGateway(t, privateListing(with.URL, rules, more...)), startGateway(t, privateListing(without.URL, rules, more...))
		texts := []string{"", "m/", "m/merger", "m/merger-with-acme", "m/merger-with-acmf", "m/v-0499", "m/v-0500-", "m/v-0500-t", "m/v-1000", "m/v-1000/", "m/~", "m/~z", "m/zz/"}
		for range random {
			texts = append(texts, fmt.Sprintf("m/v-%04d", rnd.IntN(2100)), fmt.Sprintf("m/%c%c", ' '+rnd.IntN(94), 'a'+rnd.IntN(26)))
		}
		for _, text := range texts {
			target := "/pub/m/"
			if text != "" {
				target += "?start-after=" + url.QueryEscape(text)
			}
			for _, accept := range []string{"application/json", "text/html"} {
				r1, got := a.do("GET", target, token, "Accept: "+accept)
				r2, want := b.do("GET", target, token, "Accept: "+accept)
				if r1.StatusCode != 200 || r2.StatusCode != 200 || string(got) != string(want) {
					t.Fatalf("pages of %d behind %q: status %d and %d:\n%.600s\n%.600s", size, text, r1.StatusCode, r2.StatusCode, got, want)
				}
			}
		}
	}
}

// TestListingOfVeryMuchThatIsNotSeen comes to what a token may read behind thousands of others, by
// links that name none of them and hold for their folder alone.
func TestListingOfVeryMuchThatIsNotSeen(t *testing.T) {
	keys := []string{"f/aa", "f/mine/x", "g/x"}
	for i := range 12_500 {
		keys = append(keys, fmt.Sprintf("f/hidden-%05d-of-others", i))
	}
	o := startLister(t, &lister{keys: keys})
	rule := `{path: /f, claims: [{claim: sub, operator: equals, value: alice}]}`
	gw, _ := fileGateway(t, privateListing(o.URL, rule, "page_size: 10", `hide: ["hidden*"]`))
	token := "Authorization: Bearer " + goodToken()
	first := gw.list(t, "/pub/f/", token)
	wantNames(t, first.names(), "aa")
	if n := len(o.lists()); n > 10 || !strings.HasPrefix(first.Next, "?continue=") {
		t.Errorf("S3 was asked for %d lists; next is %.100s", n, first.Next)
	}
	var names []string
	last := first
	for pages := 1; ; pages++ {
		l := gw.list(t, "/pub/f/"+last.Next, token)
		if names = append(names, l.names()...); l.Next == "" {
			break
		}
		if len(l.Next) != len(first.Next) || pages > 100 {
			t.Fatalf("page %d: next is %.100s", pages, l.Next)
		}
		last = l
	}
	wantNames(t, names, "mine/")
	if n := len(o.lists()); n > 60 {
		t.Errorf("S3 was asked for %d lists", n)
	}
	_, page := gw.do("GET", "/pub/f/", token)
	if !strings.Contains(string(page), `href="?continue=`) {
		t.Error("the page for people has no link to the next")
	}
	gw.reload(t.Context())
	wantNames(t, gw.list(t, "/pub/f/"+last.Next, token).names(), "mine/")
	text := strings.TrimPrefix(first.Next, "?continue=")
	other := "A"
	if text[80] == 'A' {
		other = "B"
	}
	for target, token := range map[string]string{
		"/pub/g/?continue=" + text:                          token,
		"/pub/f/?continue=" + text[:80] + other + text[81:]: token,
		"/pub/f/?continue=":                                 token,
		"/pub/f/?continue=f/aa":                             token,
		"/pub/f/?continue=" + text + "&start-after=f/aa":    token,
		"/pub/f/?continue=" + text + "&continue=" + text:    token,
		"/pub/f/?continue=" + text + "&a=b&start-after=xx":  token,
	} {
		if r, body := gw.do("GET", target, token); r.StatusCode != 400 || !strings.Contains(string(body), "bad_target") {
			t.Errorf("%.60s: status %d, %s", target, r.StatusCode, body)
		}
	}
	if r, _ := gw.do("GET", "/pub/f/"+first.Next); r.StatusCode != 401 {
		t.Errorf("without a token: status %d", r.StatusCode)
	}
}
