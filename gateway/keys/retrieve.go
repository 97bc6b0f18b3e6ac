package keys

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"os"
	"strings"
	"time"
)

// maxSize bounds a document, in bytes.
const maxSize = 1 << 20

// fromFile returns a function that fetches a document from a file.
func fromFile(path string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return read(f)
	}
}

// Proxy returns the proxy of the environment for a request; none for plain http, which goes to this
// machine alone: net/http knows it by fewer names than the configuration does.
func Proxy(r *http.Request) (*neturl.URL, error) {
	if r.URL.Scheme == "http" {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

// newClient returns a client for documents that are fetched once in a while. For https it trusts
// roots; nil: the system's.
func newClient(roots *x509.CertPool, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			Proxy:                  Proxy,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives:      true, // minutes lie between two requests
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fromURL returns a function that fetches a document of the accepted media types by GET.
func fromURL(url, accept string, client *http.Client) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) { return get(ctx, client, url, accept) }
}

// WithoutQuery returns a URL for messages: its query may be a secret.
func WithoutQuery(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return url
}

func get(ctx context.Context, client *http.Client, url, accept string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", accept)
	r.Header.Set("User-Agent", "yatagarasu")
	resp, err := client.Do(r)
	if err != nil {
		var u *neturl.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL
		}
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, fmt.Errorf("it redirects (status %d), which is not followed; configure the final URL", resp.StatusCode)
	case resp.StatusCode == http.StatusNotFound:
		return nil, errNoDocument
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers with status %d", resp.StatusCode)
	}
	return read(resp.Body)
}

func read(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = errors.New("it is larger than 1 MiB")
	}
	return data, err
}
