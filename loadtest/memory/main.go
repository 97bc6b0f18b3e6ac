// Memory measures the largest resident set of a freshly started gateway: over
// one large download, and over many at once. It exits 1 when a bound is broken.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"yatagarasu/loadtest/gateway"
	"yatagarasu/loadtest/s3server"
)

func main() {
	large := flag.Int64("large", 10<<30, "size in `bytes` of the one large download")
	clients := flag.Int("clients", 1000, "`number` of concurrent downloads of 1 MB")
	flag.Parse()
	if err := run(*large, *clients); err != nil {
		fmt.Fprintln(os.Stderr, "memory:", err)
		os.Exit(1)
	}
}

func run(large int64, clients int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	root, err := os.MkdirTemp("", "yatagarasu-memory")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	dir := filepath.Join(root, "data")
	if err := os.MkdirAll(filepath.Join(dir, "demo"), 0o755); err != nil {
		return err
	}
	for name, size := range map[string]int64{"large": large, "small": 1e6} {
		f, err := os.Create(filepath.Join(dir, "demo", name))
		if err != nil {
			return err
		}
		if err := f.Truncate(size); err != nil { // sparse: takes no room
			return err
		}
		f.Close()
	}
	s3, err := s3server.Start(ctx, s3server.Options{Kind: s3server.VersityGW, Dir: dir, AccessKey: gateway.AccessKey, SecretKey: gateway.SecretKey, Region: "us-east-1"})
	if err != nil {
		return err
	}
	defer s3.Stop()

	if err := measure(ctx, s3.Endpoint(), fmt.Sprintf("one download of %d MB", large>>20), "large", large, 1, 64<<20); err != nil {
		return err
	}
	return measure(ctx, s3.Endpoint(), fmt.Sprintf("%d downloads of 1 MB at once", clients), "small", 1e6, clients, 200<<20)
}

// measure starts a gateway, downloads key n times at once and prints the peak.
func measure(ctx context.Context, endpoint, what, key string, size int64, n int, bound int64) error {
	gw, err := gateway.Start(ctx, "", endpoint, 0, io.Discard)
	if err != nil {
		return err
	}
	defer gw.Stop()
	begin, err := gw.PeakMemory()
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	start := make(chan struct{})
	errs := make(chan error, n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			<-start
			r, err := client.Get(gw.URL + "/demo/" + key)
			if err == nil {
				var m int64
				m, err = io.Copy(io.Discard, r.Body)
				r.Body.Close()
				if err == nil && (m != size || r.StatusCode != 200) {
					err = fmt.Errorf("status %d, %d bytes, want %d", r.StatusCode, m, size)
				}
			}
			if err != nil {
				errs <- err
			}
		})
	}
	began := time.Now()
	close(start)
	wg.Wait()
	took := time.Since(began)
	if len(errs) > 0 {
		return fmt.Errorf("%s: %d failed, the first: %w", what, len(errs), <-errs)
	}
	peak, err := gw.PeakMemory()
	if err != nil {
		return err
	}
	fmt.Printf("%-32s in %6.1f s: peak RSS %5.1f MB (at start %.1f MB), bound %d MB\n", what, took.Seconds(), float64(peak)/(1<<20), float64(begin)/(1<<20), bound>>20)
	if peak > bound {
		return fmt.Errorf("%s: peak RSS %d is over the bound of %d bytes", what, peak, bound)
	}
	return nil
}
