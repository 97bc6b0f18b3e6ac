package main

import (
	"crypto/rand"
	_ "embed"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"yatagarasu/loadtest/gateway"
)

//go:embed demo.yaml
var demoConfig string

// writeConfig writes the demo's configuration to path. The secret of its private
// bucket is a new one each time.
func writeConfig(path, endpoint string, metricsPort int) error {
	text := strings.NewReplacer(
		"ENDPOINT", endpoint, "ACCESS_KEY", gateway.AccessKey, "SECRET_KEY", gateway.SecretKey, "JWT_SECRET", rand.Text()+rand.Text(),
		"METRICS_PORT", strconv.Itoa(metricsPort),
	).Replace(demoConfig)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("cannot write the configuration: %w", err)
	}
	return nil
}

// privateRequests returns what to try with the private bucket.
func privateRequests(config string, samples []sample) ([]request, error) {
	reader, err := gateway.Token(config, "private", "role=reader")
	if err != nil {
		return nil, err
	}
	guest, err := gateway.Token(config, "private", "role=guest")
	if err != nil {
		return nil, err
	}
	path := strings.Replace(samples[0].path(), "/demo/", "/private/", 1)
	bearer := func(token string) request {
		return request{method: http.MethodGet, path: path, name: "Authorization", value: "Bearer " + token}
	}
	none := request{method: http.MethodGet, path: path, note: "401, the private bucket wants a token", status: 401, holds: `"token_required"`}
	wrong := bearer(guest)
	wrong.note, wrong.status, wrong.holds = "403, a token with the wrong role", 403, `"insufficient_scope"`
	right := bearer(reader)
	right.note, right.status, right.sum = "200, a token with role=reader, valid for an hour", 200, samples[0].sum
	return []request{none, wrong, right}, nil
}
