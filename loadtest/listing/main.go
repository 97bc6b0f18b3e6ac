// Listing takes pictures of a folder's listing, as a desktop and as a phone shows it, light and
// dark. It fails if the page complains of anything, or is wider than its window.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/chromedp/chromedp"

	"yatagarasu/loadtest/browser"
	"yatagarasu/loadtest/gateway"
	"yatagarasu/loadtest/process"
	"yatagarasu/loadtest/s3server"
)

// config is that of the gateway; its %q is the address of the S3 server.
const config = `
server: {ready: config}
buckets:
  - name: files
    path_prefix: /files
    s3: {bucket: demo, region: us-east-1, endpoint: %q, access_key: demo, secret_key: demo-secret-key}
    listing: {enabled: true, page_size: 16, hide: [".*"]}
`

// objects are what the folder has, and how large they are.
var objects = map[string]int{
	"releases/2026/notes/":                              0,
	"releases/2026/images/logo.png":                     8 << 10,
	"releases/2026/archive of the year/old.zip":         1 << 10,
	"releases/2026/.hidden":                             1,
	"releases/2026/CHANGELOG.md":                        18_432,
	"releases/2026/SHA256SUMS":                          1_212,
	"releases/2026/Übersicht 日本語.pdf":                   3_400_000,
	"releases/2026/yatagarasu-2.0.0-linux-amd64.tar.gz": 14_900_000,
	"releases/2026/yatagarasu-2.0.0-linux-arm64.tar.gz": 13_700_000,
	"releases/2026/yatagarasu-2.0.0-windows-amd64.zip":  15_200_000,
	"releases/2026/a+b#c%d?.txt":                        999,
	"releases/2026/<img src=x onerror=alert(1)>.svg":    640,
	"releases/2026/empty":                               0,
	"releases/2026/a-name-that-is-longer-than-a-phone-is-wide-and-has-to-be-broken-somewhere-in-its-midst.parquet": 26_000_000,
	"releases/2026/z-1.csv": 1, "releases/2026/z-2.csv": 2, "releases/2026/z-3.csv": 3, "releases/2026/z-4.csv": 4,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "listing:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b, err := browser.Start(ctx) // first: it may be missing
	if err != nil {
		return err
	}
	defer b.Close()
	root, err := process.ModuleRoot()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "listing-")
	if err != nil {
		return fmt.Errorf("cannot make a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	url, stop, err := serve(ctx, dir)
	if err != nil {
		return err
	}
	defer stop()
	for _, w := range []browser.Window{
		{Width: 1280, Scale: 1, Scheme: "light"}, {Width: 1280, Scale: 1, Scheme: "dark"},
		{Width: 390, Scale: 2, Scheme: "light"}, {Width: 390, Scale: 2, Scheme: "dark"},
	} {
		path := fmt.Sprintf("bin/listing-%d-%s.png", w.Width, w.Scheme)
		image, err := picture(b, url+"/files/releases/2026/", w)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := os.WriteFile(filepath.Join(root, path), image, 0o644); err != nil {
			return fmt.Errorf("cannot write the picture: %w", err)
		}
		fmt.Printf("%s, %d bytes\n", path, len(image))
	}
	if all := b.Complaints(); len(all) > 0 {
		return fmt.Errorf("the page complains:\n%s", strings.Join(all, "\n"))
	}
	return nil
}

// serve starts an S3 server over a folder, with the objects, and the gateway before it. stop ends
// both.
func serve(ctx context.Context, dir string) (url string, stop func(), err error) {
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		return "", nil, fmt.Errorf("cannot make a folder: %w", err)
	}
	s3, err := s3server.Start(ctx, s3server.Options{
		Kind: s3server.VersityGW, Dir: data, AccessKey: gateway.AccessKey, SecretKey: gateway.SecretKey, Region: "us-east-1",
	})
	if err != nil {
		return "", nil, err
	}
	var seed []s3server.Object
	for key, size := range objects {
		seed = append(seed, s3server.Object{Key: key, Body: strings.Repeat("x", size)})
	}
	file := filepath.Join(dir, "listing.yaml")
	err = s3.Seed(ctx, "demo", seed...)
	if err == nil {
		err = os.WriteFile(file, fmt.Appendf(nil, config, s3.Endpoint()), 0o600)
	}
	var gw *gateway.Gateway
	if err == nil {
		gw, err = gateway.Start(ctx, file, s3.Endpoint(), 0, io.Discard)
	}
	if err != nil {
		s3.Stop()
		return "", nil, err
	}
	return gw.URL, func() { gw.Stop(); s3.Stop() }, nil
}

// picture takes one picture of a page.
func picture(b *browser.Browser, address string, w browser.Window) ([]byte, error) {
	if err := b.Open(address, w); err != nil {
		return nil, err
	}
	if err := b.Await("document.querySelectorAll('tbody tr').length > 10", 15*time.Second); err != nil {
		return nil, err
	}
	if over, err := b.Overflow(w); err != nil || over > 0 {
		return nil, fmt.Errorf("the page is %d pixels wider than its window of %d (%v)", over, w.Width, err)
	}
	return chromedp.Run(b.Page, chromedp.FullScreenshot(100))
}
