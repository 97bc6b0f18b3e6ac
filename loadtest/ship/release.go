package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/s3server"
)

// releaseVersion is the version that is released for the trial, and by nobody else.
const releaseVersion = "1.0.0"

// platforms returns those of the Makefile, as the files of a release are called.
func platforms(root string) ([]string, error) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return nil, err
	}
	_, list, _ := strings.Cut(string(makefile), "\nPLATFORMS := ")
	list, _, _ = strings.Cut(list, "\n")
	return strings.Fields(strings.ReplaceAll(strings.ReplaceAll(list+" ", "/arm ", "/armv7 "), "/", "_")), nil
}

// tryRelease releases the last commit from two clones, without publishing, and tries what comes
// of it.
func tryRelease(t *trial) error {
	if err := t.debian("qemu-aarch64-static=qemu-user-static"); err != nil {
		return err
	}
	platforms, err := platforms(t.root)
	if err != nil {
		return err
	}
	first, err := t.release("one", "umask 022; TZ=UTC")
	if err != nil {
		return err
	}
	again, err := t.release("two", "umask 077; TZ=Asia/Tokyo")
	if err != nil {
		return err
	}
	if err := checkSums(t, first, again, len(platforms)); err != nil {
		return err
	}
	programs, err := unpack(t, first, platforms)
	if err != nil {
		return err
	}
	for _, platform := range platforms {
		if err := checkBill(first, platform, programs[platform]); err != nil {
			return fmt.Errorf("%s: %w", platform, err)
		}
	}
	t.say("%d archives; each has the licences, and its SBOM the modules, of what is linked into its program", len(platforms))
	if err := samePackaged(t, first, programs["linux_amd64"]); err != nil {
		return err
	}
	wine := newWine(t)
	if err := wine.open(); err != nil {
		return err
	}
	for _, machine := range []struct {
		platform string
		command  func(args ...string) *exec.Cmd
	}{
		{"linux_amd64", func(args ...string) *exec.Cmd { return t.command(args[0], args[1:]...) }},
		{"linux_arm64", func(args ...string) *exec.Cmd { return t.command("qemu-aarch64-static", args...) }},
		{"linux_armv7", func(args ...string) *exec.Cmd { return t.command("qemu-arm-static", args...) }},
		{"windows_amd64", func(args ...string) *exec.Cmd { return wine.command(t.log, args...) }},
	} {
		if err := serves(t, programs[machine.platform], machine.command); err != nil {
			return fmt.Errorf("%s: %w", machine.platform, err)
		}
		t.say("%s: the program of the archive serves an object, and is asked for its health", machine.platform)
	}
	return nil
}

// clone clones the module's last commit into a folder of the step, with the tools of a release.
func (t *trial) clone(name string) (folder string, err error) {
	clone := filepath.Join(t.dir, name)
	bin := filepath.Join(clone, "bin")
	if err := t.run("git", "clone", "-q", t.root, clone); err != nil {
		return "", err
	}
	if err := os.Mkdir(bin, 0o755); err != nil {
		return "", err
	}
	for _, tool := range []string{"nfpm", "goreleaser", "cyclonedx-gomod"} {
		if _, err := t.tool(tool); err != nil {
			return "", err
		}
		stamps, err := filepath.Glob(filepath.Join(t.root, "bin", "."+tool+"-*"))
		if err != nil {
			return "", err
		}
		for _, file := range append(stamps, filepath.Join(t.root, "bin", tool)) {
			if err := os.Symlink(file, filepath.Join(bin, filepath.Base(file))); err != nil {
				return "", err
			}
		}
	}
	return clone, nil
}

// release clones the module's last commit, calls it a version, and returns the folder of what
// GoReleaser makes of it.
func (t *trial) release(name, as string) (dist string, err error) {
	clone, err := t.clone(name)
	if err != nil {
		return "", err
	}
	begin := time.Now()
	cmd := t.command("sh", "-ec", as+`; export TZ PATH="$PWD/bin:$PATH"; git tag "v$1"; exec goreleaser release --skip=publish`, "-", releaseVersion)
	cmd.Dir = clone
	if _, err := t.output(cmd); err != nil {
		return "", err
	}
	t.say("a release in %s", time.Since(begin).Round(time.Second))
	return filepath.Join(clone, "dist"), nil
}

// checkSums returns an error unless two releases have the same checksums, and the files that
// they are of.
func checkSums(t *trial, first, again string, archives int) error {
	one, err := os.ReadFile(filepath.Join(first, "checksums.txt"))
	if err != nil {
		return err
	}
	two, err := os.ReadFile(filepath.Join(again, "checksums.txt"))
	if err != nil {
		return err
	}
	if !bytes.Equal(one, two) {
		var differ []string
		for line := range strings.Lines(string(one)) {
			if !bytes.Contains(two, []byte(line)) {
				differ = append(differ, strings.Fields(line)[1])
			}
		}
		return fmt.Errorf("two releases of one commit differ in %q", differ)
	}
	files := 0
	for line := range strings.Lines(string(one)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		content, err := os.ReadFile(filepath.Join(first, name))
		if errors.Is(err, os.ErrNotExist) {
			content, err = os.ReadFile(filepath.Join(first, "..", "bin", "packages", name))
		}
		if err != nil || fmt.Sprintf("%x", sha256.Sum256(content)) != sum {
			return fmt.Errorf("checksums.txt is wrong about %s, %v", name, err)
		}
		files++
	}
	if want := 2*archives + 9; files != want { // archives and SBOMs; three packages for three machines
		return fmt.Errorf("checksums.txt has %d files, not %d:\n%s", files, want, one)
	}
	t.say("%d files, twice with the same bytes", files)
	return nil
}

// unpack returns the path of the program of each platform, taken from its archive.
func unpack(t *trial, dist string, platforms []string) (map[string]string, error) {
	programs := make(map[string]string)
	for _, platform := range platforms {
		name := "yatagarasu_" + releaseVersion + "_" + platform
		ending := ""
		if strings.HasPrefix(platform, "windows") {
			ending = ".exe"
		}
		content, err := fromArchive(filepath.Join(dist, name), name+"/yatagarasu"+ending)
		if err != nil {
			return nil, err
		}
		programs[platform] = filepath.Join(t.dir, platform+ending)
		if err := os.WriteFile(programs[platform], content, 0o755); err != nil {
			return nil, err
		}
	}
	return programs, nil
}

// fromArchive returns a file of the archive whose path is given without its ending.
func fromArchive(archive, want string) ([]byte, error) {
	if z, err := zip.OpenReader(archive + ".zip"); err == nil {
		defer z.Close()
		f, err := z.Open(want)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(f)
	}
	f, err := os.Open(archive + ".tar.gz")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("%s has no %s: %w", archive, want, err)
		}
		if h.Name == want {
			return io.ReadAll(r)
		}
	}
}

// checkBill returns an error unless a platform's SBOM names the modules that its program was
// linked from, at their versions, and no others, and its archive has their licences.
func checkBill(dist, platform, program string) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	name := "yatagarasu_" + releaseVersion + "_" + platform
	licences, err := fromArchive(filepath.Join(dist, name), name+"/licences.txt")
	if err != nil {
		return err
	}
	var linked []string
	for _, m := range info.Deps {
		linked = append(linked, m.Path+"@"+m.Version)
		if !bytes.Contains(licences, []byte("\n== "+m.Path+" "+m.Version+"\n")) {
			return fmt.Errorf("licences.txt has nothing of %s %s", m.Path, m.Version)
		}
	}
	content, err := os.ReadFile(filepath.Join(dist, name+".cdx.json"))
	if err != nil {
		return err
	}
	var bill struct {
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(content, &bill); err != nil {
		return fmt.Errorf("cannot read the SBOM: %w", err)
	}
	var named []string
	for _, c := range bill.Components {
		if c.Name != "std" {
			named = append(named, c.Name+"@"+c.Version)
		}
	}
	slices.Sort(linked)
	slices.Sort(named)
	if len(linked) == 0 || !slices.Equal(linked, named) {
		return fmt.Errorf("the program has the modules %q, its SBOM %q", linked, named)
	}
	return nil
}

// samePackaged returns an error unless the deb has the same program as the archive.
func samePackaged(t *trial, dist, program string) error {
	deb := filepath.Join(dist, "..", "bin", "packages", "yatagarasu_"+releaseVersion+"_amd64.deb")
	if err := t.run("sh", "-ec", `dpkg-deb --fsys-tarfile "$1" | tar -xO ./usr/bin/yatagarasu | cmp - "$2"`, "-", deb, program); err != nil {
		return fmt.Errorf("the deb's program is not the archive's: %w", err)
	}
	return nil
}

// serves returns an error unless program, run by command, tells the version, serves an object of
// a real S3 server, and knows that it is well.
func serves(t *trial, program string, command func(args ...string) *exec.Cmd) error {
	said, err := t.output(command(program, "-version"))
	if err != nil || !strings.HasPrefix(said, "yatagarasu v"+releaseVersion+" (commit ") {
		return fmt.Errorf("-version says %q, %v", said, err)
	}
	dir, err := os.MkdirTemp(t.dir, "s3-")
	if err != nil {
		return err
	}
	server, err := s3server.Start(t.ctx, s3server.Options{Kind: s3server.VersityGW, Dir: dir, AccessKey: "release", SecretKey: "release-secret", Region: "us-east-1", Log: t.log})
	if err != nil {
		return err
	}
	t.atEnd(server.Stop)
	body := strings.Repeat("an object ", 1<<17)
	if err := server.Seed(t.ctx, "things", s3server.Object{Key: "object", Body: body}); err != nil {
		return err
	}
	at, err := port.Reserve()
	if err != nil {
		return err
	}
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("server: {address: %q}\nbuckets:\n  - {name: things, path_prefix: /things, s3: {bucket: things, region: us-east-1, endpoint: %q, access_key: release, secret_key: release-secret}}\n", port.Address(at), server.Endpoint())
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	gateway, err := t.start(command(program, "-config", config))
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: time.Minute}
	url := "http://" + port.Address(at)
	if err := t.eventually(time.Minute, func() error { _, err := get(client, url+"/ready", 200); return err }); err != nil {
		return fmt.Errorf("%w; it said: %s", err, gateway.Output())
	}
	if got, err := get(client, url+"/things/object", 200); err != nil || got != body {
		return fmt.Errorf("the object has %d bytes, not %d, %v", len(got), len(body), err)
	}
	_, err = t.output(command(program, "-config", config, "-probe"))
	return err
}
