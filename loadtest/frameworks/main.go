// Frameworks builds an application with Vite and a site with Eleventy, stores what they leave in
// real S3 servers, and follows every link of it through the gateway: each must lead somewhere, and
// come with the type that browsers need. Deep links of the application are loaded in a real browser.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"

	"yatagarasu/loadtest/gateway"
	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
	"yatagarasu/loadtest/s3server"
)

// site is what one framework builds.
type site struct {
	name, folder string   // of its source
	prefix       string   // path that it is built for, and below which its keys are
	deep         []string // addresses below prefix that a browser loads
	missing      string   // an address below prefix that must be 404
}

var sites = []site{
	{"Vite with Vue", "vite", "app", []string{"about", "birds/crow", "birds/v1.2", "no/such/view"}, "assets/index-00000000.js"},
	{"Eleventy", "eleventy", "docs", []string{"posts/%C3%BCber/", "guide/first%20steps/"}, "posts/three/"},
}

const bucket = "sites"

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "frameworks:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if _, err := exec.LookPath("npm"); err != nil {
		return errors.New("npm is not on the PATH; on Debian: apt-get install --no-install-recommends nodejs npm")
	}
	root, err := process.ModuleRoot()
	if err != nil {
		return err
	}
	work := filepath.Join(root, "bin", "frameworks")
	for _, s := range sites {
		fmt.Printf("building %s\n", s.name)
		if err := s.build(ctx, root, work); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for _, kind := range []s3server.Kind{s3server.MinIO, s3server.VersityGW} {
		if err := tryServer(ctx, kind, work); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

// build leaves the site in the folder dist of its own in work.
func (s site) build(ctx context.Context, root, work string) error {
	dir := filepath.Join(work, s.folder)
	if err := os.RemoveAll(filepath.Join(dir, "dist")); err != nil {
		return err
	}
	if err := copyFolder(filepath.Join(root, "loadtest", "frameworks", s.folder), dir); err != nil {
		return err
	}
	for _, args := range [][]string{{"install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"}, {"run", "build", "--silent"}} {
		c := exec.CommandContext(ctx, "npm", args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("npm %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

// copyFolder copies the files below from to a folder that may have others.
func copyFolder(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o644)
	})
}

// config is the gateway's configuration; each site is below its prefix in the bucket.
const config = `server: { address: "127.0.0.1:8080" }
cache: { enabled: true, negative_ttl: 10 }
buckets:
  - name: app
    path_prefix: /app
    s3: &s3 { bucket: sites, key_prefix: app/, region: us-east-1, endpoint: "ENDPOINT", access_key: "ACCESS_KEY", secret_key: "SECRET_KEY" }
    content_types: { guess: true }
    compress: { enabled: true }
    website: { index: index.html, spa: { fallback: index.html, assets: [/assets] } }
  - name: docs
    path_prefix: /docs
    s3: { <<: *s3, key_prefix: docs/ }
    content_types: { guess: true }
    compress: { enabled: true }
    website: { index: index.html, error_documents: [{ status: 404, key: 404.html }] }
`

// tryServer stores the sites in a server of a kind and tries them through a gateway.
func tryServer(ctx context.Context, kind s3server.Kind, work string) error {
	data, err := os.MkdirTemp(work, "data-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	at, err := port.Reserve()
	if err != nil {
		return err
	}
	s3, err := s3server.Start(ctx, s3server.Options{Kind: kind, Dir: data, AccessKey: gateway.AccessKey, SecretKey: gateway.SecretKey, Region: "us-east-1", Port: at})
	if err != nil {
		return err
	}
	defer s3.Stop()
	client, err := s3.Client()
	if err != nil {
		return err
	}
	if err := client.MakeBucket(ctx, bucket, minio.MakeBucketOptions{}); err != nil {
		return err
	}
	for _, s := range sites {
		if err := s.store(ctx, client, filepath.Join(work, s.folder, "dist")); err != nil {
			return err
		}
	}
	file := filepath.Join(data, "gateway.yaml")
	text := strings.NewReplacer("ENDPOINT", s3.Endpoint(), "ACCESS_KEY", gateway.AccessKey, "SECRET_KEY", gateway.SecretKey).Replace(config)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	gw, err := gateway.Start(ctx, file, s3.Endpoint(), 8080, os.Stderr, "-log.level", "warn")
	if err != nil {
		return err
	}
	defer gw.Stop()
	for _, s := range sites {
		if err := s.try(ctx, kind, gw.URL); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// store stores the files of a folder, all of them as application/octet-stream, as an upload that
// knows no types would.
func (s site) store(ctx context.Context, client *minio.Client, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		_, err = client.FPutObject(ctx, bucket, s.prefix+"/"+filepath.ToSlash(rel), path, minio.PutObjectOptions{ContentType: "application/octet-stream"})
		return err
	})
}
