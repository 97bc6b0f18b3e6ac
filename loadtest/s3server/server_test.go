package s3server

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

func TestServers(t *testing.T) {
	for _, kind := range []Kind{MinIO, VersityGW} {
		t.Run(string(kind), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			s, err := Start(ctx, Options{Kind: kind, Dir: dir, AccessKey: "tester", SecretKey: "tester-secret", Region: "us-east-1"})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Kill()
			object := Object{Key: "a/ü b", Body: "text", ContentType: "text/x", Metadata: map[string]string{"Color": "blue"}}
			for range 2 { // the second time over what is there
				if err := s.Seed(ctx, "bucket", Object{Key: "empty"}, object); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Seed(ctx, "Bad_Bucket!"); err == nil {
				t.Error("a bucket with an impossible name is made")
			}
			c, err := s.Client()
			if err != nil {
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
			if body, info := get(t, c, object.Key); body != "text" || info.ContentType != "text/x" || info.UserMetadata["Color"] != "blue" {
				t.Errorf("after a restart: %q, type %q, metadata %v", body, info.ContentType, info.UserMetadata)
			}
			if kind == VersityGW {
				if err := os.WriteFile(filepath.Join(dir, "bucket", "plain.txt"), []byte("a file"), 0o644); err != nil {
					t.Fatal(err)
				}
				if body, _ := get(t, c, "plain.txt"); body != "a file" {
					t.Errorf("a file that was not stored through S3: %q", body)
				}
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

func get(t *testing.T, c *minio.Client, key string) (string, minio.ObjectInfo) {
	t.Helper()
	o, err := c.GetObject(t.Context(), "bucket", key, minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	b, err := io.ReadAll(o)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	info, err := o.Stat()
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return string(b), info
}
