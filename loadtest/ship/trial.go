package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"yatagarasu/loadtest/process"
)

// trial is what a step has while it runs.
type trial struct {
	ctx  context.Context
	root string   // of the module
	dir  string   // the step's own, empty at its start
	log  *os.File // what its commands print
	ends []func() error

	installing *sync.Mutex // held while something is installed: all steps share the places
}

// open makes the step's folder and log.
func (t *trial) open() error {
	if err := os.RemoveAll(t.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(t.dir, 0o755); err != nil {
		return err
	}
	log, err := os.Create(t.dir + ".log")
	t.log = log
	return err
}

// atEnd has end called at the end of the step, the latest first.
func (t *trial) atEnd(end func() error) { t.ends = append(t.ends, end) }

// close ends what the step started.
func (t *trial) close() error {
	var errs []error
	for _, end := range slices.Backward(t.ends) {
		errs = append(errs, end())
	}
	return errors.Join(append(errs, t.log.Close())...)
}

// say prints a figure or a fact that the step found.
func (t *trial) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Printf("     %-12s %s\n", filepath.Base(t.dir), text)
	fmt.Fprintf(t.log, "== %s\n", text)
}

// command returns a command in the module's folder whose output goes to the log.
func (t *trial) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.root, t.log, t.log
	return cmd
}

// run runs a command to its end. The error has the end of what it wrote.
func (t *trial) run(name string, args ...string) error {
	_, err := t.output(t.command(name, args...))
	return err
}

// output runs a command of the trial, and returns what it wrote to standard output.
func (t *trial) output(cmd *exec.Cmd) (string, error) {
	fmt.Fprintf(t.log, "$ %s\n", strings.Join(cmd.Args, " "))
	var out, all bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(t.log, &out, &all), io.MultiWriter(t.log, &all)
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(all.String()), "\n")
		return out.String(), fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, strings.Join(lines[max(0, len(lines)-5):], "\n"))
	}
	return out.String(), nil
}

// start starts a command that is ended with the step.
func (t *trial) start(cmd *exec.Cmd) (*process.Process, error) {
	fmt.Fprintf(t.log, "$ %s &\n", strings.Join(cmd.Args, " "))
	out := cmd.Stdout
	cmd.Stdout, cmd.Stderr = nil, nil
	p, err := process.StartCommand(cmd, out)
	if err == nil {
		t.atEnd(func() error { return p.Stop(20 * time.Second) })
	}
	return p, err
}

// debian installs those Debian packages of which the program is not there. Names are
// "program=package", or the package alone if they are the same.
func (t *trial) debian(names ...string) error {
	var missing []string
	for _, name := range names {
		program, pkg, ok := strings.Cut(name, "=")
		if !ok {
			pkg = program
		}
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	t.installing.Lock()
	defer t.installing.Unlock()
	// What is installed for a trial does not start by itself: see invoke-rc.d(8).
	const policy = "/usr/sbin/policy-rc.d"
	if _, err := os.Stat(policy); err != nil {
		if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
			return fmt.Errorf("cannot install %q: %w; run it as root, or install them", missing, err)
		}
		defer os.Remove(policy)
	}
	return t.apt("", "install -y -qq --no-install-recommends", missing)
}

// apt fetches the lists of Debian's packages, and has apt-get do something with some of them, in a
// folder; empty: in any. t.installing is held.
func (t *trial) apt(folder, do string, packages []string) error {
	const retries = "Acquire::Retries=3"
	if err := t.run("apt-get", "update", "-qq", "-o", retries); err != nil {
		return err
	}
	get := t.command("apt-get", slices.Concat([]string{"-o", retries}, strings.Fields(do), packages)...)
	get.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if folder != "" {
		get.Dir = folder
	}
	_, err := t.output(get)
	return err
}

// unpack makes a folder with the files of Debian packages, unless it is there. They are not
// installed: nothing is started by itself.
func (t *trial) unpack(folder string, packages ...string) error {
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	t.installing.Lock()
	defer t.installing.Unlock()
	part := folder + ".part"
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(part, 0o755), t.apt(part, "download", packages)); err != nil {
		return err
	}
	if err := t.run("sh", "-ec", `for f in "$1"/*.deb; do dpkg-deb -x "$f" "$1"; rm "$f"; done`, "-", part); err != nil {
		return err
	}
	return os.Rename(part, folder)
}

// tool returns the path of a pinned tool, which make installs.
func (t *trial) tool(name string) (string, error) {
	t.installing.Lock()
	defer t.installing.Unlock()
	return filepath.Join(t.root, "bin", name), t.run("make", "-s", "tool-"+name)
}

// pypi installs the pinned Python packages of requirements.txt once, and returns the path of
// one of their programs.
func (t *trial) pypi(program string) (string, error) {
	wanted := filepath.Join(t.root, "loadtest", "ship", "requirements.txt")
	venv := filepath.Join(t.root, "bin", "python")
	path, stamp := filepath.Join(venv, "bin", program), filepath.Join(venv, "requirements.txt")
	want, err := os.ReadFile(wanted)
	if err != nil {
		return "", err
	}
	installed := func() bool {
		have, err := os.ReadFile(stamp)
		return err == nil && bytes.Equal(have, want)
	}
	if installed() {
		return path, nil
	}
	if err := t.debian("python3", "pip3=python3-pip", "python3-venv"); err != nil {
		return "", err
	}
	t.installing.Lock()
	defer t.installing.Unlock()
	if installed() { // by another step, meanwhile
		return path, nil
	}
	for _, args := range [][]string{{"python3", "-m", "venv", "--clear", venv}, {filepath.Join(venv, "bin", "pip"), "install", "-q", "-r", wanted}} {
		if err := t.run(args[0], args[1:]...); err != nil {
			return "", err
		}
	}
	return path, os.WriteFile(stamp, want, 0o644)
}

// eventually calls ready until it returns nil, for at most limit.
func (t *trial) eventually(limit time.Duration, ready func() error) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) { // other processes tell nobody
		err := ready()
		if err == nil || t.ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
	}
}

// get asks for a URL, and returns an error unless the status is the one wanted.
func get(client *http.Client, url string, want int, header ...string) (body string, err error) {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	if answer.StatusCode != want {
		return "", fmt.Errorf("%s answers %d, not %d: %.300s", url, answer.StatusCode, want, b)
	}
	return string(b), nil
}
