package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// gatewayImage is the chart's image, without its version, as the step makes it.
const gatewayImage = "ghcr.io/yatagarasu/yatagarasu:"

// nodeFiles are the settings of what runs on a node. $DIR is the step's folder, $PROGRAMS that of
// Debian's packages.
var nodeFiles = map[string]string{
	"containerd.toml": `version = 2
root = "$DIR/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$PROGRAMS/usr/lib/cni"
    conf_dir = "$DIR/cni"
`,
	"cni/10-bridge.conflist": `{"cniVersion": "0.4.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": {"type": "host-local", "subnet": "` + podNetwork + `"}},
 {"type": "portmap", "capabilities": {"portMappings": true}}]}
`,
	"kubelet.yaml": `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: ` + nodeGroup + `
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
clusterDNS: [` + clusterDNS + `]
clusterDomain: cluster.local
resolvConf: /dev/null
volumePluginDir: $DIR/plugins
evictionHard: {memory.available: 1Mi, nodefs.available: 0%, imagefs.available: 0%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
`,
	"kube-proxy.yaml": `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
bindAddress: 127.0.0.1
metricsBindAddress: 127.0.0.1:10249
hostnameOverride: node
clusterCIDR: ` + podNetwork + `
clientConnection: {kubeconfig: "$DIR/kubeconfig"}
iptables: {masqueradeAll: true, syncPeriod: 10s, minSyncPeriod: 100ms}
# The kernel's table of connections is the machine's, and stays as it is.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`,
}

// nodeGroup has the control groups of all pods.
const nodeGroup = "/ship-kubernetes"

// startNode adds a node to the cluster, and what assigns pods to it.
func (c *cluster) startNode() error {
	fill := strings.NewReplacer("$DIR", c.dir, "$PROGRAMS", c.programs)
	for name, text := range nodeFiles {
		path := filepath.Join(c.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(fill.Replace(text)), 0o644); err != nil {
			return err
		}
	}
	if err := c.makeGroups(); err != nil {
		return err
	}
	if err := c.daemon("containerd", "--config", filepath.Join(c.dir, "containerd.toml")); err != nil {
		return err
	}
	if err := c.images(); err != nil {
		return err
	}
	kubeconfig := "--kubeconfig=" + filepath.Join(c.dir, "kubeconfig")
	if err := errors.Join(
		c.daemon("kube-controller-manager", kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1", "--cert-dir="+filepath.Join(c.dir, "controller"),
			"--service-account-private-key-file="+filepath.Join(c.dir, "accounts.key"), "--root-ca-file="+filepath.Join(c.dir, "certificates", "apiserver.crt")),
		c.daemon("kube-scheduler", kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1", "--cert-dir="+filepath.Join(c.dir, "scheduler")),
		c.daemon("kubelet", kubeconfig, "--config="+filepath.Join(c.dir, "kubelet.yaml"), "--root-dir="+filepath.Join(c.dir, "kubelet"),
			"--cert-dir="+filepath.Join(c.dir, "kubelet-certificates"), "--hostname-override=node", "--node-ip="+nodeAddress),
	); err != nil {
		return err
	}
	if err := c.eventually(2*time.Minute, func() error {
		node, err := c.api(http.MethodGet, "/api/v1/nodes/node", nil)
		if err != nil {
			return err
		}
		conditions, _ := field(node.body, "status", "conditions").([]any)
		for _, condition := range conditions {
			if field(condition, "type") == "Ready" && field(condition, "status") == "True" {
				return nil
			}
		}
		return fmt.Errorf("the node is not ready: %v", conditions)
	}); err != nil {
		return err
	}
	return c.daemon("kube-proxy", "--config="+filepath.Join(c.dir, "kube-proxy.yaml"))
}

// field returns what is below the keys of tree, nil if nothing is.
func field(tree any, keys ...string) any {
	for _, key := range keys {
		m, _ := tree.(map[string]any)
		tree = m[key]
	}
	return tree
}

// makeGroups makes the control groups of pods, and has them removed.
func (c *cluster) makeGroups() error {
	roots, err := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	if err != nil {
		return err
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil { // version 2 has one tree
		roots = []string{"/sys/fs/cgroup/cgroup.procs"}
	}
	var groups []string
	for _, root := range roots {
		groups = append(groups, filepath.Join(filepath.Dir(root), nodeGroup))
	}
	remove := func() error {
		var folders []string
		for _, group := range groups {
			filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					folders = append(folders, path)
				}
				return nil
			})
		}
		var errs []error
		for _, folder := range slices.Backward(folders) {
			errs = append(errs, os.Remove(folder))
		}
		return errors.Join(errs...)
	}
	if err := remove(); err != nil { // what a killed step left
		return err
	}
	// When the namespaces have ended, which takes what runs in them a moment.
	c.ends = slices.Insert(c.ends, 0, func() error {
		c.trial.ctx = context.WithoutCancel(c.trial.ctx)
		return c.eventually(10*time.Second, remove)
	})
	for _, group := range groups {
		if err := os.MkdirAll(group, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// images puts the images of pods and of the gateway where the node finds them. In them is what is in
// those of the registries: a program that waits, and the gateway with the numeric user.
func (c *cluster) images() error {
	gateway := filepath.Join(c.dir, "yatagarasu")
	version, err := newestVersion(c.root) // that of the chart: TestVersions
	if err != nil {
		return err
	}
	build := c.trial.command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=v"+version, "-o", gateway, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if _, err := c.output(build); err != nil {
		return err
	}
	busybox, err := c.output(c.command("sh", "-c", "command -v busybox"))
	if err != nil {
		return err
	}
	for _, i := range []image{
		{"registry.k8s.io/pause:3.10", "65535:65535", []string{"/busybox", "sleep", "infinity"}, map[string]string{"busybox": busybox}},
		{gatewayImage + version, "65532:65532", []string{"/yatagarasu"}, map[string]string{"yatagarasu": gateway}},
	} {
		path := filepath.Join(c.dir, "image.tar")
		if err := i.write(path); err != nil {
			return err
		}
		if err := c.eventually(20*time.Second, func() error {
			return c.run("ctr", "-a", "/run/containerd/containerd.sock", "-n", "k8s.io", "images", "import", path)
		}); err != nil {
			return err
		}
	}
	return nil
}
