// Demo runs the gateway before a real S3 server over a folder, and prints curl
// lines to try. It ends both programs on SIGINT or SIGTERM.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"yatagarasu/loadtest/gateway"
	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
	"yatagarasu/loadtest/s3server"
)

const (
	region = "us-east-1"
	bucket = "demo"
)

func main() {
	dir := flag.String("dir", "", "serve this `folder` instead of demo objects")
	once := flag.Bool("once", false, "send the requests that would be printed, compare the bodies with the files, and exit: 0 if all are right")
	flag.Parse()
	if err := run(*dir, *once); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(dir string, once bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root, err := process.ModuleRoot()
	if err != nil {
		return err
	}
	data := filepath.Join(root, "bin", "demo-data")
	if dir != "" {
		if dir, err = filepath.EvalSymlinks(dir); err != nil {
			return fmt.Errorf("cannot serve the folder: %w", err)
		}
		// The server gets a folder with a link, so that nothing is written to dir. The
		// folder is new, so that several demos can run.
		own, err := os.MkdirTemp(filepath.Join(root, "bin"), "serve-")
		if err != nil {
			return fmt.Errorf("cannot make a folder: %w", err)
		}
		defer os.RemoveAll(own) // the link, not what it leads to
		data = filepath.Join(own, "data")
		if err := link(dir, data); err != nil {
			return err
		}
	} else if err := os.MkdirAll(filepath.Join(data, bucket), 0o755); err != nil {
		return err
	}

	startCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s3, err := s3server.Start(startCtx, s3server.Options{
		Kind: s3server.VersityGW, Dir: data,
		AccessKey: gateway.AccessKey, SecretKey: gateway.SecretKey, Region: region, Port: 7070,
	})
	if err != nil {
		return err
	}
	defer s3.Stop()

	var samples []sample
	if dir != "" {
		samples, err = samplesOf(ctx, dir)
	} else {
		if samples, err = seed(ctx, s3, filepath.Join(data, bucket)); err == nil {
			err = seedSite(ctx, s3)
		}
	}
	if err != nil {
		return err
	}

	level := "info"
	if once {
		level = "error"
	}
	config := filepath.Join(filepath.Dir(data), "demo.yaml")
	metricsPort, err := port.Prefer(9090)
	if err != nil {
		return err
	}
	if err := writeConfig(config, s3.Endpoint(), metricsPort); err != nil {
		return err
	}
	gw, err := gateway.Start(startCtx, config, s3.Endpoint(), 8080, os.Stdout, "-log.format", "text", "-log.level", level)
	if err != nil {
		return err
	}
	defer gw.Stop()
	list, err := requestsFor(ctx, gw.URL, samples)
	if err != nil {
		return err
	}
	private, err := privateRequests(config, samples)
	if err != nil {
		return err
	}
	list = append(list, private...)
	if dir == "" {
		list = append(append(list, cacheRequests()...), siteRequests()...)
	}
	if once {
		return try(ctx, os.Stdout, gw.URL, list)
	}
	what := "demo objects"
	if dir != "" {
		what = dir
	}
	fmt.Printf("\nServing %s at %s/demo/ from the S3 server at %s.\nTry:\n\n", what, gw.URL, s3.Endpoint())
	printLines(os.Stdout, gw.URL, list)
	if dir == "" {
		fmt.Printf("\nIn a browser: a site out of the bucket at %s/site/, one of its views at\n%s/site/feathers/2, its files at %s/site/data/.\n", gw.URL, gw.URL, gw.URL)
	}
	fmt.Printf("\nThe configuration is %s. Another token for the private bucket:\n\n  bin/yatagarasu token -config %s -bucket private -claim role=reader\n", relative(root, config), relative(root, config))
	fmt.Printf("\nThe status page is at http://127.0.0.1:%d/.\n", metricsPort)
	fmt.Printf("\nMetrics are at http://127.0.0.1:%d/metrics. Empty the cache:\n\n  curl -X POST http://127.0.0.1:%d/admin/cache/purge\n", metricsPort, metricsPort)
	fmt.Print("\nThe access log follows. Ctrl-C ends both.\n\n")
	select {
	case <-ctx.Done():
		fmt.Println("\nstopping the gateway, then the S3 server")
		return nil
	case <-gw.Done():
		return errors.New("the gateway ended by itself; its log above says why")
	case <-s3.Done():
		return fmt.Errorf("the S3 server ended by itself; it said: %s", s3.Output())
	}
}

// relative returns path as seen from the folder root, where make runs.
func relative(root, path string) string {
	if r, err := filepath.Rel(root, path); err == nil {
		return r
	}
	return path
}

// link makes the folder data with a link demo to dir.
func link(dir, data string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if info, err := os.Stat(abs); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if err := os.Mkdir(data, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(abs, filepath.Join(data, bucket)); err != nil {
		return fmt.Errorf("cannot link to %s: %w", dir, err)
	}
	return nil
}
