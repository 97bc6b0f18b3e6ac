package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"yatagarasu/loadtest/port"
)

// The paths of the library, below the issuer's.
const (
	tokenPath  = "/oauth/token"
	revokePath = "/revoke"
)

// Token returns a new access token for a client, with scopes, or all of the client's if
// there are none.
func (s *Server) Token(ctx context.Context, client, secret string, scopes ...string) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	text, err := s.post(ctx, s.URL()+tokenPath, client, secret, form)
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err == nil && answer.AccessToken == "" {
		err = errors.New("the answer has none")
	}
	if err != nil {
		return "", fmt.Errorf("cannot get a token for %s: %w", client, err)
	}
	return answer.AccessToken, nil
}

// Revoke revokes a token of a client.
func (s *Server) Revoke(ctx context.Context, client, secret, token string) error {
	if _, err := s.post(ctx, s.URL()+revokePath, client, secret, url.Values{"token": {token}}); err != nil {
		return fmt.Errorf("cannot revoke a token of %s: %w", client, err)
	}
	return nil
}

// Rotate has a new key sign from now on. The one before stays published for the given
// time. Once it is not, the issuer does not know its own tokens by that key either.
func (s *Server) Rotate(ctx context.Context, publish time.Duration) error {
	if _, err := s.ask(ctx, http.MethodPost, "/rotate?publish="+publish.String()); err != nil {
		return fmt.Errorf("cannot rotate keys: %w", err)
	}
	return nil
}

// Requests returns how many requests each path has had since the process began, those of
// Token and Revoke among them.
func (s *Server) Requests(ctx context.Context) (byPath map[string]int, err error) {
	text, err := s.ask(ctx, http.MethodGet, "/requests")
	if err == nil {
		err = json.Unmarshal(text, &byPath)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot count requests: %w", err)
	}
	return byPath, nil
}

// ask asks the control face.
func (s *Server) ask(ctx context.Context, method, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+port.Address(s.control)+path, nil)
	if err != nil {
		return nil, err
	}
	return s.do(r)
}

// post sends a form as a client.
func (s *Server) post(ctx context.Context, address, client, secret string, form url.Values) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(secret))
	return s.do(r)
}

// do returns the body of an answer that is a 200.
func (s *Server) do(r *http.Request) ([]byte, error) {
	answer, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, strings.TrimSpace(string(text)))
	}
	return text, err
}
