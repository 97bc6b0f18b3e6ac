package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// rolloutValues are what the chart is installed with; the origin is on the node.
const rolloutValues = `
config:
  buckets:
    - name: demo
      path_prefix: /demo
      s3: {bucket: demo, region: us-east-1, endpoint: "http://` + nodeAddress + `:7070", access_key: "${ACCESS_KEY}", secret_key: "${SECRET_KEY}"}
envFromSecrets: [origin]
shutdown: {drainSeconds: 5, timeoutSeconds: 60}
resources: {requests: {cpu: 10m, memory: 64Mi}, limits: {memory: 256Mi}}
`

// rollouts installs the chart, and has two rollouts go by under load.
func (c *cluster) rollouts(helm string) error {
	if err := c.startOrigin(); err != nil {
		return err
	}
	if err := c.namespace("files"); err != nil {
		return err
	}
	if _, err := c.api(http.MethodPost, "/api/v1/namespaces/files/secrets", map[string]any{"apiVersion": "v1", "kind": "Secret",
		"metadata": map[string]any{"name": "origin"}, "stringData": map[string]string{"ACCESS_KEY": "demo", "SECRET_KEY": "demo-secret-key"}}); err != nil {
		return err
	}
	values, chart := filepath.Join(c.dir, "values.yaml"), filepath.Join(c.root, "deploy", "helm", "yatagarasu")
	if err := os.WriteFile(values, []byte(rolloutValues), 0o644); err != nil {
		return err
	}
	begin := time.Now()
	if err := c.run(helm, "install", "yatagarasu", chart, "-n", "files", "-f", values, "--wait", "--timeout", "5m"); err != nil {
		return fmt.Errorf("%w\n%s", err, c.pods())
	}
	c.say("installed: 2 pods are ready after %s", time.Since(begin).Round(100*time.Millisecond))
	service, err := c.api(http.MethodGet, "/api/v1/namespaces/files/services/yatagarasu", nil)
	if err != nil {
		return err
	}
	address, _ := field(service.body, "spec", "clusterIP").(string)
	if err := c.serveName(address); err != nil {
		return err
	}
	if err := c.run(helm, "test", "yatagarasu", "-n", "files", "--timeout", "2m"); err != nil {
		return fmt.Errorf("%w\n%s", err, c.pods())
	}
	first, err := c.podNames()
	if err != nil {
		return err
	}
	l := c.load("http://" + address + "/demo/")
	slow := make(chan error, 1)
	go func() { slow <- c.slowDownload("http://"+address+"/demo/large.bin", 30*time.Second) }()
	for _, args := range [][]string{
		{"upgrade", "yatagarasu", chart, "-n", "files", "-f", values, "--set-json", `config.cache={"enabled":true}`, "--wait", "--timeout", "5m"},
		{"rollback", "yatagarasu", "-n", "files", "--wait", "--timeout", "5m"},
	} {
		if err := c.run(helm, args...); err != nil {
			l.stop()
			return fmt.Errorf("%w\n%s", err, c.pods())
		}
		// The old pods must end, too, while requests come.
		var names []string
		if err := c.eventually(2*time.Minute, func() (err error) {
			if names, err = c.podNames(); err == nil && len(names) != 2 {
				err = fmt.Errorf("there are %d pods", len(names))
			}
			return err
		}); err != nil {
			l.stop()
			return err
		}
		for _, name := range names {
			if slices.Contains(first, name) {
				l.stop()
				return fmt.Errorf("helm %s: the pod %s is still the old one", args[0], name)
			}
		}
		first = names
	}
	if err := <-slow; err != nil {
		l.stop()
		return fmt.Errorf("a download that began before the rollouts: %w", err)
	}
	l.stop()
	if l.failed.Load() > 0 || l.sent.Load() < 500 {
		return fmt.Errorf("two rollouts: %d of %d requests failed, the first by: %v", l.failed.Load(), l.sent.Load(), l.first)
	}
	c.say("two rollouts (helm upgrade, helm rollback): %d requests through the Service, none lost; a download of 30 s ended whole", l.sent.Load())
	return c.run(helm, "uninstall", "yatagarasu", "-n", "files", "--wait")
}

// startOrigin starts an S3 server on the node, with a few objects.
func (c *cluster) startOrigin() error {
	folder := filepath.Join(c.dir, "s3")
	if err := os.MkdirAll(filepath.Join(folder, "demo"), 0o755); err != nil {
		return err
	}
	for name, text := range map[string][]byte{"small.txt": []byte(small), "large.bin": bytes.Repeat([]byte(small), largeSize/len(small))} {
		if err := os.WriteFile(filepath.Join(folder, "demo", name), text, 0o644); err != nil {
			return err
		}
	}
	return c.daemon("versitygw", "--quiet", "--access", "demo", "--secret", "demo-secret-key", "--port", nodeAddress+":7070", "posix", folder)
}

// The objects: the large one is more than sockets and pipes hold.
const (
	small     = "hello from S3\n"
	largeSize = 64 << 20
)

// serveName has pods find the Service by its name, as the cluster's DNS would.
func (c *cluster) serveName(address string) error {
	if err := c.run("ip", "address", "add", clusterDNS+"/32", "dev", "node0"); err != nil {
		return err
	}
	return c.daemon("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=root", "--bind-interfaces",
		"--listen-address="+clusterDNS, "--except-interface=lo", "--address=/yatagarasu.files.svc.cluster.local/"+address)
}

// podNames returns the names of the gateway's pods, also of those that are ending.
func (c *cluster) podNames() (names []string, err error) {
	pods, err := c.api(http.MethodGet, "/api/v1/namespaces/files/pods?labelSelector=app.kubernetes.io/name%3Dyatagarasu", nil)
	if err != nil {
		return nil, err
	}
	items, _ := pods.body["items"].([]any)
	for _, pod := range items {
		name, _ := field(pod, "metadata", "name").(string)
		names = append(names, name)
	}
	return names, nil
}

// pods says how the pods are.
func (c *cluster) pods() string {
	var out strings.Builder
	pods, err := c.api(http.MethodGet, "/api/v1/namespaces/files/pods", nil)
	if err != nil {
		return err.Error()
	}
	items, _ := pods.body["items"].([]any)
	for _, pod := range items {
		fmt.Fprintln(&out, field(pod, "metadata", "name"), field(pod, "status", "phase"), field(pod, "status", "containerStatuses"), field(pod, "status", "conditions"))
	}
	events, err := c.api(http.MethodGet, "/api/v1/namespaces/files/events", nil)
	if err != nil {
		return err.Error()
	}
	items, _ = events.body["items"].([]any)
	for _, event := range items[max(0, len(items)-10):] {
		fmt.Fprintln(&out, field(event, "reason"), field(event, "message"))
	}
	return out.String()
}

// load is requests that go on until they are stopped.
type load struct {
	stop         func()
	sent, failed atomic.Int64
	once         sync.Once
	first        error // guarded by once
}

// load has eight clients ask for the small object, one after another; half of them keep their
// connections.
func (c *cluster) load(url string) *load {
	ctx, cancel := context.WithCancel(c.ctx)
	l := &load{}
	var clients sync.WaitGroup
	l.stop = func() { cancel(); clients.Wait() }
	for i := range 8 {
		transport := c.client.Transport.(*http.Transport).Clone()
		transport.DisableKeepAlives = i%2 == 0
		client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
		clients.Go(func() { // ends with ctx
			defer client.CloseIdleConnections()
			for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
				l.sent.Add(1)
				if body, err := get(client, url+"small.txt", http.StatusOK); err != nil || body != small {
					l.failed.Add(1)
					l.once.Do(func() { l.first = fmt.Errorf("%w: %q", err, body) })
				}
			}
		})
	}
	return l
}

// slowDownload takes the large object over a span of time, evenly to its end: the last of it is in
// the socket of a pod that has nothing more to write.
func (c *cluster) slowDownload(url string, span time.Duration) error {
	client := &http.Client{Transport: c.client.Transport}
	r, err := client.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	const parts = 100
	var got int64
	for range parts {
		n, err := io.CopyN(io.Discard, r.Body, largeSize/parts)
		if got += n; err != nil {
			return fmt.Errorf("after %d bytes: %w", got, err)
		}
		time.Sleep(span / parts) // a slow client
	}
	rest, err := io.Copy(io.Discard, r.Body)
	if got += rest; err != nil || got != r.ContentLength {
		return fmt.Errorf("%d of %d bytes: %v", got, r.ContentLength, err)
	}
	return nil
}
