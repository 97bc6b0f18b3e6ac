// Package config reads the gateway's configuration file: YAML to a checked
// Config, or every mistake in it at once, each with its place and its fix.
//
// The values of a Config are plain data and never change after Load returned
// it, so any number of goroutines may read one.
package config

import (
	"net/netip"
	"strings"
	"time"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/frontend"
	"yatagarasu/gateway/config/shared"
	"yatagarasu/gateway/config/site"
	"yatagarasu/gateway/config/upstream"
)

// Config is what one configuration file declares. Load and Parse return it with
// all defaults filled in; the zero value serves nothing.
type Config struct {
	// Server is the main listener.
	Server frontend.Server

	// Buckets are the routes, in the order of the file; there is at least one.
	Buckets []Bucket

	// JWT is the verifier of the buckets without one of their own. Nil when the file
	// has no jwt block or one with enabled: false. The verifier in effect for a bucket
	// is its Auth.JWT.
	JWT *access.JWT

	// Cache has the defaults of the buckets' caches, nil without a cache block. The
	// policy in effect for a bucket is its Cache.
	Cache *Cache

	// Cluster is what the gateway shares with others.
	Cluster shared.Cluster

	// Logging is how the process logs.
	Logging Logging

	// Metrics is the second listener.
	Metrics frontend.Metrics

	// Admin guards the administrative calls.
	Admin Admin

	// Warnings say what the file has that is valid, and hardly meant.
	Warnings file.Errors `key:"-"`
}

// Bucket is one route: a URL prefix, the S3 bucket behind it and its readers.
type Bucket struct {
	// Name identifies the route in logs, metrics and administrative calls.
	// Unique; letters, digits, '.', '_' and '-'.
	Name string `form:"name of a bucket"`

	// PathPrefix is the decoded path that selects the bucket, by whole segments.
	// It begins with '/' and ends in none, except for "/" itself, which is the
	// default of a bucket with Hosts.
	PathPrefix string `form:"path"`

	// Hosts limits the route to these hosts: lower-case names without port or
	// trailing dot, or addresses without brackets. Empty: every host.
	Hosts []string `form:"-"`

	// S3 is the origin of the objects.
	S3 upstream.S3

	// Auth says who may read them. The zero value: everyone.
	Auth access.Auth `form:"-"`

	site.Site

	// Cache is the policy in effect for the bucket: its own keys over the global
	// ones over the defaults. Nil when the file has neither block.
	Cache *Cache

	// Limits bound the use of the bucket, beside Server.Limits.
	Limits frontend.BucketLimits

	// Allow and Deny are as in Server. A client must pass both.
	Allow, Deny []netip.Prefix
}

// Logging is how the process logs.
type Logging struct {
	// Level is the least severe level logged: "trace", "debug", "info", "warn"
	// or "error". Default "info", which includes access lines.
	Level string `of:"trace, debug, info, warn, error"`

	// Format is "json" or "text". Default "json".
	Format string `of:"json, text"`

	// Output is "stdout", the default, "stderr", or the path of a file, which is
	// opened anew on SIGUSR1.
	Output string

	// Slow is the duration from which a request's line is a warning with the time of
	// each phase. Default 0: no such warnings.
	Slow time.Duration

	// Sample is the share of the other successful requests to log, from 0 to 1. Default
	// 1.
	Sample float64

	// Audit is the log of granted and refused access.
	Audit Audit
}

// Audit is a separate log, in JSON and at any level, of refused requests and of requests
// that needed a token.
type Audit struct {
	// Enabled switches the log on. Default false.
	Enabled bool

	// Output is as Logging.Output, without a default.
	Output string
}

// Admin guards the administrative calls.
type Admin struct {
	// Token is the bearer token for the calls, 16 bytes or more. Empty: they answer on
	// loopback only.
	Token file.Secret
}

// Check implements file.Checker.
func (a *Audit) Check(d *file.Decoder, o file.Object) {
	d.NeedEnabled(o)
	if a.Enabled && a.Output == "" {
		o.Need("output", "name a file, or stdout or stderr")
	}
}

// minAdminToken is the least length of a token, in bytes: shorter ones can be guessed.
const minAdminToken = 16

// Check implements file.Checker.
func (a *Admin) Check(d *file.Decoder, o file.Object) {
	if a.Token.Empty() {
		o.Need("token", "set it, or remove the block")
		return
	}
	at := o.Get("token")
	if len(a.Token.Reveal()) < minAdminToken {
		d.Fail(at, "is shorter than 16 bytes", "make one: openssl rand -hex 16")
	}
	if strings.ContainsFunc(a.Token.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		d.Fail(at, "has characters that a header cannot carry", "use printable ASCII without spaces; make one: openssl rand -hex 16")
	}
}
