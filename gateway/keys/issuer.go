package keys

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	neturl "net/url"
	"strings"
	"time"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/token"
)

// Issuer is what an issuer's discovery document says where (OpenID Connect Discovery 1.0, 3;
// RFC 8414, 2).
type Issuer struct {
	KeySet        string // jwks_uri
	Introspection string // introspection_endpoint; empty: there is none

	fetched time.Time // when, without monotonic clock, as document.fetched
}

// Where discovery documents are: behind the issuer's name, or between its host and its path (RFC
// 8414, 3.1).
const (
	discoveryBehind  = "/.well-known/openid-configuration"
	discoveryBetween = "/.well-known/oauth-authorization-server"
)

// errNoDocument is the error of an answer that says that there is nothing at a URL.
var errNoDocument = errors.New("it answers with status 404")

// Discover fetches the discovery document of an issuer of this name within timeout. For https it
// trusts roots; nil: the system's.
func Discover(ctx context.Context, name string, roots *x509.CertPool, timeout time.Duration) (*Issuer, error) {
	return discover(ctx, newClient(roots, timeout), name)
}

// unreachable is the error of a document that could not be fetched, as opposed to one that is wrong.
type unreachable struct{ error }

func discover(ctx context.Context, client *http.Client, name string) (*Issuer, error) {
	u, err := neturl.Parse(name)
	if err != nil {
		return nil, errors.New("its name is no URL")
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	host := u.Scheme + "://" + u.Host
	data, err := get(ctx, client, host+path+discoveryBehind, "application/json")
	if errors.Is(err, errNoDocument) {
		data, err = get(ctx, client, host+discoveryBetween+path, "application/json")
	}
	if err != nil {
		return nil, unreachable{fmt.Errorf("its discovery document cannot be fetched: %w", err)}
	}
	return readIssuer(data, name)
}

// readIssuer reads the discovery document of the issuer of this name. Who it is must stand in it, to
// the letter, and its URLs must be such as the configuration may have; plain http, to this machine,
// is for issuers on it.
func readIssuer(data []byte, name string) (*Issuer, error) {
	doc, err := new(token.Decoder).Object(data, "issuer", "jwks_uri", "introspection_endpoint")
	if err != nil {
		return nil, errors.New("its discovery document is no strict JSON object")
	}
	if is, _ := doc.Text("issuer"); is != name {
		return nil, fmt.Errorf("its discovery document is that of %.200q; jwt.issuer_url must be the same, to the last slash", is)
	}
	var i Issuer
	for _, m := range doc {
		var url *string
		switch m.Name {
		case "jwks_uri":
			url = &i.KeySet
		case "introspection_endpoint":
			url = &i.Introspection
		default:
			continue
		}
		*url, _ = m.Value.(string)
		problem, _ := access.URLProblem(*url)
		if problem == "" && isTLS(name) && !isTLS(*url) {
			problem = "is not https, as the issuer is"
		}
		if problem != "" {
			return nil, fmt.Errorf("the %s in its discovery document %s", m.Name, problem)
		}
	}
	if i.KeySet == "" {
		return nil, errors.New("its discovery document has no jwks_uri; without keys, leave jwt.issuer_url out and set jwt.introspection.url")
	}
	return &i, nil
}

// isTLS reports whether a URL is https.
func isTLS(url string) bool {
	u, err := neturl.Parse(url)
	return err == nil && u.Scheme == "https"
}

// fetchOfIssuer returns a function that fetches the key set that the issuer of k names.
func (k *Keys) fetchOfIssuer(client *http.Client) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		i, away := k.askIssuer(ctx, client)
		if i == nil {
			return nil, away
		}
		data, err := get(ctx, client, i.KeySet, keySetTypes)
		switch {
		case err != nil && away != nil:
			return nil, fmt.Errorf("%w; nor can the key set that it named: %w", away, err)
		case err != nil:
			return nil, fmt.Errorf("its key set cannot be fetched: %w", err)
		case away != nil:
			k.set.o.OnFetch(k.set.name, fmt.Errorf("cannot fetch the issuer %s: %w", k.set.name, away))
		}
		return data, nil
	}
}

// askIssuer returns what the issuer of k says where. While its discovery document cannot be fetched,
// which err says then, the last good copy counts, until that is older than the maximum age: whoever
// keeps the gateway from the document must not keep a place alive that the issuer has left. Of a
// document that is wrong there is nothing but the error. Only the fetching goroutine calls it.
func (k *Keys) askIssuer(ctx context.Context, client *http.Client) (i *Issuer, err error) {
	last, c := k.issuer.Load(), k.config
	patience := ctx
	if deadline, ok := ctx.Deadline(); ok && last != nil {
		var cancel context.CancelFunc
		patience, cancel = context.WithTimeout(ctx, time.Until(deadline)/2) // leaves time for the key set
		defer cancel()
	}
	if i, err = discover(patience, client, c.IssuerURL); err == nil {
		err = k.problemOf(i)
	}
	if err == nil {
		i.fetched = time.Now().Round(0)
		k.issuer.Store(i)
		return i, nil
	}
	if last != nil && c.JWKSMaxAge > 0 && time.Since(last.fetched) >= c.JWKSMaxAge {
		last = nil
		k.issuer.Store(nil)
	}
	if _, away := errors.AsType[unreachable](err); !away {
		return nil, err
	}
	return last, err
}

// problemOf returns what i lacks that the configuration wants of it.
func (k *Keys) problemOf(i *Issuer) error {
	if n := &k.config.Introspection; n.Enabled && n.URL == "" && i.Introspection == "" {
		return errors.New("its discovery document has no introspection_endpoint; set jwt.introspection.url")
	}
	return nil
}

// inheritIssuer takes over what the issuer of old says, and reports whether that is all that k wants.
func (k *Keys) inheritIssuer(old *Keys) bool {
	i := old.issuer.Load()
	if i == nil {
		return true
	}
	if k.problemOf(i) != nil {
		return false
	}
	k.issuer.Store(i)
	return true
}

// IntrospectionEndpoint returns the introspection endpoint that the issuer names; empty: the issuer
// could not be asked yet, or not for too long.
func (k *Keys) IntrospectionEndpoint() string {
	if i := k.issuer.Load(); i != nil {
		return i.Introspection
	}
	return ""
}
