package sign

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// signCases is how many random cases to compare; the environment variable
// SIGN_CASES overrides the default.
func signCases(t *testing.T) int {
	v := os.Getenv("SIGN_CASES")
	if v == "" {
		return 10_000
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("SIGN_CASES is %q; want a positive number", v)
	}
	return n
}

func newSigner(t testing.TB, o Options) *Signer {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatalf("cannot create a signer: %v", err)
	}
	return s
}

// TestSignMatchesOracles compares each case with aws-sdk-go-v2 at the time of the
// case, and with minio-go at the time of the clock.
func TestSignMatchesOracles(t *testing.T) {
	const seed = 31
	cases := signCases(t)

	// Half of the cases share these signers, across workers and days.
	g := newGenerator(seed, 0)
	var long []Options
	shared := map[string]*Signer{}
	for range 8 {
		o := g.options()
		long = append(long, o)
		shared[o.AccessKey] = newSigner(t, o)
	}

	var next, mismatches atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			oracle := newAWSSigner()
			var dst []byte
			for {
				n := next.Add(1)
				if n > int64(cases) {
					return
				}
				g := newGenerator(seed, uint64(n))
				g.long = long
				c := g.next()
				s := shared[c.options.AccessKey]
				if s == nil {
					var err error
					if s, err = New(c.options); err != nil {
						t.Errorf("case %d: cannot create a signer: %v", n, err)
						return
					}
				}
				r := c.request()

				dst = s.AppendHeaders(dst[:0], r, c.now)
				if err := diff(dst, awsHeader(t, oracle, c, r)); err != nil && mismatches.Add(1) <= 5 {
					t.Errorf("case %d: aws-sdk-go-v2: %v\n%v", n, err, c)
				}
				want, now := minioHeader(t, c, r)
				dst = s.AppendHeaders(dst[:0], r, now)
				if err := diff(dst, want); err != nil && mismatches.Add(1) <= 5 {
					t.Errorf("case %d: minio-go: %v\n%v", n, err, c)
				}
			}
		})
	}
	wg.Wait()
	if n := mismatches.Load(); n > 0 {
		t.Errorf("%d mismatches", n)
	}
	t.Logf("%d cases, each against 2 oracles: %d mismatches", cases, mismatches.Load())
}

// TestOraclesNoticeEachPart changes one part of a signed request at a time: a
// comparison that is blind to it could not fail.
func TestOraclesNoticeEachPart(t *testing.T) {
	base := func() *signCase {
		return &signCase{
			options: Options{AccessKey: "AK", SecretKey: "secret", Region: "eu-west-1", SessionToken: "token"},
			method:  "GET",
			host:    "localhost:9000",
			key:     "/bucket/a b",
			headers: []Header{{"if-match", []byte(`"x"`)}, {"range", []byte("bytes=0-9")}},
			query:   [][2]string{{"versionId", "1"}},
			now:     newGenerator(1, 1).time(),
		}
	}
	tests := map[string]func(c *signCase){
		"method":        func(c *signCase) { c.method = "HEAD" },
		"host":          func(c *signCase) { c.host = "localhost:9001" },
		"key":           func(c *signCase) { c.key = "/bucket/a%20b" },
		"slash":         func(c *signCase) { c.key += "/" },
		"header value":  func(c *signCase) { c.headers[1].Value = []byte("bytes=0-8") },
		"header gone":   func(c *signCase) { c.headers = c.headers[:1] },
		"query":         func(c *signCase) { c.query[0][1] = "2" },
		"query gone":    func(c *signCase) { c.query = nil },
		"access key":    func(c *signCase) { c.options.AccessKey = "AL" },
		"secret key":    func(c *signCase) { c.options.SecretKey += "x" },
		"region":        func(c *signCase) { c.options.Region = "eu-west-2" },
		"session token": func(c *signCase) { c.options.SessionToken += "x" },
		"token gone":    func(c *signCase) { c.options.SessionToken = "" },
		"second":        func(c *signCase) { c.now = c.now.Add(1e9) },
		"day":           func(c *signCase) { c.now = c.now.AddDate(0, 0, 1) },
	}
	signed := func(c *signCase) []byte {
		return newSigner(t, c.options).AppendHeaders(nil, c.request(), c.now)
	}
	if c := base(); diff(signed(c), awsHeader(t, newAWSSigner(), c, c.request())) != nil {
		t.Fatal("the base case does not match")
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			changed := base()
			change(changed)
			c := base()
			if diff(signed(changed), awsHeader(t, newAWSSigner(), c, c.request())) == nil {
				t.Error("aws-sdk-go-v2 signs the unchanged request the same")
			}
			want, now := minioHeader(t, c, c.request())
			changed = base()
			changed.now = now
			change(changed)
			if diff(signed(changed), want) == nil {
				t.Error("minio-go signs the unchanged request the same")
			}
		})
	}
}

// TestWire writes requests as they are sent, reads them with net/http, and lets
// aws-sdk-go-v2 sign what was read, as a verifying origin does.
func TestWire(t *testing.T) {
	oracle := newAWSSigner()
	for n := range uint64(2000) {
		g := newGenerator(23, n)
		c := g.next()
		r := c.request()
		s := newSigner(t, c.options)

		var head []byte
		head = append(head, r.Method+" "...)
		head = append(head, r.Path...)
		if r.Query != nil {
			head = append(head, '?')
			head = append(head, r.Query...)
		}
		head = fmt.Appendf(head, " HTTP/1.1\r\nHost: %s\r\n", r.Host)
		for _, h := range r.Headers {
			head = fmt.Appendf(head, "%s: %s\r\n", h.Name, h.Value)
		}
		start := len(head)
		head = s.AppendHeaders(head, r, c.now)
		lines := string(head[start:])
		head = append(head, "\r\n"...)

		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil {
			t.Fatalf("case %d: cannot read what was sent: %v\n%q", n, err, head)
		}
		if got, err := url.PathUnescape(req.URL.EscapedPath()); err != nil || got != c.key {
			t.Fatalf("case %d: the origin reads key %q (%v), want %q", n, got, err, c.key)
		}
		for _, q := range c.query {
			if got := req.URL.Query().Get(q[0]); got != q[1] {
				t.Fatalf("case %d: the origin reads %s=%q, want %q", n, q[0], got, q[1])
			}
		}
		req.Header.Del("Authorization")
		req.Header.Del("X-Amz-Date")
		err = oracle.SignHTTP(t.Context(), awsCredentials(c.options), req, emptyHash, "s3", c.options.Region, c.now)
		if err != nil {
			t.Fatal(err)
		}
		if err := diff([]byte(lines), req.Header); err != nil {
			t.Fatalf("case %d: %v\n%v", n, err, c)
		}
	}
}
