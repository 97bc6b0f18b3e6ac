package gateway

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
)

// startBareOrigin is a fast origin for many requests: it tells see which bucket
// was asked for under which access key, and answers with a small object that
// names the bucket.
func startBareOrigin(t testing.TB, see func(bucket, accessKey string)) (endpoint string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go serveBare(c, see) // ends with the connection
		}
	}()
	return "http://" + ln.Addr().String()
}

func serveBare(c net.Conn, see func(bucket, accessKey string)) {
	defer c.Close()
	br := bufio.NewReader(c)
	for {
		var method, bucket, key string
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimRight(line, "\r\n")
			if line == "" {
				break
			}
			if method == "" {
				method, line, _ = strings.Cut(line, " ")
				bucket, _, _ = strings.Cut(strings.TrimPrefix(line, "/"), "/")
				continue
			}
			if _, rest, ok := strings.Cut(line, "Credential="); ok {
				key, _, _ = strings.Cut(rest, "/")
			}
		}
		see(strings.TrimPrefix(bucket, "bucket-"), key)
		body := "body"
		if method == "HEAD" {
			body = ""
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: \"e\"\r\nLast-Modified: Fri, 02 Jan 2026 03:04:05 GMT\r\nX-Amz-Meta-Bucket: %s\r\n\r\n%s", bucket, body)
	}
}
