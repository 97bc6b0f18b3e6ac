// Package config reads the gateway's configuration file: YAML to a checked
// Config, or every mistake in it at once, each with its place and its fix.
//
// The values of a Config are plain data and never change after Load returned
// it, so any number of goroutines may read one.
package config

import (
	"net/netip"
	"time"
)

// Config is what one configuration file declares. Load and Parse return it with
// all defaults filled in; the zero value serves nothing.
type Config struct {
	// Server is the main listener.
	Server Server

	// Buckets are the routes, in the order of the file; there is at least one.
	Buckets []Bucket

	// JWT is the verifier of the buckets that bring none of their own. Nil when
	// the file has no jwt block or one with enabled: false. What applies to a
	// bucket is in its Auth.JWT.
	JWT *JWT

	// Cache is the policy that buckets start from, nil without a cache block.
	// What applies to a bucket is in its Cache.
	Cache *Cache

	// Logging is how the process logs.
	Logging Logging

	// Metrics is the second listener.
	Metrics Metrics

	// Admin guards the administrative calls.
	Admin Admin

	// Unenforced lists, in the order of the file, the keys that are checked but
	// that this build does not give effect to. Start-up refuses if one of them
	// says Refuse and warns about the others.
	Unenforced []Unenforced
}

// Server is the main listener.
type Server struct {
	// Address is the host:port to listen on. An empty host is every interface;
	// port 0 takes a free port. Default "0.0.0.0:8080".
	Address string

	// HTTPS makes the listener speak TLS. Default: off.
	HTTPS HTTPS

	// TrustedProxies are the peers whose X-Forwarded-For, Forwarded and
	// X-Request-ID are believed. A single address is a prefix of full length; an
	// IPv4 address is never in its IPv6-mapped form. Default: none.
	TrustedProxies []netip.Prefix

	// Ready says when /ready answers 200: "any" bucket reachable, "all" of them,
	// or "config" for a loaded configuration alone. Default "any".
	Ready string

	// Limits bound what clients may use.
	Limits Limits
}

// HTTPS is the TLS side of a listener.
type HTTPS struct {
	// Enabled switches TLS on. Default false.
	Enabled bool

	// CertPath and KeyPath are PEM files, the certificate chain with the leaf
	// first and its private key. Where Enabled, they loaded as a pair.
	CertPath, KeyPath string
}

// Limits bound what clients may use at one time.
type Limits struct {
	// MaxConnections is how many client connections may be open. Default 65536.
	MaxConnections int

	// MaxConnectionsPerAddress is how many of them one client address may have.
	// Default 0: no limit.
	MaxConnectionsPerAddress int

	// MaxInFlight is how many requests may be under way, counted until their
	// bodies are sent. Default 0: no limit.
	MaxInFlight int
}

// Bucket is one route: a URL prefix, the S3 bucket behind it and who may read.
type Bucket struct {
	// Name identifies the route in logs, metrics and administrative calls.
	// Unique; letters, digits, '.', '_' and '-'.
	Name string

	// PathPrefix is the decoded path that selects the bucket, by whole segments.
	// It begins with '/' and ends in none, except for "/" itself, which is the
	// default of a bucket with Hosts.
	PathPrefix string

	// Hosts limits the route to these hosts: lower-case names without port or
	// trailing dot, or addresses without brackets. Empty: every host.
	Hosts []string

	// S3 is where the objects are.
	S3 S3

	// Auth says who may read them. The zero value: everyone.
	Auth Auth

	// Cache is the policy in effect for the bucket: its own keys over the global
	// ones over the defaults. Nil when the file has neither block.
	Cache *Cache
}

// S3 is an origin and the credential for it.
type S3 struct {
	// Bucket is the bucket's name at the origin.
	Bucket string

	// Region is the region that requests are signed for.
	Region string

	// Endpoint is the origin as "http://host[:port]" or "https://host[:port]",
	// with neither path nor trailing slash. Empty: AWS in Region, over https.
	Endpoint string

	// AccessKey is the access key's id.
	AccessKey string

	// SecretKey signs requests.
	SecretKey Secret

	// SessionToken accompanies temporary credentials. Empty: none.
	SessionToken Secret

	// Addressing is "path" (https://host/bucket/key) or "virtual"
	// (https://bucket.host/key); "auto", the default in the file, is resolved:
	// virtual on AWS for a bucket name that is one DNS label, else path.
	Addressing string

	// CAFile is a PEM bundle of the authorities trusted for Endpoint in place of
	// the system's. Empty: the system's.
	CAFile string

	// Timeouts bound the phases of a request to the origin.
	Timeouts Timeouts

	// MaxConnections bounds the connections to the origin. Default 1024.
	MaxConnections int

	// AllowQuery names the query parameters that clients may pass on, among
	// "versionId" and "partNumber". Default: none.
	AllowQuery []string

	// AccessDenied is the status that clients get for the origin's AccessDenied:
	// 403, or 404 where the credential may not list the bucket and so cannot
	// tell a missing object. Default 403.
	AccessDenied int
}

// Timeouts bound the phases of a request to an origin; none bounds a whole body.
type Timeouts struct {
	// Dial covers connecting and the TLS handshake. Default 3 s.
	Dial time.Duration

	// FirstByte runs from the request's end to the response head. Default 10 s.
	FirstByte time.Duration

	// Idle is the longest pause between bytes of a body. Default 30 s.
	Idle time.Duration
}

// Logging is how the process logs.
type Logging struct {
	// Level is the least severe level logged: "trace", "debug", "info", "warn"
	// or "error". Default "info", which includes access lines.
	Level string

	// Format is "json" or "text". Default "json".
	Format string
}

// Metrics is the second listener: /metrics, probes and administration.
type Metrics struct {
	// Enabled opens it. Default false.
	Enabled bool

	// Address is the host to listen on. Default "": every interface.
	Address string

	// Port is the port to listen on; 0 takes a free one. Default 9090.
	Port int
}

// Admin guards the administrative calls.
type Admin struct {
	// Token is the bearer token they need, 16 bytes or more. Empty: they answer
	// on loopback only.
	Token Secret
}
