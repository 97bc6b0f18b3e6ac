// Package upstream has the block s3 of a bucket: where its objects are, the credential for them,
// how long an origin may take and what becomes of its failures. The rooms above decode the file,
// and have blocks check themselves.
package upstream

import (
	"time"

	"yatagarasu/gateway/config/file"
)

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
