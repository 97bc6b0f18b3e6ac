// Package issuer starts real OpenID providers as child processes, for tests: they issue
// tokens to machines and revoke them, publish and rotate their keys, and answer those who
// ask about a token (RFC 7662). The program is in a module of its own, in provider.
package issuer

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"yatagarasu/loadtest/certificate"
	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
)

// Format is how a client's access tokens look.
type Format string

// The formats of access tokens.
const (
	JWT    Format = "jwt"
	Opaque Format = "opaque" // without dots
	JWE    Format = "jwe"    // five parts with dots between them, which only the issuer can read
)

// Client is who may ask the issuer: for tokens, about tokens, or both.
type Client struct {
	ID       string        // also the subject of its tokens; without a colon
	Secret   string        // sent as a form has it (RFC 6749, 2.3.1)
	Format   Format        // of its tokens; empty: JWT
	Lifetime time.Duration // of its tokens; 0: an hour
	Audience []string      // of its tokens; empty: its ID
	Scopes   []string      // what it may ask for, and gets if it asks for none
	// Claims are further claims of its tokens. Registered ones keep their values.
	Claims map[string]any
	// Introspects makes it a resource server, which may ask about any token.
	Introspects bool
}

// Options describe one issuer.
type Options struct {
	Binary string // path of the program; empty: what process.Find says of "issuer"
	Dir    string // where it keeps its configuration, certificate, keys and tokens
	Port   int    // on 127.0.0.1, another one if it is taken; 0: any
	Path   string // of its URL, as "/realms/x"; empty: none
	TLS    bool   // with a certificate of its own
	// Algorithm of its signatures: RS256, ES256 or EdDSA; empty: RS256.
	Algorithm string
	Clients   []Client
	// Log receives the program's output; nil: kept for error messages only.
	Log io.Writer
}

// Server is a running issuer. Restart, Stop, Kill and Forget are not safe for concurrent
// use; the other methods are.
type Server struct {
	*process.Process
	opts    Options
	control int // port of the control face
	client  *http.Client
}

// The files of an issuer in its folder, beside those of package certificate.
const (
	configFile = "issuer.json"
	stateFile  = "state.json"
)

// Start starts an issuer and waits until it answers, at most until ctx ends. The process
// ends with Stop, or when the calling process dies.
func Start(ctx context.Context, o Options) (*Server, error) {
	var err error
	if o.Binary == "" {
		if o.Binary, err = process.Find("issuer"); err != nil {
			return nil, err
		}
	}
	o.Algorithm = cmp.Or(o.Algorithm, "RS256")
	roots := x509.NewCertPool()
	s := &Server{opts: o, client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}}
	if o.TLS {
		if err := certificate.Write(o.Dir); err != nil {
			return nil, err
		}
		text, err := os.ReadFile(s.CA())
		if err != nil {
			return nil, fmt.Errorf("cannot read the issuer's certificate: %w", err)
		}
		roots.AppendCertsFromPEM(text)
	}
	err = port.Try(o.Port, func(at int) error {
		s.opts.Port = at
		if s.control, err = port.Reserve(); err != nil {
			return err
		}
		if err := s.configure(); err != nil {
			return err
		}
		return s.Restart(ctx)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// configure writes the program's configuration.
func (s *Server) configure() error {
	o := &s.opts
	c := struct {
		Issuer, Listen, Control, Certificate, Key, Algorithm, State string
		Clients                                                     []Client
	}{
		Issuer: s.URL(), Listen: port.Address(o.Port), Control: port.Address(s.control), Certificate: s.CA(),
		Algorithm: o.Algorithm, State: filepath.Join(o.Dir, stateFile),
	}
	if o.TLS {
		c.Key = filepath.Join(o.Dir, certificate.KeyFile)
	}
	for _, client := range o.Clients {
		client.Format = cmp.Or(client.Format, JWT)
		client.Lifetime = cmp.Or(client.Lifetime, time.Hour)
		if len(client.Audience) == 0 {
			client.Audience = []string{client.ID}
		}
		c.Clients = append(c.Clients, client)
	}
	text, err := json.Marshal(c)
	if err == nil {
		err = os.WriteFile(filepath.Join(o.Dir, configFile), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot write the issuer's configuration: %w", err)
	}
	return nil
}

// Restart starts the issuer again on the same port, after Stop or Kill. It has the keys and
// tokens that it had, unless Forget came before.
func (s *Server) Restart(ctx context.Context) error {
	p, err := process.Start(s.opts.Binary, []string{"-config", filepath.Join(s.opts.Dir, configFile)}, nil, s.opts.Log)
	if err != nil {
		return err
	}
	s.Process = p
	err = s.Await(ctx, 5*time.Millisecond, func() error {
		_, err := s.Requests(ctx) // both faces listen, then
		return err
	})
	if err != nil {
		s.Kill()
	}
	return err
}

// Forget has an issuer that was stopped lose its keys and tokens.
func (s *Server) Forget() error {
	if err := os.Remove(filepath.Join(s.opts.Dir, stateFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot drop the issuer's state: %w", err)
	}
	return nil
}

// URL returns the issuer as tokens name it: with its path, without a slash at its end.
func (s *Server) URL() string {
	scheme := "http"
	if s.opts.TLS {
		scheme = "https"
	}
	return scheme + "://" + port.Address(s.opts.Port) + s.opts.Path
}

// CA returns the path of the certificate that clients must trust; empty without TLS.
func (s *Server) CA() string {
	if !s.opts.TLS {
		return ""
	}
	return filepath.Join(s.opts.Dir, certificate.File) // it signed itself
}

// Stop ends the issuer, whatever it is answering just then.
func (s *Server) Stop() error { return s.Process.Stop(5 * time.Second) }
