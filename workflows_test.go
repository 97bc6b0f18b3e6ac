package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// workflow is what TestWorkflows reads of a file in .github/workflows.
type workflow struct {
	Permissions map[string]string
	Concurrency struct{ Group string }
	Jobs        map[string]struct {
		Permissions    map[string]string
		Uses           string // of a job that is another workflow
		Container      any    // an image, or a map with one
		TimeoutMinutes int    `yaml:"timeout-minutes"`
		Steps          []struct {
			Run  string
			Uses string
			With map[string]any
		}
	}
}

// TestWorkflows has each step of the workflows be a make target or .ci/run, so that what CI does
// can be done on any machine; each action pinned by its hash; and each job bounded in time and
// permissions, with the Go of go.mod.
func TestWorkflows(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := string(regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(module)[1])
	targets := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):[^=]`).FindAllSubmatch(makefile, -1) {
		targets[string(m[1])] = true
	}
	command := regexp.MustCompile(`^make ([a-z-]+)( [A-Z]+=\S+)*$`)
	pinned := regexp.MustCompile(`^[\w-]+(/[\w-]+)+@[0-9a-f]{40}$`)

	files, err := filepath.Glob(".github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var w workflow
		if err := yaml.Unmarshal(text, &w); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if w.Permissions == nil || len(w.Permissions) > 0 {
			t.Errorf("%s: permissions %v; write `permissions: {}`, and each job's beside it", file, w.Permissions)
		}
		if !strings.HasPrefix(w.Concurrency.Group, strings.TrimSuffix(filepath.Base(file), ".yml")+"-") {
			t.Errorf("%s: concurrency group %q does not begin with the file's name; a called workflow must not wait for its caller", file, w.Concurrency.Group)
		}
		for name, job := range w.Jobs {
			if job.Permissions == nil {
				t.Errorf("%s: %s says no permissions", file, name)
			}
			if job.Uses != "" {
				continue
			}
			if job.TimeoutMinutes == 0 {
				t.Errorf("%s: %s has no timeout-minutes", file, name)
			}
			image, _ := job.Container.(string)
			if m, ok := job.Container.(map[string]any); ok {
				image, _ = m["image"].(string)
			}
			if job.Container != nil && image != "golang:"+version+"-bookworm" {
				t.Errorf("%s: %s runs in %q; go.mod wants Go %s", file, name, image, version)
			}
			for _, step := range job.Steps {
				run := strings.TrimSpace(step.Run)
				if m := command.FindStringSubmatch(run); run != "" && run != ".ci/run test" && (m == nil || !targets[m[1]]) {
					t.Errorf("%s: %s runs %q, which is no target of the Makefile", file, name, run)
				}
				if step.Uses != "" && !pinned.MatchString(step.Uses) {
					t.Errorf("%s: %s uses %s; pin it by its hash", file, name, step.Uses)
				}
				if got, ok := step.With["go-version"]; ok && got != version+".x" {
					t.Errorf("%s: %s sets up Go %v; go.mod wants %s", file, name, got, version)
				}
			}
		}
	}
}

// TestReleaseNotes has a release tell what the changelog says of its version, with links that
// lead somewhere from there and no breaks within a paragraph, and no release come without.
func TestReleaseNotes(t *testing.T) {
	dir := t.TempDir()
	notes := func(version string) (string, error) {
		cmd := exec.Command("make", "-s", "notes", "BIN="+dir, "VERSION="+version, "GITHUB_REPOSITORY=us/it")
		if out, err := cmd.CombinedOutput(); err != nil {
			return string(out), err
		}
		text, err := os.ReadFile(filepath.Join(dir, "notes.md"))
		return string(text), err
	}
	changelog, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^## \[(\d.*?)\]`).FindAllStringSubmatch(string(changelog), -1) {
		text, err := notes("v" + m[1])
		if err != nil || !strings.Contains(text, "\n### ") || strings.Contains(text, "\n  ") || strings.Contains(text, "](docs/") || strings.Contains(text, "\n## ") {
			t.Errorf("notes of %s: %v\n%s", m[1], err, text)
		}
		if want := "https://github.com/us/it/blob/v" + m[1] + "/docs/"; m[1] == "0.1.0" && !strings.Contains(text, want) {
			t.Errorf("notes of %s lack %s", m[1], want)
		}
	}
	if out, err := notes("v0.0.1"); err == nil || !strings.Contains(out, "write one before the tag") {
		t.Errorf("a version that the changelog lacks: %v %s", err, out)
	}
}
