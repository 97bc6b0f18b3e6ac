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
// the one that asks for an object, or the step that does.
var starts = map[string]struct {
	try  func(t *trial, config, commands, object string) error
	step string
}{
	"binary":  {try: startBinary},
	"image":   {step: "image"},
	"compose": {step: "compose"},
	"chart":   {step: "chart"},
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
	found := make(map[string]bool)
	for _, block := range startBlock.FindAllStringSubmatch(string(text), -1) {
		name, commands := block[1], block[2]
		start, ok := starts[name]
		if !ok {
			return fmt.Errorf("nothing tries this block of README.md; give it a line in starts:\n%s", commands)
		}
		if found[name] = true; start.try == nil {
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

// release matches the address of an archive of a release.
var release = regexp.MustCompile(`https://github\.com/\w+/yatagarasu/releases/download/v([0-9.]+)/(yatagarasu_([0-9.]+)_linux_amd64)\.tar\.gz`)

// startBinary runs the commands that download and start the program. An archive made here stands
// in for the one of the release, with its folder inside as releases have it.
func startBinary(t *trial, config, commands, object string) error {
	m := release.FindStringSubmatch(commands)
	if m == nil || m[1] != m[3] {
		return fmt.Errorf("no address of a release's archive is in:\n%s", commands)
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
