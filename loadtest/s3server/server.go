// Package s3server starts real S3 servers as child processes, for tests and for
// the demo.
package s3server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
)

// Kind is a program that speaks S3, by its name in bin.
type Kind string

// The kinds of servers.
const (
	MinIO     Kind = "minio"
	VersityGW Kind = "versitygw" // over a folder whose sub-folders are the buckets
)

// Options describe one server.
type Options struct {
	Kind   Kind
	Binary string // path of the program; empty: what process.Find says
	Dir    string // where it keeps its data
	// Meta is a folder for VersityGW's metadata, so that Dir holds objects alone
	// and needs no extended attributes; empty: one beside Dir.
	Meta      string
	AccessKey string
	SecretKey string // at least 8 bytes
	Region    string
	Port      int // on 127.0.0.1, another one if it is taken; 0: any
	// Log receives the server's output; nil: kept for error messages only.
	Log io.Writer
}

// Server is a running S3 server. Not safe for concurrent use.
type Server struct {
	*process.Process
	opts Options
}

// Start starts a server and waits until it answers, at most until ctx ends. The
// process ends with Stop, or when the calling process dies.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Meta == "" {
		o.Meta = filepath.Join(filepath.Dir(o.Dir), "meta-"+filepath.Base(o.Dir))
	}
	var err error
	if o.Binary == "" {
		if o.Binary, err = process.Find(string(o.Kind)); err != nil {
			return nil, err
		}
	}
	s := &Server{opts: o}
	err = port.Try(o.Port, func(at int) error {
		s.opts.Port = at
		return s.Restart(ctx)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Restart starts the server again on the same port, after Stop or Kill.
func (s *Server) Restart(ctx context.Context) error {
	o := &s.opts
	address := port.Address(o.Port)
	var args, env []string
	switch o.Kind {
	case MinIO:
		console, err := port.Reserve()
		if err != nil {
			return err
		}
		args = []string{"server", "--quiet", "--address", address, "--console-address", port.Address(console), o.Dir}
		env = []string{"MINIO_ROOT_USER=" + o.AccessKey, "MINIO_ROOT_PASSWORD=" + o.SecretKey, "MINIO_UPDATE=off", "MINIO_BROWSER=off", "MINIO_CI_CD=1", "MINIO_SITE_REGION=" + o.Region}
	case VersityGW:
		if err := os.MkdirAll(o.Meta, 0o755); err != nil {
			return fmt.Errorf("cannot make the metadata folder: %w", err)
		}
		args = []string{"--quiet", "--keep-alive", "--port", address, "--region", o.Region, "posix", "--sidecar", o.Meta, "--bucketlinks", o.Dir}
		env = []string{"ROOT_ACCESS_KEY_ID=" + o.AccessKey, "ROOT_SECRET_ACCESS_KEY=" + o.SecretKey}
	}
	p, err := process.Start(o.Binary, args, env, o.Log)
	if err != nil {
		return err
	}
	s.Process = p
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	err = s.Await(ctx, 20*time.Millisecond, func() error {
		r, err := client.Get(s.Endpoint() + "/")
		if err != nil {
			return err
		}
		r.Body.Close()
		if r.StatusCode == http.StatusServiceUnavailable { // MinIO, while it initialises
			return errors.New(r.Status)
		}
		return nil
	})
	if err != nil {
		s.Kill()
	}
	return err
}

// Endpoint returns the server's base URL.
func (s *Server) Endpoint() string { return "http://" + port.Address(s.opts.Port) }

// Stop ends the server within 5 seconds.
func (s *Server) Stop() error { return s.Process.Stop(5 * time.Second) }
