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
}

// Where discovery documents are: behind the issuer's name, or between its host and its path (RFC
// 8414, 3.1).
const (
	discoveryBehind  = "/.well-known/openid-configuration"
	discoveryBetween = "/.well-known/oauth-authorization-server"
)

// errNoDocument is the error of an answer that says that there is nothing at a URL.
var errNoDocument = errors.New("it answers with status 404")

// The errors of a document that is not that of the issuer.
var (
	ErrNoJSON  = errors.New("its discovery document is no strict JSON object")
	ErrAnother = errors.New("its discovery document is that of")
)

// Discover fetches the discovery document of an issuer of this name within timeout. For https it
// trusts roots; nil: the system's.
func Discover(ctx context.Context, name string, roots *x509.CertPool, timeout time.Duration) (*Issuer, error) {
	return discover(ctx, newClient(roots, timeout), name)
}

// unreachable is the error of a document that could not be fetched, as opposed to one that is wrong.
type unreachable struct{ error }

// Unwrap returns what keeps it from being fetched.
func (u unreachable) Unwrap() error { return u.error }

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
// the letter, and its URLs must be such as the configuration may have.
func readIssuer(data []byte, name string) (*Issuer, error) {
	doc, err := new(token.Decoder).Object(data, "issuer", "jwks_uri", "introspection_endpoint")
	if err != nil {
		return nil, ErrNoJSON
	}
	if is, _ := doc.Text("issuer"); is != name {
		return nil, fmt.Errorf("%w %.200q; jwt.issuer_url must be the same, to the last slash", ErrAnother, is)
	}
	var i Issuer
	for member, url := range map[string]*string{"jwks_uri": &i.KeySet, "introspection_endpoint": &i.Introspection} {
		value, found := doc.Get(member)
		if !found {
			continue
		}
		text, _ := value.(string)
		if problem, _ := access.URLProblem(text); problem != "" {
			return nil, fmt.Errorf("the %s in its discovery document %s", member, problem)
		}
		*url = text
	}
	if i.KeySet == "" {
		return nil, errors.New("its discovery document has no jwks_uri; without keys, leave jwt.issuer_url out and set jwt.introspection.url")
	}
	return &i, nil
}

// fetchOfIssuer fetches the key set that the issuer of c names. Where its discovery document cannot
// be fetched, the last good copy of that counts; one that is wrong is an error.
func (k *Keys) fetchOfIssuer(client *http.Client) func(context.Context) ([]byte, error) {
	c := k.config
	return func(ctx context.Context) ([]byte, error) {
		i, err := discover(ctx, client, c.IssuerURL)
		last := k.issuer.Load()
		if _, away := errors.AsType[unreachable](err); away && last != nil {
			i, err = last, nil
		}
		switch {
		case err != nil:
			return nil, err
		case c.Introspection.Enabled && c.Introspection.URL == "" && i.Introspection == "":
			return nil, errors.New("its discovery document has no introspection_endpoint; set jwt.introspection.url")
		}
		k.issuer.Store(i)
		return get(ctx, client, i.KeySet, keySetTypes)
	}
}

// IntrospectionEndpoint returns the introspection endpoint that the issuer names; empty: it was not
// asked yet.
func (k *Keys) IntrospectionEndpoint() string {
	if i := k.issuer.Load(); i != nil {
		return i.Introspection
	}
	return ""
}
