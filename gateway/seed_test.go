package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"yatagarasu/loadtest/s3server"
)

// TestSeedFiles runs the published example configurations before a real S3 server,
// changed only where they name it, and holds them to what they say about access.
func TestSeedFiles(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server, err := s3server.Start(ctx, s3server.Options{Kind: s3server.VersityGW, Dir: t.TempDir(), AccessKey: s3AccessKey, SecretKey: s3SecretKey, Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	for _, bucket := range []string{"my-products-bucket", "private-data-bucket", "assets", "users", "s3-bucket-name", "team-a-bucket", "team-b-bucket"} {
		if err := server.Seed(ctx, bucket, s3server.Object{Key: "dir/x.txt", Body: "of " + bucket}); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := writeCertificate(t)

	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	admin, guest, forged := goodToken(`"role":"admin"`), goodToken(`"role":"guest"`), goodToken(`"role":"admin"`)+"A"
	acme, other := goodToken(`"role":"admin"`, `"tenant":"acme-corp"`), goodToken(`"role":"admin"`, `"tenant":"other"`)
	type try struct {
		target string
		header []string
		status int
		body   string
	}
	for file, tries := range map[string][]try{
		"basic.yaml": {
			{"/products/dir/x.txt", nil, 200, "of my-products-bucket"},
			{"/products/dir/x.txt", bearer(forged), 200, "of my-products-bucket"}, // public: nobody asks
			{"/private/dir/x.txt", nil, 401, ""},
			{"/private/dir/x.txt", bearer(admin), 200, "of private-data-bucket"},
			{"/private/dir/x.txt", bearer(guest), 403, ""},
			{"/private/dir/x.txt", bearer(forged), 403, ""},
			{"/private/dir/x.txt", bearer(goodToken()), 403, ""},
			{"/private/dir/x.txt?token=" + admin, nil, 401, ""},
			{"/private/missing", bearer(admin), 404, ""},
			{"/private/missing", nil, 401, ""},
		},
		"global-jwt.yaml": {
			{"/assets/dir/x.txt", nil, 200, "of assets"},
			{"/users/dir/x.txt", nil, 401, ""},
			{"/users/dir/x.txt", bearer(admin), 200, "of users"},
			{"/users/dir/x.txt", bearer(guest), 403, ""},
			{"/users/dir/x.txt", []string{"X-Auth-Token", "Token " + admin}, 200, "of users"},
			{"/users/dir/x.txt", []string{"X-Auth-Token", "Token " + guest}, 403, ""},
			{"/users/dir/x.txt", []string{"X-Auth-Token", admin}, 401, ""},
			{"/users/dir/x.txt?token=" + admin, nil, 200, "of users"},
			{"/users/dir/x.txt?token=" + guest, nil, 403, ""},
			{"/users/dir/x.txt?token=" + guest, bearer(admin), 200, "of users"},
			{"/users/dir/x.txt?token=" + admin, bearer(guest), 403, ""},
		},
		"reference.yaml": {
			{"/prefix/dir/x.txt", nil, 401, ""},
			{"/prefix/dir/x.txt", bearer(admin), 200, "of s3-bucket-name"},
			{"/prefix/dir/x.txt", bearer(guest), 403, ""},
			{"/prefix/dir/x.txt?token=" + admin, nil, 200, "of s3-bucket-name"},
			{"/prefix/dir/x.txt?token=" + guest, nil, 403, ""},
			{"/prefix/dir/x.txt", []string{"X-Auth-Token", admin}, 200, "of s3-bucket-name"},
			{"/prefix/dir/x.txt", []string{"X-Auth-Token", guest}, 403, ""},
		},
		"tenant-rules.yaml": {
			{"/team-a/dir/x.txt", nil, 401, ""},
			{"/team-a/dir/x.txt", bearer(acme), 200, "of team-a-bucket"},
			{"/team-a/dir/x.txt", bearer(other), 403, ""},
			{"/team-a/dir/x.txt", bearer(admin), 403, ""},
			{"/team-a/dir/x.txt", bearer(goodToken(`"tenant":"acme-corp"`)), 403, ""},
			{"/team-b/dir/x.txt", nil, 200, "of team-b-bucket"},
		},
	} {
		t.Run(file, func(t *testing.T) {
			data, err := os.ReadFile("config/testdata/seed/" + file)
			if err != nil {
				t.Fatal(err)
			}
			text := string(data)
			text = strings.ReplaceAll(text, `endpoint: "https://s3.example.internal:9000"`, `endpoint: "`+server.Endpoint()+`"`)
			if !strings.Contains(text, "endpoint:") {
				text = regexp.MustCompile(`(?m)^( +)region: .*$`).ReplaceAllString(text, "$0\n${1}endpoint: \""+server.Endpoint()+`"`)
				text = strings.ReplaceAll(text, `region: "us-east-1",`, `region: "us-east-1", endpoint: "`+server.Endpoint()+`",`)
			}
			text = strings.NewReplacer("/path/to/cert.pem", cert, "/path/to/key.pem", key).Replace(text)
			// The same credential for all variables of one kind.
			text = regexp.MustCompile(`(access_key: )"\$\{\w+\}"`).ReplaceAllString(text, `$1"`+s3AccessKey+`"`)
			text = regexp.MustCompile(`(secret_key: )"\$\{\w+\}"`).ReplaceAllString(text, `$1"`+s3SecretKey+`"`)
			text = strings.ReplaceAll(text, "${JWT_SECRET}", tokenSecret)
			gw := startGateway(t, text)
			scheme := "http://"
			if gw.tls != nil {
				scheme = "https://"
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
			defer client.CloseIdleConnections()
			for _, c := range tries {
				for range 2 {
					r, err := http.NewRequest(http.MethodGet, scheme+gw.addr+c.target, nil)
					if err != nil {
						t.Fatal(err)
					}
					if c.header != nil {
						r.Header.Set(c.header[0], c.header[1])
					}
					resp, err := client.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || resp.StatusCode != c.status || c.body != "" && string(body) != c.body {
						t.Errorf("%.40s %.40s: status %d, want %d; %s, %v", c.target, fmt.Sprint(c.header), resp.StatusCode, c.status, body, err)
					}
				}
			}
		})
	}
}
