package request

import (
	"fmt"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/problem"
)

// parsed returns a target that holds raw, after one that left its marks.
func parsed(t testing.TB, raw string) (*Target, *problem.Problem) {
	t.Helper()
	tg := &Target{}
	if err := tg.Parse([]byte("http://left/o%2Fver?from=before")); err != nil {
		t.Fatalf("parse of a good target = %q", err)
	}
	return tg, tg.Parse([]byte(raw))
}

// keyCase is a raw target and its key below prefixLen bytes, or what is wrong.
type keyCase struct {
	name, raw string
	prefixLen int
	want      string
	wantErr   *problem.Problem
}

func testKeys(t *testing.T, cases []keyCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			tg, err := parsed(t, tc.raw)
			var key []byte
			if err == nil {
				key, err = tg.Key(tc.prefixLen, Keys{EmptySegments: true})
				_, strict := tg.Key(tc.prefixLen, Keys{EmptySegments: false})
				if empty := strings.HasPrefix(tc.want, "/") || strings.Contains(tc.want, "//"); (strict != nil) != (empty || err != nil) || empty && strict != problem.EmptySegment {
					t.Errorf("%q: error %q where empty segments are refused", tc.raw, strict)
				}
			} else if tg.Authority != nil || len(tg.Path) > 0 || tg.Query != nil || tg.encodedSlash != -1 {
				t.Errorf("after an error there is path %q, query %q, encoded slash at %d", tg.Path, tg.Query, tg.encodedSlash)
			}
			if err != tc.wantErr || string(key) != tc.want {
				t.Errorf("%q: key %q, error %q, want key %q, error %q", tc.raw, key, err, tc.want, tc.wantErr)
			}
		})
	}
}

func TestTargetT01T02DotSegments(t *testing.T) {
	testKeys(t, []keyCase{
		{"dots", "/pub/../priv/x", 4, "", targetDots},
		{"dots encoded", "/pub/%2e%2e/x", 4, "", targetDots},
		{"dots encoded in upper case", "/pub/%2E%2E/x", 4, "", targetDots},
		{"dots, one encoded", "/pub/.%2e/x", 4, "", targetDots},
		{"dots before an encoded slash", "/pub/..%2Fx", 4, "", targetDots},
		{"all encoded", "/pub/%2e%2e%2fx", 4, "", targetDots},
		{"dots between encoded slashes", "/pub/a%2F..%2fb", 4, "", targetDots},
		{"dots at the start", "/../x", 0, "", targetDots},
		{"dots alone", "/..", 0, "", targetDots},
		{"dots at the end", "/pub/a/..", 4, "", targetDots},
		{"dots with a slash at the end", "/pub/a/../", 4, "", targetDots},
		{"dots before the query", "/pub/..?x", 4, "", targetDots},
		{"dots behind an empty segment", "/pub//../x", 4, "", targetDots},
		{"dot", "/pub/./x", 4, "", targetDots},
		{"dot at the start", "/./", 0, "", targetDots},
		{"dot alone", "/.", 0, "", targetDots},
		{"dot encoded", "/pub/%2e/x", 4, "", targetDots},
		{"dot at the end", "/pub/%2e", 4, "", targetDots},
		{"dot after a harmless one", "/pub/.a/b/.", 4, "", targetDots},
		{"three dots are a name", "/pub/.../x", 4, ".../x", nil},
		{"a dot file is a name", "/pub/.htaccess", 4, ".htaccess", nil},
		{"two dots and a letter are a name", "/pub/..a/x", 4, "..a/x", nil},
		{"dots behind a letter are a name", "/pub/a../b./x", 4, "a../b./x", nil},
		{"dots in the query are no segments", "/pub/x?/../", 4, "x", nil},
	})
}

func TestTargetT04PrefixAlone(t *testing.T) {
	testKeys(t, []keyCase{
		{"prefix", "/pub", 4, "", nil},
		{"prefix with a slash", "/pub/", 4, "", nil},
		{"prefix with a query", "/pub?list-type=2", 4, "", nil},
		{"root", "/", 0, "", nil},
		{"root with a query", "/?uploads", 0, "", nil},
	})
}

func TestTargetT05EncodedSlash(t *testing.T) {
	testKeys(t, []keyCase{
		{"behind the prefix", "/pub%2Fx", 4, "", targetEncodedSlash},
		{"behind the prefix, alone", "/pub%2f", 4, "", targetEncodedSlash},
		{"within the prefix", "/pub%2Fsub/x", 8, "", targetEncodedSlash},
		{"within the prefix exactly", "/pub%2fsub", 8, "", targetEncodedSlash},
		{"in the prefix and in the key", "/pub%2Fsub/x%2Fy", 8, "", targetEncodedSlash},
		{"first byte of the key", "/pub/%2Fx", 4, "/x", nil},
		{"in the key", "/pub/a%2Fb/c", 4, "a/b/c", nil},
		{"last byte of the key", "/pub/a%2f", 4, "a/", nil},
		{"in the key of the root", "/a%2Fb", 0, "a/b", nil},
		{"first byte of the key of the root", "/%2Fb", 0, "/b", nil},
		{"encoded letters in the prefix are letters", "/%70ub/x", 4, "x", nil},
	})
	tg, err := parsed(t, "/a/b%2fc%2Fd")
	if err != nil || tg.encodedSlash != 4 {
		t.Errorf("encodedSlash = %d, want that of the first, 4", tg.encodedSlash)
	}
}

func TestTargetT06T12Forms(t *testing.T) {
	testKeys(t, []keyCase{
		{"two slashes first", "//pub/x", 4, "", targetForm},
		{"two slashes alone", "//", 0, "", targetForm},
		{"authority with a URL in the query", "//evil/priv/x?u=http://", 4, "", targetForm},
		{"asterisk form", "*", 0, "", targetForm},
		{"scheme that only folds to one", "http\u017f://evil/pub/x", 4, "", targetForm},
		{"authority form", "evil:443", 0, "", targetForm},
		{"empty", "", 0, "", targetForm},
		{"query alone", "?x", 0, "", targetForm},
		{"backslash first", "\\pub/x", 0, "", targetForm},
		{"encoded slash first", "%2Fpub/x", 0, "", targetForm},
		{"two slashes in the key", "/pub/a//b", 4, "a//b", nil},
		{"two slashes behind the prefix", "/pub//x", 4, "/x", nil},
		{"T24 slashes at both ends of the key", "/pub//x//", 4, "/x//", nil},
	})
}

func TestTargetT12AbsoluteForm(t *testing.T) {
	for _, tc := range []struct {
		name, raw, authority, path, query string
		wantErr                           *problem.Problem
	}{
		{"http", "http://evil/pub/x", "evil", "/pub/x", "", nil},
		{"https", "https://evil/pub/x", "evil", "/pub/x", "", nil},
		{"the scheme in other cases", "hTTpS://evil/pub/x", "evil", "/pub/x", "", nil},
		{"the authority as it is", "http://CDN.Example.com./x", "CDN.Example.com.", "/x", "", nil},
		{"port", "http://evil:8080/pub/x", "evil:8080", "/pub/x", "", nil},
		{"empty port", "http://evil:/pub/x", "evil:", "/pub/x", "", nil},
		{"IPv4", "http://192.0.2.1:80/x", "192.0.2.1:80", "/x", "", nil},
		{"IPv6", "http://[::1]/x", "[::1]", "/x", "", nil},
		{"IPv6 with a port", "http://[2001:db8::1]:80/x", "[2001:db8::1]:80", "/x", "", nil},
		{"escapes and a query", "http://evil/a%20b?c=%41", "evil", "/a b", "c=%41", nil},
		{"a URL in the query", "http://evil/x?u=http://u:p@other/", "evil", "/x", "u=http://u:p@other/", nil},
		{"an at sign in the path", "http://evil/a@b:c", "evil", "/a@b:c", "", nil},
		{"no path", "http://evil", "evil", "/", "", nil},
		{"no path but a port", "http://evil:80", "evil:80", "/", "", nil},
		{"no path but a query", "http://evil?x=/y", "evil", "/", "x=/y", nil},
		{"root", "http://evil/", "evil", "/", "", nil},

		{"two slashes first in the path", "http://evil//pub/x", "", "", "", targetForm},
		{"dots", "http://evil/pub/../x", "", "", "", targetDots},
		{"dots alone", "http://evil/..", "", "", "", targetDots},
		{"control byte in the path", "http://evil/a%00", "", "", "", targetControl},
		{"fragment", "http://evil/a#b", "", "", "", targetByte},
		{"fragment behind an empty query", "http://evil?#b", "", "", "", targetByte},
		{"another scheme", "ftp://evil/pub/x", "", "", "", targetForm},
		{"a scheme that begins alike", "httpss://evil/pub/x", "", "", "", targetForm},
		{"a longer scheme", "http+unix://evil/pub/x", "", "", "", targetForm},
		{"scheme with one slash", "http:/evil/pub/x", "", "", "", targetForm},
		{"scheme without slashes", "http:evil", "", "", "", targetForm},
		{"scheme with backslashes", `http:\\evil\pub`, "", "", "", targetForm},
		{"space first", " http://evil/", "", "", "", targetForm},
		{"scheme alone", "https://", "", "", "", targetAuthority},
		{"empty host", "http:///pub/x", "", "", "", targetAuthority},
		{"empty host with a port", "http://:80/pub/x", "", "", "", targetAuthority},
		{"empty host with a query", "http://?x", "", "", "", targetAuthority},
		{"userinfo", "http://user@evil/pub/x", "", "", "", targetAuthority},
		{"userinfo with a password", "http://user:pass@evil/pub/x", "", "", "", targetAuthority},
		{"empty userinfo", "http://@evil/pub/x", "", "", "", targetAuthority},
		{"port too large", "http://evil:65536/pub/x", "", "", "", targetAuthority},
		{"port of other bytes", "http://evil:8x/pub/x", "", "", "", targetAuthority},
		{"fragment for a path", "http://evil#/pub/x", "", "", "", targetAuthority},
		{"backslash for a slash", `http://evil\pub/x`, "", "", "", targetAuthority},
		{"open bracket", "http://[::1/pub/x", "", "", "", targetAuthority},
		{"space in the host", "http://e vil/pub/x", "", "", "", targetAuthority},
		{"control byte in the host", "http://e\x00vil/pub/x", "", "", "", targetAuthority},
		{"not ASCII in the host", "http://b\u00fccher/pub/x", "", "", "", targetAuthority},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tg, err := parsed(t, tc.raw)
			if err != tc.wantErr || string(tg.Authority) != tc.authority || string(tg.Path) != tc.path || string(tg.Query) != tc.query {
				t.Errorf("%q: authority %q, path %q, query %q, error %q; want %q, %q, %q, %q",
					tc.raw, tg.Authority, tg.Path, tg.Query, err, tc.authority, tc.path, tc.query, tc.wantErr)
			}
		})
	}
	tg, err := parsed(t, "http://evil/a%2Fb")
	if err != nil || tg.encodedSlash != len("/a") {
		t.Errorf("encodedSlash = %d, error %q", tg.encodedSlash, err)
	}
	var h fasthttp.RequestHeader
	h.SetHost("of-the-header")
	if host := string(tg.Host(&h)); host != "evil" {
		t.Errorf("the host of an absolute form is %q", host)
	}
	if tg, _ := parsed(t, "/x"); string(tg.Host(&h)) != "of-the-header" {
		t.Errorf("the host of an origin form is %q", tg.Host(&h))
	}
}

func TestTargetT07ControlBytes(t *testing.T) {
	for c := range 256 {
		control := c < 0x20 || c == 0x7f
		raw, encoded := fmt.Sprintf("/pub/a%cb", 'x'), fmt.Sprintf("/pub/a%%%02xb", c)
		raw = strings.Replace(raw, "x", string([]byte{byte(c)}), 1)

		var want *problem.Problem
		switch {
		case control, c == ' ', c == '#':
			want = targetByte
		case c == '%':
			want = targetEscape // "%b"
		case c >= 0x80:
			want = targetUTF8
		}
		if _, err := parsed(t, raw); err != want {
			t.Errorf("raw byte %#02x: %q, want %q", c, err, want)
		}

		want = nil
		switch {
		case control:
			want = targetControl
		case c >= 0x80:
			want = targetUTF8
		}
		tg, err := parsed(t, encoded)
		if err != want {
			t.Errorf("encoded byte %#02x: %q, want %q", c, err, want)
		}
		if wantPath := "/pub/a" + string([]byte{byte(c)}) + "b"; err == nil && string(tg.Path) != wantPath {
			t.Errorf("encoded byte %#02x: path %q, want %q", c, tg.Path, wantPath)
		}

		want = nil
		if control || c == ' ' || c == '#' {
			want = targetByte
		}
		if _, err := parsed(t, "/pub/a?b="+string([]byte{byte(c)})); err != want {
			t.Errorf("raw byte %#02x in the query: %q, want %q", c, err, want)
		}
	}
}

func TestTargetT08T09Escapes(t *testing.T) {
	testKeys(t, []keyCase{
		{"percent at the end", "/pub/%", 4, "", targetEscape},
		{"one digit at the end", "/pub/%4", 4, "", targetEscape},
		{"no digits", "/pub/%zz", 4, "", targetEscape},
		{"second is no digit", "/pub/%4g", 4, "", targetEscape},
		{"first is no digit", "/pub/%g4", 4, "", targetEscape},
		{"percent before the query", "/pub/%?41", 4, "", targetEscape},
		{"one digit before the query", "/pub/%4?1", 4, "", targetEscape},
		{"percent twice", "/pub/%%41", 4, "", targetEscape},
		{"digits in both cases", "/pub/%4a%4B%c3%A9", 4, "JK\u00e9", nil},
		{"decoded once", "/pub/%252e%252e/x", 4, "%2e%2e/x", nil},
		{"slash decoded once", "/pub/a%252Fb", 4, "a%2Fb", nil},
		{"encoded percent at the end", "/pub/a%25", 4, "a%", nil},
		{"plus is a plus", "/pub/a+b%2B", 4, "a+b+", nil},
		{"encoded question mark and hash", "/pub/a%3Fb%23c?d", 4, "a?b#c", nil},
		{"T23 all at once", "/pub/a%20b+c%252Fd~%C3%A9.txt", 4, "a b+c%2Fd~é.txt", nil},
		{"reserved characters as they are", "/pub/*'()!;=&@:,$\"<>[]^`{|}", 4, "*'()!;=&@:,$\"<>[]^`{|}", nil},
		{"an escape in the query is not looked at", "/pub/x?a=%zz", 4, "x", nil},
	})
}

func TestTargetT10UTF8(t *testing.T) {
	testKeys(t, []keyCase{
		{"never U+FFFD", "/pub/%ff", 4, "", targetUTF8},
		{"half a character", "/pub/%c3", 4, "", targetUTF8},
		{"half a character before a slash", "/pub/\xc3/x", 4, "", targetUTF8},
		{"overlong slash", "/pub/..%c0%afx", 4, "", targetUTF8},
		{"overlong dots", "/pub/%c0%ae%c0%ae/x", 4, "", targetUTF8},
		{"surrogate", "/pub/%ed%a0%80", 4, "", targetUTF8},
		{"beyond Unicode", "/pub/%f4%90%80%80", 4, "", targetUTF8},
		{"encoded", "/pub/%E6%97%A5", 4, "日", nil},
		{"raw", "/pub/日", 4, "日", nil},
		{"half raw, half encoded", "/pub/\xe6%97\xa5", 4, "日", nil},
		{"U+FFFD itself", "/pub/%EF%BF%BD", 4, "\ufffd", nil},
		{"not composed", "/pub/e%CC%81", 4, "e\u0301", nil},
		{"fullwidth dots are a name", "/pub/．．/x", 4, "．．/x", nil},
		{"bad bytes in the query are not looked at", "/pub/x?\xff", 4, "x", nil},
	})
}

func TestTargetT11Case(t *testing.T) {
	tg, err := parsed(t, "/PUB/x")
	if err != nil || string(tg.Path) != "/PUB/x" {
		t.Errorf("path %q, error %q, want the letters as they are", tg.Path, err)
	}
}

func TestTargetT13Backslash(t *testing.T) {
	testKeys(t, []keyCase{
		{"with dots", `/pub/\..\x`, 4, `\..\x`, nil},
		{"dots before it", `/pub/..\x`, 4, `..\x`, nil},
		{"encoded", `/pub/..%5cx`, 4, `..\x`, nil},
	})
}

func TestTargetT14Lengths(t *testing.T) {
	a := func(n int) string { return strings.Repeat("a", n) }
	testKeys(t, []keyCase{
		{"longest key", "/pub/" + a(1024), 4, a(1024), nil},
		{"longer key", "/pub/" + a(1025), 4, "", targetKeyTooLong},
		{"bytes count after decoding", "/pub/" + strings.Repeat("%61", 1024), 4, a(1024), nil},
		{"bytes count, not characters", "/pub/" + strings.Repeat("é", 513), 4, "", targetKeyTooLong},
		{"T94 MinIO's name of a slash", "/pub/a/teams__XLDIR__", 4, "", targetDirObject},
		{"T94 within the key", "/pub/teams__XLDIR__/x", 4, "", targetDirObject},
		{"T94 before a slash", "/pub/teams__XLDIR__/", 4, "", targetDirObject},
		{"T94 alone", "/pub/__XLDIR__", 4, "", targetDirObject},
		{"T94 encoded", "/pub/teams%5F_%58LDIR_%5f", 4, "", targetDirObject},
		{"T94 with an encoded slash", "/pub/teams__XLDIR__%2Fx", 4, "", targetDirObject},
		{"T94 in another case", "/pub/teams__xlDir__", 4, "", targetDirObject},
		{"T94 decoded once only", "/pub/teams__%2558LDIR__", 4, "teams__%58LDIR__", nil},
		{"T94 not at the end of a segment", "/pub/teams__XLDIR__s/__XLDIR_", 4, "teams__XLDIR__s/__XLDIR_", nil},
		{"T94 too short", "/pub/__/_XLDIR__", 4, "__/_XLDIR__", nil},
		{"T94 uploads of versitygw", "/pub/.sgwtmp/multipart/x/1", 4, "", targetUpload},
		{"T94 their folder", "/pub/.sgwtmp", 4, "", targetUpload},
		{"T94 behind empty segments", "/pub///.sgwtmp/x", 4, "", targetUpload},
		{"T94 in upper case", "/pub/.SgwTmp/x", 4, "", targetUpload},
		{"T94 further down", "/pub/a/.sgwtmp/x", 4, "a/.sgwtmp/x", nil},
		{"T94 a longer segment", "/pub/.sgwtmp2/x", 4, ".sgwtmp2/x", nil},
		{"T94 in the prefix", "/pub__XLDIR__/x", 13, "x", nil},
		{"longest target", "/pub/x?" + a(8192-7), 4, "x", nil},
		{"longer target", "/pub/x?" + a(8192-6), 4, "", targetTooLong},
		{"longest path", "/" + a(8191), 8192, "", nil},
		{"longer path", "/" + a(8192), 0, "", targetTooLong},
		{"length comes before the form", "http://evil/" + a(8192), 0, "", targetTooLong},
	})
}

func TestTargetQuery(t *testing.T) {
	for _, tc := range []struct {
		name, raw, want string
		has             bool
	}{
		{"none", "/pub/x", "", false},
		{"empty", "/pub/x?", "", true},
		{"raw", "/pub/x?a=%41&b+c", "a=%41&b+c", true},
		{"second question mark belongs to it", "/pub/x?a?b", "a?b", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tg, err := parsed(t, tc.raw)
			if err != nil || string(tg.Query) != tc.want || (tg.Query != nil) != tc.has {
				t.Errorf("%q: query %#v, error %q, want %q", tc.raw, tg.Query, err, tc.want)
			}
		})
	}
}

func TestTargetPathIsItsOwn(t *testing.T) {
	var tg Target
	raw := []byte("/pub/a?token=x")
	if err := tg.Parse(raw); err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] = '!'
	}
	if string(tg.Path) != "/pub/a" {
		t.Errorf("path %q changed with the raw target", tg.Path)
	}
	if string(tg.Query) != "!!!!!!!" {
		t.Errorf("query %q does not alias the raw target", tg.Query)
	}
}

func TestTargetReset(t *testing.T) {
	tg, err := parsed(t, "http://a/a%2Fb?c")
	if err != nil {
		t.Fatal(err)
	}
	tg.Reset()
	if tg.Authority != nil || len(tg.Path) > 0 || tg.Query != nil || tg.encodedSlash != -1 {
		t.Errorf("after reset there is path %q, query %q, encoded slash at %d", tg.Path, tg.Query, tg.encodedSlash)
	}
}

func TestTargetKeyWithinSegmentPanics(t *testing.T) {
	tg, _ := parsed(t, "/public")
	defer func() {
		if r := fmt.Sprint(recover()); !strings.HasPrefix(r, "BUG: ") {
			t.Errorf("key(4) of /public: %s, want a panic with BUG:", r)
		}
	}()
	tg.Key(4, Keys{EmptySegments: true})
}

func TestTargetAllowedQuery(t *testing.T) {
	both := []string{"versionId", "partNumber"}
	for _, tc := range []struct {
		name, query string
		allow       []string
		want        string
		wantErr     *problem.Problem
	}{
		{"nothing is allowed", "versionId=1&partNumber=0", nil, "", nil},
		{"T25 sub-resources", "uploads&acl&policy&location&list-type=2&X-Amz-Signature=x", both, "", nil},
		{"T26 allowed", "versionId=abc", both, "versionId=abc", nil},
		{"T26 not allowed", "versionId=abc&partNumber=3", []string{"partNumber"}, "partNumber=3", nil},
		{"T27 response overrides", "response-content-type=text/html&versionId=a", both, "versionId=a", nil},
		{"T29 token", "token=eyJ&versionId=a&token=eyK", both, "versionId=a", nil},
		{"sorted by name", "versionId=abc&partNumber=3", both, "partNumber=3&versionId=abc", nil},
		{"order of the list does not matter", "versionId=abc&partNumber=3", []string{"partNumber", "versionId", "versionId"}, "partNumber=3&versionId=abc", nil},
		{"other names in between", "a&versionId=abc&b=&partNumber=3&", both, "partNumber=3&versionId=abc", nil},
		{"encoded name is another", "version%49d=abc", both, "", nil},
		{"name in another case is another", "versionid=abc", both, "", nil},
		{"longer name is another", "versionIds=abc", both, "", nil},
		{"value decoded once and encoded", "versionId=a+b%2b%20%7e/%252F%c3%a9é", both, "versionId=a%2Bb%2B%20~%2F%252F%C3%A9%C3%A9", nil},
		{"an encoded ampersand stays in its value", "versionId=a%26acl%3D", both, "versionId=a%26acl%3D", nil},
		{"raw characters encoded", "versionId=a=b;c?d", both, "versionId=a%3Db%3Bc%3Fd", nil},
		{"twice", "versionId=a&versionId=a", both, "", targetQueryTwice},
		{"second twice, first fine", "partNumber=1&versionId=a&versionId=b", both, "", targetQueryTwice},
		{"bad escape", "versionId=%zz", both, "", targetQueryEscape},
		{"cut escape", "versionId=a%4", both, "", targetQueryEscape},
		{"cut escape before another", "versionId=a%4&partNumber=1", both, "", targetQueryEscape},
		{"bad escape elsewhere", "a=%zz&versionId=a", both, "versionId=a", nil},
		{"NUL", "versionId=%00", both, "", targetQueryControl},
		{"line break", "versionId=a%0d%0ab", both, "", targetQueryControl},
		{"DEL", "versionId=%7F", both, "", targetQueryControl},
		{"longest value", "versionId=" + strings.Repeat("%61", 1024), both, "versionId=" + strings.Repeat("a", 1024), nil},
		{"longer value", "versionId=" + strings.Repeat("a", 1025), both, "", targetQueryTooLong},
		{"version without a value", "versionId", both, "", targetQueryVersionID},
		{"version with an empty value", "versionId=", both, "", targetQueryVersionID},
		{"version null", "versionId=null", both, "versionId=null", nil},
		{"first part", "partNumber=1", both, "partNumber=1", nil},
		{"last part", "partNumber=10000", both, "partNumber=10000", nil},
		{"encoded part", "partNumber=%31%30", both, "partNumber=10", nil},
		{"part 0", "partNumber=0", both, "", targetQueryPartNumber},
		{"part 10001", "partNumber=10001", both, "", targetQueryPartNumber},
		{"part beyond 64 bits", "partNumber=18446744073709551617", both, "", targetQueryPartNumber},
		{"negative part", "partNumber=-1", both, "", targetQueryPartNumber},
		{"signed part", "partNumber=+1", both, "", targetQueryPartNumber},
		{"part with a zero first", "partNumber=01", both, "", targetQueryPartNumber},
		{"fractional part", "partNumber=1.0", both, "", targetQueryPartNumber},
		{"part in other digits", "partNumber=%D9%A1", both, "", targetQueryPartNumber},
		{"part without a value", "partNumber", both, "", targetQueryPartNumber},
		{"empty parameters left out", "&&a=b&&c&", []string{"a", "c"}, "a=b&c=", nil},
		{"no name", "=b&a=", []string{"a"}, "a=", nil},
		{"equals signs in a value", "a=b=c==", []string{"a"}, "a=b%3Dc%3D%3D", nil},
		{"semicolons separate nothing", "a=b;c=d", []string{"a", "c"}, "a=b%3Bc%3Dd", nil},
		{"encoded name and plus", "%61=%62&a=%62+", []string{"a"}, "a=b%2B", nil},
		{"other name without a value", "x-id", []string{"x-id"}, "x-id=", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tg, err := parsed(t, "/pub/x?"+tc.query)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tg.AllowedQuery([]byte("dst"), tc.allow)
			if err != tc.wantErr || string(got) != "dst"+tc.want {
				t.Errorf("%q: %q, error %q, want %q, error %q", tc.query, got, err, "dst"+tc.want, tc.wantErr)
			}
		})
	}
	tg, _ := parsed(t, "/pub/x")
	if got, err := tg.AllowedQuery(nil, both); len(got) > 0 || err != nil {
		t.Errorf("without a query: %q, error %q", got, err)
	}
}

func TestTargetErrors(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range []*problem.Problem{
		targetTooLong, targetForm, targetAuthority, targetByte, targetEscape, targetControl, targetUTF8, targetDots, targetEncodedSlash,
		targetKeyTooLong, targetDirObject, targetUpload, targetQueryEscape, targetQueryControl, targetQueryTwice, targetQueryTooLong, targetQueryPartNumber, targetQueryVersionID,
	} {
		want, code := fasthttp.StatusBadRequest, "bad_target"
		if e == targetTooLong {
			want, code = fasthttp.StatusRequestURITooLong, "target_too_long"
		}
		if e.Status != want || e.Code != code {
			t.Errorf("%v: status %d, want %d %s", e, e.Status, want, code)
		}
		if seen[e.Message] || e.Message == "" {
			t.Errorf("%v: a text of another", e)
		}
		seen[e.Message] = true
	}
}

func BenchmarkTargetParse(b *testing.B) {
	for _, tc := range []struct{ name, raw, path string }{
		{"plain", "/products/img/2024/summer/hero-1920x1080.webp", "/products/img/2024/summer/hero-1920x1080.webp"},
		{"query", "/products/img/hero.webp?token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "/products/img/hero.webp"},
		{"escaped", "/products/a%20b/c%2Bd/%E6%97%A5%E6%9C%AC.txt", "/products/a b/c+d/日本.txt"},
		{"1KiB", "/" + strings.Repeat("a", 1023), "/" + strings.Repeat("a", 1023)},
	} {
		raw := []byte(tc.raw)
		b.Run(tc.name+"/target", func(b *testing.B) {
			var tg Target
			if err := tg.Parse(raw); err != nil || string(tg.Path) != tc.path {
				b.Fatalf("path %q, error %q", tg.Path, err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				tg.Parse(raw)
			}
		})
		// The baseline decodes and normalises, and refuses next to nothing.
		b.Run(tc.name+"/fasthttp", func(b *testing.B) {
			var uri fasthttp.URI
			if err := uri.Parse(nil, raw); err != nil || string(uri.Path()) != tc.path {
				b.Fatalf("path %q, error %v", uri.Path(), err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				_ = uri.Parse(nil, raw)
			}
		})
	}
}

func BenchmarkTargetAllowedQuery(b *testing.B) {
	var tg Target
	if err := tg.Parse([]byte("/pub/x?token=eyJhbGciOiJIUzI1NiJ9&versionId=3HL4kqtJlcpXroDTDmJ%2BrmSpXd3dIbrHY&partNumber=17")); err != nil {
		b.Fatal(err)
	}
	allow := []string{"versionId", "partNumber"}
	const want = "partNumber=17&versionId=3HL4kqtJlcpXroDTDmJ%2BrmSpXd3dIbrHY"
	dst, err := tg.AllowedQuery(nil, allow)
	if err != nil || string(dst) != want {
		b.Fatalf("allowedQuery = %q, error %q, want %q", dst, err, want)
	}
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = tg.AllowedQuery(dst[:0], allow)
	}
}
