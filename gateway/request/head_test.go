package request

import (
	"bufio"
	"regexp"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/problem"
)

func TestCheckHead(t *testing.T) {
	const host = "Host: a\r\n"
	for _, tc := range []struct {
		name, raw string // the empty line follows what ends in CRLF
		want      *problem.Problem
	}{
		{"curl", host + "User-Agent: curl/8.5.0\r\nAccept: */*\r\n", nil},
		{"every byte of a token", host + "!#$%&'*+-.^_`|~09azAZ: x\r\n", nil},
		{"empty value", host + "A:\r\nB: \r\nC:\t\r\n", nil},
		{"tabs, colons and bytes beyond ASCII in a value", host + "A: b\tc:d\xc3\xa9\xff\r\n", nil},
		{"long value of eight-byte words", host + "A: " + strings.Repeat("12345678", 20) + "\r\n", nil},
		{"tab in every place of a word", host + "A:\t1\t22\t333\t4444\t55555\t666666\t7777777\t\r\n", nil},
		{"twins with underscores are other headers", host + "Content_Length: 5\r\nTransfer_Encoding: chunked\r\nHost_: b\r\n", nil},

		{"LF alone", host + "A: b\nC: d\r\n", headEnding},
		{"LF alone after a word", host + "A: 12345678\nC: d\r\n", headEnding},
		{"CR alone", host + "A: b\rC: d\r\n", headEnding},
		{"CR twice", host + "A: b\r\r\n", headEnding},
		{"CR at the end", host + "A: b\r", headEnding},
		{"empty line of a LF", host + "\n", headEnding},
		{"empty line of a CR", host + "\r", headEnding},
		{"empty line in the middle", host + "\r\nA: b\r\n", headEnding},
		{"line without end", host + "A: b", headEnding},
		{"folded by a space", host + "A: b\r\n c\r\n", headFold},
		{"folded by a tab", host + "A: b\r\n\tc\r\n", headFold},
		{"folded to nothing", host + "A: b\r\n \r\n", headFold},
		{"first line folded", " A: b\r\n" + host, headFold},
		{"space before the colon", host + "A : b\r\n", headName},
		{"tab before the colon", host + "A\t: b\r\n", headName},
		{"space in a name", host + "A B: c\r\n", headName},
		{"empty name", host + ": c\r\n", headName},
		{"no colon", host + "A\r\n", headName},
		{"name without end", host + "A", headName},
		{"NUL in a name", host + "A\x00: b\r\n", headName},
		{"bytes beyond ASCII in a name", host + "A\xc3\xa9: b\r\n", headName},
		{"separator in a name", host + "A(b): c\r\n", headName},
		{"CR in a name", host + "A\rB: c\r\n", headName},
		{"NUL in a value", host + "A: b\x00c\r\n", headValue},
		{"NUL at the end of a word", host + "A: 123456\x00\r\n", headValue},
		{"escape in a value", host + "A: \x1b[2J\r\n", headValue},
		{"DEL in a value", host + "A: 12345678\x7f\r\n", headValue},
		{"form feed in a value", host + "A: b\fc\r\n", headValue},

		{"no Host", "A: b\r\n", headHost},
		{"two Hosts", host + host, headHost},
		{"two Hosts in other cases", "hOST: a\r\nHost: b\r\n", headHost},
		{"Host 257 times", strings.Repeat(host, 257), headHost},
		{"empty Host", "Host:\r\n", nil},
		{"Host of spaces", "Host: \t \r\n", nil},
		{"Host with a port and spaces", "Host: \ta:80 \r\n", nil},
		{"Host with userinfo", "Host: u@a\r\n", headHostForm},
		{"Host with a port too large", "Host: a:65536\r\n", headHostForm},
		{"a bad Host and a good one", "Host: \"\r\n" + host, headHost},
		{"the form of Host comes before Authorization", "Host: u@a\r\nAuthorization: a\r\nAuthorization: a\r\n", headHostForm},
		{"one Authorization", host + "Authorization: Bearer a\r\n", nil},
		{"two Authorizations", host + "Authorization: Bearer a\r\nAUTHORIZATION: Basic b\r\n", headAuthorization},
		{"Authorization 257 times", host + strings.Repeat("Authorization: a\r\n", 257), headAuthorization},

		{"length 0", host + "Content-Length: 0\r\n", nil},
		{"length 00", host + "Content-Length:\t 00 \t\r\n", nil},
		{"length", host + "content-length: 5\r\n", BodyNotAllowed},
		{"length beyond int64", host + "Content-Length: 99999999999999999999\r\n", BodyNotAllowed},
		{"length twice", host + "Content-Length: 0\r\nContent-Length: 0\r\n", headFraming},
		{"Content-Length 257 times", host + strings.Repeat("Content-Length: 0\r\n", 257), headFraming},
		{"signed length", host + "Content-Length: +0\r\n", headFraming},
		{"negative length", host + "Content-Length: -1\r\n", headFraming},
		{"hexadecimal length", host + "Content-Length: 0x0\r\n", headFraming},
		{"list of lengths", host + "Content-Length: 0, 0\r\n", headFraming},
		{"empty length", host + "Content-Length:\r\n", headFraming},
		{"chunked", host + "Transfer-Encoding: chunked\r\n", BodyNotAllowed},
		{"chunked in another case", host + "TRANSFER-ENCODING: Chunked \r\n", BodyNotAllowed},
		{"chunked twice", host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", headFraming},
		{"chunked with length 0", host + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", headFraming},
		{"identity", host + "Transfer-Encoding: identity\r\n", headFraming},
		{"empty coding", host + "Transfer-Encoding:\r\n", headFraming},
		{"list of codings", host + "Transfer-Encoding: gzip, chunked\r\n", headFraming},
		{"coding with vertical tab", host + "Transfer-Encoding: \vchunked\r\n", headValue},

		{"expectation", host + "Expect: 100-Continue\r\n", nil},
		{"expectation twice", host + "Expect: 100-continue\r\nExpect: 100-continue\r\n", nil},
		{"other expectation", host + "Expect: 200-ok\r\n", headExpect},
		{"other expectation first", host + "Expect: x\r\nExpect: 100-continue\r\n", headExpect},
		{"list of expectations", host + "Expect: 100-continue, x\r\n", headExpect},

		{"framing comes before Host", "Content-Length: x\r\n", headFraming},
		{"Host comes before Authorization", "Authorization: a\r\nAuthorization: a\r\n", headHost},
		{"Authorization comes before a body", host + "Content-Length: 5\r\nAuthorization: a\r\nAuthorization: a\r\n", headAuthorization},
		{"an expectation comes before a body", host + "Expect: x\r\nContent-Length: 5\r\n", headExpect},
	} {
		t.Run(tc.name, func(t *testing.T) {
			raw := tc.raw
			if strings.HasSuffix(raw, "\r\n") {
				raw += "\r\n"
			}
			if got := checkHead([]byte(raw), true); got != tc.want {
				t.Errorf("%q: flaw %v, want %v", raw, got, tc.want)
			}
			if want := checkHeadNaive(raw, true); want != tc.want {
				t.Errorf("%q: the model says %v, want %v", raw, want, tc.want)
			}
		})
	}
}

// Each byte, in each place of the words that values are read in.
func TestCheckHeadBytes(t *testing.T) {
	for c := range 256 {
		var want *problem.Problem
		switch {
		case c == '\r' || c == '\n':
			want = headEnding
		case c < ' ' && c != '\t' || c == 0x7f:
			want = headValue
		}
		for before := range 17 {
			raw := "Host: a\r\nA:" + strings.Repeat("~", before) + string([]byte{byte(c)}) + strings.Repeat("\x80", 9) + "\r\n\r\n"
			if got := checkHead([]byte(raw), true); got != want {
				t.Errorf("byte %#x after %d others: flaw %v, want %v", c, before, got, want)
			}
		}
	}
}

func TestCheckHeadOfHTTP10(t *testing.T) {
	for raw, want := range map[string]*problem.Problem{
		"":                             nil,
		"A: b\r\n\r\n":                 nil,
		"Host: a\r\nHost: b\r\n\r\n":   headHost,
		"A: b\r\n":                     headEnding,
		"Content-Length: 5\r\n\r\n":    BodyNotAllowed,
		"Content-Length: 5\r\n\r\nabc": headEnding,
	} {
		if got := checkHead([]byte(raw), false); got != want {
			t.Errorf("%q: flaw %v, want %v", raw, got, want)
		}
	}
	if got := checkHead(nil, true); got != headHost {
		t.Errorf("HTTP/1.1 without headers: flaw %v", got)
	}
}

func TestHeadProblems(t *testing.T) {
	statuses := map[*problem.Problem]int{BodyNotAllowed: 413, headExpect: 417}
	reasons := make(map[string]bool)
	for _, p := range []*problem.Problem{headEnding, headFold, headName, headValue, headFraming, headHost, headHostForm, headAuthorization, headExpect, BodyNotAllowed} {
		want := statuses[p]
		if want == 0 {
			want = 400
		}
		if p.Status != want || !p.Close || p.Code == "" || p.Message == "" {
			t.Errorf("%+v", *p)
		}
		if reasons[p.Code+p.Reason] {
			t.Errorf("%v: reason %q again", p, p.Reason)
		}
		reasons[p.Code+p.Reason] = true
	}
}

// TestHeadOfParser shows what fasthttp's parser lets through, in the bytes that
// the handler checks.
func TestHeadOfParser(t *testing.T) {
	for _, tc := range []struct {
		name, lines string
		want        *problem.Problem
		raw         string // if not lines and the empty line
	}{
		{"sound", "Host: a\r\nx-Lower: b\r\n", nil, ""},
		{"bare LF", "Host: a\nA: b\r\n", headEnding, ""},
		{"folds", "Host: a\r\nA: b\r\n  c\r\n\td\r\nE: f\r\n", headFold, ""},
		{"space in a name", "Host: a\r\nContent Length: 5\r\n", headName, ""},
		{"empty line of a LF", "Host: a\r\n\nGET /smuggled HTTP/1.1\r\nHost: b\r\n", headEnding, "Host: a\r\n\n"},
		{"coding and length", "Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", headFraming, ""},
		{"identity", "Host: a\r\nTransfer-Encoding: identity\r\n", headFraming, ""},
		{"Authorization twice", "Host: a\r\nAuthorization: a\r\nAuthorization: b\r\n", headAuthorization, ""},
		{"expectation", "Host: a\r\nExpect: x\r\n", headExpect, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var h fasthttp.RequestHeader
			if err := h.Read(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\n" + tc.lines + "\r\n"))); err != nil {
				t.Fatal(err)
			}
			want := tc.raw
			if want == "" {
				want = tc.lines + "\r\n"
			}
			if got := string(h.RawHeaders()); got != want {
				t.Errorf("raw headers %q, want %q", got, want)
			}
			if got := checkHead(h.RawHeaders(), h.IsHTTP11()); got != tc.want {
				t.Errorf("flaw %v, want %v", got, tc.want)
			}
		})
	}
}

var naiveHeader = regexp.MustCompile("^([!#$%&'*+\\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*$")

// checkHead is Check of a head of its own.
func checkHead(raw []byte, http11 bool) *problem.Problem {
	var seen Head
	return seen.Check(raw, http11)
}

// checkHeadNaive is the model: lines, a regular expression and a map.
func checkHeadNaive(raw string, http11 bool) *problem.Problem {
	values := make(map[string][]string)
	for raw != "" && raw != "\r\n" {
		line, rest, _ := strings.Cut(raw, "\n")
		m := naiveHeader.FindStringSubmatch(strings.ToValidUTF8(strings.TrimRight(line, "\r"), "?"))
		// Where a line has several flaws, the first byte that is one decides.
		bad := strings.IndexFunc(line, func(r rune) bool { return r != '\t' && r < ' ' || r == 0x7f })
		switch colon := strings.IndexByte(line, ':'); {
		case line == "" || strings.HasPrefix(line, "\r"):
			return headEnding
		case strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"):
			return headFold
		case colon < 0 || m == nil && (bad < 0 || bad > colon) || bad >= 0 && bad < colon || !naiveHeader.MatchString(line[:colon+1]):
			return headName
		case bad >= 0 && line[bad] != '\r':
			return headValue
		case bad != len(line)-1 || len(line)+1 > len(raw):
			return headEnding
		}
		values[strings.ToLower(m[1])] = append(values[strings.ToLower(m[1])], m[2])
		if raw = rest; raw == "" {
			return headEnding
		}
	}
	length, coding := values["content-length"], values["transfer-encoding"]
	digits := regexp.MustCompile(`^[0-9]+$`)
	switch {
	case len(length)+len(coding) > 1, len(length) == 1 && !digits.MatchString(length[0]), len(coding) == 1 && !strings.EqualFold(coding[0], "chunked"):
		return headFraming
	case len(values["host"]) > 1, http11 && len(values["host"]) == 0:
		return headHost
	case len(values["host"]) == 1 && values["host"][0] != "" && !naiveAuthority(values["host"][0]):
		return headHostForm
	case len(values["authorization"]) > 1:
		return headAuthorization
	}
	for _, v := range values["expect"] {
		if !strings.EqualFold(v, "100-continue") {
			return headExpect
		}
	}
	if len(coding) > 0 || len(length) == 1 && strings.Trim(length[0], "0") != "" {
		return BodyNotAllowed
	}
	return nil
}

func FuzzCheckHead(f *testing.F) {
	f.Add("Host: a\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n", true)
	f.Add("Host: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", true)
	f.Add("Host: a\r\nExpect: 100-continue\r\nAuthorization: Bearer x\r\n\r\n", false)
	f.Add("Host: [::1]:0080\r\nContent-Length: 5\r\nExpect: x\r\n\r\n", true)
	f.Add("host:\t%c3%a9:99999 \r\n\r\n", false)
	f.Add("Host: a\nA: b\r c\r\n d\r\nE\x00: \x7f\r\n\r\n", false)
	f.Fuzz(func(t *testing.T, raw string, http11 bool) {
		if got, want := checkHead([]byte(raw), http11), checkHeadNaive(raw, http11); got != want {
			t.Fatalf("checkHead(%q, %v) = %v, the model says %v", raw, http11, got, want)
		}
	})
}

// curlHead has the headers of a typical request, about 300 bytes.
const curlHead = "Host: cdn.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nAccept-Encoding: deflate, gzip, br, zstd\r\n" +
	"Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSJ9.9l1z6yR3YfJQ2hJt8q0dVv5rX1bN4mK7wE0uT6sPzAc\r\n" +
	"Range: bytes=0-1048575\r\nIf-None-Match: \"d41d8cd98f00b204e980\"\r\n\r\n"

func BenchmarkCheckHead(b *testing.B) {
	var browser strings.Builder
	browser.WriteString(curlHead[:len(curlHead)-2])
	for _, name := range []string{"Accept-Language", "Cache-Control", "Cookie", "Referer", "Sec-Ch-Ua", "Sec-Fetch-Dest", "Sec-Fetch-Mode"} {
		browser.WriteString(name + ": " + strings.Repeat("abcdefg,", 8) + "\r\n")
	}
	browser.WriteString("\r\n")
	for name, head := range map[string]string{"curl": curlHead, "browser": browser.String()} {
		b.Run(name, func(b *testing.B) {
			raw := []byte(head)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if f := checkHead(raw, true); f != nil {
					b.Fatalf("flaw %v", f)
				}
			}
		})
	}
}
