// Command issuer is an OpenID provider for tests: machines get tokens from it by their
// credentials (RFC 6749, 4.4), as JWT or opaque, revoke them (RFC 7009), and resource
// servers ask whether they are good (RFC 7662). All of that is zitadel/oidc's; here are
// its storage, which fits into memory, and a control face by which a test rotates keys.
package main

import (
	"bytes"
	"encoding/json"
	"expvar"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// config is the file that the flag -config names.
type config struct {
	Issuer      string // a URL, whose path may be empty, without a slash at its end
	Listen      string // host and port of the provider
	Control     string // host and port of the control face
	Certificate string // PEM file; empty: without TLS
	Key         string // PEM file
	Algorithm   string // of signatures: RS256, ES256 or EdDSA
	State       string // file for keys and tokens, made if absent
	Clients     []*client
}

func main() {
	file := flag.String("config", "", "JSON file with issuer, addresses and clients")
	flag.Parse()
	log.Fatal(run(*file))
}

// run serves until one of the listeners fails.
func run(file string) error {
	c, err := readConfig(file)
	if err != nil {
		return err
	}
	s, err := openStorage(c)
	if err != nil {
		return err
	}
	counts := new(expvar.Map)
	public, err := newProvider(c, s)
	if err != nil {
		return fmt.Errorf("cannot make the provider: %w", err)
	}
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counts.Add(r.URL.Path, 1)
		public.ServeHTTP(w, r)
	})
	// It listens before the control face does: whoever reaches that one reaches both.
	ln, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	// Both end with the program.
	go func() { ended <- http.ListenAndServe(c.Control, newControl(s, counts)) }()
	go func() {
		if c.Certificate == "" {
			ended <- http.Serve(ln, counted)
		} else {
			ended <- http.ServeTLS(ln, counted, c.Certificate, c.Key)
		}
	}()
	return <-ended
}

func readConfig(file string) (*config, error) {
	text, err := os.ReadFile(file)
	c := new(config)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		err = d.Decode(c)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return c, nil
}

// newProvider returns the public face: what machines need of the provider below the
// issuer's path, and RFC 8414's place of its metadata, which comes before that path.
func newProvider(c *config, s *storage) (http.Handler, error) {
	issuer, err := url.Parse(c.Issuer)
	if err != nil {
		return nil, err
	}
	// Without it the library verifies no signature but RS256.
	algorithms := op.WithSupportedAccessTokenSigningAlgorithms(slices.Sorted(maps.Keys(generators))...)
	provider, err := op.NewProvider(&op.Config{AuthMethodPost: true}, s, op.StaticIssuer(c.Issuer),
		op.WithAllowInsecure(), op.WithCrypto(s), op.WithAccessTokenVerifierOpts(algorithms), op.WithHttpInterceptors(s.onlyMachines))
	if err != nil {
		return nil, err
	}
	e := op.DefaultEndpoints
	mux := http.NewServeMux()
	for _, path := range []string{oidc.DiscoveryEndpoint, e.JwksURI.Relative(), e.Token.Relative(), e.Introspection.Relative(), e.Revocation.Relative()} {
		mux.Handle(issuer.Path+path, http.StripPrefix(issuer.Path, provider))
	}
	mux.HandleFunc(oidc.AuthorizationServerMetadataEndpoint+issuer.Path, func(w http.ResponseWriter, r *http.Request) {
		op.Discover(w, op.CreateDiscoveryConfig(op.ContextWithIssuer(r.Context(), c.Issuer), provider, s))
	})
	return mux, nil
}

// onlyMachines refuses other grants than client_credentials, and clients that sign
// assertions. It answers 401 to those that ask about tokens and are no resource servers:
// of them, the library checks the secret alone.
func (s *storage) onlyMachines(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g := r.FormValue("grant_type"); g != "" && g != string(grant) || r.FormValue("client_assertion") != "" {
			op.RequestError(w, r, oidc.ErrUnsupportedGrantType().WithDescription("only %s, by a secret", grant), nil)
			return
		}
		id, _, _ := r.BasicAuth()
		if c := s.clients[id]; r.URL.Path == op.DefaultEndpoints.Introspection.Relative() && c != nil && !c.Introspects {
			http.Error(w, oidc.ErrUnauthorizedClient().WithDescription("%s is no resource server", id).Error(), http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// newControl returns the control face: POST /rotate, with publish=10s in its query for
// how long the key before stays published, and GET /requests, which counts what the
// provider was asked.
func newControl(s *storage, counts *expvar.Map) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /rotate", func(w http.ResponseWriter, r *http.Request) {
		publish, err := time.ParseDuration(r.FormValue("publish"))
		if err == nil {
			err = s.rotate(publish)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, counts.String()) })
	return mux
}
