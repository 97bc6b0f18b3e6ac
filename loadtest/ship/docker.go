package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
)

// engine is a Docker daemon in namespaces of its own, for the length of a step. Its images and
// what was built stay in bin/ship/docker for the next step.
type engine struct {
	*trial
	pid string   // of its first process, which has its namespaces
	env []string // of commands

	programs string // the folder of the unpacked packages
}

// bridge is the daemon's machine, as containers see it.
const bridge = "172.17.0.1"

// engineScript makes the namespaces a machine of their own, with a /run of its own and an /etc
// that keeps nothing, and becomes the daemon.
const engineScript = `
mount -t tmpfs tmpfs /run
mkdir /run/etc /run/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work overlay /etc
ip link set lo up
sysctl -qw net.ipv4.ip_forward=1
exec dockerd --bip "$BRIDGE/16" --data-root "$DATA" --storage-driver overlay2 \
	--default-ulimit nofile=20000:20000 --default-ulimit nproc=32768:32768 \
	--default-cgroupns-mode host --cgroup-parent "$GROUP"
`

// engine starts a Docker daemon, without containers.
func (t *trial) engine() (*engine, error) {
	if err := t.debian("runc", "iptables", "busybox=busybox-static", "ip=iproute2", "unshare=util-linux"); err != nil {
		return nil, err
	}
	bin, err := filepath.EvalSymlinks(filepath.Join(t.root, "bin")) // a root file system has no link in its path
	if err != nil {
		return nil, err
	}
	home := filepath.Join(bin, "ship", "docker")
	programs := filepath.Join(home, "programs")
	if err := t.unpack(programs, "docker.io", "containerd", "tini"); err != nil {
		return nil, err
	}
	e := &engine{trial: t, programs: programs, env: append(os.Environ(), fmt.Sprintf("PATH=%[1]s/usr/bin:%[1]s/usr/sbin:%s:/usr/sbin:/sbin", programs, os.Getenv("PATH")))}
	group := "/ship-" + filepath.Base(t.dir)
	if err := delegateGroups(); err != nil {
		return nil, err
	}
	// With its first process, all others of a namespace of processes end.
	cmd := t.command("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", programs+"/usr/bin/tini-static", "--", "sh", "-ec", engineScript)
	cmd.Env = append(e.env, "DATA="+filepath.Join(home, "data"), "GROUP="+group, "BRIDGE="+bridge)
	log, err := os.Create(filepath.Join(t.dir, "dockerd.log"))
	if err != nil {
		return nil, err
	}
	t.atEnd(log.Close)
	t.atEnd(func() error { return removeGroups(group) })
	cmd.Stdout = log
	p, err := t.start(cmd)
	if err != nil {
		return nil, err
	}
	t.atEnd(e.stop(p.Done()))
	ctx, cancel := context.WithTimeout(t.ctx, 30*time.Second)
	defer cancel()
	err = p.Await(ctx, 100*time.Millisecond, func() error {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.Pid()))
		if e.pid = strings.TrimSpace(string(children)); err != nil || e.pid == "" {
			return errors.New("it has no process yet")
		}
		return e.command("docker", "version").Run()
	})
	if err != nil {
		return nil, fmt.Errorf("cannot start a Docker daemon, see %s: %w", log.Name(), err)
	}
	return e, e.clear()
}

// stop returns what ends the daemon, of which done says when it has ended.
func (e *engine) stop(done <-chan struct{}) func() error {
	return func() error {
		select {
		case <-done:
			return errors.New("the Docker daemon has ended before its step")
		default:
		}
		e.ctx = context.WithoutCancel(e.ctx) // an interrupted step leaves nothing behind, either
		err := e.clear()
		if pid, _ := strconv.Atoi(e.pid); pid > 1 {
			err = errors.Join(err, syscall.Kill(pid, syscall.SIGTERM))
		}
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			err = errors.Join(err, errors.New("the Docker daemon does not stop"))
		}
		return err
	}
}

// clear removes the containers, networks and volumes of this step, and of one that was killed.
func (e *engine) clear() error {
	return e.run("sh", "-c", `docker ps -aq | xargs -r docker rm -fv && docker network prune -f && docker volume prune -f`)
}

// delegateGroups lets control groups of version 2 be made below this container's: their controllers
// cannot be passed on while processes are in the group itself. Elsewhere it does nothing. See
// cgroups(7), "no internal processes".
func delegateGroups() error {
	const root = "/sys/fs/cgroup/"
	controllers, err := os.ReadFile(root + "cgroup.controllers")
	if err != nil {
		return nil // version 1
	}
	if passed, err := os.ReadFile(root + "cgroup.subtree_control"); err != nil || strings.Contains(string(passed), "memory") {
		return err
	}
	if err := os.MkdirAll(root+"ship-processes", 0o755); err != nil {
		return err
	}
	processes, err := os.ReadFile(root + "cgroup.procs")
	if err != nil {
		return err
	}
	for pid := range strings.FieldsSeq(string(processes)) {
		if err := os.WriteFile(root+"ship-processes/cgroup.procs", []byte(pid), 0); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return os.WriteFile(root+"cgroup.subtree_control", []byte("+"+strings.Join(strings.Fields(string(controllers)), " +")), 0)
}

// removeGroups removes the control groups of this name, which a daemon leaves.
func removeGroups(name string) error {
	roots, err := filepath.Glob("/sys/fs/cgroup/*" + name)
	for _, root := range append(roots, "/sys/fs/cgroup"+name) {
		var folders []string
		filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				folders = append(folders, path)
			}
			return nil
		})
		for _, folder := range slices.Backward(folders) {
			err = errors.Join(err, os.Remove(folder))
		}
	}
	return err
}

// command returns a command that runs where the daemon does.
func (e *engine) command(name string, args ...string) *exec.Cmd {
	cmd := e.trial.command("nsenter", append([]string{"-t", e.pid, "-m", "-n", "-p", "--", "env", "-C", e.root, name}, args...)...)
	cmd.Env = e.env
	cmd.WaitDelay = 2 * time.Second // after nsenter: its child ends with the namespaces at the latest
	return cmd
}

// run runs such a command to its end.
func (e *engine) run(name string, args ...string) error {
	_, err := e.output(e.command(name, args...))
	return err
}

// client returns a client of what listens in the daemon's network.
func (e *engine) client() *http.Client {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	return &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			inNetworkOf(e.pid, func() { c, err = dialer.DialContext(ctx, network, address) }, &err)
			return c, err
		},
	}}
}
