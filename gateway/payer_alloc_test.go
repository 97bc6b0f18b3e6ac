//go:build !race

package gateway

import (
	"strings"
	"testing"

	"yatagarasu/loadtest/rawserver"
)

// TestPayerAllocs guards a proxied GET of a bucket whose requests the reader pays for,
// and of one that is asked anonymously.
func TestPayerAllocs(t *testing.T) {
	endpoint := "http://" + rawserver.StartQuiet(t, s3Response(1<<10)).Addr
	head := strings.TrimSuffix(proxyHead, "\r\n") + "If-Match: \"0123456789abcdef\"\r\n\r\n"
	for name, yaml := range map[string]string{"requester": oneBucket("/pub", endpoint, "request_payer: requester"), "anonymous": anonymousYAML(endpoint)} {
		t.Run(name, func(t *testing.T) { guardAllocs(t, configuredGateway(t, yaml, "info"), head) })
	}
}
