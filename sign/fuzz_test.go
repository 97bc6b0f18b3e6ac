package sign

import (
	"bytes"
	"net/url"
	"strings"
	"testing"
	"time"
)

// keep drops the bytes of s that cannot be where the caller puts them.
func keep(s string, ok func(r rune) bool) string {
	return strings.Map(func(r rune) rune {
		if ok(r) {
			return r
		}
		return -1
	}, s)
}

func FuzzSign(f *testing.F) {
	f.Add("/test.txt", exampleHost, "bytes=0-9", "", "", false, "", exampleTime.Unix())
	f.Add("/a b+c%2Fd~é.txt", "localhost:9000", "", `"x"`, "null", true, "token", int64(0))
	f.Add("//x//y/", "[::1]:9000", " bytes=1-  ", `W/"a  b", "c"`, "a/b+c d", true, "a+/=", int64(-1))
	f.Add("/*'()!;=&@:,$%?#", "h:443", "\t", "\tx\t", "", true, "", int64(secondsPerDay-1))
	f.Add("/\x00\xff\x80", "h", "", "", "\xff", true, "", int64(secondsPerDay))
	f.Add("*", "", "a \t  b", "", "", false, "", int64(253402300799))

	shared, err := New(exampleOptions)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key, host, rng, match, version string, hasVersion bool, token string, unix int64) {
		value := func(r rune) bool { return r >= ' ' && r <= '~' || r == '\t' }
		c := &signCase{
			options: exampleOptions,
			method:  "GET",
			host:    keep(host, func(r rune) bool { return r > ' ' && r <= '~' }),
			key:     "/" + key,
			now:     time.Unix(unix%253402300800, 0), // to the end of 9999
		}
		if c.now.Year() < 1 {
			c.now = time.Unix(0, 0)
		}
		if c.host == "" {
			c.host = exampleHost // the oracle takes another host then
		}
		c.options.SessionToken = keep(token, func(r rune) bool { return r > ' ' && r <= '~' })
		if match = keep(match, value); match != "" {
			c.headers = append(c.headers, Header{"if-match", []byte(match)})
		}
		if rng = keep(rng, value); rng != "" {
			c.headers = append(c.headers, Header{"range", []byte(rng)})
		}
		if hasVersion {
			c.query = [][2]string{{"versionId", version}}
		}
		r := c.request()
		s := shared
		if c.options.SessionToken != "" {
			s = newSigner(t, c.options)
		}
		if err := diff(s.AppendHeaders(nil, r, c.now), awsHeader(t, newAWSSigner(), c, r)); err != nil {
			t.Errorf("%v\n%v", err, c)
		}
	})
}

func FuzzAppendPath(f *testing.F) {
	for _, key := range []string{"", "/", "//x//y//", "a b+c%2Fd~é.txt", "*'()!;=&@:,$%?#", "\x00\x7f\x80\xff", "🐦"} {
		f.Add([]byte(key))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		path := AppendPath(nil, key)
		if got, err := url.PathUnescape(string(path)); err != nil || got != string(key) {
			t.Errorf("%q encodes to %q, which decodes to %q, %v", key, path, got, err)
		}
		if len(path) > 3*len(key) || bytes.Count(path, []byte("/")) != bytes.Count(key, []byte("/")) {
			t.Errorf("%q encodes to %q", key, path)
		}
		component := AppendQueryComponent(nil, string(key))
		if got, err := url.QueryUnescape(string(component)); err != nil || got != string(key) {
			t.Errorf("%q encodes to component %q, which decodes to %q, %v", key, component, got, err)
		}
		if bytes.ContainsAny(path, "?#&+ ") || bytes.ContainsAny(component, "/?#&=+ ") {
			t.Errorf("%q leaves a separator in %q or %q", key, path, component)
		}
	})
}
