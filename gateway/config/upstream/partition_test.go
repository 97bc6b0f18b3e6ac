package upstream

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAWSHost(t *testing.T) {
	for _, c := range []struct{ region, suffix string }{
		{"us-east-1", "amazonaws.com"},
		{"eu-central-1", "amazonaws.com"},
		{"us-gov-west-1", "amazonaws.com"},
		{"cn-north-1", "amazonaws.com.cn"},
		{"cn-northwest-1", "amazonaws.com.cn"},
		{"eusc-de-east-1", "amazonaws.eu"},
		{"us-iso-east-1", "c2s.ic.gov"},
		{"us-isob-east-1", "sc2s.sgov.gov"},
		{"us-isof-south-1", "csp.hci.ic.gov"},
		{"eu-isoe-west-1", "cloud.adc-e.uk"},
		{"xx-new-1", "amazonaws.com"},
	} {
		for _, service := range []string{"s3", "sts"} {
			want := service + "." + c.region + "." + c.suffix
			if got := AWSHost(service, c.region); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if label := awsS3Label(AWSHost(service, c.region)); (label == "s3") != (service == "s3") {
				t.Errorf("%s is taken for %q", want, label)
			}
		}
	}
}

func TestAWSS3Label(t *testing.T) {
	for host, want := range map[string]string{
		"s3.amazonaws.com":                                       "s3",
		"s3.eu-west-1.amazonaws.com.":                            "s3",
		"s3.dualstack.cn-north-1.amazonaws.com.cn":               "s3",
		"s3.us-east-1.api.aws":                                   "s3",
		"s3.eusc-de-east-1.amazonaws.eu":                         "s3",
		"s3-fips.us-gov-west-1.amazonaws.com":                    "s3-fips",
		"my-bucket.s3.us-iso-east-1.c2s.ic.gov":                  "s3",
		"bucket.vpce-1a-2b.s3.us-east-1.vpce.amazonaws.com":      "s3",
		"ap-123456789012.s3-accesspoint.us-east-1.amazonaws.com": "s3-accesspoint",
		"x.accesspoint.s3-global.amazonaws.com":                  "s3-global",
		"s3express-use1-az4.us-east-1.amazonaws.com":             "s3express-use1-az4",
		"s3-things-12.us-east-1.elb.amazonaws.com":               "", // a server behind a balancer
		"ec2-192-0-2-1.compute-1.amazonaws.com":                  "",
		"sts.us-east-1.amazonaws.com":                            "",
		"s3.amazonaws.com.example.com":                           "",
		"minio.example.com":                                      "",
		"xs3.amazonaws.comx":                                     "",
	} {
		if got := awsS3Label(host); got != want {
			t.Errorf("%s is taken for %q, want %q", host, got, want)
		}
	}
}

// TestOneTableOfPartitions finds host names of AWS outside of the table.
func TestOneTableOfPartitions(t *testing.T) {
	found := 0
	for _, dir := range []string{"../..", "../../../sign", "../../../pool", "../../../loadtest"} {
		err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for i, line := range strings.Split(string(data), "\n") {
				code, _, _ := strings.Cut(line, "//")
				if !strings.Contains(code, "amazonaws.") {
					continue
				}
				if found++; filepath.Base(path) != "partition.go" {
					t.Errorf("%s:%d: %s", path, i+1, strings.TrimSpace(line))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("not even the table is found")
	}
}
