package s3server

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"yatagarasu/loadtest/process"
)

func TestServers(t *testing.T) {
	for name, kind := range map[string]Kind{"minio": MinIO, "versitygw": VersityGW} {
		t.Run(name, func(t *testing.T) {
			binary, err := process.Find(name)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s, err := Start(ctx, Options{Kind: kind, Binary: binary, Dir: t.TempDir(), AccessKey: "tester", SecretKey: "tester-secret", Region: "us-east-1"})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Kill()
			u, _ := url.Parse(s.Endpoint())
			c, err := minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4("tester", "tester-secret", ""), Region: "us-east-1"})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.MakeBucket(ctx, "bucket", minio.MakeBucketOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.PutObject(ctx, "bucket", "k", strings.NewReader("text"), 4, minio.PutObjectOptions{ContentType: "text/x"}); err != nil {
				t.Fatal(err)
			}
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
			if r, err := http.Get(s.Endpoint()); err == nil {
				t.Fatalf("a stopped server answers %d", r.StatusCode)
			}
			if err := s.Restart(ctx); err != nil {
				t.Fatal(err)
			}
			o, err := c.GetObject(ctx, "bucket", "k", minio.GetObjectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(o); err != nil || string(b) != "text" {
				t.Fatalf("after a restart: %q, %v", b, err)
			}
			pid := s.Pid()
			s.Kill()
			if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
				t.Fatalf("process %d still exists: %v", pid, err)
			}
		})
	}
}

func TestStartSaysWhyAServerDoesNotStart(t *testing.T) {
	if _, err := Start(t.Context(), Options{Binary: "/no/such/program", Dir: t.TempDir()}); err == nil {
		t.Error("a missing program starts")
	}
	if _, err := Start(t.Context(), Options{Binary: "/bin/false", Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "process ended") {
		t.Errorf("a program that ends at once: %v", err)
	}
}
