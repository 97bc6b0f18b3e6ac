// Package gateway runs bin/yatagarasu as a child process, for the demo and for
// measurements.
package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
)

// The credential that config.example.yaml reads with by default.
const (
	AccessKey = "demo"
	SecretKey = "demo-secret-key"
)

// Gateway is a running gateway.
type Gateway struct {
	*process.Process
	URL string // base URL, without a trailing slash
}

// Start starts the gateway before the S3 server at endpoint and waits until it is ready.
// config is its configuration file; empty: config.example.yaml. at is its port on
// 127.0.0.1; 0, or a port that is taken: any. out receives what it writes.
func Start(ctx context.Context, config, endpoint string, at int, out io.Writer, flags ...string) (*Gateway, error) {
	binary, err := process.Find("yatagarasu")
	if err != nil {
		return nil, err
	}
	root, err := process.ModuleRoot()
	if err != nil {
		return nil, err
	}
	if config == "" {
		config = filepath.Join(root, "config.example.yaml")
	}
	var g *Gateway
	err = port.Try(at, func(at int) error {
		args := append([]string{"-config", config, "-listen.address", port.Address(at)}, flags...)
		p, err := process.Start(binary, args, []string{
			"YATAGARASU_ENDPOINT=" + endpoint,
			"YATAGARASU_ACCESS_KEY=" + AccessKey, "YATAGARASU_SECRET_KEY=" + SecretKey,
		}, out)
		if err != nil {
			return err
		}
		g = &Gateway{Process: p, URL: "http://" + port.Address(at)}
		if err := g.Await(ctx, 20*time.Millisecond, g.ready); err != nil {
			g.Kill()
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// ready returns nil if /ready answers 200, else an error with its answer.
func (g *Gateway) ready() error {
	r, err := http.Get(g.URL + "/ready")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode == http.StatusOK {
		return nil
	}
	body, _ := io.ReadAll(r.Body)
	return fmt.Errorf("/ready says %d: %s", r.StatusCode, body)
}

// Stop ends the gateway; it lets requests under way finish.
func (g *Gateway) Stop() error { return g.Process.Stop(30 * time.Second) }

// Token returns a token that the token command mints for a bucket of a configuration
// file, with a claim like role=reader and further flags.
func Token(config, bucket, claim string, flags ...string) (string, error) {
	binary, err := process.Find("yatagarasu")
	if err != nil {
		return "", err
	}
	var notes bytes.Buffer
	cmd := exec.Command(binary, append([]string{"token", "-config", config, "-bucket", bucket, "-claim", claim}, flags...)...)
	cmd.Stderr = &notes
	out, err := cmd.Output()
	token := strings.TrimSpace(string(out))
	if err == nil && strings.Count(token, ".") != 2 {
		err = errors.New("it prints no token")
	}
	if err != nil {
		return "", fmt.Errorf("cannot mint a token: %w: %s", err, notes.String())
	}
	return token, nil
}
