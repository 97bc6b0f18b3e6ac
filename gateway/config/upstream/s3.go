package upstream

import (
	"slices"
	"strings"
	"time"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// Default returns the defaults of an origin; docs/RESILIENCE.md has the reason for
// those of retries, breakers, hedges and probes.
func Default() S3 {
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

// MostListed is the most entries that S3 lists at once (ListObjectsV2, "max-keys").
const MostListed = 1000

// PayerRequester is the value of s3.request_payer.
const PayerRequester = "requester"

// P95 is the value of hedge.after for the 95th percentile of the latest requests.
const P95 = "p95"

// maxReplicas bounds the replicas of a bucket.
const maxReplicas = 16

// Check implements file.Checker.
func (s *S3) Check(d *file.Decoder, o file.Object) {
	o.Strings("allow_query", func(n *file.Node, text string, fromEnv bool) {
		if text != "versionId" && text != "partNumber" {
			d.Fail(n, "unknown parameter"+file.QuotedWord(text, fromEnv), "use one of: versionId, partNumber")
			return
		}
		s.AllowQuery = append(s.AllowQuery, text)
	})
	if o.Has("credentials") && s.Credentials.Source != SourceStatic && s.Credentials.Source != SourceAssumeRole {
		for _, key := range [...]string{"access_key", "secret_key", "session_token"} {
			if o.Has(key) {
				d.Fail(o.Get(key), "has no effect with credentials of source "+s.Credentials.Source, "remove it, or remove s3.credentials")
			}
		}
	}
	if replicas := o.Get("replicas"); replicas != nil {
		checkOrigin(d, o, &s.Origin)
		s.Replicas = decodeReplicas(d, replicas, o, s)
		checkPayer(d, o, s)
		if len(replicas.Items) == 1 {
			needReplicas(d, o, s, "there is only one replica", "remove it, or add another to s3.replicas")
		}
		return
	}
	o.Need("bucket", "name the bucket at the origin")
	o.Need("region", "name the bucket's region, such as us-east-1, which most other servers than AWS take too")
	if s.Credentials.needsKeys() {
		o.Need("access_key", "add the id of an access key that may read the bucket, or s3.credentials.source for another source")
		o.Need("secret_key", "add the secret of the access key, best as a variable")
	}
	checkOrigin(d, o, &s.Origin)
	s.Addressing = resolveAddressing(d, o.Get("addressing"), &s.Origin)
	checkAWSNames(d, o, o, &s.Origin)
	checkPayer(d, o, s)
	needReplicas(d, o, s, "there are no replicas", "remove it, or add s3.replicas")
}

// checkPayer reports a request_payer with anonymous requests.
func checkPayer(d *file.Decoder, o file.Object, s *S3) {
	anonymous := func(origin S3) bool { return origin.Credentials.Source == SourceAnonymous }
	if s.RequestPayer != "" && slices.ContainsFunc(s.Origins(), anonymous) {
		d.Fail(o.Get("request_payer"), "cannot go with anonymous requests: nobody would pay", "remove it, or add a credential")
	}
}

// needReplicas reports keys that have an effect only with several replicas.
func needReplicas(d *file.Decoder, o file.Object, s *S3, why, fix string) {
	if s.FailoverOn404 {
		d.Fail(o.Get("failover_on_404"), "has no effect: "+why, fix)
	}
	if s.Hedge.Enabled {
		d.Fail(o.Get("hedge"), "has no effect: "+why, fix)
	}
}

// checkOrigin checks the keys of an origin, in s3 and in each replica.
func checkOrigin(d *file.Decoder, o file.Object, origin *Origin) {
	if o.Has("session_token") && strings.ContainsFunc(origin.SessionToken.Reveal(), func(r rune) bool { return r > '~' }) {
		d.Fail(o.Get("session_token"), "has characters that a header cannot carry", "copy the token again")
	}
	if o.Has("ca_file") {
		origin.CAFile, _ = d.Authorities(o.Get("ca_file"), "endpoint", origin.Endpoint, true)
	}
}

// decodeReplicas decodes the list. base has the defaults from s3, the block o.
func decodeReplicas(d *file.Decoder, list *file.Node, o file.Object, base *S3) (replicas []Replica) {
	if list.Kind != file.List || len(list.Items) == 0 || len(list.Items) > maxReplicas {
		d.Fail(list, "must be a list of 1 to 16 replicas", "write one mapping for each copy of the bucket, or remove the key")
		return nil
	}
	names := make(map[string]*file.Node)
	for _, item := range list.Items {
		replica := Replica{Origin: base.Origin, Timeout: base.Timeouts.FirstByte}
		r := d.Fill(item, "buckets[].s3.replicas[]", &replica)
		if r.Node == nil {
			continue
		}
		needed := []string{"bucket", "region"}
		if base.Credentials.needsKeys() {
			needed = append(needed, "access_key", "secret_key")
		}
		for _, key := range needed {
			if !o.Has(key) && !o.Misspells(key) {
				r.Need(key, "add it here, or to s3 for all replicas")
			}
		}
		r.Need("name", "give the replica a name that is unique in its bucket, for logs and metrics")
		if r.Has("access_key") != r.Has("secret_key") && r.Has("access_key", "secret_key") {
			d.Fail(item, "has one half of a credential", "write access_key and secret_key together")
		} else if r.Has("access_key") {
			replica.Credentials = Credentials{Source: SourceStatic}
			if !r.Has("session_token") {
				replica.SessionToken = file.Secret{} // that of s3 belongs to another key
			}
		}
		checkOrigin(d, r, &replica.Origin)
		at := o.Get("addressing")
		if r.Has("addressing") {
			at = r.Get("addressing")
		}
		replica.Addressing = resolveAddressing(d, at, &replica.Origin)
		checkAWSNames(d, r, o, &replica.Origin)
		if strings.HasPrefix(replica.Endpoint, "http:") {
			replica.CAFile = ""
		}
		replica.Name = r.Checked("name", "", func(name string) (_, problem, fix string) {
			switch {
			case !form.IsName(name, 64):
				return "", "is no name", "use letters, digits, '.', '_' and '-', at most 64, a letter or digit first"
			case names[name] != nil:
				return "", "is the name of " + names[name].Path + " too", "give each replica its own name"
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

// Check implements file.Checker.
func (b *Breaker) Check(d *file.Decoder, o file.Object) {
	if b.Enabled {
		return
	}
	if o.Has("failure_rate", "consecutive", "cooldown") {
		d.Fail(o.Node, "has keys without effect: the breaker is off", "remove them, or set enabled: true")
	}
	*b = Breaker{}
}

// Check implements file.Checker.
func (h *Hedge) Check(d *file.Decoder, o file.Object) {
	if o.Node == nil {
		*h = Hedge{}
		return
	}
	h.Enabled = true
	if text, _, ok := d.Text(o.Need("after", "write p95, or a duration such as 100ms")); ok && text != P95 || o.Has("after") && o.Get("after").Kind == file.Number {
		h.After = o.Duration("after", 0, time.Millisecond)
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

// Check implements file.Checker.
func (c *Credentials) Check(d *file.Decoder, o file.Object) {
	for _, key := range Grammar.Keys("buckets[].s3.credentials")[1:] {
		if o.Has(key) && !slices.Contains(sourceKeys[c.Source], key) {
			d.Fail(o.Get(key), "has no effect with source "+c.Source, "remove it, or choose the source that takes it")
		}
	}
	if c.Source == SourceAssumeRole {
		o.Need("role_arn", "name the role to take on, such as arn:aws:iam::123456789012:role/reader")
	}
	if c.Duration > 12*time.Hour {
		d.Fail(o.Get("duration"), "is too long", "write at most 12h")
	}
}

// resolveAddressing resolves auto to path or virtual.
func resolveAddressing(d *file.Decoder, at *file.Node, s *Origin) string {
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
		d.Fail(at, "virtual addressing needs a bucket name that is a DNS name: lower-case letters, digits and '-', 3 to 63", fix)
	case isAddressEndpoint(s.Endpoint):
		d.Fail(at, "virtual addressing needs an endpoint with a host name, not an IP address", fix)
	case strings.Contains(s.Bucket, ".") && !strings.HasPrefix(s.Endpoint, "http:"):
		d.Fail(at, "virtual addressing of a bucket name with dots fits no wildcard certificate", fix)
	}
	return mode
}

// isDNSBucket reports whether s can be the first labels of a host name
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html).
func isDNSBucket(s string) bool {
	return len(s) >= 3 && len(s) <= 63 && s == strings.ToLower(s) && !strings.Contains(s, "_") && form.IsHostName(s)
}
