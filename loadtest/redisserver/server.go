// Package redisserver starts real Redis servers as child processes, for tests and for
// measurements.
package redisserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"yatagarasu/loadtest/certificate"
	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
)

// The user of Do and of replicas, who may do everything, whatever Options.ACL says.
const (
	user     = "loadtest"
	password = "loadtest-password"
)

// Options describe one server.
type Options struct {
	Binary string // path of the program; empty: redis-server of the PATH
	Dir    string // where it keeps its configuration, certificate and data
	Port   int    // on 127.0.0.1, another one if it is taken; 0: any
	TLS    bool   // with a certificate of its own; no clients without TLS
	// ACL has rules of users, as "default off" or "gateway on >password ~y:* +@all".
	ACL []string
	// ReplicaOf is the address of the primary; empty: it is one itself. Both have TLS
	// or neither does.
	ReplicaOf string
	// Args are further arguments. Without any, nothing is on disk: a server that is
	// started again is empty. "--appendonly", "yes" keeps what was acknowledged.
	Args []string
	// Log receives the server's output; nil: kept for error messages only.
	Log io.Writer
}

// Server is a running Redis server. Restart, Stop and Kill are not safe for concurrent
// use; Do is.
type Server struct {
	*process.Process
	opts Options
}

// Start starts a server and waits until it answers, a replica also until it is in sync,
// at most until ctx ends. The process ends with Stop, or when the calling process dies.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Binary == "" {
		path, err := exec.LookPath("redis-server")
		if err != nil {
			return nil, fmt.Errorf("cannot find redis-server: install it, on Debian by apt-get install redis-server: %w", err)
		}
		o.Binary = path
	}
	s := &Server{opts: o}
	if o.TLS {
		if err := certificate.Write(o.Dir); err != nil {
			return nil, err
		}
	}
	err := port.Try(o.Port, func(at int) error {
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
	file := filepath.Join(s.opts.Dir, "redis.conf")
	if err := os.WriteFile(file, []byte(s.config()), 0o600); err != nil {
		return fmt.Errorf("cannot write the server's configuration: %w", err)
	}
	p, err := process.Start(s.opts.Binary, append([]string{file}, s.opts.Args...), nil, s.opts.Log)
	if err != nil {
		return err
	}
	s.Process = p
	if err := s.Await(ctx, 5*time.Millisecond, func() error { return s.ready(ctx) }); err != nil {
		s.Process.Kill()
		return err
	}
	return nil
}

// config returns the server's configuration file.
func (s *Server) config() string {
	o := &s.opts
	lines := []string{
		"bind 127.0.0.1", "daemonize no", "dir " + quote(o.Dir), `save ""`, "appendonly no",
		"repl-diskless-sync yes", "repl-diskless-sync-delay 0",
		"user " + user + " on >" + password + " ~* &* +@all", "masteruser " + user, "masterauth " + password,
	}
	if o.TLS {
		lines = append(lines, "port 0", fmt.Sprint("tls-port ", o.Port), "tls-auth-clients no", "tls-replication yes",
			"tls-cert-file "+quote(filepath.Join(o.Dir, certificate.File)), "tls-key-file "+quote(filepath.Join(o.Dir, certificate.KeyFile)), "tls-ca-cert-file "+quote(s.CAFile()))
	} else {
		lines = append(lines, fmt.Sprint("port ", o.Port))
	}
	for _, rule := range o.ACL {
		lines = append(lines, "user "+rule)
	}
	if o.ReplicaOf != "" {
		lines = append(lines, "replicaof "+strings.Replace(o.ReplicaOf, ":", " ", 1))
	}
	return strings.Join(lines, "\n") + "\n"
}

func quote(path string) string { return fmt.Sprintf("%q", path) }

// ready returns nil once the server answers, and is in sync if it is a replica.
func (s *Server) ready(ctx context.Context) error {
	if _, err := s.Do(ctx, "PING"); err != nil || s.opts.ReplicaOf == "" {
		return err // also one that is loading its data
	}
	answer, err := s.Do(ctx, "INFO", "replication")
	if err != nil {
		return err
	}
	if text, _ := answer.(string); !strings.Contains(text, "master_link_status:up") {
		return errors.New("the replica is not in sync")
	}
	return nil
}

// Address returns host and port.
func (s *Server) Address() string { return port.Address(s.opts.Port) }

// CAFile returns the path of the certificate that clients must trust; empty without TLS.
func (s *Server) CAFile() string {
	if !s.opts.TLS {
		return ""
	}
	return filepath.Join(s.opts.Dir, certificate.File) // it signed itself
}

// Stop ends the server within 5 seconds.
func (s *Server) Stop() error { return s.Process.Stop(5 * time.Second) }
