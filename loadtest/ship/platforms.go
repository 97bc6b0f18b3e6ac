package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// platforms builds the image for all its platforms, as a release does, with a BuildKit daemon of
// its own, and pushes it to a registry on loopback.
func (t *trial) platforms() error {
	if err := t.debian("qemu-aarch64-static=qemu-user-static"); err != nil {
		return err
	}
	version, err := newestVersion(t.root)
	if err != nil {
		return err
	}
	var tools [3]string
	for i, name := range []string{"buildkitd", "buildx", "crane"} {
		if tools[i], err = t.tool(name); err != nil {
			return err
		}
	}
	buildkitd, buildx, crane := tools[0], tools[1], tools[2]
	e, err := t.engine()
	if err != nil {
		return err
	}
	const registry = "127.0.0.1:5000"
	image := registry + "/yatagarasu/yatagarasu"
	plugins := filepath.Join(e.dir, "config", "cli-plugins")
	outputs := filepath.Join(e.dir, "outputs") // what later steps of a workflow read
	config := filepath.Join(e.dir, "buildkitd.toml")
	// The build stage's image comes from the registry here, too, in place of Docker Hub.
	err = errors.Join(os.MkdirAll(plugins, 0o755), os.Symlink(buildx, filepath.Join(plugins, "docker-buildx")), os.Mkdir(filepath.Join(e.dir, "registry"), 0o755),
		os.WriteFile(config, []byte("[registry.\"docker.io\"]\nmirrors = [\""+registry+"\"]\n[registry.\""+registry+"\"]\nhttp = true\n"), 0o644), e.importBuildImage())
	if err != nil {
		return err
	}
	e.env = append(e.env, "DOCKER_CONFIG="+filepath.Dir(plugins), "BUILDX_BUILDER=ship")
	for _, service := range [][]string{
		{crane, "registry", "serve", "--address", registry, "--disk", filepath.Join(e.dir, "registry")},
		{buildkitd, "--root", filepath.Join(filepath.Dir(e.programs), "buildkit"), "--addr", "unix:///run/buildkit.sock", "--config", config,
			"--containerd-worker=false", "--oci-worker-net=host"},
	} {
		if _, err := e.start(e.command(service[0], service[1:]...)); err != nil {
			return err
		}
	}
	if err := e.run("sh", "-ec", fmt.Sprintf(`
		for i in 1 2 3 4 5 6 7 8 9 10; do [ -S /run/buildkit.sock ] && %[1]s catalog %[2]s && break; sleep 1; done
		docker save %[3]s -o %[4]s/build-image.tar; %[1]s push %[4]s/build-image.tar %[2]s/library/%[3]s; rm %[4]s/build-image.tar
		docker buildx create --name ship --driver remote unix:///run/buildkit.sock
		GITHUB_OUTPUT=%[6]s make -s image-push IMAGE=%[5]s VERSION=v%[7]s`, crane, registry, buildImage, e.dir, image, outputs, version)); err != nil {
		return err
	}
	digest, err := e.output(e.command(crane, "digest", image+":"+version))
	if err != nil {
		return err
	}
	if told, err := os.ReadFile(outputs); err != nil || string(told) != fmt.Sprintf("name=%s\ndigest=%s\n", image, strings.TrimSpace(digest)) {
		return fmt.Errorf("the target tells %q, and the registry has %s, %v", told, digest, err)
	}
	var index struct {
		Manifests []struct {
			Platform    struct{ OS, Architecture string }
			Annotations map[string]string
		}
	}
	out, err := e.output(e.command(crane, "manifest", image+":"+version))
	if err = errors.Join(err, json.Unmarshal([]byte(out), &index)); err != nil {
		return err
	}
	var has []string
	for _, m := range index.Manifests {
		if m.Annotations["vnd.docker.reference.type"] == "attestation-manifest" {
			has = append(has, "attestation")
		} else {
			has = append(has, m.Platform.OS+"/"+m.Platform.Architecture)
		}
	}
	if got := strings.Join(has, " "); got != "linux/amd64 linux/arm64 attestation attestation" {
		return fmt.Errorf("the image's index has %s", got)
	}
	// The program of the other platform runs, as far as to say what it is.
	said, err := e.output(e.command("sh", "-ec", fmt.Sprintf(`
		%s export --platform linux/arm64 %s:%s - | tar -xf - -C %s
		grep -q '^== github.com/valyala/fasthttp v' %[4]s/usr/share/doc/yatagarasu/licences.txt
		qemu-aarch64-static %[4]s/usr/bin/yatagarasu -version`, crane, image, version, e.dir)))
	if err != nil || !strings.Contains(said, "linux/arm64") || !strings.Contains(said, "(commit ") {
		return fmt.Errorf("the program for linux/arm64 says %q, %v", said, err)
	}
	settings, err := e.output(e.command(crane, "config", "--platform", "linux/arm64", image+":"+version))
	if err == nil && !strings.Contains(settings, `"-probe"`) {
		err = errors.New("the pushed image has no health check: " + settings)
	}
	if err == nil {
		e.say("pushed for %s: %s", strings.Join(has, ", "), strings.TrimSpace(said))
	}
	return err
}
