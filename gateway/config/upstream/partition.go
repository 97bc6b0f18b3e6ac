package upstream

import "strings"

// partitions are the partitions of AWS: the beginning of their regions' names, and the
// ends of their host names, for IPv4 alone and for IPv6 too. The last one has all other
// regions. The source is partitions.json of botocore.
var partitions = [...]struct{ region, suffix, dualStack string }{
	{"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
	{"eusc-", "amazonaws.eu", "api.amazonwebservices.eu"},
	{"us-gov-", "amazonaws.com", "api.aws"},
	{"us-iso-", "c2s.ic.gov", "api.aws.ic.gov"},
	{"us-isob-", "sc2s.sgov.gov", "api.aws.scloud"},
	{"us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
	{"eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
	{"", "amazonaws.com", "api.aws"},
}

// AWSHost returns the host name of a service of AWS, such as s3 or sts, in a region.
func AWSHost(service, region string) string {
	for _, p := range partitions {
		if strings.HasPrefix(region, p.region) {
			return service + "." + region + "." + p.suffix
		}
	}
	panic("BUG: the last partition has all regions")
}

// awsS3Label returns the label of an AWS host name, in lower case, that says which kind
// of S3 endpoint it is, such as s3, s3-accesspoint or s3express-use1-az4; empty if it
// is none.
func awsS3Label(host string) string {
	host = strings.TrimSuffix(host, ".")
	for _, p := range partitions {
		for _, suffix := range [...]string{p.suffix, p.dualStack} {
			if labels, ok := strings.CutSuffix(host, "."+suffix); ok {
				return s3Label(labels)
			}
		}
	}
	return ""
}

func s3Label(labels string) (found string) {
	for label := range strings.SplitSeq(labels, ".") {
		switch {
		case label == "elb", label == "execute-api": // somebody's own server
			return ""
		case label == "s3", strings.HasPrefix(label, "s3-"), strings.HasPrefix(label, "s3express"), strings.HasPrefix(label, "s3tables"):
			found = label // the last one: a bucket's name may come before it
		}
	}
	return found
}
