package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"yatagarasu/loadtest/process"
)

// cluster is a Kubernetes of one node, in namespaces of its own, for the length of a step.
type cluster struct {
	*trial
	pid      string // of its first process, which has its namespaces
	programs string // what Debian's packages have
	client   *http.Client
	daemons  []*process.Process
}

// Addresses in the cluster's network.
const (
	nodeAddress    = "192.168.77.1"
	podNetwork     = "10.244.0.0/24"
	serviceNetwork = "10.96.0.0/16"
	clusterDNS     = "10.96.0.10"
	// clusterToken is the administrator's, of a server that nobody else can reach.
	clusterToken = "administrator"
)

// namespaceScript makes the namespaces a machine of their own, and waits.
const namespaceScript = `
for folder in /run /var/log /var/lib/cni; do mkdir -p $folder; mount -t tmpfs tmpfs $folder; done
ip link set lo up
ip link add node0 type veth peer name outside
ip address add ` + nodeAddress + `/24 dev node0
ip link set node0 up
ip link set outside up
ip route add default dev node0
echo 1 > /proc/sys/net/ipv4/ip_forward
exec tini-static -- sleep infinity
`

// cluster starts a Kubernetes API server, with nothing else of a cluster yet.
func (t *trial) cluster() (*cluster, error) {
	if err := t.debian("runc", "iptables", "busybox=busybox-static", "ip=iproute2", "unshare=util-linux", "dnsmasq=dnsmasq-base", "openssl"); err != nil {
		return nil, err
	}
	if err := t.run("make", "-s", "kubernetes-programs"); err != nil {
		return nil, err
	}
	c := &cluster{trial: t, programs: filepath.Join(t.root, "bin", "kubernetes", "debian")}
	if err := t.unpack(c.programs, "etcd-server", "containerd", "containernetworking-plugins", "tini"); err != nil {
		return nil, err
	}
	// With its first process, all others of a namespace of processes end.
	cmd := t.command("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", namespaceScript)
	cmd.Env = c.environment()
	t.atEnd(func() error { // they end with the namespaces
		for _, p := range c.daemons {
			<-p.Done()
		}
		return nil
	})
	p, err := t.start(cmd)
	if err != nil {
		return nil, err
	}
	t.atEnd(func() error {
		pid, err := strconv.Atoi(c.pid)
		if err != nil || pid < 2 {
			return err
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	})
	if err := t.eventually(10*time.Second, func() error {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.Pid()))
		if c.pid = strings.TrimSpace(string(children)); err != nil || c.pid == "" {
			return errors.New("it has no process yet")
		}
		return c.command("ip", "route", "get", "1.1.1.1").Run()
	}); err != nil {
		return nil, fmt.Errorf("cannot make namespaces: %w: %s", err, p.Output())
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	c.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the server's certificate is its own
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			inNetworkOf(c.pid, func() { conn, err = dialer.DialContext(ctx, network, address) }, &err)
			return conn, err
		},
	}}
	return c, c.startServer()
}

// startServer starts etcd and the API server.
func (c *cluster) startServer() error {
	files := map[string]string{
		"tokens.csv": clusterToken + `,administrator,administrator,"system:masters"` + "\n",
		"kubeconfig": `{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
 "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443", "insecure-skip-tls-verify": true}}],
 "users": [{"name": "u", "user": {"token": "` + clusterToken + `"}}]}`,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := c.trial.run("openssl", "genrsa", "-out", filepath.Join(c.dir, "accounts.key"), "2048"); err != nil {
		return err
	}
	if err := c.daemon("etcd", "--data-dir", filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379", "--listen-peer-urls", "http://127.0.0.1:2380"); err != nil {
		return err
	}
	if err := c.daemon("kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--bind-address=127.0.0.1", "--secure-port=6443",
		"--advertise-address="+nodeAddress, "--cert-dir="+filepath.Join(c.dir, "certificates"), "--authorization-mode=RBAC",
		"--token-auth-file="+filepath.Join(c.dir, "tokens.csv"), "--service-cluster-ip-range="+serviceNetwork, "--allow-privileged",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+filepath.Join(c.dir, "accounts.key"), "--service-account-signing-key-file="+filepath.Join(c.dir, "accounts.key")); err != nil {
		return err
	}
	return c.eventually(2*time.Minute, func() error {
		_, err := c.api(http.MethodGet, "/readyz", nil)
		return err
	})
}

// environment is that of what runs in the cluster's namespaces.
func (c *cluster) environment() []string {
	path := strings.Join([]string{filepath.Join(c.root, "bin", "kubernetes"), filepath.Join(c.root, "bin"), c.programs + "/usr/bin", c.programs + "/usr/sbin", os.Getenv("PATH"), "/usr/sbin", "/sbin"}, ":")
	return append(os.Environ(), "PATH="+path, "KUBECONFIG="+filepath.Join(c.dir, "kubeconfig"), "HOME="+c.dir)
}

// command returns a command that runs on the node.
func (c *cluster) command(name string, args ...string) *exec.Cmd {
	cmd := c.trial.command("nsenter", append([]string{"-t", c.pid, "-m", "-n", "-p", "--", "env", "-C", c.root, name}, args...)...)
	cmd.Env = c.environment()
	return cmd
}

// run runs such a command to its end.
func (c *cluster) run(name string, args ...string) error {
	_, err := c.output(c.command(name, args...))
	return err
}

// daemon starts a program of the node, with a log of its own.
func (c *cluster) daemon(name string, args ...string) error {
	log, err := os.Create(filepath.Join(c.dir, name+".log"))
	if err != nil {
		return err
	}
	cmd := c.command(name, args...)
	cmd.Stdout, cmd.Stderr = nil, nil
	p, err := process.StartCommand(cmd, log)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	c.daemons = append(c.daemons, p)
	c.ends = slices.Insert(c.ends, 0, log.Close)
	return nil
}

// answer is one of the API server's.
type answer struct {
	body     map[string]any
	warnings []string
}

// api asks the API server. A body goes as JSON.
func (c *cluster) api(method, path string, body any) (*answer, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(c.ctx, method, "https://127.0.0.1:6443"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+clusterToken)
	r.Header.Set("Content-Type", "application/json")
	got, err := c.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	if text, err = io.ReadAll(got.Body); err != nil {
		return nil, err
	}
	if got.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %s: %.500s", method, path, got.Status, text)
	}
	a := &answer{warnings: got.Header.Values("Warning")}
	if path != "/readyz" {
		err = json.Unmarshal(text, &a.body)
	}
	return a, err
}
