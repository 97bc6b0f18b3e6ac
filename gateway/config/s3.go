package config

import (
	"slices"
	"strings"
	"time"
)

// The defaults of origins.
const (
	defaultDial      = 3 * time.Second
	defaultFirstByte = 10 * time.Second
	defaultIdle      = 30 * time.Second
)

// The defaults of retries, breakers, hedges and probes; docs/RESILIENCE.md has the
// reason for each.
const (
	defaultTries         = 2
	defaultResumes       = 5
	defaultBudget        = 20 // percent of the requests
	defaultFailureRate   = 50 // percent of the requests
	defaultConsecutive   = 10
	defaultCooldown      = time.Second
	defaultHedges        = 5 // percent of the requests
	defaultProbeInterval = 10 * time.Second
)

// PayerRequester is the value of s3.request_payer.
const PayerRequester = "requester"

// p95 is the value of hedge.after for the 95th percentile of the latest requests.
const p95 = "p95"

// maxReplicas bounds the replicas of a bucket.
const maxReplicas = 16

func (d *decoder) s3(n *node) S3 {
	o := d.object(n, "buckets[].s3")
	s := S3{
		Region:             "us-east-1",
		MaxConnections:     o.integer("max_connections", 1024, 1, maxCount),
		MaxWaiting:         o.integer("max_waiting", 4096, 1, maxCount),
		Timeouts:           d.timeouts(o.get("timeouts")),
		RequestPayer:       o.oneOf("request_payer", "", PayerRequester),
		AccessDenied:       o.integer("access_denied", 403, 403, 404),
		ForwardTraceparent: o.boolean("forward_traceparent", false),
		FailoverOn404:      o.boolean("failover_on_404", false),
		ProbeInterval:      o.duration("probe_interval", defaultProbeInterval, 0),
		Retry:              d.retry(o.get("retry")),
		Breaker:            d.breaker(o.get("breaker")),
		Hedge:              d.hedge(o.get("hedge")),
	}
	o.strings("allow_query", func(n *node, text string, fromEnv bool) {
		if text != "versionId" && text != "partNumber" {
			d.fail(n, "unknown parameter"+quotedWord(text, fromEnv), "use one of: versionId, partNumber")
			return
		}
		s.AllowQuery = append(s.AllowQuery, text)
	})
	mode := o.oneOf("addressing", "auto", "auto", "path", "virtual")
	s.Credentials = d.credentials(o)
	if replicas := o.get("replicas"); replicas != nil {
		d.origin(o, &s)
		s.Addressing = mode
		s.Replicas = d.replicas(replicas, o, &s)
		d.checkPayer(o, &s)
		if len(replicas.items) == 1 {
			d.needReplicas(o, &s, "there is only one replica", "remove it, or add another to s3.replicas")
		}
		return s
	}
	o.need("bucket", "name the bucket at the origin")
	o.need("region", "name the bucket's region, such as us-east-1, which most other servers than AWS take too")
	if s.Credentials.needsKeys() {
		o.need("access_key", "add the id of an access key that may read the bucket, or s3.credentials.source for another source")
		o.need("secret_key", "add the secret of the access key, best as a variable")
	}
	d.origin(o, &s)
	s.Addressing = d.addressing(mode, o.get("addressing"), &s)
	d.awsNames(o, o, &s)
	d.checkPayer(o, &s)
	d.needReplicas(o, &s, "there are no replicas", "remove it, or add s3.replicas")
	return s
}

// checkPayer reports a request_payer with anonymous requests.
func (d *decoder) checkPayer(o object, s *S3) {
	anonymous := func(origin S3) bool { return origin.Credentials.Source == SourceAnonymous }
	if s.RequestPayer != "" && slices.ContainsFunc(s.Origins(), anonymous) {
		d.fail(o.get("request_payer"), "cannot go with anonymous requests: nobody would pay", "remove it, or add a credential")
	}
}

// needReplicas reports keys that have an effect only with several replicas.
func (d *decoder) needReplicas(o object, s *S3, why, fix string) {
	if s.FailoverOn404 {
		d.fail(o.get("failover_on_404"), "has no effect: "+why, fix)
	}
	if s.Hedge.Enabled {
		d.fail(o.get("hedge"), "has no effect: "+why, fix)
	}
}

// origin decodes the keys of an origin and its credential, in s3 and in each replica,
// over the defaults in s.
func (d *decoder) origin(o object, s *S3) {
	if o.has("endpoint") {
		s.Endpoint = o.endpoint(true)
	}
	if o.has("secret_key") {
		s.SecretKey = o.secret("secret_key")
	}
	if o.has("session_token") {
		s.SessionToken = o.secret("session_token")
	}
	s.Bucket = o.checked("bucket", s.Bucket, func(text string) (_, problem, fix string) {
		problem, fix = bucketNameProblem(text)
		return text, problem, fix
	})
	s.Region = o.checked("region", s.Region, mustBe(func(text string) bool { return isName(text, 64) && !strings.Contains(text, ".") },
		"is no region", "use letters, digits, '-' and '_' only, such as us-east-1"))
	s.AccessKey = o.checked("access_key", s.AccessKey, mustBe(func(text string) bool { return isVisible(text) && !strings.ContainsAny(text, "/,=") },
		"has characters that no access key id has", "use printable ASCII without spaces, '/', ',' and '='"))
	if o.has("session_token") && strings.ContainsFunc(s.SessionToken.value, func(r rune) bool { return r > '~' }) {
		d.fail(o.get("session_token"), "has characters that a header cannot carry", "copy the token again")
	}
	if o.has("ca_file") {
		s.CAFile, _ = d.authorities(o.get("ca_file"), "endpoint", s.Endpoint, true)
	}
}

// replicas decodes the list. base has the defaults from s3, the block o.
func (d *decoder) replicas(list *node, o object, base *S3) (replicas []Replica) {
	if list.kind != kindList || len(list.items) == 0 || len(list.items) > maxReplicas {
		d.fail(list, "must be a list of 1 to 16 replicas", "write one mapping for each copy of the bucket, or remove the key")
		return nil
	}
	names := make(map[string]*node)
	for _, item := range list.items {
		r := d.object(item, "buckets[].s3.replicas[]")
		if r.n == nil {
			continue
		}
		s := *base
		needed := []string{"bucket", "region"}
		if base.Credentials.needsKeys() {
			needed = append(needed, "access_key", "secret_key")
		}
		for _, key := range needed {
			if !o.has(key) && !o.misspells(key) {
				r.need(key, "add it here, or to s3 for all replicas")
			}
		}
		r.need("name", "give the replica a name that is unique in its bucket, for logs and metrics")
		if r.has("access_key") != r.has("secret_key") && r.has("access_key", "secret_key") {
			d.fail(item, "has one half of a credential", "write access_key and secret_key together")
		} else if r.has("access_key") {
			s.SessionToken, s.Credentials = Secret{}, Credentials{Source: SourceStatic} // those of s3 belong to another key
		}
		d.origin(r, &s)
		mode, at := base.Addressing, o.get("addressing")
		if r.has("addressing") {
			mode, at = r.oneOf("addressing", "auto", "auto", "path", "virtual"), r.get("addressing")
		}
		s.Addressing = d.addressing(mode, at, &s)
		d.awsNames(r, o, &s)
		replica := Replica{
			Priority: r.integer("priority", 0, 0, maxCount), Bucket: s.Bucket, Region: s.Region, Endpoint: s.Endpoint,
			AccessKey: s.AccessKey, SecretKey: s.SecretKey, SessionToken: s.SessionToken, Credentials: s.Credentials, CAFile: s.CAFile,
			Addressing: s.Addressing, Timeout: r.duration("timeout", base.Timeouts.FirstByte, time.Millisecond),
		}
		if strings.HasPrefix(s.Endpoint, "http:") {
			replica.CAFile = ""
		}
		replica.Name = r.checked("name", "", func(name string) (_, problem, fix string) {
			switch {
			case !isName(name, 64):
				return "", "is no name", "use letters, digits, '.', '_' and '-', at most 64, a letter or digit first"
			case names[name] != nil:
				return "", "is the name of " + names[name].path + " too", "give each replica its own name"
			}
			names[name] = item
			return name, "", ""
		})
		replicas = append(replicas, replica)
	}
	return replicas
}

// Origins returns the replicas, each in the form of an S3 without any, or s alone if it
// has none.
func (s *S3) Origins() []S3 {
	if len(s.Replicas) == 0 {
		return []S3{*s}
	}
	origins := make([]S3, len(s.Replicas))
	for i, r := range s.Replicas {
		o := *s
		o.Bucket, o.Region, o.Endpoint, o.AccessKey, o.SecretKey, o.SessionToken = r.Bucket, r.Region, r.Endpoint, r.AccessKey, r.SecretKey, r.SessionToken
		o.Credentials = r.Credentials
		o.Addressing, o.CAFile, o.Replicas = r.Addressing, r.CAFile, nil
		o.Timeouts.FirstByte, o.Timeouts.Dial = r.Timeout, min(o.Timeouts.Dial, r.Timeout)
		origins[i] = o
	}
	return origins
}

func (d *decoder) retry(n *node) Retry {
	o := d.object(n, "buckets[].s3.retry")
	return Retry{
		Tries:   o.integer("tries", defaultTries, 0, 10),
		Resumes: o.integer("resumes", defaultResumes, 0, 100),
		Budget:  o.percent("budget", defaultBudget, 0),
	}
}

func (d *decoder) breaker(n *node) Breaker {
	o := d.object(n, "buckets[].s3.breaker")
	b := Breaker{
		Enabled:     o.boolean("enabled", true),
		FailureRate: o.percent("failure_rate", defaultFailureRate, 1),
		Consecutive: o.integer("consecutive", defaultConsecutive, 1, maxCount),
		Cooldown:    o.duration("cooldown", defaultCooldown, time.Millisecond),
	}
	if !b.Enabled {
		if o.has("failure_rate", "consecutive", "cooldown") {
			d.fail(n, "has keys without effect: the breaker is off", "remove them, or set enabled: true")
		}
		b = Breaker{}
	}
	return b
}

func (d *decoder) hedge(n *node) Hedge {
	if n == nil {
		return Hedge{}
	}
	o := d.object(n, "buckets[].s3.hedge")
	h := Hedge{Enabled: o.n != nil, Max: o.percent("max", defaultHedges, 1)}
	if text, _, ok := d.text(o.need("after", "write p95, or a duration such as 100ms")); ok && text != p95 || o.has("after") && o.get("after").kind == kindNumber {
		h.After = o.duration("after", 0, time.Millisecond)
	}
	return h
}

// The sources of credentials.
const (
	SourceStatic      = "static"
	SourceEnvironment = "environment"
	SourceSharedFile  = "shared_file"
	SourceInstance    = "instance"
	SourceWebIdentity = "web_identity"
	SourceAssumeRole  = "assume_role"
	SourceAnonymous   = "anonymous"
)

// sourceKeys has the keys of each source of credentials.
var sourceKeys = map[string][]string{
	SourceStatic:      {},
	SourceEnvironment: {},
	SourceSharedFile:  {"file", "profile"},
	SourceInstance:    {"endpoint"},
	SourceWebIdentity: {"role_arn", "token_file", "endpoint"},
	SourceAssumeRole:  {"role_arn", "session_name", "external_id", "endpoint", "duration"},
	SourceAnonymous:   {},
}

// needsKeys reports whether c needs access_key and secret_key.
func (c *Credentials) needsKeys() bool { return c.Source == SourceStatic }

func (d *decoder) credentials(s3 object) Credentials {
	o := d.object(s3.get("credentials"), "buckets[].s3.credentials")
	c := Credentials{
		Source: o.oneOf("source", SourceStatic, SourceStatic, SourceEnvironment, SourceSharedFile, SourceInstance, SourceWebIdentity, SourceAssumeRole, SourceAnonymous),
		File:   o.str("file", ""), Profile: o.str("profile", ""), RoleARN: o.str("role_arn", ""), SessionName: o.str("session_name", ""),
		ExternalID: o.secret("external_id"), TokenFile: o.str("token_file", ""), Duration: o.duration("duration", 0, 15*time.Minute),
	}
	if o.n == nil {
		return c
	}
	if o.has("endpoint") {
		c.Endpoint = o.endpoint(false)
	}
	for _, key := range schema["buckets[].s3.credentials"][1:] {
		if o.has(key) && !slices.Contains(sourceKeys[c.Source], key) {
			d.fail(o.get(key), "has no effect with source "+c.Source, "remove it, or choose the source that takes it")
		}
	}
	if c.Source == SourceAssumeRole {
		o.need("role_arn", "name the role to take on, such as arn:aws:iam::123456789012:role/reader")
	}
	if c.Duration > 12*time.Hour {
		d.fail(o.get("duration"), "is too long", "write at most 12h")
	}
	if c.Source != SourceStatic && c.Source != SourceAssumeRole {
		for _, key := range [...]string{"access_key", "secret_key", "session_token"} {
			if s3.has(key) {
				d.fail(s3.get(key), "has no effect with credentials of source "+c.Source, "remove it, or remove s3.credentials")
			}
		}
	}
	return c
}

func (d *decoder) timeouts(n *node) Timeouts {
	o := d.object(n, "buckets[].s3.timeouts")
	return Timeouts{
		Dial:      o.duration("dial", defaultDial, time.Millisecond),
		FirstByte: o.duration("first_byte", defaultFirstByte, time.Millisecond),
		Idle:      o.duration("idle", defaultIdle, time.Millisecond),
	}
}

// addressing resolves auto to path or virtual.
func (d *decoder) addressing(mode string, at *node, s *S3) string {
	const fix = "set s3.addressing: path"
	switch {
	case mode == "path":
	case mode == "auto" && (s.Endpoint != "" || !isDNSBucket(s.Bucket) || strings.Contains(s.Bucket, ".")):
		// With a dot in the name, AWS's wildcard certificate does not fit.
		return "path"
	case mode == "auto" || s.Bucket == "":
		return "virtual"
	case !isDNSBucket(s.Bucket):
		d.fail(at, "virtual addressing needs a bucket name that is a DNS name: lower-case letters, digits and '-', 3 to 63", fix)
	case isAddressEndpoint(s.Endpoint):
		d.fail(at, "virtual addressing needs an endpoint with a host name, not an IP address", fix)
	case strings.Contains(s.Bucket, ".") && !strings.HasPrefix(s.Endpoint, "http:"):
		d.fail(at, "virtual addressing of a bucket name with dots fits no wildcard certificate", fix)
	}
	return mode
}

// isDNSBucket reports whether s can be the first labels of a host name
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html).
func isDNSBucket(s string) bool {
	return len(s) >= 3 && len(s) <= 63 && s == strings.ToLower(s) && !strings.Contains(s, "_") && isHostName(s)
}
