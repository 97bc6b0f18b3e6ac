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
	s3Binary, err := process.Find("versitygw")
	if err != nil {
		return err
	}
	root, err := process.ModuleRoot()
	if err != nil {
		return err
	}
	data := filepath.Join(root, "bin", "demo-data")
	if dir != "" {
		// A folder of its own with a link, so that nothing is written to dir.
		if data, err = linkedRoot(root, dir); err != nil {
			return err
		}
	} else if err := os.MkdirAll(filepath.Join(data, bucket), 0o755); err != nil {
		return err
	}

	startCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s3, err := s3server.Start(startCtx, s3server.Options{
		Kind: s3server.VersityGW, Binary: s3Binary, Dir: data,
		AccessKey: gateway.AccessKey, SecretKey: gateway.SecretKey, Region: region, Port: 7070,
	})
	if err != nil {
		return err
	}
	defer s3.Stop()

	var samples []sample
	if dir != "" {
		samples, err = samplesOf(dir)
	} else {
		samples, err = seed(ctx, s3.Endpoint(), filepath.Join(data, bucket))
	}
	if err != nil {
		return err
	}

	level := "info"
	if once {
		level = "error"
	}
	gw, err := gateway.Start(startCtx, s3.Endpoint(), 8080, os.Stdout, "-log.format", "text", "-log.level", level)
	if err != nil {
		return err
	}
	defer gw.Stop()
	if once {
		return try(gw.URL, samples)
	}
	what := "demo objects"
	if dir != "" {
		what = dir
	}
	fmt.Printf("\nServing %s at %s/demo/ from the S3 server at %s.\nTry:\n\n", what, gw.URL, s3.Endpoint())
	printLines(os.Stdout, gw.URL, samples)
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

// linkedRoot returns a folder whose sub-folder demo is a link to dir.
func linkedRoot(root, dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(abs); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%s is not a folder", dir)
	}
	data := filepath.Join(root, "bin", "demo-link")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return "", err
	}
	link := filepath.Join(data, bucket)
	os.Remove(link)
	if err := os.Symlink(abs, link); err != nil {
		return "", fmt.Errorf("cannot link to %s: %w", dir, err)
	}
	return data, nil
}
