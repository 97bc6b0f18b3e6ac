package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// packageScript runs in the booted system.
//
//go:embed package.sh
var packageScript []byte

// tryPackage builds two versions of the packages, looks at them, and has packageScript install,
// upgrade and remove them on a system that runs systemd.
func tryPackage(t *trial) error {
	if err := t.debian("lintian", "mandoc"); err != nil {
		return err
	}
	built := make(map[string]string) // by version and format
	for _, b := range []struct{ name, version, as string }{{"1.0.0", "v1.0.0", "umask 022"}, {"again", "v1.0.0", "umask 077; export TZ=Asia/Tokyo; touch deploy/package/*"}, {"1.0.1", "v1.0.1", "umask 022"}} {
		into := filepath.Join(t.dir, b.name)
		if err := t.run("sh", "-c", b.as+`; exec make -s packages PACKAGES="$1" VERSION="$2"`, "-", into, b.version); err != nil {
			return err
		}
		files, err := filepath.Glob(filepath.Join(into, "*.*"))
		if err != nil || len(files) != 3 {
			return fmt.Errorf("make packages makes %q, not a deb, an rpm and an apk; %v", files, err)
		}
		for _, file := range files {
			built[b.name+filepath.Ext(file)] = file
		}
	}
	for _, format := range []string{".deb", ".rpm", ".apk"} {
		first, err := os.ReadFile(built["1.0.0"+format])
		if err != nil {
			return err
		}
		if again, err := os.ReadFile(built["again"+format]); err != nil || !bytes.Equal(first, again) {
			return fmt.Errorf("%s and %s differ; %v", built["1.0.0"+format], built["again"+format], err)
		}
		t.say("%s: %.1f MB, twice the same bytes", filepath.Base(built["1.0.0"+format]), float64(len(first))/1e6)
	}
	if err := t.run("lintian", "--allow-root", "--fail-on", "error,warning", built["1.0.0.deb"]); err != nil {
		return err
	}
	if err := t.run("sh", "-c", `dpkg-deb --fsys-tarfile "$1" | tar -xO ./usr/share/man/man8/yatagarasu.8.gz | gunzip | mandoc -T lint -W warning`, "-", built["1.0.0.deb"]); err != nil {
		return err
	}
	files := map[string][]byte{"trial.sh": packageScript}
	for _, name := range []string{"1.0.0.deb", "1.0.1.deb", "1.0.0.rpm", "1.0.1.rpm"} {
		content, err := os.ReadFile(built[name])
		if err != nil {
			return err
		}
		files[name] = content
	}
	return t.boot(files, filepath.Join(t.root, "bin", "versitygw"))
}

// debianPackages are what the booted system has beyond the smallest Debian.
const debianPackages = "systemd,systemd-sysv,dbus,curl,procps,logrotate,rpm,wrk"

// debianRoot returns a folder with a small Debian, which is made once. It is for reading alone.
func (t *trial) debianRoot() (string, error) {
	root := filepath.Join(t.root, "bin", "ship", "debian")
	stamp := filepath.Join(root, "var", "packages")
	if have, err := os.ReadFile(stamp); err == nil && string(have) == debianPackages {
		return root, nil
	}
	if err := os.RemoveAll(root); err != nil {
		return "", err
	}
	t.say("making a small Debian in %s, once", root)
	if err := t.run("debootstrap", "--variant=minbase", "--include="+debianPackages, "bookworm", root); err != nil {
		return "", err
	}
	return root, os.WriteFile(stamp, []byte(debianPackages), 0o644)
}

// boot boots a small Debian with a network of its own, whose changes are forgotten, and runs
// trial.sh of files there. Files are in /trial, and programs in /usr/local/bin. A line of the
// script's output that begins with "FACT " is a fact, and with "FAILED: " the reason.
func (t *trial) boot(files map[string][]byte, programs ...string) error {
	if err := t.debian("debootstrap", "systemd-nspawn=systemd-container"); err != nil {
		return err
	}
	root, err := t.debianRoot()
	if err != nil {
		return err
	}
	shared := filepath.Join(t.dir, "trial")
	if err := os.Mkdir(shared, 0o755); err != nil {
		return err
	}
	files["trial.service"] = []byte(trialUnit)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(shared, name), content, 0o644); err != nil {
			return err
		}
	}
	// In processes' names of its own, all of it dies with this process, however that ends.
	args := []string{"--pid", "--fork", "--kill-child", "--mount-proc", "systemd-nspawn", "-D", root, "--volatile=overlay", "--register=no", "--keep-unit", "--private-network",
		"--bind=" + shared + ":/trial", "--bind-ro=" + filepath.Join(shared, "trial.service") + ":/etc/systemd/system/trial.service"}
	for _, program := range programs {
		args = append(args, "--bind-ro="+program+":/usr/local/bin/"+filepath.Base(program))
	}
	t.atEnd(func() error { // empty groups that nspawn leaves; those in use stay
		return t.run("sh", "-c", "find /sys/fs/cgroup -maxdepth 4 -depth \\( -path '*/payload' -o -path '*/payload/*' -o -name supervisor \\) -type d -exec rmdir {} + 2>/dev/null || true")
	})
	ctx, cancel := context.WithTimeout(t.ctx, 5*time.Minute)
	defer cancel()
	p, err := t.start(t.command("unshare", append(args, "-b", "systemd.wants=trial.service")...))
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Kill()
		err = context.Cause(ctx)
	}
	output, readErr := os.ReadFile(filepath.Join(shared, "output"))
	t.log.Write(output)
	failed := ""
	for line := range strings.Lines(string(output)) {
		if fact, ok := strings.CutPrefix(line, "FACT "); ok {
			t.say("%s", strings.TrimSpace(fact))
		}
		if why, ok := strings.CutPrefix(line, "FAILED: "); ok && failed == "" {
			failed = strings.TrimSpace(why)
		}
	}
	if err == nil && (readErr != nil || p.ExitCode() != 0) {
		err = fmt.Errorf("the trial in the booted system: exit code %d: %s; the console: %s", p.ExitCode(), failed, p.Output())
	}
	return err
}

// trialUnit ends the booted system with the exit code of trial.sh.
const trialUnit = `[Unit]
SuccessAction=exit
FailureAction=exit

[Service]
Type=oneshot
ExecStart=/bin/bash -eux /trial/trial.sh
StandardOutput=file:/trial/output
StandardError=inherit
TimeoutStartSec=240
`
