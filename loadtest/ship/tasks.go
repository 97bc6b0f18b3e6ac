package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"yatagarasu/loadtest/process"
)

// objects are what the buckets of the documentation's configurations have.
var objects = []string{
	"assets/app.css", "assets-dublin/app.css", "company-reports/2026/q1.pdf", "company-reports/press/logo.svg", "my-bucket/a.png", "my-products-bucket/a.png",
}

// tryTasks runs the commands of each task page, in the order of the page, before a real S3 server.
func tryTasks(t *trial) error {
	pages, err := filepath.Glob(filepath.Join(t.root, "docs", "tasks", "*.md"))
	if err != nil {
		return err
	}
	tried := 0
	for _, path := range append(pages, filepath.Join(t.root, "docs", "START.md")) {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		config, ok := configOf(string(text))
		if !ok {
			continue // the index
		}
		script, expected := scriptOf(string(text))
		if expected == 0 {
			return fmt.Errorf("%s has a configuration, and no command that says what it prints", name)
		}
		if err := t.page(strings.TrimSuffix(name, ".md"), config, startGateway+script); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		tried += expected
	}
	t.say("%d pages; %d commands print what the pages say", len(pages), tried)
	return nil
}

var (
	configBlock = regexp.MustCompile("(?ms)^```yaml title=\"config.yaml\"\n(.*?)^```$")
	region      = regexp.MustCompile(`(?m)^( *)region: ".*"$`)
	// triedPart is a block of commands, or a comment with one that readers need not see.
	triedPart = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$|^<!-- try: (.*?) -->$")
	// expectation is what a page says that a command prints.
	expectation = regexp.MustCompile(`^(.*\S) +# → (.+)$`)
)

// configOf returns the configuration of a page, made to ask a server on loopback.
func configOf(page string) (config string, ok bool) {
	m := configBlock.FindStringSubmatch(page)
	if m == nil {
		return "", false
	}
	return region.ReplaceAllString(m[1], "$0\n${1}endpoint: \"http://127.0.0.1:7070\""), true
}

// scriptOf returns the commands of a page as a script that fails where one does not print what the
// page says, and how many say so.
func scriptOf(page string) (script string, expected int) {
	var b strings.Builder
	for _, part := range triedPart.FindAllStringSubmatch(page, -1) {
		for line := range strings.Lines(part[1] + part[2] + "\n") {
			m := expectation.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
			if m == nil {
				b.WriteString(line)
				continue
			}
			expected++
			command, want := m[1], m[2]
			if len(want) == 3 && strings.HasPrefix(command, "curl -i ") {
				want = "HTTP/1.1 " + want
			}
			fmt.Fprintf(&b, "code=0; out=$(%s 2>&1) || code=$?; expect %s %s\n", command, quoted(command), quoted(want))
		}
	}
	return b.String(), expected
}

// quoted returns s for a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// prelude puts the gateway into this namespace's own /usr/local/bin, and a new version of it into the
// folder, and starts the S3 server. It is the beginning of the namespace's life: when its script ends,
// so do all processes in it.
const prelude = `set -euo pipefail
ip link set lo up
mkdir bin
cp "$PROGRAM" bin/yatagarasu
cp "$PROGRAM" yatagarasu.new && chmod -x yatagarasu.new
mount --bind bin /usr/local/bin
expect() {
	printf '$ %s\n%s\n' "$1" "$out"
	case "$2" in
	"exit code "*) [ "$code" = "${2#exit code }" ] && return ;;
	*) case "$out" in *"$2"*) return ;; esac ;;
	esac
	printf '%s\n%s: exit code %s, and not: %s\n' "$out" "$1" "$code" "$2" >&2
	exit 1
}
await() { for i in $(seq 200); do curl -s -o /dev/null "$1" && return; sleep 0.05; done; echo "nothing answers at $1" >&2; cat gateway.log >&2; exit 1; }
"$VERSITYGW" --region eu-central-1 --access "$AWS_ACCESS_KEY_ID" --secret "$AWS_SECRET_ACCESS_KEY" --port 127.0.0.1:7070 posix "$PWD/buckets" >s3.log 2>&1 &
ORIGIN=$!
await http://127.0.0.1:7070
`

const startGateway = `yatagarasu -config config.yaml >gateway.log 2>&1 &
GATEWAY=$!
await http://127.0.0.1:8080/health
`

// program builds the gateway once for the step, as releases do, and returns its path.
func (t *trial) program() (string, error) {
	path := filepath.Join(t.dir, "program", "yatagarasu")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	build := t.command("go", "build", "-buildvcs=false", "-trimpath", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	_, err := t.output(build)
	return path, err
}

// page runs a script in a folder with a configuration, in namespaces of its own for processes,
// mounts and network: ports are those of the page, and no other gateway is seen.
func (t *trial) page(name, config, script string) error {
	if err := t.debian("ip=iproute2", "curl", "pidof=sysvinit-utils", "unshare=util-linux"); err != nil {
		return err
	}
	versitygw, err := process.Find("versitygw")
	if err != nil {
		return err
	}
	program, err := t.program()
	if err != nil {
		return err
	}
	dir := filepath.Join(t.dir, name)
	files := map[string]string{"config.yaml": config, "script": prelude + script, "credentials": "[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret-of-the-example\n"}
	for _, object := range objects {
		files[filepath.Join("buckets", object)] = "the object " + object + "\n"
	}
	for file, text := range files {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	cmd := t.command("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "timeout", "60", "bash", "script")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH=/usr/local/bin:"+os.Getenv("PATH"), "PROGRAM="+program, "VERSITYGW="+versitygw,
		"AWS_ACCESS_KEY_ID=AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret-of-the-example",
		"JWT_SECRET="+strings.Repeat("new", 16), "JWT_SECRET_NEW="+strings.Repeat("new", 16), "JWT_SECRET_OLD="+strings.Repeat("old", 16),
		"AWS_ACCESS_KEY_PRODUCTS=AKIAEXAMPLE", "AWS_SECRET_KEY_PRODUCTS=secret-of-the-example")
	_, err = t.output(cmd)
	return err
}
