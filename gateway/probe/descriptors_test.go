package probe

import (
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/credentials"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/loadtest/rawserver"
	"yatagarasu/pool"
)

// TestProbesWithoutDescriptors has a probe find no descriptor: that is no news of the origin.
func TestProbesWithoutDescriptors(t *testing.T) { // T92
	s := rawserver.Start(t, nil, func(c net.Conn, _ int, _ string) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		return false
	})
	yaml := "buckets:\n  - {name: n, path_prefix: /p, s3: {bucket: b-b, region: us-east-1, endpoint: \"http://" + s.Addr + "\", access_key: AK, secret_key: SK}}\n"
	c, err := config.Parse("test.yaml", []byte(yaml), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	b, err := origin.NewBucket(c.Buckets[0].Name, &c.Buckets[0].S3, nil, &origin.Shared{Observer: &observe.Observer{Metrics: observe.NewMetrics()}, Buffers: pool.NewBuffers(pool.DefaultBufferSize, 0), Retrieve: credentials.New}, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r, log := New([]*origin.Bucket{b}, "any", nil), zerolog.Nop()
	if reason, _ := r.probe(&log, b.Replicas, b.Replicas[0]); reason != "" {
		t.Fatalf("the origin is %s", reason)
	}
	before := *r.states[b.Replicas[0]]
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	if reason, _ := Probe(b.Replicas[0]); reason != pool.ReasonDescriptors.String() {
		t.Fatalf("a probe without a descriptor: %q", reason)
	}
	r.probe(&log, b.Replicas, b.Replicas[0])
	if after := *r.states[b.Replicas[0]]; after != before {
		t.Errorf("it is %+v, and was %+v", after, before)
	}
}
