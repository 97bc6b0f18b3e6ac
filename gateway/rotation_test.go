package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"yatagarasu/loadtest/s3server"
)

// TestCredentialRotation replaces the credential of a bucket again and again under load:
// each time by a new one that a real server has issued, while the old one is still good.
func TestCredentialRotation(t *testing.T) {
	server, client := startS3(t, s3server.MinIO)
	putObject(t, client, "small", 1000)
	putObject(t, client, "large", 300_000)
	yaml := func(c credentials.Value) string {
		s := strings.NewReplacer(s3AccessKey+"\n", c.AccessKeyID+"\n", `access_key: "`+s3AccessKey+`"`, fmt.Sprintf("access_key: %q", c.AccessKeyID), `secret_key: "`+s3SecretKey+`"`, fmt.Sprintf("secret_key: %q", c.SecretAccessKey)).
			Replace(realBucket(server.Endpoint()))
		if c.SessionToken != "" {
			s = strings.Replace(s, "secret_key:", fmt.Sprintf("session_token: %q\n      secret_key:", c.SessionToken), 1)
		}
		return s + metricsYAML
	}
	gw, write := fileGateway(t, yaml(credentials.Value{AccessKeyID: s3AccessKey, SecretAccessKey: s3SecretKey}), func(o *Options) { o.LogLevel = "warn" })
	var stop atomic.Bool
	var sent, failed atomic.Int64
	var clients sync.WaitGroup
	load := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer load.CloseIdleConnections()
	for i := range 8 {
		clients.Go(func() { // ends with stop
			target, size := gw.url("/pub/small"), int64(1000)
			if i%2 == 0 {
				target, size = gw.url("/pub/large"), 300_000
			}
			for !stop.Load() {
				r, err := load.Get(target)
				if err == nil {
					var n int64
					n, err = io.Copy(io.Discard, r.Body)
					r.Body.Close()
					if err == nil && (r.StatusCode != 200 || n != size) {
						err = fmt.Errorf("status %d, %d bytes", r.StatusCode, n)
					}
				}
				if sent.Add(1); err != nil && failed.Add(1) < 5 {
					t.Errorf("a request fails: %v", err)
				}
			}
		})
	}
	last := ""
	for i := range 10 {
		sts, err := credentials.NewSTSAssumeRole(server.Endpoint(), credentials.STSAssumeRoleOptions{AccessKey: s3AccessKey, SecretKey: s3SecretKey, Location: "us-east-1", DurationSeconds: 3600 + i})
		if err != nil {
			t.Fatal(err)
		}
		c, err := sts.GetWithContext(nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.AccessKeyID == last {
			t.Fatal("the credential is the one before")
		}
		last = c.AccessKeyID
		write(yaml(c))
		if status, r := gw.reloadCall(); status != 200 || fmt.Sprint(r.Rotated) != "[main]" {
			t.Fatalf("%d %+v", status, r)
		}
	}
	stop.Store(true)
	clients.Wait()
	t.Logf("%d requests over 10 rotations, %d failed", sent.Load(), failed.Load())
	if sent.Load() < 20 {
		t.Error("there was no load")
	}
}
