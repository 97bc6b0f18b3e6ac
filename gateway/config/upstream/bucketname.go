package upstream

import (
	"net/url"
	"strings"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

const (
	nameBucket   = "name a general purpose bucket; copy the objects into one"
	nameAlias    = "name the access point's alias, which ends in -s3alias, and leave s3.endpoint out"
	nameRegional = "name the bucket in one region, or that of each region as one of s3.replicas"
)

// reservedSuffixes are the ends of names at AWS that need another endpoint or signature.
// An access point's alias, with -s3alias, works like a bucket's name. The sources are
// "General purpose bucket naming rules" in the Amazon S3 User Guide and the endpoint
// rules of AWS's SDKs.
var reservedSuffixes = [...]struct{ suffix, problem, fix string }{
	{"--x-s3", "is a directory bucket, which S3 Express serves at endpoints and with sessions of its own", nameBucket},
	{"--xa-s3", "is an access point of a directory bucket, which S3 Express serves at endpoints and with sessions of its own", nameBucket},
	{"--op-s3", "is an access point of S3 on Outposts, which has endpoints and signatures of its own", nameBucket},
	{"--ol-s3", "is an Object Lambda access point, whose answers are other bytes than the object's head tells of", "name the bucket, or the alias of the access point below it, which ends in -s3alias"},
	{"--table-s3", "is the storage of a table bucket, which S3 Tables serves", nameBucket},
	{".mrap", "is a Multi-Region Access Point, which takes signatures of version 4A alone", nameRegional},
}

// arnServices have a fix for the ARNs of services other than s3.
var arnServices = map[string]struct{ problem, fix string }{
	"s3express":        {"is the ARN of a directory bucket or its access point, which S3 Express serves at endpoints and with sessions of its own", nameBucket},
	"s3-outposts":      {"is the ARN of S3 on Outposts, which has endpoints and signatures of its own", nameBucket},
	"s3-object-lambda": {"is the ARN of an Object Lambda access point, which has endpoints and signatures of its own", "name the bucket, or the alias of the access point below it, which ends in -s3alias"},
	"s3tables":         {"is the ARN of a table bucket, which S3 Tables serves", nameBucket},
}

// bucketNameProblem says why text can be no bucket's name at any server; empty if it can.
func bucketNameProblem(text string) (problem, fix string) {
	switch {
	case form.IsName(text, 255) && !strings.Contains(text, ".."):
		return "", ""
	case strings.HasPrefix(text, "arn:"):
		return arnProblem(text)
	case strings.Contains(text, "://"):
		return "is a URL", "write the bucket's name alone; where it is says s3.endpoint"
	case strings.Contains(text, "/"):
		return "has a path", "write the bucket's name alone, and the path as s3.key_prefix"
	}
	return "is no bucket name", "use letters, digits, '.', '_' and '-', a letter or digit first"
}

// arnProblem says what an ARN names, and what to write in its place
// (arn:partition:service:region:account:resource).
func arnProblem(arn string) (problem, fix string) {
	part := strings.SplitN(arn, ":", 6)
	if len(part) < 6 {
		return "is an ARN that is cut off", "write the bucket's name alone"
	}
	service, region, resource := part[2], part[3], part[5]
	if s, ok := arnServices[service]; ok {
		return s.problem, s.fix
	}
	switch isPoint := strings.HasPrefix(resource, "accesspoint/") || strings.HasPrefix(resource, "accesspoint:"); {
	case service != "s3":
		return "is the ARN of something else than a bucket", "write the bucket's name alone"
	case isPoint && region == "":
		return "is the ARN of a Multi-Region Access Point, which takes signatures of version 4A alone", nameRegional
	case isPoint:
		return "is the ARN of an access point", nameAlias
	case strings.Contains(resource, "/"):
		return "is the ARN of objects", "write the bucket's name alone, without arn and key"
	}
	return "is the ARN of a bucket", "write the bucket's name alone, which follows the last colon"
}

// otherEndpoints are the endpoints of AWS that have no objects of buckets or need other
// signatures, by the beginning of their label.
var otherEndpoints = [...]struct{ label, problem, fix string }{
	{"s3express", "is one of S3 Express, which takes other signatures", "remove it, and name a general purpose bucket"},
	{"s3-global", "is that of a Multi-Region Access Point, which takes signatures of version 4A alone", "remove it, and " + nameRegional},
	{"s3-object-lambda", "is one of Object Lambda, which takes other signatures", "remove it, and name the bucket, or the alias of the access point below it"},
	{"s3-outposts", "is one of S3 on Outposts, which takes other signatures", "remove it, and " + nameBucket},
	{"s3-website", "is that of a website, which takes no signatures", "remove it; s3.region leads to the bucket"},
	{"s3-control", "is for administration and has no objects", "remove it; s3.region leads to the bucket"},
	{"s3tables", "is one of S3 Tables and has no objects", "remove it; s3.region leads to the bucket"},
}

// checkAWSNames reports names and endpoints that AWS reserves for other uses; other servers
// may have buckets with such names. The keys are in o, or else in base.
func checkAWSNames(d *file.Decoder, o, base file.Object, s *Origin) {
	at := func(key string) *file.Node {
		if n := o.Get(key); n != nil {
			return n
		}
		return base.Get(key)
	}
	if s.Endpoint != "" {
		u, err := url.Parse(s.Endpoint)
		if err != nil {
			return
		}
		label := awsS3Label(u.Hostname())
		if label == "" {
			return
		}
		for _, e := range otherEndpoints {
			if strings.HasPrefix(label, e.label) {
				d.Fail(at("endpoint"), e.problem, e.fix)
				return
			}
		}
		if u.Path != "" {
			d.Fail(at("endpoint"), "has a path, and those of AWS have none", "end it after the host; the bucket is s3.bucket")
		}
		if s.Addressing != "virtual" {
			switch {
			case strings.HasPrefix(label, "s3-accesspoint"):
				d.Fail(at("endpoint"), "is for access points, which have a host name each", nameAlias)
			case strings.HasPrefix(label, "s3-accelerate"):
				d.Fail(at("endpoint"), "is for transfer acceleration, where buckets have a host name each", "set s3.addressing: virtual")
			}
		}
	}
	for _, r := range reservedSuffixes {
		if n := at("bucket"); n != nil && strings.HasSuffix(s.Bucket, r.suffix) {
			d.Fail(n, r.problem, r.fix)
		}
	}
}
