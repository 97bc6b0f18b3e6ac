package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const goodConfig = `
server: {address: "127.0.0.1:0", ready: config}
buckets:
  - name: pub
    path_prefix: /pub
    s3: {bucket: things, region: us-east-1, endpoint: "http://127.0.0.1:9000", access_key: AK, secret_key: secret-text}
`

func TestRun(t *testing.T) {
	dir := t.TempDir()
	good, bad, unmeant := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml"), filepath.Join(dir, "unmeant.yaml")
	for path, text := range map[string]string{good: goodConfig, unmeant: goodConfig + "    auth: {enabled: true, jwt: {jwks_url: \"https://issuer.example.com/keys\"}}\n", bad: strings.Replace(goodConfig, "region", "regoin", 1)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"version", []string{"-version"}, 0, "yatagarasu dev (go1.", ""},
		{"help teaches", []string{"-help"}, 0, "", "-stream.min-rate size (default 1KiB)"},
		{"unknown flag", []string{"-nonsense"}, 2, "", "nonsense"},
		{"stray argument", []string{"-config", good, "serve"}, 2, "", `unexpected argument "serve"`},
		{"no configuration", nil, 2, "", "-config is required"},
		{"bad size", []string{"-stream.min-rate", "fast"}, 2, "", "stream.min-rate"},
		{"check", []string{"-check", "-config", good}, 0, "good.yaml: valid, 1 bucket", ""},
		{"explain goes before check and doctor", []string{"-doctor", "-check", "-explain", "/nowhere", "-config", good}, 1, "answer:    404", ""},
		{"check warns", []string{"-check", "-config", unmeant}, 0, "warning: " + unmeant + ":7:", ""},
		{"check names the place and a fix", []string{"-check", "-config", bad}, 1, "", "bad.yaml:6:"},
		{"start refuses the same file", []string{"-config", bad}, 1, "", "bad.yaml:6:"},
		{"explain", []string{"-config", good, "-explain", "http://gw/pub/a%20b?x=1"}, 0, "http://127.0.0.1:9000/things/a%20b", ""},
		{"token without explain", []string{"-config", good, "-token", "x"}, 2, "", "-token goes with -explain"},
		{"token command", []string{"token", "-config", good}, 1, "", "no bucket of the file is private"},
		{"explain a refusal", []string{"-config", good, "-explain", "/pub/../x"}, 1, "400", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			code := run(c.args, &stdout, &stderr)
			if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("exit %d, want %d\nstdout: %s\nstderr: %s", code, c.code, stdout.String(), stderr.String())
			}
			if strings.Contains(stdout.String()+stderr.String(), "secret-text") {
				t.Error("a secret is printed")
			}
		})
	}
}

// TestLookingLeavesNoLogs has the commands that only look make no log: it would belong
// to whoever looks, and who serves could not write to it.
func TestLookingLeavesNoLogs(t *testing.T) {
	folder := t.TempDir()
	config := writeConfig(t, strings.Replace(goodConfig, "http://127.0.0.1:9000", "http://127.0.0.1:1", 1)+
		fmt.Sprintf("logging: {output: %q, audit: {enabled: true, output: %q}}\n", filepath.Join(folder, "log"), filepath.Join(folder, "audit")))
	for _, args := range [][]string{{"-check"}, {"-explain", "/pub/x"}, {"-doctor"}} {
		if code := run(append([]string{"-config", config}, args...), io.Discard, io.Discard); code != 0 && args[0] != "-doctor" {
			t.Errorf("%s: exit code %d", args[0], code)
		}
		left, err := os.ReadDir(folder)
		if err != nil || len(left) > 0 {
			t.Errorf("%s leaves %v, %v", args[0], left, err)
		}
	}
}

// rooms are the packages under gateway, and for each the rooms that it may import. pool,
// sign and cache are below all of them, and config, its rooms, auth, limit and route below those
// that name them. docs/ARCHITECTURE.md draws it.
var rooms = map[string]string{
	"config":          "config/access config/file config/form config/frontend config/shared config/site config/upstream",
	"config/file":     "",
	"config/form":     "",
	"config/site":     "config/file config/form",
	"config/frontend": "config/file config/form",
	"config/shared":   "config/file config/form",
	"config/upstream": "config/file config/form",
	"config/access":   "config/file config/form",
	"auth":            "config/access config/frontend introspect keys limit token",
	"introspect":      "limit",
	"token":           "",
	"keys":            "config/access token",
	"limit":           "",
	"credentials":     "config/file config/upstream",
	"route":           "",
	"flags":           "config/file",
	"cluster":         "config/shared limit resp sealed",
	"resp":            "",
	"sealed":          "",
	"coding":          "problem request",
	"media":           "config/file config/form",
	"web":             "config/site media request problem",
	"problem":         "",
	"request":         "problem",
	"observe":         "problem",
	"s3error":         "problem",
	"origin":          "config/file config/upstream media problem request observe s3error",
	"probe":           "config/upstream problem observe origin",
	"listing":         "config/upstream web problem request observe origin",
	"listen":          "config/frontend limit problem request observe",
	"handover":        "",
	"fill":            "config config/site cluster coding problem request observe s3error origin",
	"serve":           "config config/access auth coding fill limit listen listing route web problem request observe s3error origin",
	"generation":      "auth cluster config config/access config/frontend config/upstream fill introspect limit listing media observe origin request route serve web",
	"admin":           "config config/file cluster limit problem request observe origin probe listen fill route serve",
	"inspect":         "config config/access config/frontend config/shared config/upstream auth introspect keys cluster flags web problem request observe s3error origin route serve",
	"":                "config config/access config/file config/shared config/upstream auth credentials keys cluster flags limit observe origin probe listen handover fill serve generation admin",
}

// outside are the packages that some of ours must not reach, by whatever way.
var outside = map[string][]string{
	"yatagarasu/pool":          {"yatagarasu/gateway", "yatagarasu/sign", "yatagarasu/cache", "github.com/rs/zerolog", "github.com/VictoriaMetrics/metrics"},
	"yatagarasu/sign":          {"yatagarasu/gateway", "yatagarasu/pool", "yatagarasu/cache", "github.com/rs/zerolog", "github.com/VictoriaMetrics/metrics"},
	"yatagarasu/cache":         {"yatagarasu/gateway", "yatagarasu/pool", "yatagarasu/sign", "github.com/rs/zerolog", "github.com/VictoriaMetrics/metrics"},
	"yatagarasu/gateway/auth":  {"yatagarasu/pool", "yatagarasu/sign", "github.com/rs/zerolog", "github.com/VictoriaMetrics/metrics"},
	"yatagarasu/gateway/keys":  {"yatagarasu/pool", "yatagarasu/sign", "yatagarasu/cache", "github.com/rs/zerolog", "github.com/VictoriaMetrics/metrics"},
	"yatagarasu/gateway/token": {"yatagarasu/pool", "yatagarasu/sign", "yatagarasu/cache", "github.com/valyala", "net/http"},
	"yatagarasu/gateway/limit": {"yatagarasu/pool", "yatagarasu/sign", "yatagarasu/cache", "github.com"},
	"yatagarasu":               {"yatagarasu/loadtest", "github.com/aws", "github.com/chromedp"},
}

// imports returns the packages that pkg depends on, itself among them, and what each of
// them imports.
func imports(t *testing.T, pkg string) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, pkg).Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		deps[fields[0]] = fields[1:]
	}
	return deps
}

// TestImportsGoOneWay keeps the rooms in their order, at most six below the gateway, and
// what is outside out.
func TestImportsGoOneWay(t *testing.T) {
	const root = "yatagarasu/gateway"
	room := func(pkg string) (name string, ok bool) {
		name, ok = strings.CutPrefix(pkg, root)
		return strings.TrimPrefix(name, "/"), ok && (name == "" || name[0] == '/')
	}
	deps := imports(t, "yatagarasu")
	levels := make(map[string]int)
	var level func(pkg string) int
	level = func(pkg string) int { // Go refuses cycles, so it ends
		if n, ok := levels[pkg]; ok {
			return n
		}
		below := 0
		for _, dep := range deps[pkg] {
			if _, ok := room(dep); ok {
				below = max(below, 1+level(dep))
			}
		}
		levels[pkg] = below
		return below
	}
	for pkg, list := range deps {
		name, ok := room(pkg)
		if !ok {
			continue
		}
		allowed, ok := rooms[name]
		if !ok {
			t.Errorf("%s is a package without a row in the table of rooms, main_test.go: give it one, and a duty in docs/ARCHITECTURE.md", pkg)
		}
		for _, dep := range list {
			if other, ok := room(dep); ok && !slices.Contains(strings.Fields(allowed), other) {
				t.Errorf("%s must not import %s: a room asks those below it alone. What it needs from above it is given, as an argument, a struct of options or a function; see docs/ARCHITECTURE.md", pkg, dep)
			}
		}
		if n := level(pkg); n > 6 {
			t.Errorf("%s stands on %d levels of rooms, more than six", pkg, n)
		}
	}
	for name := range rooms {
		if _, ok := deps[strings.TrimSuffix(root+"/"+name, "/")]; !ok {
			t.Errorf("the table of rooms, main_test.go, has %q, and the program has not", name)
		}
	}
	for pkg, names := range outside {
		for dep := range imports(t, pkg) {
			for _, name := range names {
				if dep == name || strings.HasPrefix(dep, name+"/") {
					t.Errorf("%s must not reach %s", pkg, dep)
				}
			}
		}
	}
}

// TestModules holds the table of modules in docs/ARCHITECTURE.md against what is linked into the
// program.
func TestModules(t *testing.T) {
	page, err := os.ReadFile("docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## What the program is built from")
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := map[string]bool{"yatagarasu": true}
	for module := range strings.FieldsSeq(string(out)) {
		short := strings.TrimPrefix(module, "github.com/")
		if !linked[module] && !strings.Contains(table, "`"+module+"`") && !strings.Contains(table, "`"+short+"`") {
			t.Errorf("%s is linked into the program, and docs/ARCHITECTURE.md does not say why", module)
		}
		linked[module] = true
	}
	for i, name := range strings.Split(table, "`") {
		if path := strings.Contains(name, "/") && i%2 == 1 && !strings.HasPrefix(name, "encoding/"); path && !linked[name] && !linked["github.com/"+name] {
			t.Errorf("docs/ARCHITECTURE.md has %s among the modules, and the program has not", name)
		}
	}
}

// TestProcess runs the built program as a service manager would.
func TestProcess(t *testing.T) {
	dir := t.TempDir()
	binary, config := filepath.Join(dir, "yatagarasu"), filepath.Join(dir, "c.yaml")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(config, []byte(goodConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddresses(t, 1)[0]
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		cmd := exec.Command(binary, "-config", config, "-listen.address", address, "-gc.percent", "200", "-gc.memory-limit", "1GiB")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		eventually(t, "the process serves", func() bool { status, _ := get("http://" + address + "/ready"); return status == 200 })
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("after %v: %v", signal, err)
		}
	}
}
