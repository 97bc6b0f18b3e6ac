package sign

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// The credential and the time of AWS's documented examples.
var (
	exampleOptions = Options{
		AccessKey: "AKIAIOSFODNN7EXAMPLE",
		SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		Region:    "us-east-1",
	}
	exampleTime = time.Date(2013, time.May, 24, 0, 0, 0, 0, time.UTC)
)

const exampleHost = "examplebucket.s3.amazonaws.com"

// The examples of the page sig-v4-header-based-auth in the Amazon S3 API
// Reference that have no body.
func TestAppendHeadersDocumentedExamples(t *testing.T) {
	tests := map[string]struct {
		request   Request
		signed    string
		signature string
	}{
		"GET object with Range": {
			request: Request{
				Path:    []byte("/test.txt"),
				Headers: []Header{{"range", []byte("bytes=0-9")}},
			},
			signed:    "host;range;x-amz-content-sha256;x-amz-date",
			signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
		},
		"GET bucket lifecycle, a parameter without a value": {
			request:   Request{Path: []byte("/"), Query: []byte("lifecycle=")},
			signed:    "host;x-amz-content-sha256;x-amz-date",
			signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
		},
		"GET bucket, list objects": {
			request:   Request{Path: []byte("/"), Query: []byte("max-keys=2&prefix=J")},
			signed:    "host;x-amz-content-sha256;x-amz-date",
			signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
		},
	}
	s := newSigner(t, exampleOptions)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.request.Method = "GET"
			tt.request.Host = []byte(exampleHost)
			want := "kept\r\n" +
				"X-Amz-Date: 20130524T000000Z\r\n" +
				"X-Amz-Content-Sha256: " + emptyHash + "\r\n" +
				"Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, " +
				"SignedHeaders=" + tt.signed + ", Signature=" + tt.signature + "\r\n"
			if got := s.AppendHeaders([]byte("kept\r\n"), &tt.request, exampleTime); string(got) != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// The request may live in the buffer that the headers are appended to.
func TestAppendHeadersAliasedRequest(t *testing.T) {
	for _, room := range []int{0, 100, 4096} {
		head := make([]byte, 0, len("GET /test.txt")+room)
		head = append(head, "GET /test.txt"...)
		r := &Request{Method: "GET", Host: []byte(exampleHost), Path: head[4:], Headers: []Header{{"range", []byte("bytes=0-9")}}}
		got := newSigner(t, exampleOptions).AppendHeaders(head, r, exampleTime)
		if !bytes.HasPrefix(got, []byte("GET /test.txtX-Amz-Date: ")) ||
			!bytes.HasSuffix(got, []byte("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41\r\n")) {
			t.Errorf("room for %d: got %q", room, got)
		}
	}
}

// Nothing is bounded by the size of a pooled buffer.
func TestAppendHeadersHugeRequest(t *testing.T) {
	c := &signCase{
		options: exampleOptions,
		method:  "GET",
		host:    exampleHost,
		key:     "/" + strings.Repeat("é/ ", scratchKeep),
		headers: []Header{{"if-match", bytes.Repeat([]byte(`"a", `), scratchKeep)}},
		now:     exampleTime,
	}
	s := newSigner(t, c.options)
	r := c.request()
	for range 3 {
		if err := diff(s.AppendHeaders(nil, r, c.now), awsHeader(t, newAWSSigner(), c, r)); err != nil {
			t.Fatal("a huge request is not signed as by aws-sdk-go-v2")
		}
		// The next signature may get the same scratch.
		small := &Request{Method: "GET", Host: []byte(exampleHost), Path: []byte("/test.txt"), Headers: []Header{{"range", []byte("bytes=0-9")}}}
		got := s.AppendHeaders(nil, small, exampleTime)
		if !bytes.HasSuffix(got, []byte("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41\r\n")) {
			t.Fatalf("a small request after a huge one: got %q", got)
		}
	}
	if sc := s.acquireScratch(); cap(sc.text) > scratchKeep {
		t.Errorf("the pool keeps a buffer of %d bytes, over %d", cap(sc.text), scratchKeep)
	}
}

func TestAppendHeadersPanicsOnBadNames(t *testing.T) {
	tests := map[string]struct {
		headers []Header
		want    string // in the message, empty for no panic
	}{
		"none":                      {nil, ""},
		"ascending":                 {[]Header{{"if-match", nil}, {"range", nil}, {"x-amz-e", nil}, {"z", nil}}, ""},
		"between the signer's own":  {[]Header{{"x-amz-d", nil}, {"x-amz-e", nil}}, ""},
		"descending":                {[]Header{{"range", nil}, {"if-match", nil}}, `"if-match"`},
		"twice":                     {[]Header{{"range", nil}, {"range", nil}}, `"range"`},
		"host":                      {[]Header{{"host", nil}}, `"host"`},
		"the date":                  {[]Header{{"x-amz-date", nil}}, `"x-amz-date"`},
		"the hash":                  {[]Header{{"x-amz-content-sha256", nil}}, `"x-amz-content-sha256"`},
		"the token":                 {[]Header{{"x-amz-security-token", nil}}, `"x-amz-security-token"`},
		"empty":                     {[]Header{{"", nil}}, `""`},
		"upper case, so descending": {[]Header{{"if-match", nil}, {"Range", nil}}, `"Range"`},
	}
	o := exampleOptions
	o.SessionToken = "token"
	s := newSigner(t, o)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			defer func() {
				got, _ := recover().(string)
				if tt.want == "" && got != "" || tt.want != "" && (!strings.HasPrefix(got, "BUG: ") || !strings.Contains(got, tt.want)) {
					t.Errorf("panic %q, want one that names %s", got, tt.want)
				}
			}()
			s.AppendHeaders(nil, &Request{Method: "GET", Path: []byte("/"), Headers: tt.headers}, exampleTime)
		})
	}
}

func TestAppendCanonicalValue(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"empty":                     {"", ""},
		"only spaces":               {"   ", ""},
		"only blanks":               {" \t \t", ""},
		"one byte":                  {"a", "a"},
		"nothing to do":             {"bytes=0-9", "bytes=0-9"},
		"single spaces stay":        {"a b c", "a b c"},
		"around":                    {"  a b\t ", "a b"},
		"runs":                      {"a  b   c", "a b c"},
		"runs in quotes too":        {`"a   b"`, `"a b"`},
		"tabs inside stay":          {"a\t\tb", "a\t\tb"},
		"spaces about a tab inside": {"a  \t  b", "a \t b"},
		"bytes beyond ASCII stay":   {"\u00a0\x85\xff", "\u00a0\x85\xff"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := appendCanonicalValue([]byte("x"), []byte(tt.in)); string(got) != "x"+tt.want {
				t.Errorf("got %q, want %q", got, "x"+tt.want)
			}
		})
	}
}

func TestNewErrors(t *testing.T) {
	tests := map[string]struct {
		change func(o *Options)
		want   []string // empty: no error
	}{
		"good":                    {func(*Options) {}, nil},
		"every printable secret":  {func(o *Options) { o.SecretKey = printable + "é" }, nil},
		"base64 token":            {func(o *Options) { o.SessionToken = "FwoGZXIvYXdzE+/==" }, nil},
		"slash in the access key": {func(o *Options) { o.AccessKey = "team/user" }, nil},
		"no access key":           {func(o *Options) { o.AccessKey = "" }, []string{"access key is empty"}},
		"no secret key":           {func(o *Options) { o.SecretKey = "" }, []string{"secret key is empty"}},
		"no region":               {func(o *Options) { o.Region = "" }, []string{"region is empty"}},
		"nothing at all":          {func(o *Options) { *o = Options{} }, []string{"access key", "secret key", "region"}},
		"header injection":        {func(o *Options) { o.AccessKey = "AK\r\nX: y" }, []string{"access key has"}},
		"comma in the access key": {func(o *Options) { o.AccessKey = "A,K" }, []string{"access key has"}},
		"secret with its newline": {func(o *Options) { o.SecretKey += "\n" }, []string{"secret key has"}},
		"space in the token":      {func(o *Options) { o.SessionToken = "a b" }, []string{"session token has"}},
		"token with its newline":  {func(o *Options) { o.SessionToken = "ab\n" }, []string{"session token has"}},
		"slash in the region":     {func(o *Options) { o.Region = "us/east" }, []string{"region has"}},
		"letter beyond ASCII":     {func(o *Options) { o.Region = "é" }, []string{"region has"}},
		"several, all at once":    {func(o *Options) { o.AccessKey, o.Region = "a b", "\x7f" }, []string{"access key has", "region has"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := exampleOptions
			tt.change(&o)
			s, err := New(o)
			if len(tt.want) == 0 {
				if err != nil || s == nil {
					t.Fatalf("got %v, %v", s, err)
				}
				return
			}
			if err == nil || s != nil {
				t.Fatalf("got %v, %v; want an error", s, err)
			}
			if got, want := strings.Count(err.Error(), "\n"), len(tt.want)-1; got != want {
				t.Errorf("%d problems, want %d: %v", got+1, want+1, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			for _, v := range []string{o.AccessKey, o.SecretKey, o.SessionToken} {
				if v != "" && strings.Contains(err.Error(), v) {
					t.Errorf("error %q prints a credential", err)
				}
			}
		})
	}
}
