package config

import (
	"slices"
	"strings"
	"time"
)

// defaultS3 returns the defaults of an origin; docs/RESILIENCE.md has the reason for
// those of retries, breakers, hedges and probes.
func defaultS3() S3 {
	return S3{
		Origin:         Origin{Region: "us-east-1", Addressing: "auto", Credentials: Credentials{Source: SourceStatic}},
		Timeouts:       Timeouts{Dial: 3 * time.Second, FirstByte: 10 * time.Second, Idle: 30 * time.Second},
		MaxConnections: 1024,
		MaxWaiting:     4096,
		EmptySegments:  "keep",
		AccessDenied:   403,
		Retry:          Retry{Tries: 2, Resumes: 5, Budget: 20},
		Breaker:        Breaker{Enabled: true, FailureRate: 50, Consecutive: 10, Cooldown: time.Second},
		ProbeInterval:  10 * time.Second,
		Hedge:          Hedge{Max: 5},
	}
}

// PayerRequester is the value of s3.request_payer.
const PayerRequester = "requester"

// p95 is the value of hedge.after for the 95th percentile of the latest requests.
const p95 = "p95"

// maxReplicas bounds the replicas of a bucket.
const maxReplicas = 16

func (s *S3) check(d *decoder, o object) {
	o.strings("allow_query", func(n *node, text string, fromEnv bool) {
		if text != "versionId" && text != "partNumber" {
			d.fail(n, "unknown parameter"+quotedWord(text, fromEnv), "use one of: versionId, partNumber")
			return
		}
		s.AllowQuery = append(s.AllowQuery, text)
	})
	if o.has("credentials") && s.Credentials.Source != SourceStatic && s.Credentials.Source != SourceAssumeRole {
		for _, key := range [...]string{"access_key", "secret_key", "session_token"} {
			if o.has(key) {
				d.fail(o.get(key), "has no effect with credentials of source "+s.Credentials.Source, "remove it, or remove s3.credentials")
			}
		}
	}
	if replicas := o.get("replicas"); replicas != nil {
		d.checkOrigin(o, &s.Origin)
		s.Replicas = d.replicas(replicas, o, s)
		d.checkPayer(o, s)
		if len(replicas.items) == 1 {
			d.needReplicas(o, s, "there is only one replica", "remove it, or add another to s3.replicas")
		}
		return
	}
	o.need("bucket", "name the bucket at the origin")
	o.need("region", "name the bucket's region, such as us-east-1, which most other servers than AWS take too")
	if s.Credentials.needsKeys() {
		o.need("access_key", "add the id of an access key that may read the bucket, or s3.credentials.source for another source")
		o.need("secret_key", "add the secret of the access key, best as a variable")
	}
	d.checkOrigin(o, &s.Origin)
	s.Addressing = d.addressing(o.get("addressing"), &s.Origin)
	d.awsNames(o, o, &s.Origin)
	d.checkPayer(o, s)
	d.needReplicas(o, s, "there are no replicas", "remove it, or add s3.replicas")
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

// checkOrigin checks the keys of an origin, in s3 and in each replica.
func (d *decoder) checkOrigin(o object, origin *Origin) {
	if o.has("session_token") && strings.ContainsFunc(origin.SessionToken.Reveal(), func(r rune) bool { return r > '~' }) {
		d.fail(o.get("session_token"), "has characters that a header cannot carry", "copy the token again")
	}
	if o.has("ca_file") {
		origin.CAFile, _ = d.authorities(o.get("ca_file"), "endpoint", origin.Endpoint, true)
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
		replica := Replica{Origin: base.Origin, Timeout: base.Timeouts.FirstByte}
		r := d.fill(item, "buckets[].s3.replicas[]", &replica)
		if r.n == nil {
			continue
		}
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
			replica.Credentials = Credentials{Source: SourceStatic}
			if !r.has("session_token") {
				replica.SessionToken = Secret{} // that of s3 belongs to another key
			}
		}
		d.checkOrigin(r, &replica.Origin)
		at := o.get("addressing")
		if r.has("addressing") {
			at = r.get("addressing")
		}
		replica.Addressing = d.addressing(at, &replica.Origin)
		d.awsNames(r, o, &replica.Origin)
		if strings.HasPrefix(replica.Endpoint, "http:") {
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
		o.Origin, o.Replicas = r.Origin, nil
		o.Timeouts.FirstByte, o.Timeouts.Dial = r.Timeout, min(o.Timeouts.Dial, r.Timeout)
		origins[i] = o
	}
	return origins
}

func (b *Breaker) check(d *decoder, o object) {
	if b.Enabled {
		return
	}
	if o.has("failure_rate", "consecutive", "cooldown") {
		d.fail(o.n, "has keys without effect: the breaker is off", "remove them, or set enabled: true")
	}
	*b = Breaker{}
}

func (h *Hedge) check(d *decoder, o object) {
	if o.n == nil {
		*h = Hedge{}
		return
	}
	h.Enabled = true
	if text, _, ok := d.text(o.need("after", "write p95, or a duration such as 100ms")); ok && text != p95 || o.has("after") && o.get("after").kind == kindNumber {
		h.After = o.duration("after", 0, time.Millisecond)
	}
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

// sourceKeys has the keys of those sources of credentials that take any.
var sourceKeys = map[string][]string{
	SourceSharedFile:  {"file", "profile"},
	SourceInstance:    {"endpoint"},
	SourceWebIdentity: {"role_arn", "token_file", "endpoint"},
	SourceAssumeRole:  {"role_arn", "session_name", "external_id", "endpoint", "duration"},
}

// needsKeys reports whether c needs access_key and secret_key.
func (c *Credentials) needsKeys() bool { return c.Source == SourceStatic }

func (c *Credentials) check(d *decoder, o object) {
	for _, key := range grammar.Keys["buckets[].s3.credentials"][1:] {
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
}

// addressing resolves auto to path or virtual.
func (d *decoder) addressing(at *node, s *Origin) string {
	mode := s.Addressing
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
