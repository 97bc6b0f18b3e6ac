package main

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/COMMANDS.md")

// between returns text before and after the part between two marks of a page, and that part.
func between(t *testing.T, page, begin, end string) (before, part, after string) {
	t.Helper()
	before, rest, ok := strings.Cut(page, begin)
	part, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("the page has no %q and %q", begin, end)
	}
	return before + begin, part, end + after
}

// TestFlagsPage holds docs/COMMANDS.md against -help and token -help. With -update it writes it.
func TestFlagsPage(t *testing.T) {
	const path = "docs/COMMANDS.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, command := range []struct {
		title string
		args  []string
	}{{"", []string{"-help"}}, {"Of `yatagarasu token`", []string{"token", "-help"}}} {
		var help strings.Builder
		if code := run(command.args, &help, &help); code != 0 {
			t.Fatalf("%s: exit code %d", command.args, code)
		}
		rows := strings.Count(want.String(), "\n| `-")
		appendFlags(&want, help.String(), command.title)
		if got, all := strings.Count(want.String(), "\n| `-")-rows, strings.Count(help.String(), "\n  -"); got != all {
			t.Errorf("%s: %d flags, and a table of %d", command.args, all, got)
		}
	}
	before, have, after := between(t, string(text), "-update -->\n", "<!-- /flags -->")
	if have == want.String() {
		return
	}
	if !*update {
		t.Fatalf("%s is not what -help says; write it by: go test . -run TestFlagsPage -update", path)
	}
	if err := os.WriteFile(path, []byte(before+want.String()+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// flagHelp matches a flag's help, or a group's title.
var flagHelp = regexp.MustCompile(`(?m)^(\w[\w ]*):$|^  -(\S+)( \S+)??(?: \(default (.*)\))?\n((?:        .*\n)+)`)

// appendFlags adds a table for each group of flags of a help text. title is that of the only
// group; empty, the groups' own.
func appendFlags(b *strings.Builder, help, title string) {
	for _, m := range flagHelp.FindAllStringSubmatch(help, -1) {
		if m[1] != "" {
			fmt.Fprintf(b, "\n## %s\n\n| flag | default | effect |\n|---|---|---|\n", cmp.Or(title, m[1]))
			continue
		}
		if m[4] != "" {
			m[4] = "`" + m[4] + "`"
		}
		fmt.Fprintf(b, "| `-%s%s` | %s | %s |\n", m[2], m[3], m[4], strings.Join(strings.Fields(m[5]), " "))
	}
}

// TestVersions has every file that names a version name the latest of CHANGELOG.md: what is
// installed from a clone is what the pages say.
func TestVersions(t *testing.T) {
	find := func(path, pattern string) (versions []string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			versions = append(versions, string(m[1]))
		}
		if versions == nil {
			t.Fatalf("%s names no version", path)
		}
		return versions
	}
	latest := find("CHANGELOG.md", `(?m)^## \[(\d[^]]*)\]`)[0]
	for path, pattern := range map[string]string{
		"README.md":                          `yatagarasu_([\d.]+\d)_`,
		"SECURITY.md":                        `yatagarasu[_:]([\d.]+\d)`,
		"deploy/helm/yatagarasu/Chart.yaml":  `(?mi)^(?:app)?version: (.*)$`,
		"deploy/kustomize/base/gateway.yaml": `(?m)(?:image: "[^:]*:|app.kubernetes.io/version: ")(.*)"$`,
	} {
		for _, version := range find(path, pattern) {
			if version != latest {
				t.Errorf("%s has version %s, and the latest of CHANGELOG.md is %s; CONTRIBUTING.md says what a release takes", path, version, latest)
			}
		}
	}
}

// TestAnswers has docs/ANSWERS.md list each status that docs/OPERATIONS.md explains.
func TestAnswers(t *testing.T) {
	statuses := func(path, heading string) (all []string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, table, _ := strings.Cut(string(text), heading)
		for _, row := range regexp.MustCompile(`(?m)^\| (\d{3}[^|]*)\|`).FindAllStringSubmatch(table, -1) {
			all = append(all, regexp.MustCompile(`\d{3}`).FindAllString(row[1], -1)...)
		}
		return all
	}
	explained, listed := statuses("docs/OPERATIONS.md", "## Why a request was answered so"), statuses("docs/ANSWERS.md", "# What clients get")
	if len(explained) < 20 {
		t.Fatalf("BUG: only %d statuses were found", len(explained))
	}
	for _, status := range explained {
		if !slices.Contains(listed, status) {
			t.Errorf("docs/ANSWERS.md does not list %s, which docs/OPERATIONS.md explains", status)
		}
	}
}

// TestFolders has docs/ARCHITECTURE.md name every folder of deploy.
func TestFolders(t *testing.T) {
	page, err := os.ReadFile("docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, row, _ := between(t, string(page), "\n| `deploy/` |", "\n")
	folders, err := os.ReadDir("deploy")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if !strings.Contains(row, "`"+folder.Name()+"`") {
			t.Errorf("docs/ARCHITECTURE.md does not say what deploy/%s is", folder.Name())
		}
	}
}

// TestChecksOfCI has CONTRIBUTING.md name each command that CI runs.
func TestChecksOfCI(t *testing.T) {
	workflow, err := os.ReadFile(".github/workflows/ci.yml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := between(t, string(page), "## What CI checks\n", "\n## ")
	commands := regexp.MustCompile(`(?m)^ +- run: (.*)$`).FindAllSubmatch(workflow, -1)
	if len(commands) < 8 {
		t.Fatalf("BUG: only %d commands were found", len(commands))
	}
	for _, command := range commands {
		if !strings.Contains(table, "\n| `"+string(command[1])+"` |") {
			t.Errorf("CI runs `%s`, and CONTRIBUTING.md has no row for it", command[1])
		}
	}
}

// fenced matches the YAML blocks of a page.
var fenced = regexp.MustCompile("(?ms)^```yaml title=\"config.yaml\"\n(.*?)^```$")

// variable matches the variables of a configuration.
var variable = regexp.MustCompile(`\$\{(\w+)\}`)

// TestPagesConfigurations has -check accept every whole configuration of the pages, without a
// warning; the first steps, each task and each kind of issuer have one. Where readers begin, they
// are told who may read.
func TestPagesConfigurations(t *testing.T) {
	pages, err := filepath.Glob("docs/tasks/*.md")
	if err != nil || len(pages) < 6 {
		t.Fatal(pages, err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	beginnings := []string{"README.md", "docs/START.md"}
	for _, page := range slices.Concat(pages, beginnings, []string{"docs/AUTHENTICATION.md"}) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		blocks := fenced.FindAllSubmatch(text, -1)
		if all := bytes.Count(text, []byte("```yaml")); len(blocks) != all || all == 0 && filepath.Base(page) != "index.md" {
			t.Errorf(`%s: %d blocks begin with yaml title="config.yaml", of %d of YAML; there should be one, and each a whole file`, page, len(blocks), all)
		}
		if slices.Contains(beginnings, page) && !bytes.Contains(bytes.Join(bytes.Fields(text), []byte(" ")), []byte("can read the whole bucket: [make it private](")) {
			t.Errorf("%s begins with a bucket that everybody can read, and does not say so", page)
		}
		for _, block := range blocks {
			dir := t.TempDir()
			for _, name := range variable.FindAllSubmatch(block[1], -1) {
				t.Setenv(string(name[1]), strings.Repeat(string(name[1]), 8)) // long enough for a secret
			}
			config, text := filepath.Join(dir, "config.yaml"), string(block[1])
			files := map[string]string{"credentials": "[default]\naws_access_key_id = a\naws_secret_access_key = b\n", "issuer.pem": string(public)}
			for name := range files {
				text = strings.Replace(text, `file: "`+name+`"`, `file: "`+filepath.Join(dir, name)+`"`, 1)
			}
			files["config.yaml"] = text
			for name, content := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var out strings.Builder
			if code := run([]string{"-config", config, "-check"}, &out, &out); code != 0 || strings.Contains(out.String(), "warning") {
				t.Errorf("%s: exit code %d: %s", page, code, out.String())
			}
		}
	}
}
