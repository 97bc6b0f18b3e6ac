package credentials

import (
	"testing"

	"yatagarasu/gateway/config/upstream"
)

func TestSTSEndpoint(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	for _, c := range []struct{ region, configured, want string }{
		{"eu-west-1", "", "https://sts.eu-west-1.amazonaws.com"},
		{"us-gov-east-1", "", "https://sts.us-gov-east-1.amazonaws.com"},
		{"cn-north-1", "", "https://sts.cn-north-1.amazonaws.com.cn"},
		{"eusc-de-east-1", "", "https://sts.eusc-de-east-1.amazonaws.eu"},
		{"us-iso-west-1", "", "https://sts.us-iso-west-1.c2s.ic.gov"},
		{"us-isof-east-1", "http://127.0.0.1:9", "http://127.0.0.1:9"},
	} {
		s := &upstream.S3{Origin: upstream.Origin{Region: c.region, Credentials: upstream.Credentials{Endpoint: c.configured}}}
		if got := stsEndpoint(s); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
		t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "")
		if got := instance(s, c.configured).Endpoint; got != c.configured {
			t.Errorf("the metadata service of an instance is taken for %q", got)
		}
		t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/token") // an EKS pod
		if got := instance(s, c.configured).Endpoint; got != c.want {
			t.Errorf("%s for a pod, want %s", got, c.want)
		}
	}
	t.Setenv("AWS_REGION", "eusc-de-east-1")
	if got := instance(&upstream.S3{Origin: upstream.Origin{Region: "us-east-1"}}, "").Endpoint; got != "https://sts.eusc-de-east-1.amazonaws.eu" {
		t.Errorf("%s where the environment names the region", got)
	}
}
