package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"yatagarasu/loadtest/gateway"
	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/s3server"
)

const bucket = "objects"

// origin is the S3 server with the objects, in a folder that ends with it.
type origin struct {
	*s3server.Server
	dir string
}

func startOrigin(ctx context.Context) (*origin, error) {
	dir, err := os.MkdirTemp("", "yatagarasu-load")
	if err != nil {
		return nil, err
	}
	o := &origin{dir: dir}
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	data := filepath.Join(dir, "data")
	if err = os.Mkdir(data, 0o755); err == nil {
		o.Server, err = s3server.Start(starting, s3server.Options{
			Kind: s3server.VersityGW, Dir: data,
			AccessKey: gateway.AccessKey, SecretKey: gateway.SecretKey, Region: "us-east-1",
		})
	}
	if err == nil {
		err = seed(starting, o.Server)
	}
	if err != nil {
		o.stop()
		return nil, err
	}
	return o, nil
}

func (o *origin) stop() {
	if o.Server != nil {
		o.Kill()
	}
	os.RemoveAll(o.dir)
}

// front is a gateway with the configuration run.yaml.
type front struct {
	*gateway.Gateway
	config      string // path
	metricsPort int
	endpoint    string
	secret      string // of the private bucket's tokens
	ttl         int    // of the cache, in seconds
}

//go:embed run.yaml
var configText string

// startGateway starts a gateway before the origin.
func (o *origin) startGateway(ctx context.Context) (*front, error) {
	at, err := port.Reserve()
	if err != nil {
		return nil, err
	}
	f := &front{config: filepath.Join(o.dir, "run.yaml"), metricsPort: at, endpoint: o.Endpoint(), secret: rand.Text() + rand.Text(), ttl: 3600}
	if err := f.configure(); err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	f.Gateway, err = gateway.Start(starting, f.config, f.endpoint, 0, io.Discard, "-core-dumps") // its descriptors are counted
	return f, err
}

// configure writes the configuration.
func (f *front) configure() error {
	text := strings.NewReplacer(
		"ENDPOINT", f.endpoint, "ACCESS_KEY", gateway.AccessKey, "SECRET_KEY", gateway.SecretKey,
		"JWT_SECRET", f.secret, "METRICS_PORT", strconv.Itoa(f.metricsPort), "TTL", strconv.Itoa(f.ttl),
	).Replace(configText)
	if err := os.WriteFile(f.config, []byte(text), 0o600); err != nil {
		return fmt.Errorf("cannot write the configuration: %w", err)
	}
	return nil
}

func (f *front) metrics() string { return fmt.Sprintf("http://127.0.0.1:%d/metrics", f.metricsPort) }

// token mints a token of the private bucket that outlives every load test.
func (f *front) token() (string, error) {
	return gateway.Token(f.config, "private", "role=reader", "-exp", "168h")
}
