// Package config reads the gateway's configuration file: YAML to a checked
// Config, or every mistake in it at once, each with its place and its fix.
//
// The values of a Config are plain data and never change after Load returned
// it, so any number of goroutines may read one.
package config

import (
	"net/netip"
	"time"

	"yatagarasu/gateway/config/file"
)

// Config is what one configuration file declares. Load and Parse return it with
// all defaults filled in; the zero value serves nothing.
type Config struct {
	// Server is the main listener.
	Server Server

	// Buckets are the routes, in the order of the file; there is at least one.
	Buckets []Bucket

	// JWT is the verifier of the buckets without one of their own. Nil when the file
	// has no jwt block or one with enabled: false. The verifier in effect for a bucket
	// is its Auth.JWT.
	JWT *JWT

	// Cache has the defaults of the buckets' caches, nil without a cache block. The
	// policy in effect for a bucket is its Cache.
	Cache *Cache

	// Cluster is what the gateway shares with others.
	Cluster Cluster

	// Logging is how the process logs.
	Logging Logging

	// Metrics is the second listener.
	Metrics Metrics

	// Admin guards the administrative calls.
	Admin Admin

	// Warnings say what the file has that is valid, and hardly meant.
	Warnings file.Errors `key:"-"`
}

// Server is the main listener.
type Server struct {
	// Address is the host:port to listen on. An empty host is every interface;
	// port 0 takes a free port. Default "0.0.0.0:8080".
	Address string `form:"host:port"`

	// HTTPS makes the listener speak TLS. Default: off.
	HTTPS HTTPS

	// RequireHTTPS sends clients to https whose TrustedProxies say that they came by http. Default
	// false.
	RequireHTTPS bool

	// TrustedProxies are the peers whose ForwardedHeader and X-Request-ID are
	// believed. A single address is a prefix of full length; an IPv4 address is never
	// in its IPv6-mapped form. Default: none.
	TrustedProxies []netip.Prefix

	// ForwardedHeader is the header in which TrustedProxies name their clients:
	// "x-forwarded-for", the default, or "forwarded" (RFC 7239). The other header is
	// ignored: a proxy that does not write it passes it on from any client.
	ForwardedHeader string `of:"x-forwarded-for, forwarded"`

	// ProxyProtocol expects a header of the PROXY protocol, version 1 or 2, with the
	// client's address on each connection of TrustedProxies. Default false.
	ProxyProtocol bool

	// Ready is the condition for a 200 from /ready: "any" bucket reachable, "all" of
	// them, or "config" for a loaded configuration alone. Default "any".
	Ready string `of:"any, all, config"`

	// Limits bound the use by clients.
	Limits Limits

	// Allow and Deny are client addresses for all buckets, in the form of
	// TrustedProxies. Clients in Deny are refused and, where Allow is not empty,
	// clients outside of it. Default: everyone may come.
	Allow, Deny []netip.Prefix
}

// HTTPS is the TLS side of a listener.
type HTTPS struct {
	// Enabled switches TLS on. Default false.
	Enabled bool

	// CertPath and KeyPath are PEM files, the certificate chain with the leaf
	// first and its private key. Where Enabled, they loaded as a pair.
	CertPath, KeyPath string

	// RedirectAddress is the host:port of a second listener, without TLS, which sends clients to
	// the first. Empty: there is none.
	RedirectAddress string `form:"host:port"`
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
	S3 S3

	// Auth says who may read them. The zero value: everyone.
	Auth Auth `form:"-"`

	// CORS says which pages of other sites may read by script.
	CORS CORS

	// ContentTypes are the types that objects have by their keys.
	ContentTypes ContentTypes

	// Listing offers pages of what is in a folder.
	Listing Listing

	// Headers are the rules for the headers that clients get, in order.
	Headers []HeaderRule `form:"-"`

	// Compress says which objects in memory clients get compressed.
	Compress Compress

	// Website makes the bucket a site.
	Website Website

	// DownloadQuery has the parameter download of a query make browsers save the object. Default
	// false.
	DownloadQuery bool

	// Maintenance answers all requests with 503.
	Maintenance Maintenance

	// Cache is the policy in effect for the bucket: its own keys over the global
	// ones over the defaults. Nil when the file has neither block.
	Cache *Cache

	// Limits bound the use of the bucket, beside Server.Limits.
	Limits BucketLimits

	// Allow and Deny are as in Server. A client must pass both.
	Allow, Deny []netip.Prefix
}

// S3 is an origin, or several with the same objects.
type S3 struct {
	Origin

	// Timeouts bound the phases of a request to the origin.
	Timeouts Timeouts

	// MaxConnections bounds the connections to the origin. Default 1024.
	MaxConnections int `least:"1"`

	// MaxWaiting bounds the requests that wait for one of them. Default 4096.
	MaxWaiting int `least:"1"`

	// AllowQuery names the query parameters that clients may pass on, among
	// "versionId" and "partNumber". Default: none.
	AllowQuery []string `form:"-"`

	// EmptySegments is "keep" for a bucket whose keys may begin with a slash or have two in
	// a row, or "refuse" for one that has none: such requests get 400. Default "keep".
	EmptySegments string `of:"keep, refuse"`

	// RequestPayer is "requester" for a bucket whose reader pays for requests. Empty: the
	// owner pays.
	RequestPayer string `of:"requester"`

	// ForwardTraceparent passes the header traceparent of trusted proxies on to the
	// origin. Default false.
	ForwardTraceparent bool

	// AccessDenied is the status that clients get for the origin's AccessDenied:
	// 403, or 404 where the credential may not list the bucket and so cannot
	// tell a missing object. Default 403.
	AccessDenied int `least:"403" most:"404"`

	// Retry bounds the repetitions of failed requests.
	Retry Retry

	// Breaker gives a failing origin up for a while.
	Breaker Breaker

	// ProbeInterval is the time between probes of each origin. 0: no probes. Default
	// 10 s.
	ProbeInterval time.Duration

	// Replicas are copies of the bucket. The keys of s3 are their defaults then, and no
	// origin. Empty: s3 itself is the origin.
	Replicas []Replica

	// FailoverOn404 asks the next replica after a 404.
	FailoverOn404 bool `key:"failover_on_404"`

	// Hedge asks a second replica where the first is slow.
	Hedge Hedge
}

// Origin is a bucket and the credential for it.
type Origin struct {
	// Bucket is the bucket's name at the origin.
	Bucket string `form:"bucket"`

	// KeyPrefix is put before each key that clients ask for, which then cannot reach any
	// other. It ends in a slash and begins with none. Empty: clients ask for whole keys.
	KeyPrefix string `form:"key prefix"`

	// Region is the region that requests are signed for.
	Region string `form:"region"`

	// Endpoint is the origin as "http://host[:port][/path]", or https, the path
	// encoded, without a trailing slash. The host may end in a dot. Empty: AWS in
	// Region, over https.
	Endpoint string `form:"endpoint"`

	// AccessKey is the access key's id.
	AccessKey string `form:"access key"`

	// SecretKey signs requests.
	SecretKey file.Secret

	// SessionToken accompanies temporary credentials. Empty: none.
	SessionToken file.Secret

	// Credentials are the source of the credential, in place of AccessKey and SecretKey.
	Credentials Credentials

	// Addressing is "path" (https://host/bucket/key) or "virtual"
	// (https://bucket.host/key); "auto", the default in the file, is resolved:
	// virtual on AWS for a bucket name that is one DNS label, else path.
	Addressing string `of:"auto, path, virtual"`

	// CAFile is a PEM bundle of the authorities trusted for Endpoint in place of
	// the system's. Empty: the system's.
	CAFile string `key:"ca_file" form:"-"`
}

// Replica is one of the copies of a bucket.
type Replica struct {
	// Name identifies it in logs, metrics and the status. Unique in its bucket.
	Name string `form:"-"`

	// Priority orders the replicas: those with the lowest number are asked first,
	// in turns if there are several. Default 0.
	Priority int

	Origin // its Credentials are those of the bucket, or static ones

	// Timeout is Timeouts.FirstByte of this replica, and bounds Timeouts.Dial.
	Timeout time.Duration `least:"1ms"`
}

// Credentials are the source of a credential.
type Credentials struct {
	// Source is "static" for AccessKey and SecretKey, "environment", "shared_file",
	// "instance", "web_identity" or "assume_role"; "anonymous" is for buckets that
	// everybody may read: nothing is signed. Default "static".
	Source string `of:"static, environment, shared_file, instance, web_identity, assume_role, anonymous"`

	// File and Profile choose from a shared credentials file. Empty: as the AWS
	// command line has them.
	File, Profile string

	// RoleARN is the role to assume. Empty, for web_identity: AWS_ROLE_ARN.
	RoleARN string `key:"role_arn"`

	// SessionName and ExternalID go with the role.
	SessionName string
	ExternalID  file.Secret `key:"external_id"`

	// TokenFile has the token for web_identity. Empty: AWS_WEB_IDENTITY_TOKEN_FILE.
	TokenFile string

	// Endpoint is the service that issues the credential. Empty: that of AWS.
	Endpoint string `form:"service"`

	// Duration is the lifetime of a role's credentials. 0: the service's default.
	Duration time.Duration `least:"15m"`
}

// Retry bounds the repetitions of failed requests.
type Retry struct {
	// Tries is the number of requests after the first, at any replica. Default 2.
	Tries int `most:"10"`

	// Resumes is the number of attempts in a row to resume a broken body without a byte
	// of progress. 0: bodies are not resumed. Default 5.
	Resumes int `most:"100"`

	// Budget bounds the repetitions at an origin, in percent of the other requests.
	// Default 20.
	Budget file.Percent
}

// Breaker gives a failing origin up for a while.
type Breaker struct {
	// Enabled: default true.
	Enabled bool

	// FailureRate is the share of at least 20 requests in 10 s that must fail. Default
	// 50 %.
	FailureRate file.Percent `least:"1"`

	// Consecutive is the number of requests in a row that must fail to connect or to
	// bring a first byte. Default 10.
	Consecutive int `least:"1"`

	// Cooldown is the first pause, which grows while the origin keeps failing. Default
	// 1 s.
	Cooldown time.Duration `least:"1ms"`
}

// Hedge asks a second replica where the first is slow.
type Hedge struct {
	// Enabled: default false.
	Enabled bool `key:"-"`

	// After is the wait for the first. 0: the 95th percentile of the latest requests.
	After time.Duration `form:"-"`

	// Max bounds the second requests, in percent of the first. Default 5.
	Max file.Percent `least:"1"`
}

// Timeouts bound the phases of a request to an origin; none bounds a whole body.
type Timeouts struct {
	// Dial covers connecting and the TLS handshake. Default 3 s.
	Dial time.Duration `least:"1ms"`

	// FirstByte runs from the request's end to the response head. Default 10 s.
	FirstByte time.Duration `least:"1ms"`

	// Idle is the longest pause between bytes of a body. Default 30 s.
	Idle time.Duration `least:"1ms"`
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

// Metrics is the second listener: /metrics, probes and administration.
type Metrics struct {
	// Enabled opens it. Default false.
	Enabled bool

	// Address is the host to listen on. Default "": every interface.
	Address string `form:"host"`

	// Port is the port to listen on; 0 takes a free one. Default 9090.
	Port int `most:"65535"`
}

// Admin guards the administrative calls.
type Admin struct {
	// Token is the bearer token for the calls, 16 bytes or more. Empty: they answer on
	// loopback only.
	Token file.Secret
}
