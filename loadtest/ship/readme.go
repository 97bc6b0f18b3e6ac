package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// starts are the ways to start of the README: for each what tries it here, given its commands and
// the one that asks for an object, or the step that does; and the page by which that goes, if it
// is another.
var starts = map[string]struct {
	try  func(t *trial, config, commands, object string) error
	step string
	page string
}{
	"binary":  {try: startBinary},
	"image":   {step: "image"},
	"compose": {step: "compose", page: "deploy/compose/README.md"},
	"chart":   {try: startChart},
}

// startBlock matches a block of commands of the README.
var startBlock = regexp.MustCompile("(?ms)^```sh(?: title=\"(\\w+)\")?\n(.*?)^```$")

// tryReadme tries each way to start of the README, as it is written there.
func tryReadme(t *trial) error {
	text, err := os.ReadFile(filepath.Join(t.root, "README.md"))
	if err != nil {
		return err
	}
	config, ok := configOf(string(text))
	if !ok {
		return errors.New("README.md has no config.yaml")
	}
	object := regexp.MustCompile("`(curl -i [^`]+)`").FindStringSubmatch(string(text))
	if object == nil {
		return errors.New("README.md does not say how to get an object")
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	help := t.command(program, "-help") // steps itself has this one, too: Go allows no such circle
	out := new(strings.Builder)
	if help.Stdout, help.Stderr = nil, out; help.Run() != nil {
		return fmt.Errorf("cannot read the list of steps: %s", out)
	}
	steps, found := out.String(), make(map[string]bool)
	for _, block := range startBlock.FindAllStringSubmatch(string(text), -1) {
		name, commands := block[1], block[2]
		start, ok := starts[name]
		if !ok {
			return fmt.Errorf("nothing tries this block of README.md; give it a line in starts:\n%s", commands)
		}
		if found[name] = true; start.try == nil {
			if !strings.Contains(steps, "\n  "+start.step+" ") {
				return fmt.Errorf("there is no step %s, which should try %s", start.step, name)
			}
			if err := t.onPage(start.page, commands); err != nil {
				return err
			}
			t.say("%s is tried by the step %s", name, start.step)
			continue
		}
		if err := start.try(t, config, commands, object[1]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		t.say("%s works as it is written", name)
	}
	for name := range starts {
		if !found[name] {
			return fmt.Errorf("README.md has no way to start by %s any more", name)
		}
	}
	return nil
}

// onPage wants each of some commands to be on a page as well, but for the way to the folder; an
// empty page: nothing.
func (t *trial) onPage(page, commands string) error {
	if page == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(t.root, page))
	if err != nil {
		return err
	}
	for line := range strings.Lines(commands) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "git clone ") && !strings.Contains(string(text), "    "+line) {
			return fmt.Errorf("README.md says %q, and %s, by which that is tried, does not", line, page)
		}
	}
	return nil
}

// release matches the address of an archive of a release.
var release = regexp.MustCompile(`https://github\.com/\w+/yatagarasu/releases/download/v([0-9.]+)/(yatagarasu_([0-9.]+)_linux_amd64)\.tar\.gz`)

// startBinary runs the commands that download and start the program. An archive made here stands
// in for the one of the release, with its folder inside as releases have it.
func startBinary(t *trial, config, commands, object string) error {
	m := release.FindStringSubmatch(commands)
	if m == nil || m[1] != m[3] {
		return fmt.Errorf("no address of a release's archive is in:\n%s", commands)
	}
	if newest, err := newestVersion(t.root); err != nil || newest != m[1] {
		return fmt.Errorf("README.md downloads v%s, and the newest version of CHANGELOG.md is %s, %v", m[1], newest, err)
	}
	program, err := t.program()
	if err != nil {
		return err
	}
	archive := filepath.Join(t.dir, m[2]+".tar.gz")
	if err := t.run("tar", "-C", filepath.Dir(program), "--transform", "s,^,"+m[2]+"/,", "-czf", archive, "yatagarasu"); err != nil {
		return err
	}
	serve := "./yatagarasu -config config.yaml\n"
	if !strings.HasSuffix(commands, serve) {
		return fmt.Errorf("the last command is not %s", serve)
	}
	script := fmt.Sprintf("curl() { case \"$*\" in *%s*) cat %s ;; *) command curl \"$@\" ;; esac; }\n", quoted(m[0]), quoted(archive)) +
		strings.TrimSuffix(commands, "\n") + " >gateway.log 2>&1 &\nawait http://127.0.0.1:8080/health\n"
	asked, _ := scriptOf("```sh\n" + object + " # → 200\n```")
	return t.page("binary", config, script+asked)
}

// startChart runs the commands that install the chart, with the chart of this tree in the place of
// the registry's, and with helm rendering it in the place of a cluster that takes it; the step
// chart does the rest. Of kubectl it checks that what is named there is there.
func startChart(t *trial, config, commands, _ string) error {
	helm, err := t.tool("helm")
	if err != nil {
		return err
	}
	const chart, forward = "oci://ghcr.io/yatagarasu/charts/yatagarasu ", "kubectl port-forward service/yatagarasu 8080:80\n"
	if !strings.Contains(commands, chart) || !strings.HasSuffix(commands, forward) {
		return fmt.Errorf("there is no %q, or the last command is not %q", chart, forward)
	}
	script := fmt.Sprintf(`kubectl() { printf '%%s ' "$@" >>kubectl; echo >>kubectl; }
helm() { shift 3; %s template yatagarasu %s --kube-version 1.34 "$@"; }
exec >rendered
`, quoted(helm), quoted(filepath.Join(t.root, "deploy", "helm", "yatagarasu"))) + commands
	if err := t.page("chart", config, script); err != nil {
		return err
	}
	rendered, err := os.ReadFile(filepath.Join(t.dir, "chart", "rendered"))
	if err != nil {
		return err
	}
	for _, want := range []string{"name: yatagarasu\n", "port: 80, targetPort: http", "secretRef: {name: s3}", "path_prefix: /products", "access_key: ${AWS_ACCESS_KEY_ID}"} {
		if !strings.Contains(string(rendered), want) {
			return fmt.Errorf("the chart, rendered by the README's values, has no %q: %s", want, filepath.Join(t.dir, "chart", "rendered"))
		}
	}
	return nil
}
