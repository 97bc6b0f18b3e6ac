package upstream

import (
	"strings"
	"testing"

	"yatagarasu/gateway/config/file"
)

// s3Problems returns the messages about one bucket's s3 block, without place.
func s3Problems(t *testing.T, s3 string) string {
	t.Helper()
	d, root, err := file.Open("test.yaml", []byte("{ "+s3+" }"), nil, Grammar)
	if err != nil {
		t.Fatal(err)
	}
	block := Default()
	d.Fill(root, "buckets[].s3", &block)
	errs, _ := d.Err().(file.Errors)
	var all []string
	for _, e := range errs {
		all = append(all, e.Path+": "+e.Problem+"; "+e.Fix)
	}
	return strings.Join(all, "\n")
}

func TestNamesThatOthersServe(t *testing.T) {
	const keys = ", region: us-west-2, access_key: a, secret_key: s"
	for _, c := range []struct{ name, s3, want string }{ // want: a part of the one message
		{"directory bucket", "bucket: b--usw2-az1--x-s3", "bucket: is a directory bucket"},
		{"its access point", "bucket: ap--usw2-az1--xa-s3", "bucket: is an access point of a directory bucket"},
		{"outposts alias", "bucket: ap-o01ac5d28a--op-s3", "bucket: is an access point of S3 on Outposts"},
		{"object lambda alias", "bucket: ol-1a4n8yjrb3kda96f67zwrwiiuse1a--ol-s3", "ends in -s3alias"},
		{"multi-region alias", "bucket: mfzwi23gnjvgw.mrap", "s3.replicas"},
		{"table bucket", "bucket: 63a8e430-6e0b-46f5--table-s3", "S3 Tables"},
		{"access point alias", "bucket: ap-abcdefgh-s3alias", ""},
		{"access point of a file system", "bucket: ap-abcdefgh-ext-s3alias", ""},
		{"account's namespace", "bucket: logs-111122223333-us-west-2-an", ""},
		{"a name of AWS's examples", "bucket: amzn-s3-demo-bucket", ""},
		{"the word within a name", "bucket: a--x-s3-b", ""},
		{"access point ARN", "bucket: 'arn:aws:s3:us-west-2:123456789012:accesspoint/mine'", "bucket: is the ARN of an access point; name the access point's alias, which ends in -s3alias"},
		{"access point ARN with a colon", "bucket: 'arn:aws:s3:us-west-2:123456789012:accesspoint:mine'", "-s3alias"},
		{"access point ARN in China", "bucket: 'arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/mine'", "-s3alias"},
		{"multi-region ARN", "bucket: 'arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap'", "version 4A alone; name the bucket in one region"},
		{"object lambda ARN", "bucket: 'arn:aws:s3-object-lambda:us-west-2:123456789012:accesspoint/mine'", "Object Lambda"},
		{"outposts ARN", "bucket: 'arn:aws-us-gov:s3-outposts:us-gov-west-1:123456789012:outpost/op-01/accesspoint/mine'", "Outposts"},
		{"directory bucket ARN", "bucket: 'arn:aws:s3express:us-west-2:123456789012:bucket/b--usw2-az1--x-s3'", "S3 Express"},
		{"table bucket ARN", "bucket: 'arn:aws:s3tables:us-west-2:123456789012:bucket/t'", "S3 Tables"},
		{"bucket ARN", "bucket: 'arn:aws-eusc:s3:::my-bucket'", "bucket: is the ARN of a bucket; write the bucket's name alone, which follows the last colon"},
		{"ARN of objects", "bucket: 'arn:aws:s3:::my-bucket/*'", "is the ARN of objects"},
		{"another ARN", "bucket: 'arn:aws:iam::123456789012:role/r'", "something else than a bucket"},
		{"half an ARN", "bucket: 'arn:aws:s3'", "cut off"},
		{"URL", "bucket: 's3://my-bucket'", "bucket: is a URL; write the bucket's name alone"},
		{"path", "bucket: my-bucket/folder", "bucket: has a path; write the bucket's name alone, and the path as s3.key_prefix"},
		{"directory bucket by an endpoint of AWS", "bucket: b--usw2-az1--x-s3, endpoint: 'https://s3.us-west-2.amazonaws.com'", "is a directory bucket"},
		{"another server's bucket", "bucket: b--x-s3, endpoint: 'https://minio.example.com'", ""},
		{"another server at AWS", "bucket: b--x-s3, endpoint: 'https://things-12.us-west-2.elb.amazonaws.com'", ""},
		{"endpoint of S3 Express", "bucket: b-b, endpoint: 'https://s3express-usw2-az1.us-west-2.amazonaws.com'", "endpoint: is one of S3 Express"},
		{"endpoint of a multi-region access point", "bucket: b-b, endpoint: 'https://x.mrap.accesspoint.s3-global.amazonaws.com'", "endpoint: is that of a Multi-Region"},
		{"endpoint of a website", "bucket: b-b, endpoint: 'https://b-b.s3-website-us-east-1.amazonaws.com'", "endpoint: is that of a website"},
		{"endpoint of an access point by path", "bucket: b-b, endpoint: 'https://ap-1.s3-accesspoint.us-west-2.amazonaws.com'", "endpoint: is for access points"},
		{"endpoint of access points", "bucket: ap-123456789012, addressing: virtual, endpoint: 'https://s3-accesspoint.us-west-2.amazonaws.com'", ""},
		{"acceleration by path", "bucket: b-b, endpoint: 'https://s3-accelerate.amazonaws.com'", "set s3.addressing: virtual"},
		{"acceleration", "bucket: b-b, addressing: virtual, endpoint: 'https://s3-accelerate.amazonaws.com'", ""},
		{"interface endpoint", "bucket: b-b, endpoint: 'https://bucket.vpce-1a-2b.s3.us-west-2.vpce.amazonaws.com'", ""},
		{"replica", "bucket: b-b, replicas: [{ name: r, bucket: c--usw2-az1--x-s3 }]", "replicas[0].bucket: is a directory bucket"},
		{"replicas by default", "bucket: b--usw2-az1--x-s3, replicas: [{ name: r }, { name: q }]", "bucket: is a directory bucket"},
		{"replica elsewhere", "bucket: b--x-s3, replicas: [{ name: r, endpoint: 'https://minio.example.com' }]", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := s3Problems(t, c.s3+keys)
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) || strings.Contains(got, "\n") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestEndpoints(t *testing.T) {
	const more = ", bucket: b-b, region: us-east-1, access_key: a, secret_key: s"
	for _, c := range []struct{ endpoint, want, message string }{
		{"https://Host/storage/v1/s3", "https://host/storage/v1/s3", ""},
		{"https://host/a%2541", "https://host/a%2541", ""},
		{"https://host/a%25b", "https://host/a%25b", ""},
		{"https://host/s3/", "https://host/s3", ""},
		{"https://host/", "https://host", ""},
		{"https://host./", "https://host.", ""},
		{"https://Host.Example.:9000/S3", "https://host.example.:9000/S3", ""},
		{"https://host/a b/%2f%7e/é", "https://host/a%20b/%2F~/%C3%A9", ""},
		{"https://host/a//b", "", `with "//"`},
		{"https://host//", "", `with "//"`},
		{"https://host/a/../b", "", `".."`},
		{"https://host/a/%2e%2E/b", "", `".."`},
		{"https://host/.", "", `".."`},
		{"https://host/a%00b", "", "control character"},
		{"https://host/a%zz", "", "is no URL"},
		{"https://host/a?x=1", "", "query or fragment"},
		{"https://host/a#x", "", "query or fragment"},
		{"https://host/a?", "", "query or fragment"},
		{"https://host/" + strings.Repeat("a", 1024), "", "longer than 1024"},
		{"https://host..", "", "no valid host"},
		{"https://.", "", "no valid host"},
		{"https://192.0.2.1.", "", "no valid host"},
		{"https://[2001:db8::1]./", "", "is no URL"},
		{"https://s3.us-east-1.amazonaws.com/b-b", "", "those of AWS have none"},
		{"https://s3.us-east-1.amazonaws.com.", "https://s3.us-east-1.amazonaws.com.", ""},
	} {
		got := s3Problems(t, "endpoint: '"+c.endpoint+"'"+more)
		if (c.message == "") != (got == "") || !strings.Contains(got, c.message) {
			t.Errorf("%s: %q, want %q", c.endpoint, got, c.message)
			continue
		}
		if endpoint, problem, _ := canonicalEndpoint(c.endpoint, true); c.message == "" && (endpoint != c.want || problem != "") {
			t.Errorf("%s is %s, want %s", c.endpoint, endpoint, c.want)
		} else if again, _, _ := canonicalEndpoint(endpoint, true); again != endpoint {
			t.Errorf("%s is %s at the second time", endpoint, again)
		}
	}
	// A path has no effect where credentials come from.
	if got := s3Problems(t, "bucket: b-b, region: r, credentials: { source: instance, endpoint: 'http://192.0.2.1/latest' }"); !strings.Contains(got, "credentials.endpoint: has a path; end it after the host and port") {
		t.Error(got)
	}
	if got := s3Problems(t, "bucket: b-b, region: r, credentials: { source: instance, endpoint: 'http://metadata.internal.' }"); got != "" {
		t.Error(got)
	}
}
