package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"yatagarasu/gateway/inspect"
)

// TestProbeSelf asks running gateways for their health, as a container's health check does.
func TestProbeSelf(t *testing.T) {
	metrics := "metrics: {enabled: true, address: 127.0.0.1, port: 0}\n"
	unreachable := func(server string) string {
		return "server: {" + server + "}\nbuckets:\n" + bucketYAML("main", "/pub", "http://127.0.0.1:1")
	}
	cert, key := writeCertificate(t)
	for _, c := range []struct {
		name, yaml string
		probe      inspect.ProbeFlag
		code       int
		stdout     string
		stderr     string
	}{
		{"main listener", unreachable("ready: any"), "health", 0, "/health answers 200", ""},
		{"metrics listener", metrics + unreachable("ready: any"), "health", 0, "/health answers 200", ""},
		{"not ready", metrics + unreachable("ready: any"), "ready", 1, "", `/ready answers 503: {`},
		{"ready", unreachable("ready: config"), "ready", 0, "/ready answers 200", ""},
		{"TLS", unreachable(fmt.Sprintf("ready: config, https: {enabled: true, cert_path: %q, key_path: %q}", cert, key)), "health", 0, "https://127.0.0.1:", ""},
		{"behind a proxy", unreachable("ready: config, trusted_proxies: [127.0.0.1], proxy_protocol: true"), "health", 0, "/health answers 200", ""},
		{"beside a proxy", unreachable("ready: config, trusted_proxies: [192.0.2.1], proxy_protocol: true"), "health", 0, "/health answers 200", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			gw := startGateway(t, c.yaml)
			// What it asks by is the file, which has the ports that were free.
			text := strings.Replace(c.yaml, "server: {", fmt.Sprintf("server: {address: %q, ", gw.addr), 1)
			if ln := gw.operators.Listener.Load(); ln != nil {
				_, port, _ := strings.Cut(ln.Addr().String(), ":")
				text = strings.Replace(text, "port: 0", "port: "+port, 1)
			}
			path := filepath.Join(t.TempDir(), "config.yaml")
			// Nobody who asks needs the credentials.
			text = strings.NewReplacer(`access_key: "AKmain"`, "access_key: ${NOT_IN_THIS_ENVIRONMENT}", fmt.Sprintf("key_path: %q", key), `key_path: "${NOT_IN_THIS_ENVIRONMENT}/key"`).Replace(text)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var stdout, stderr strings.Builder
			code := inspect.Probe(path, "", c.probe, &stdout, &stderr)
			if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("exit %d, want %d\nstdout: %s\nstderr: %s", code, c.code, stdout.String(), stderr.String())
			}
			gw.stop()
			stdout.Reset()
			stderr.Reset()
			if code := inspect.Probe(path, "", c.probe, &stdout, &stderr); code != 1 || stdout.Len() > 0 || !strings.Contains(stderr.String(), "is the gateway running") {
				t.Errorf("stopped: exit %d\nstdout: %s\nstderr: %s", code, stdout.String(), stderr.String())
			}
		})
	}
}

// TestProbeSelfMistakes has files by which nobody can be asked.
func TestProbeSelfMistakes(t *testing.T) {
	for text, problem := range map[string]string{
		"server: [":                            "config.yaml:1:",
		"- server":                             "must be a mapping",
		"server: {address: nowhere}\n":         "server.address",
		"server: {address: \"127.0.0.1:0\"}\n": "port 0 is any port",
		"metrics: {enabled: true, port: many}\nbuckets: 7": "metrics.port",
	} {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr strings.Builder
		if code := inspect.Probe(path, "", "health", &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), problem) || strings.Contains(stderr.String(), "buckets:") {
			t.Errorf("%q: exit %d\nstdout: %s\nstderr: %s", text, code, stdout.String(), stderr.String())
		}
	}
}
