package credentials

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"yatagarasu/gateway/config/file"
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

// TestSourcesWithoutACredential has sources that offer none: the error says what is missing.
func TestSourcesWithoutACredential(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		t.Setenv(name, "")
	}
	absent := filepath.Join(t.TempDir(), "absent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", absent)
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/") // the instance, where nobody answers
	cc := &credentials.CredContext{Client: new(http.Client), Context: t.Context()}
	for name, c := range map[string]struct {
		source upstream.Credentials
		want   string
	}{
		"web identity without a role":  {upstream.Credentials{Source: upstream.SourceWebIdentity, TokenFile: absent}, "web_identity needs role_arn and token_file"},
		"web identity without a file":  {upstream.Credentials{Source: upstream.SourceWebIdentity, RoleARN: "arn:aws:iam::1:role/r"}, "web_identity needs role_arn and token_file"},
		"web identity without a token": {upstream.Credentials{Source: upstream.SourceWebIdentity, RoleARN: "arn:aws:iam::1:role/r", TokenFile: absent}, "cannot read the token: "},
		"a role that nobody can take":  {upstream.Credentials{Source: upstream.SourceAssumeRole, RoleARN: "arn:aws:iam::1:role/r"}, "there is no credential to take on the role with: set access_key and secret_key"},
		"a shared file that is absent": {upstream.Credentials{Source: upstream.SourceSharedFile, File: absent}, "no such file"},
	} {
		_, err := retrieve(&upstream.S3{Origin: upstream.Origin{Region: "us-east-1", Credentials: c.source}}, cc)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	own, err := ownCredential(&upstream.S3{Origin: upstream.Origin{AccessKey: "AK", SecretKey: file.NewSecret("SK"), SessionToken: file.NewSecret("ST")}}, cc)
	if want := (credentials.Value{AccessKeyID: "AK", SecretAccessKey: "SK", SessionToken: "ST"}); err != nil || own != want {
		t.Errorf("%+v, %v", own, err)
	}
}
