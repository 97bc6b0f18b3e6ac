package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	imageName    = "ghcr.io/yatagarasu/yatagarasu:latest"
	maxImageSize = 15_000_000
	buildImage   = "golang:1.26-bookworm" // of the Dockerfile
)

// image tries the container image as docs/DOCKER.md says how to run it.
func (t *trial) image() error {
	hadolint, err := t.pypi("hadolint")
	if err == nil {
		err = t.run(hadolint, "Dockerfile")
	}
	if err != nil {
		return err
	}
	e, err := t.engine()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := e.buildImage(); err != nil {
		return err
	}
	took := time.Since(begin)
	var images []struct {
		Size   int
		Config struct {
			User        string
			Healthcheck *struct{ Test []string }
			Labels      map[string]string
		}
	}
	out, err := e.output(e.command("docker", "image", "inspect", imageName))
	if err = errors.Join(err, json.Unmarshal([]byte(out), &images)); err != nil {
		return err
	}
	image := images[0]
	e.say("the image has %.1f MB; built in %s", float64(image.Size)/1e6, took.Round(time.Second))
	user, _, _ := strings.Cut(image.Config.User, ":")
	id, idErr := strconv.Atoi(user)
	switch {
	case image.Size > maxImageSize:
		return fmt.Errorf("the image has %d bytes, and %d are the most", image.Size, maxImageSize)
	case idErr != nil || id == 0:
		return fmt.Errorf("the image's user is %q: Kubernetes' runAsNonRoot wants a number that is not 0", image.Config.User)
	case image.Config.Healthcheck == nil:
		return errors.New("the image has no HEALTHCHECK")
	case image.Config.Labels["org.opencontainers.image.version"] == "dev":
		return errors.New("`make image` gives the image no version")
	}
	if err := e.runImage(); err != nil {
		return err
	}
	if err := e.runReadme(); err != nil {
		return fmt.Errorf("as README.md says: %w", err)
	}
	return e.brokenImage()
}

// runImage runs the image by the configuration and the command of docs/DOCKER.md, word for word
// but for the endpoint, in front of an S3 server on the daemon's machine.
func (e *engine) runImage() error {
	const body = "Three legs, and knows the way.\n"
	page, err := os.ReadFile(filepath.Join(e.root, "docs", "DOCKER.md"))
	if err != nil {
		return err
	}
	config, command := codeBlock(string(page), "yaml"), codeBlock(string(page), "sh")
	command, _, _ = strings.Cut(command, "curl ")
	bucket := filepath.Join(e.dir, "objects", "my-assets")
	const licences = "/usr/share/doc/yatagarasu/licences.txt"
	if err := errors.Join(os.MkdirAll(bucket, 0o755), os.Mkdir(filepath.Join(e.dir, "meta"), 0o755),
		os.WriteFile(filepath.Join(bucket, "crow.txt"), []byte(body), 0o644),
		os.WriteFile(filepath.Join(e.dir, "config.yaml"), []byte(strings.Replace(config, `#endpoint: "https://minio.example.com:9000"`, `endpoint: "http://`+bridge+`:7070"`, 1)), 0o644),
		os.WriteFile(filepath.Join(e.dir, "s3.env"), []byte("S3_ACCESS_KEY=demo\nS3_SECRET_KEY=demo-secret-key\n"), 0o600)); err != nil {
		return err
	}
	s3 := e.command("env", "ROOT_ACCESS_KEY_ID=demo", "ROOT_SECRET_ACCESS_KEY=demo-secret-key",
		filepath.Join(e.root, "bin", "versitygw"), "--quiet", "--region", "eu-central-1", "--port", ":7070", "posix", "--sidecar", filepath.Join(e.dir, "meta"), filepath.Dir(bucket))
	if _, err := e.start(s3); err != nil {
		return err
	}
	if err := e.run("sh", "-ec", "cd "+e.dir+"; "+command); err != nil {
		return err
	}
	if err := e.healthy("yatagarasu"); err != nil {
		return err
	}
	got, err := get(e.client(), "http://127.0.0.1:8080/assets/crow.txt", 200)
	if err != nil {
		return err
	}
	if got != body {
		return fmt.Errorf("the object is %q, not %q", got, body)
	}
	if _, err := get(e.client(), "http://127.0.0.1:9090/metrics", 200); err != nil {
		return err
	}
	if err := e.run("docker", "exec", "yatagarasu", "yatagarasu", "-config", "/etc/yatagarasu/config.yaml", "-probe=ready"); err != nil {
		return err
	}
	if err := e.run("sh", "-ec", "docker cp yatagarasu:"+licences+" - | grep -q '^== github.com/valyala/fasthttp v'"); err != nil {
		return fmt.Errorf("the licences of what is linked into the program are not in the image: %w", err)
	}
	if e.command("docker", "exec", "yatagarasu", "sh", "-c", "exit 0").Run() == nil {
		return errors.New("the image has a shell")
	}
	return e.stopContainer("yatagarasu", 3) // it starts, serves and stops
}

// runReadme runs the image by the README's configuration and command, word for word, in front of
// the server of runImage.
func (e *engine) runReadme() error {
	text, err := os.ReadFile(filepath.Join(e.root, "README.md"))
	if err != nil {
		return err
	}
	config, _ := configOf(string(text))
	config = strings.ReplaceAll(config, "127.0.0.1:7070", bridge+":7070")
	commands := ""
	for _, block := range startBlock.FindAllStringSubmatch(string(text), -1) {
		if block[1] == "image" {
			commands = block[2]
		}
	}
	bucket := filepath.Join(e.dir, "objects", "my-bucket")
	if err := errors.Join(os.MkdirAll(bucket, 0o755), os.WriteFile(filepath.Join(bucket, "a.png"), []byte("a picture"), 0o644), os.WriteFile(filepath.Join(e.dir, "config.yaml"), []byte(config), 0o644)); err != nil {
		return err
	}
	run := e.command("sh", "-ec", "cd "+e.dir+"\n"+commands)
	run.Env = append(run.Env, "AWS_ACCESS_KEY_ID=demo", "AWS_SECRET_ACCESS_KEY=demo-secret-key")
	p, err := e.start(run)
	if err != nil {
		return err
	}
	if err := e.eventually(20*time.Second, func() error {
		_, err := get(e.client(), "http://127.0.0.1:8080/products/a.png", 200)
		return err
	}); err != nil {
		return errors.Join(err, errors.New(p.Output()))
	}
	if err := e.run("sh", "-ec", "docker stop $(docker ps -q --filter ancestor="+imageName+")"); err != nil {
		return err
	}
	<-p.Done()
	if code := p.ExitCode(); code != 0 {
		return fmt.Errorf("exit code %d: %s", code, p.Output())
	}
	return nil
}

// codeBlock returns the first code block of a language on a page.
func codeBlock(page, language string) string {
	_, block, _ := strings.Cut(page, "\n```"+language+"\n")
	block, _, _ = strings.Cut(block, "\n```\n")
	return block + "\n"
}

// brokenImage runs the image without a configuration: it must say what is missing.
func (e *engine) brokenImage() error {
	out, err := e.output(e.command("sh", "-c", "docker run --rm "+imageName+" 2>&1"))
	if err == nil || !strings.Contains(out, "/etc/yatagarasu/config.yaml") {
		return fmt.Errorf("without a configuration the image says: %s", out)
	}
	return nil
}

// healthy waits until the container's health check says that it is well. The error has the last
// that the container said.
func (e *engine) healthy(name string) error {
	err := e.eventually(time.Minute, func() error {
		state, err := e.inspect(name, "{{.State.Status}} {{.State.Health.Status}}")
		if err == nil && state != "running healthy" {
			err = fmt.Errorf("%s is %s", name, state)
		}
		return err
	})
	if err == nil {
		return nil
	}
	said, logsErr := e.output(e.command("sh", "-c", "docker logs -n 5 "+name+" 2>&1"))
	return errors.Join(err, errors.New(said), logsErr)
}

// stopContainer stops a container, which must end with 0. All that it wrote must be JSON, in
// that many lines or more.
func (e *engine) stopContainer(name string, lines int) error {
	if err := e.run("docker", "stop", "-t", "45", name); err != nil {
		return err
	}
	if code, err := e.inspect(name, "{{.State.ExitCode}}"); err != nil || code != "0" {
		return fmt.Errorf("%s ends with %s, %v", name, code, err)
	}
	out, err := e.output(e.command("sh", "-c", "docker logs "+name+" 2>&1"))
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(out) {
		if !json.Valid([]byte(line)) {
			return fmt.Errorf("%s logs a line that is no JSON: %s", name, line)
		}
		n++
	}
	if n < lines {
		return fmt.Errorf("%s logs %d lines, and not %d or more", name, n, lines)
	}
	return nil
}

// buildImage builds the image of this tree by `make image`, without a network. What the
// Dockerfile builds it in comes from this machine, as no registry is asked.
func (e *engine) buildImage() error {
	if err := e.importBuildImage(); err != nil {
		return err
	}
	return e.run("make", "-s", "image", "IMAGE_FLAGS=--network=none --pull=false")
}

// importBuildImage makes the stand-in for the official Go image: the machine's Go, a shell, the
// authorities, and the modules that the program needs as a proxy in a folder.
func (e *engine) importBuildImage() error {
	goEnv, err := e.output(e.trial.command("go", "env", "GOROOT", "GOMODCACHE", "GOVERSION"))
	if err != nil {
		return err
	}
	fields := strings.Fields(goEnv)
	goRoot, modules, version := fields[0], fields[1], fields[2]
	sum, err := os.ReadFile(filepath.Join(e.root, "go.sum"))
	if err != nil {
		return err
	}
	is := fmt.Sprintf("%s %x", version, sha256.Sum256(sum))
	if has, _ := e.inspect(buildImage, `{{index .Config.Labels "is"}}`); has == is {
		return nil
	}
	// Looking at the packages fetches the modules that they are from, and no others.
	list := e.trial.command("go", "list", "-deps", ".")
	list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-modcacherw", "GOSUMDB=off",
		"GOPROXY=file://"+filepath.Join(modules, "cache", "download"), "GOMODCACHE="+filepath.Join(e.dir, "modules"))
	if _, err := e.output(list); err != nil {
		return err
	}
	return e.run("sh", "-ec", fmt.Sprintf(`
		cd %s; mkdir -p stage/bin stage/etc/ssl/certs stage/tmp stage/root
		mv modules/cache/download stage/goproxy && rm -r modules
		cp "$(command -v busybox)" stage/bin/busybox && ln -s busybox stage/bin/sh
		cp /etc/ssl/certs/ca-certificates.crt stage/etc/ssl/certs/
		chmod 1777 stage/tmp
		tar -cf - --transform 's,^\([^.]\),usr/local/go/\1,S' -C "$PWD/stage" . -C %s bin src pkg lib go.env VERSION |
			docker import -c 'LABEL is="%s"' -c 'ENV PATH=/usr/local/go/bin:/bin GOPROXY=file:///goproxy GOSUMDB=off GOTOOLCHAIN=local' - %s
		rm -r stage`, e.dir, goRoot, is, buildImage))
}

// inspect returns what a container or image is like, in Docker's format.
func (e *engine) inspect(name, format string) (string, error) {
	out, err := e.output(e.command("docker", "inspect", "-f", format, name))
	return strings.TrimSpace(out), err
}
