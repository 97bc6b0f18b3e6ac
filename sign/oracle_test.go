package sign

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsv4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	minioSigner "github.com/minio/minio-go/v7/pkg/signer"
)

const stampLayout = "20060102T150405Z"

// signCase is one request under one credential, in the form before encoding.
type signCase struct {
	options Options
	method  string
	host    string
	key     string // decoded, with the leading slash
	headers []Header
	query   [][2]string // decoded, names unique and ascending
	now     time.Time
}

func (c *signCase) String() string {
	return fmt.Sprintf("%s %q host %q query %q headers %q time %s region %q token of %d bytes",
		c.method, c.key, c.host, c.query, c.headers, c.now.Format(time.RFC3339Nano),
		c.options.Region, len(c.options.SessionToken))
}

// request encodes the case.
func (c *signCase) request() *Request {
	var query []byte
	for i, q := range c.query {
		if i > 0 {
			query = append(query, '&')
		}
		query = AppendQueryComponent(query, q[0])
		query = append(query, '=')
		query = AppendQueryComponent(query, q[1])
	}
	return &Request{
		Method:  c.method,
		Host:    []byte(c.host),
		Path:    AppendPath(nil, c.key),
		Query:   query,
		Headers: c.headers,
	}
}

// http builds the request that the oracles sign: they encode the query, and
// minio-go the path too, with their own code.
func (c *signCase) http(r *Request) *http.Request {
	values := url.Values{}
	for _, q := range c.query {
		values.Set(q[0], q[1])
	}
	header := http.Header{"X-Amz-Content-Sha256": {emptyHash}}
	for _, h := range c.headers {
		header[http.CanonicalHeaderKey(h.Name)] = []string{string(h.Value)}
	}
	return &http.Request{
		Method: c.method,
		Host:   c.host,
		URL:    &url.URL{Host: c.host, Path: c.key, RawPath: string(r.Path), RawQuery: values.Encode()},
		Header: header,
	}
}

// awsHeader signs the case with aws-sdk-go-v2, as its S3 client sets it up.
func awsHeader(t testing.TB, s *awsv4.Signer, c *signCase, r *Request) http.Header {
	t.Helper()
	req := c.http(r)
	err := s.SignHTTP(context.Background(), awsCredentials(c.options), req, emptyHash, "s3", c.options.Region, c.now)
	if err != nil {
		t.Fatalf("cannot sign with aws-sdk-go-v2: %v", err)
	}
	return req.Header
}

func awsCredentials(o Options) aws.Credentials {
	return aws.Credentials{AccessKeyID: o.AccessKey, SecretAccessKey: o.SecretKey, SessionToken: o.SessionToken}
}

func newAWSSigner() *awsv4.Signer {
	return awsv4.NewSigner(func(o *awsv4.SignerOptions) { o.DisableURIPathEscaping = true })
}

// minioHeader signs the case with minio-go, which takes the time from the clock,
// and returns that time.
func minioHeader(t testing.TB, c *signCase, r *Request) (http.Header, time.Time) {
	t.Helper()
	o := &c.options
	header := minioSigner.SignV4(*c.http(r), o.AccessKey, o.SecretKey, o.SessionToken, o.Region).Header
	now, err := time.Parse(stampLayout, header.Get("X-Amz-Date"))
	if err != nil {
		t.Fatalf("cannot read the time of minio-go: %v", err)
	}
	return header, now
}

// diff compares the appended header lines with what an oracle set, apart from
// the headers that the case itself has.
func diff(got []byte, want http.Header) error {
	left := got
	for _, name := range []string{"X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token", "Authorization"} {
		value := want.Get(name)
		if value == "" && name == "X-Amz-Security-Token" {
			continue
		}
		line := name + ": " + value + "\r\n"
		if value == "" || !bytes.HasPrefix(left, []byte(line)) {
			return fmt.Errorf("%s differs:\ngot  %q\nwant %q", name, got, line)
		}
		left = left[len(line):]
	}
	if len(left) > 0 {
		return fmt.Errorf("lines that the oracle does not have: %q", left)
	}
	return nil
}

// A generator makes cases; equal seeds make equal cases.
type generator struct {
	*rand.Rand
	long []Options // credentials that live through many cases and days
}

func newGenerator(seed, stream uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, stream))}
}

func (g *generator) pick(s ...string) string { return s[g.IntN(len(s))] }

func (g *generator) text(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[g.IntN(len(alphabet))]
	}
	return string(b)
}

const (
	alnum     = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	special   = " *'()!;=&@:,$%?#+~/\\\"<>[]{}|^`-._"
	printable = alnum + special
)

// keyText makes a string of n runes or more, mostly awkward ones.
func (g *generator) keyText(n int) string {
	var b strings.Builder
	for range n {
		switch g.IntN(12) {
		case 0:
			b.WriteRune(rune(g.IntN(0x80))) // any ASCII, NUL and DEL too
		case 1:
			b.WriteRune(rune(0x80 + g.IntN(0x780)))
		case 2:
			b.WriteRune(rune(0x800 + g.IntN(0xd000-0x800)))
		case 3:
			b.WriteRune(rune(0x10000 + g.IntN(0x100000)))
		case 4, 5:
			b.WriteByte(special[g.IntN(len(special))])
		case 6:
			b.WriteString(g.pick("/", "//", "./", "../", "%2F", "%25", "%zz", "e\u0301", "\u00e9"))
		default:
			b.WriteByte(alnum[g.IntN(len(alnum))])
		}
	}
	return b.String()
}

func (g *generator) options() Options {
	if len(g.long) > 0 && g.IntN(2) == 0 {
		return g.long[g.IntN(len(g.long))]
	}
	o := Options{
		AccessKey: "AK" + g.text(alnum, 16),
		SecretKey: g.text(printable, 1+g.IntN(100)),
		Region:    g.pick("us-east-1", "eu-west-1", "auto", "local", g.text(alnum+"-", 1+g.IntN(30))),
	}
	if g.IntN(3) == 0 {
		o.SessionToken = g.text(alnum+"+/=", 1+g.IntN(1500))
	}
	return o
}

func (g *generator) headers() []Header {
	date := g.time().UTC().Format(http.TimeFormat)
	tag := `"` + g.text(alnum+special, g.IntN(40)) + `"`
	all := []Header{
		{"if-match", []byte(tag)},
		{"if-modified-since", []byte(date)},
		{"if-none-match", []byte(g.pick("*", `W/"x"`, tag+", "+tag, "  "+tag+"  ,   "+tag+" "))},
		{"if-unmodified-since", []byte(date)},
		{"range", fmt.Appendf(nil, "bytes=%d-%d", g.IntN(1<<20), g.IntN(1<<30))},
		{"x-amz-checksum-mode", []byte("ENABLED")},
		{"x-amz-expected-bucket-owner", []byte(g.text("0123456789", 12))},
		{"x-amz-meta-" + strings.ToLower(g.text(alnum, 3)), []byte(g.text(" a", g.IntN(20)))},
		{"x-amz-request-payer", []byte("requester")},
		{"x-forwarded-for", []byte("10.0.0.1")},
	}
	var some []Header
	for _, h := range all {
		if g.IntN(4) == 0 {
			some = append(some, h)
		}
	}
	return some
}

// time is in any zone, often within a second of midnight UTC.
func (g *generator) time() time.Time {
	unix := g.Int64N(4102444800) // 2100-01-01
	if g.IntN(3) == 0 {
		unix = unix/secondsPerDay*secondsPerDay + int64(g.IntN(3)-1)
	}
	zone := time.FixedZone("", (g.IntN(27)-13)*3600)
	return time.Unix(unix, g.Int64N(1e9)).In(zone)
}

func (g *generator) next() *signCase {
	c := &signCase{
		options: g.options(),
		method:  g.pick("GET", "HEAD"),
		host: g.pick("examplebucket.s3.amazonaws.com", "b.c.s3.eu-west-1.amazonaws.com", "localhost:9000", "127.0.0.1:80",
			"h:443", "[::1]:9000", "[2001:db8::1]", "[fe80::1%25eth0]:443", strings.ToLower(g.text(alnum+".-", 1+g.IntN(60)))+":8443"),
		headers: g.headers(),
		now:     g.time(),
	}
	size := g.IntN(40)
	if g.IntN(20) == 0 {
		size = g.IntN(1024)
	}
	c.key = "/" + g.pick("", "", "bucket/", "/") + g.keyText(size) + g.pick("", "", "", "/", "//")
	if g.IntN(4) == 0 {
		c.query = append(c.query, [2]string{"partNumber", fmt.Sprint(1 + g.IntN(10000))})
	}
	if g.IntN(4) == 0 {
		c.query = append(c.query, [2]string{"versionId", g.pick("null", "", g.text(printable, g.IntN(60)), g.keyText(g.IntN(20)))})
	}
	return c
}
