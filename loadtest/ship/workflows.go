package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// workflows lints the workflows and other files of the forge, every shell script and every YAML
// file of the repository.
func workflows(t *trial) error {
	shellcheck, err := t.pypi("shellcheck")
	if err != nil {
		return err
	}
	zizmor, err := t.pypi("zizmor")
	if err != nil {
		return err
	}
	actionlint, err := t.tool("actionlint")
	if err != nil {
		return err
	}
	yamllint, err := t.pypi("yamllint")
	if err != nil {
		return err
	}
	schema, err := t.pypi("check-jsonschema")
	if err != nil {
		return err
	}
	scripts, documents, err := t.texts()
	if err != nil {
		return err
	}
	if len(scripts) == 0 || len(documents) == 0 {
		return errors.New("BUG: no script or no YAML file was found")
	}
	t.say("%d scripts and %d YAML files", len(scripts), len(documents))
	return errors.Join(
		t.run(actionlint, "-shellcheck", shellcheck),
		t.run(zizmor, "--offline", "--no-progress", ".github"),
		t.run(shellcheck, scripts...),
		t.run(yamllint, append([]string{"--strict", "-d", "{rules: {key-duplicates: {forbid-duplicated-merge-keys: true}}}"}, documents...)...),
		t.run(schema, "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml"),
		t.run(schema, "--builtin-schema", "vendor.github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
		t.run(schema, "--builtin-schema", "vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/feature.yml"),
	)
}

// shebang matches the first line of what a POSIX shell or bash runs.
var shebang = regexp.MustCompile(`^#!.*\b(ba|da)?sh\b`)

// templated matches a line by which a file becomes YAML only when it is rendered.
var templated = regexp.MustCompile(`(?m)^\{\{`)

// texts returns the repository's shell scripts and its YAML files. Templates of a chart are no
// YAML yet, and the YAML of test data is wrong on purpose.
func (t *trial) texts() (scripts, documents []string, err error) {
	err = filepath.WalkDir(t.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if name == ".git" || entry.IsDir() && (name == "bin" || name == "dist" || name == "testdata" || name == "templates") {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		rel, err := filepath.Rel(t.root, path)
		if err != nil {
			return err
		}
		if ext := filepath.Ext(name); ext == ".yaml" || ext == ".yml" {
			text, err := os.ReadFile(path)
			if err == nil && !templated.Match(text) {
				documents = append(documents, rel)
			}
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		head := make([]byte, 64)
		n, err := io.ReadFull(file, head)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		line, _, _ := bytes.Cut(head[:n], []byte("\n"))
		if strings.HasSuffix(name, ".sh") || shebang.Match(line) {
			scripts = append(scripts, rel)
		}
		return nil
	})
	return scripts, documents, err
}
