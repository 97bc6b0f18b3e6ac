package route

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// rule is one Add; its value is its index in the list.
type rule struct{ host, prefix string }

func build(t testing.TB, rules []rule) *Table[int] {
	t.Helper()
	var b Builder[int]
	for i, r := range rules {
		if err := b.Add(r.host, r.prefix, &i); err != nil {
			t.Fatal(err)
		}
	}
	return b.Build()
}

func TestLookup(t *testing.T) {
	table := build(t, []rule{
		0: {"", "/products"},
		1: {"", "/products/eu"},
		2: {"", "/pro"},
		3: {"cdn.example.com", "/products"},
		4: {"cdn.example.com", "/x"},
		5: {"root.example.com", "/"},
		6: {"2001:db8::1", "/v6/"},
		7: {"", "/products/eu-west"},
		8: {"", "/ä"},
	})
	const none = -1
	for _, tc := range []struct {
		name, host, path string
		want, wantLen    int
	}{
		{"prefix exactly", "a", "/products", 0, 9},
		{"prefix with a slash", "a", "/products/", 0, 9},
		{"below the prefix", "a", "/products/a/b", 0, 9},
		{"longest prefix wins", "a", "/products/eu/x", 1, 12},
		{"longest prefix exactly", "a", "/products/eu", 1, 12},
		{"falls back to the shorter prefix within a segment", "a", "/products/euro/x", 0, 9},
		{"falls back to the shorter prefix within a label", "a", "/products/eu-w/x", 0, 9},
		{"sibling that extends a prefix", "a", "/products/eu-west/x", 7, 17},
		{"T03 no match across a segment boundary", "a", "/products-secret/x", none, 0},
		{"shorter route across no segment boundary", "a", "/prod/x", none, 0},
		{"short prefix", "a", "/pro/x", 2, 4},
		{"T11 paths are case-sensitive", "a", "/PRODUCTS/x", none, 0},
		{"empty segment after the prefix", "a", "/products//x", 0, 9},
		{"two slashes first match nothing", "a", "//products/x", none, 0},
		{"root without a root route", "a", "/", none, 0},
		{"bytes beyond ASCII", "a", "/ä/x", 8, 3},
		{"bytes beyond ASCII, half a character", "a", "/\xc3", none, 0},
		{"exact host wins", "cdn.example.com", "/products/x", 3, 9},
		{"exact host wins over a longer prefix of any host", "cdn.example.com", "/products/eu/x", 3, 9},
		{"any host where the exact host has none", "cdn.example.com", "/pro/x", 2, 4},
		{"host in another case, with port and dot", "CDN.example.COM.:8080", "/x", 4, 2},
		{"route of a host is not reachable under another", "a", "/x", none, 0},
		{"route of a host is not reachable under a subdomain", "a.cdn.example.com", "/x", none, 0},
		{"route of a host is not reachable without a host", "", "/x", none, 0},
		{"root of a host takes all", "root.example.com", "/products/x", 5, 0},
		{"root of a host, root path", "root.example.com", "/", 5, 0},
		{"IPv6 with brackets and port", "[2001:DB8::1]:443", "/v6/x", 6, 3},
		{"IPv6, prefix exactly", "[2001:db8::1]", "/v6", 6, 3},
		{"host too long to be one", strings.Repeat("a", 8192), "/pro/x", 2, 4},
		{"empty path", "a", "", none, 0},
		{"path without a slash first", "root.example.com", "x", none, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v, n := table.Lookup([]byte(tc.host), []byte(tc.path))
			got := none
			if v != nil {
				got = *v
			}
			if got != tc.want || n != tc.wantLen {
				t.Errorf("Lookup(%q, %q) = route %d, length %d, want route %d, length %d", tc.host, tc.path, got, n, tc.want, tc.wantLen)
			}
		})
	}
}

func TestLookupEmptyTables(t *testing.T) {
	var zero Table[int]
	var b Builder[int]
	for _, table := range []*Table[int]{&zero, b.Build()} {
		if v, n := table.Lookup([]byte("a"), []byte("/x")); v != nil || n != 0 {
			t.Errorf("Lookup in an empty table = %v, %d, want nil, 0", v, n)
		}
	}
}

func TestBuilderAddErrors(t *testing.T) {
	for _, tc := range []struct{ name, host, prefix, want string }{
		{"no slash first", "", "pub", `cannot add route: prefix "pub" does not begin with '/'`},
		{"empty", "", "", `cannot add route: prefix "" does not begin with '/'`},
		{"empty segment", "", "/a//b", `cannot add route: prefix "/a//b" has an empty segment`},
		{"two slashes at the end", "", "/a//", `cannot add route: prefix "/a//" has an empty segment`},
		{"two slashes alone", "", "//", ``},
		{"dot", "", "/a/./b", `cannot add route: prefix "/a/./b" has the segment "."`},
		{"dots", "", "/a/..", `cannot add route: prefix "/a/.." has the segment ".."`},
		{"bad host", "a:80", "/a", `cannot add route: host "a:80" has a port; name the host alone, it matches on every port`},
		{"duplicate", "", "/dup", `cannot add route: prefix "/dup" is there already`},
		{"duplicate with a slash at the end", "", "/dup/", `cannot add route: prefix "/dup/" is there already`},
		{"duplicate root", "", "/", `cannot add route: prefix "/" is there already`},
		{"duplicate on a host in another case", "CDN.", "/dup", `cannot add route: prefix "/dup" is there already on host "CDN."`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b Builder[int]
			one, two := 1, 2
			for _, r := range []rule{{"", "/dup"}, {"", "/"}, {"cdn", "/dup"}} {
				if err := b.Add(r.host, r.prefix, &one); err != nil {
					t.Fatal(err)
				}
			}
			err := b.Add(tc.host, tc.prefix, &two)
			if tc.want == "" {
				tc.want = fmt.Sprintf("cannot add route: prefix %q has an empty segment", tc.prefix)
			}
			if err == nil || err.Error() != tc.want {
				t.Fatalf("Add(%q, %q) = %v, want %s", tc.host, tc.prefix, err, tc.want)
			}
			table := b.Build()
			for _, path := range []string{"/", "/dup", "/a/b"} {
				if v, _ := table.Lookup([]byte("cdn"), []byte(path)); v != &one {
					t.Errorf("a refused route has changed %s", path)
				}
			}
		})
	}
}

func TestBuilderAddNilPanics(t *testing.T) {
	defer func() {
		if r := fmt.Sprint(recover()); !strings.HasPrefix(r, "BUG: ") {
			t.Errorf("Add of a nil value: %s, want a panic with BUG:", r)
		}
	}()
	var b Builder[int]
	_ = b.Add("", "/", nil)
}

func TestTableDoesNotChangeWithItsBuilder(t *testing.T) {
	var b Builder[string]
	first, second := "first", "second"
	if err := b.Add("", "/a", &first); err != nil {
		t.Fatal(err)
	}
	old := b.Build()
	if err := b.Add("", "/a/b", &second); err != nil {
		t.Fatal(err)
	}
	if v, _ := old.Lookup(nil, []byte("/a/b")); v != &first {
		t.Errorf("the old table has the new route")
	}
	if v, _ := b.Build().Lookup(nil, []byte("/a/b")); v != &second {
		t.Errorf("the new table lacks the new route")
	}
}

func TestLookupConcurrently(t *testing.T) {
	table := build(t, []rule{{"", "/a"}, {"h", "/a/b"}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				if v, n := table.Lookup([]byte("H:80"), []byte("/a/b/c")); v == nil || *v != 1 || n != 4 {
					t.Errorf("Lookup = %v, %d, want route 1, length 4", v, n)
					return
				}
			}
		})
	}
	wg.Wait()
}

// naiveLookup is the rule of Lookup, read aloud: a linear scan. It takes hosts
// that are canonical already.
func naiveLookup(rules []rule, host, path string) (best, prefixLen int) {
	scan := func(host string) (best, prefixLen int) {
		best = -1
		for i, r := range rules {
			p := strings.TrimSuffix(r.prefix, "/")
			if r.host != host || path != p && !strings.HasPrefix(path, p+"/") {
				continue
			}
			if best < 0 || len(p) > prefixLen {
				best, prefixLen = i, len(p)
			}
		}
		return best, prefixLen
	}
	if host != "" {
		if best, prefixLen = scan(host); best >= 0 {
			return best, prefixLen
		}
	}
	return scan("")
}

// addAll returns the table of rules and those that Add took.
func addAll(rules []rule) (*Table[int], []rule) {
	var b Builder[int]
	var taken []rule
	for _, r := range rules {
		i := len(taken)
		if b.Add(r.host, r.prefix, &i) == nil {
			taken = append(taken, r)
		}
	}
	return b.Build(), taken
}

func compareWithNaive(t *testing.T, table *Table[int], rules []rule, host, path string) {
	t.Helper()
	want, wantLen := naiveLookup(rules, host, path)
	got := -1
	v, n := table.Lookup([]byte(host), []byte(path))
	if v != nil {
		got = *v
	}
	if got != want || n != wantLen {
		t.Fatalf("Lookup(%q, %q) = route %d, length %d, want route %d, length %d, among %q", host, path, got, n, want, wantLen, rules)
	}
}

func TestLookupAgainstLinearScan(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	// Few letters, so that prefixes share bytes, segments and dead ends.
	word := func(letters string, most int) string {
		b := []byte("/")
		for range rnd.IntN(most) {
			b = append(b, letters[rnd.IntN(len(letters))])
		}
		return string(b)
	}
	hosts := []string{"", "a.example", "b.example"}
	matched := 0
	for range 300 {
		rules := make([]rule, rnd.IntN(60))
		for i := range rules {
			rules[i] = rule{hosts[rnd.IntN(len(hosts))], word("ab//-\xff", 8)}
		}
		table, rules := addAll(rules)
		for range 200 {
			host, path := hosts[rnd.IntN(len(hosts))], word("ab//-\xff", 12)
			compareWithNaive(t, table, rules, host, path)
			if v, _ := table.Lookup([]byte(host), []byte(path)); v != nil {
				matched++
			}
		}
	}
	if matched < 10_000 {
		t.Errorf("only %d of 60,000 look-ups matched: the comparison shows little", matched)
	}
}

// FuzzLookup reads each line of rules as "host prefix".
func FuzzLookup(f *testing.F) {
	f.Add(" /a\n /a/b\nh /a\n /ab", "h", "/a/b/c")
	f.Add(" /\nh /x/", "h", "/")
	f.Add("::1 /\xff\xfe\n /\xff", "::1", "/\xff\xfe/")
	f.Fuzz(func(t *testing.T, lines, host, path string) {
		var rules []rule
		for line := range strings.SplitSeq(lines, "\n") {
			h, prefix, _ := strings.Cut(line, " ")
			if h != "" {
				canonical, err := canonicalHost(h)
				if err != nil {
					continue
				}
				// An accepted host must be found under its declared name.
				if again := string(AppendHost(nil, []byte(h))); again != canonical {
					t.Fatalf("host %q is %q when declared, %q when looked up", h, canonical, again)
				}
				h = canonical
			}
			rules = append(rules, rule{h, prefix})
		}
		table, rules := addAll(rules)
		canonical := ""
		if host != "" {
			canonical = string(AppendHost(nil, []byte(host)))
		}
		if !strings.HasPrefix(path, "/") {
			if v, _ := table.Lookup([]byte(host), []byte(path)); v != nil {
				t.Fatalf("path %q has a route", path)
			}
			return
		}
		want, wantLen := naiveLookup(rules, canonical, path)
		v, n := table.Lookup([]byte(host), []byte(path))
		if (v == nil) != (want < 0) || v != nil && *v != want || n != wantLen {
			t.Fatalf("Lookup(%q, %q) = %v, %d, want route %d, length %d, among %q", host, path, v, n, want, wantLen, rules)
		}
	})
}
