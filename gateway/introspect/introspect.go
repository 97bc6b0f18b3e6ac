// Package introspect asks the issuer of tokens whether one is good: OAuth 2.0 Token Introspection
// (RFC 7662). It says what the issuer answered, and judges no claims.
package introspect

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/limit"
)

// MaxAnswer is the length in bytes up to which an answer is read.
const MaxAnswer = 64 << 10

// Options say where and how to ask.
type Options struct {
	// Endpoint returns the URL to ask at the moment; empty: it is not known yet.
	Endpoint func() string
	// ClientID and ClientSecret are the gateway's own credential at the issuer.
	ClientID, ClientSecret string
	// InBody sends them in the body (client_secret_post), else in the header Authorization
	// (client_secret_basic; RFC 6749, 2.3.1).
	InBody bool
	// Timeout bounds one look-up, from the connection to the last byte of the answer.
	Timeout time.Duration
	// RootCAs are the authorities trusted for Endpoint. Nil: the system's.
	RootCAs *x509.CertPool
	// Proxy returns the proxy for a request. Nil: there is none.
	Proxy func(*http.Request) (*url.URL, error)
	// OnChange is called when the issuer can be asked again, with nil, and with the reason when
	// it cannot any more. Calls do not overlap. Default: no call.
	OnChange func(err error)
}

// Outcome is what came of asking.
type Outcome uint8

// The outcomes.
const (
	Active   Outcome = iota // the token is good, as far as the issuer knows
	Inactive                // it is not
	Failed                  // the issuer did not say
	Skipped                 // it was not asked: it has failed lately, or its address is not known yet
	numOutcomes
)

// Outcomes are their names in the labels of metrics.
var Outcomes = [numOutcomes]string{"active", "inactive", "failed", "skipped"}

// Answer is what an issuer said of a token.
type Answer struct {
	Outcome Outcome
	// Claims is the JSON object that the issuer answered with. Nil unless Active.
	Claims []byte
	// Blames reports a failure that comes of the token rather than of the issuer, which answers
	// for others.
	Blames bool
	// Err says why there is no verdict, without the token. Nil unless Failed or Skipped.
	Err error
}

// Client asks one issuer. Get one by New. Safe for concurrent use.
type Client struct {
	o    Options
	http http.Client
	good atomic.Int64 // Unix nanoseconds of the last verdict

	breaker  limit.Breaker
	suspects limit.Breaker // of clients that have failed lately: these cannot open the other one

	mu      sync.Mutex // guards the following field, calls of OnChange, and reports to the breakers
	failing bool       // OnChange was told so
}

// New returns a client.
func New(o Options) *Client {
	if o.OnChange == nil {
		o.OnChange = func(error) {}
	}
	return &Client{o: o, http: http.Client{
		Transport: &http.Transport{
			Proxy:                  o.Proxy,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs, ClientSessionCache: tls.NewLRUClientSessionCache(64)},
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
			// Nothing that an issuer sends late can be taken for what it says of the next token:
			// each has a connection of its own.
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// IsToken reports whether a text can be a bearer token (RFC 6750, 2.1: b64token).
func IsToken(token []byte) bool {
	rest := bytes.TrimRight(token, "=")
	for _, c := range rest {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return false
		}
	}
	return len(rest) > 0
}

// Errors of an Answer, whose causes are known. Others say what was wrong with the connection, or with
// an answer.
var (
	ErrCredential = errors.New("it does not accept the gateway's client_id and client_secret")
	ErrRedirects  = errors.New("it redirects")
	ErrNowhere    = errors.New("there is no introspection at this URL")
	ErrOverloaded = errors.New("it is overloaded")
	ErrNoJSON     = errors.New("its answer is no JSON, by its Content-Type")
	ErrLate       = errors.New("it does not answer in time")
)

// healthyFor is how long after a verdict a failure is rather the token's.
const healthyFor = 10 * time.Second

// Ask asks the issuer about a token, for which IsToken holds. reads tells whether the issuer's JSON
// says that the token is active; an error: it is no answer.
//
// A failure counts against the issuer if it cannot be reached, does not know the gateway, or says
// itself that it is overloaded; what else is wrong with an answer does so only if none was right lately.
// Else anybody could make up a token that the issuer stumbles over, and have it left alone.
func (c *Client) Ask(token []byte, reads func(answer []byte) (active bool, err error)) Answer {
	return c.AskFor(func(bool) bool { return false }, token, reads)
}

// AskFor is Ask for a client of the gateway. suspect tells whether that has failed lately, be it for
// its tokens or because the issuer was down; failed notes that it does now, too.
//
// Its first failure counts as any, and all that follow against those of suspects alone. Else one
// client could make up tokens that take the issuer long, and have it left alone for all.
func (c *Client) AskFor(suspect func(failed bool) bool, token []byte, reads func(answer []byte) (active bool, err error)) Answer {
	now := time.Now()
	endpoint := c.o.Endpoint()
	breaker := &c.breaker
	if suspect(false) {
		breaker = &c.suspects
	}
	switch {
	case endpoint == "":
		return Answer{Outcome: Skipped, Err: errors.New("the issuer has not said yet where to ask")}
	case !breaker.Allows(now):
		return Answer{Outcome: Skipped, Err: errors.New("the issuer has failed and is left alone for a moment")}
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.o.Timeout)
	defer cancel()
	body, down, err := c.post(ctx, endpoint, token)
	active := false
	if err == nil {
		active, err = reads(body)
	}
	if err != nil {
		blames := !down && time.Since(time.Unix(0, c.good.Load())) < healthyFor
		if !blames && suspect(true) { // since it came, maybe
			breaker = &c.suspects
		}
		c.report(breaker, blames, err)
		return Answer{Outcome: Failed, Blames: blames, Err: err}
	}
	c.good.Store(time.Now().UnixNano())
	c.report(breaker, true, nil)
	if !active {
		return Answer{Outcome: Inactive}
	}
	return Answer{Outcome: Active, Claims: body}
}

// report tells a breaker how it went. ok with an error: it says nothing of the issuer.
func (c *Client) report(breaker *limit.Breaker, ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	breaker.Report(ok, now) // with mu, so that err is the reason of the change
	if ok && err == nil {
		for _, b := range []*limit.Breaker{&c.breaker, &c.suspects} {
			if b.Allows(now) {
				b.Report(true, now)
			}
		}
	}
	if failing := c.alone(); failing != c.failing {
		if c.failing = failing; !failing {
			err = nil
		}
		c.o.OnChange(err)
	}
}

// post asks. down reports a failure of the issuer, whatever the token.
func (c *Client) post(ctx context.Context, endpoint string, token []byte) (answer []byte, down bool, err error) {
	form := url.Values{"token": {string(token)}, "token_type_hint": {"access_token"}}
	if c.o.InBody {
		form.Set("client_id", c.o.ClientID)
		form.Set("client_secret", c.o.ClientSecret)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, true, errors.New("its URL is none")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "yatagarasu")
	if !c.o.InBody {
		r.SetBasicAuth(url.QueryEscape(c.o.ClientID), url.QueryEscape(c.o.ClientSecret))
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, true, plain(err)
	}
	defer resp.Body.Close()
	if down, err := refused(resp); err != nil {
		return nil, down, err
	}
	answer, err = io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	switch {
	case err != nil:
		return nil, true, plain(err)
	case len(answer) > MaxAnswer:
		return nil, false, errors.New("its answer is longer than 64 KiB")
	}
	return answer, false, nil
}

// refused returns why an answer is no verdict, by its status and type; nil: it may be one.
func refused(r *http.Response) (down bool, err error) {
	switch code := r.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		// RFC 7662 (2.3) has 401 for a wrong credential alone. 403 is also what a firewall before the
		// issuer says of a token that looks like an attack.
		return code == http.StatusUnauthorized, fmt.Errorf("%w (status %d)", ErrCredential, code)
	case code >= 300 && code < 400:
		return false, fmt.Errorf("%w (status %d), which is not followed", ErrRedirects, code)
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
		return false, fmt.Errorf("%w (status %d)", ErrNowhere, code)
	case code == http.StatusTooManyRequests, code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		return true, fmt.Errorf("%w (status %d)", ErrOverloaded, code)
	case code != http.StatusOK:
		return false, fmt.Errorf("it answers with status %d", code)
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return false, ErrNoJSON
	}
	return false, nil
}

// plain returns an error without the URL, and without what the issuer sent where an answer should be:
// that may be the token, and net/http quotes it.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	_, ofNetwork := errors.AsType[net.Error](err)
	switch text := err.Error(); {
	case errors.Is(err, context.DeadlineExceeded):
		return ErrLate
	case ofNetwork, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, http.ErrSchemeMismatch),
		strings.HasPrefix(text, "tls: "), strings.HasPrefix(text, "x509: "):
		return err
	}
	return errors.New("its answer is no HTTP")
}

// Failing reports whether the issuer is not asked, about tokens of suspects at least: it has failed and
// is left alone, or its address is not known yet.
func (c *Client) Failing() bool { return c.alone() || c.o.Endpoint() == "" }

func (c *Client) alone() bool { return c.breaker.Open() || c.suspects.Open() }
