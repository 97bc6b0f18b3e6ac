package gateway

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"yatagarasu/loadtest/rawserver"
)

// startBareOrigin is a fast origin for many requests: it tells see which bucket
// was asked for under which access key, and answers with a small object that
// names the bucket.
func startBareOrigin(t testing.TB, see func(bucket, accessKey string)) (endpoint string) {
	t.Helper()
	s := rawserver.Start(t, nil, func(c net.Conn, _ int, head string) bool {
		method, rest, _ := strings.Cut(head, " ")
		bucket, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		_, rest, _ = strings.Cut(head, "Credential=")
		key, _, _ := strings.Cut(rest, "/")
		see(strings.TrimPrefix(bucket, "bucket-"), key)
		body := "body"
		if method == "HEAD" {
			body = ""
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: \"e\"\r\nLast-Modified: Fri, 02 Jan 2026 03:04:05 GMT\r\nX-Amz-Meta-Bucket: %s\r\n\r\n%s", bucket, body)
		return true
	})
	return "http://" + s.Addr
}
