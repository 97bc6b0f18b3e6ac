package request

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// naiveTarget is the model of target: strings, net/url and no cleverness. Its
// status is 200, 400 or 414.
type naiveTarget struct {
	authority            string
	rawPath, path, query string
	hasQuery             bool
	status               int
}

var naiveURL = regexp.MustCompile(`(?is)^https?://([^/?]*)(.*)$`)

func parseNaive(raw string) naiveTarget {
	if len(raw) > 8192 {
		return naiveTarget{status: 414}
	}
	bad := naiveTarget{status: 400}
	authority := ""
	if m := naiveURL.FindStringSubmatch(raw); m != nil {
		if authority, raw = m[1], m[2]; !naiveAuthority(authority) {
			return bad
		}
		if !strings.HasPrefix(raw, "/") {
			raw = "/" + raw
		}
	}
	if !strings.HasPrefix(raw, "/") || strings.HasPrefix(raw, "//") || strings.ContainsAny(raw, " #") || hasControl(raw) {
		return bad
	}
	n := naiveTarget{status: 200, authority: authority}
	n.rawPath, n.query, n.hasQuery = strings.Cut(raw, "?")
	var err error
	n.path, err = url.PathUnescape(n.rawPath)
	if err != nil || hasControl(n.path) || !utf8.ValidString(n.path) {
		return bad
	}
	for _, segment := range strings.Split(n.path, "/") {
		if segment == "." || segment == ".." {
			return bad
		}
	}
	return n
}

// naiveAuthority is the model of isAuthority.
func naiveAuthority(s string) bool {
	m := naiveHost.FindStringSubmatch(s)
	if m == nil {
		return false
	}
	if literal, ok := strings.CutPrefix(m[1], "["); ok {
		if a, err := netip.ParseAddr(strings.TrimSuffix(literal, "]")); err != nil || !a.Is6() {
			return false
		}
	}
	port := strings.TrimLeft(m[2], "0")
	return len(port) < 5 || len(port) == 5 && port <= "65535"
}

var naiveHost = regexp.MustCompile(`^(\[[0-9a-fA-F:.]*\]|(?:[0-9A-Za-z._~!$&()*+;=-]|%[89a-fA-F][0-9a-fA-F])+)(?::([0-9]*))?$`)

func unescaped(s string) string {
	u, _ := url.PathUnescape(s)
	return u
}

func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < utf8.RuneSelf && unicode.IsControl(rune(s[i])) {
			return true
		}
	}
	return false
}

// serversOwn and emptySegment match the keys of T94 in docs/THREATS.md.
var (
	serversOwn   = regexp.MustCompile(`__(?i:xldir)__(/|$)|^/*\.[sS](?i:gwtmp)(/|$)`)
	emptySegment = regexp.MustCompile(`^/|//`)
)

// key takes the prefix off the raw path, segment by segment, and decodes what
// is left: an encoded slash in the prefix can match nothing.
func (n naiveTarget) key(prefix string) (string, error) {
	var segments []string
	if prefix != "" {
		segments = strings.Split(prefix, "/")[1:]
	}
	rest := strings.Split(n.rawPath, "/")[1:]
	for _, segment := range segments {
		if len(rest) == 0 {
			return "", errors.New("path ends within the prefix")
		}
		if decoded, err := url.PathUnescape(rest[0]); err != nil || decoded != segment {
			return "", errors.New("segments differ")
		}
		rest = rest[1:]
	}
	key, err := url.PathUnescape(strings.Join(rest, "/"))
	if serversOwn.MatchString(key) {
		return "", errors.New("a name of a server's own")
	}
	if len(key) > 1024 {
		return "", errors.New("too long")
	}
	return key, err
}

func (n naiveTarget) allowedQuery(allow []string) (string, error) {
	var params []string
	seen := map[string]bool{}
	for _, param := range strings.Split(n.query, "&") {
		name, raw, _ := strings.Cut(param, "=")
		if !slices.Contains(allow, name) {
			continue
		}
		value, err := url.PathUnescape(raw)
		if err != nil {
			return "", err
		}
		if seen[name] || hasControl(value) || len(value) > 1024 || name == "versionId" && value == "" {
			return "", errors.New("bad value")
		}
		seen[name] = true
		if name == "partNumber" {
			i, err := strconv.Atoi(value)
			if err != nil || i < 1 || i > 10000 || strconv.Itoa(i) != value {
				return "", errors.New("bad part number")
			}
		}
		params = append(params, name+"="+strings.ReplaceAll(url.QueryEscape(value), "+", "%20"))
	}
	slices.Sort(params)
	return strings.Join(params, "&"), nil
}

// compareWithNaive parses raw with a fresh and with a used target, takes the
// key at each end of a segment, and the query. It reports whether raw is good.
func compareWithNaive(t *testing.T, used *Target, raw string) bool {
	t.Helper()
	want := parseNaive(raw)
	var fresh Target
	for _, tg := range []*Target{used, &fresh} {
		err := tg.Parse([]byte(raw))
		status := 200
		if err != nil {
			status = err.Status
		}
		if status != want.status || string(tg.Authority) != want.authority || string(tg.Path) != want.path || string(tg.Query) != want.query || (tg.Query != nil) != want.hasQuery {
			t.Fatalf("%q: status %d (%s), authority %q, path %q, query %q, want status %d, authority %q, path %q, query %q", raw, status, err, tg.Authority, tg.Path, tg.Query, want.status, want.authority, want.path, want.query)
		}
		if err != nil {
			continue
		}
		if u, err := url.Parse(raw); strings.HasPrefix(raw, "/") != (want.authority == "") || want.authority != "" &&
			(err != nil || u.User != nil || u.Host != unescaped(want.authority) || u.Scheme != "http" && u.Scheme != "https") {
			t.Fatalf("%q: authority %q, net/url says %+v, %v", raw, want.authority, u, err)
		}
		for i := range len(want.path) + 1 {
			if i < len(want.path) && want.path[i] != '/' {
				continue
			}
			wantKey, wantErr := want.key(want.path[:i])
			if _, err := tg.Key(i, Keys{EmptySegments: false}); (err != nil) != (wantErr != nil || emptySegment.MatchString(wantKey)) {
				t.Fatalf("%q: key behind %q without empty segments: %v", raw, want.path[:i], err)
			}
			key, err := tg.Key(i, Keys{EmptySegments: true})
			if (err != nil) != (wantErr != nil) || string(key) != wantKey {
				t.Fatalf("%q: key behind %q is %q (%s), want %q (%v)", raw, want.path[:i], key, err, wantKey, wantErr)
			}
		}
		for _, allow := range [][]string{nil, {"versionId"}, {"versionId", "partNumber"}, {"a", "b"}} {
			wantQuery, wantErr := want.allowedQuery(allow)
			query, err := tg.AllowedQuery(nil, allow)
			if (err != nil) != (wantErr != nil) || string(query) != wantQuery {
				t.Fatalf("%q: query of %q is %q (%s), want %q (%v)", raw, allow, query, err, wantQuery, wantErr)
			}
		}
	}
	return want.status == 200
}

func TestTargetAgainstNetURL(t *testing.T) {
	pieces := []string{
		"/", "/", "/", "a", "b", ".", "..", "%2e", "%2F", "%2f", "%25", "%", "__XLDIR__", "__xlDir_%5f", ".sgwtmp", ".SGW", "tmp", "%4", "%zz", "%00", "%0a", "%7f", "%20",
		"\\", "+", "?", "?", "&", "=", "a=", "versionId=", "partNumber=", "7", "10000", "é", "%c3%a9", "\xc3", "%a9",
		"\x00", "\x7f", " ", "#", ";", strings.Repeat("x", 600), strings.Repeat("%41", 900),
	}
	hosts := []string{"http://", "https://", "HTTP://h/", "http://h:80/", "http://[::1]:443", "/", "ftp://", "h", "h", ":80", ":", "@", "[::1]", "%c3%a9", "%41", "\"", "?"}
	rnd := rand.New(rand.NewPCG(1, 2))
	var used Target
	good := 0
	for range 30_000 {
		var raw strings.Builder
		if raw.WriteString("/"); rnd.IntN(3) == 0 {
			raw.Reset()
			for range 1 + rnd.IntN(4) {
				raw.WriteString(hosts[rnd.IntN(len(hosts))])
			}
		}
		for range rnd.IntN(12) {
			// Harmless pieces more often, or hardly a target is good.
			n := len(pieces)
			if rnd.IntN(3) > 0 {
				n = 5
			}
			raw.WriteString(pieces[rnd.IntN(n)])
		}
		if compareWithNaive(t, &used, raw.String()) {
			good++
		}
	}
	if good < 3_000 {
		t.Errorf("only %d of 30,000 targets are good: the comparison shows little", good)
	}
}

func FuzzTarget(f *testing.F) {
	for _, raw := range []string{
		"/", "/pub/a%2Fb//c?versionId=a&partNumber=7", "/%252e%252e/.../..a", "/a/%2e%2e", "//a", "http://a/b", "HTTPS://[::1]:80?x", "http://u@a:99999/", "http://%c3%a9:/%41", "*",
		"/\xe6%97\xa5?a=%zz&b=1&a=%00", "/x?versionId=&partNumber=010000", "/%c0%af", "/a#b", "/a b", "/a\x7f",
	} {
		f.Add(raw)
	}
	var used Target
	f.Fuzz(func(t *testing.T, raw string) { compareWithNaive(t, &used, raw) })
}
