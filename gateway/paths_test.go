package gateway

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// traced are the rooms whose functions TestPaths follows. listen is not among them: what it
// notes of a connection comes before and after the request.
var traced = []string{".", "admin", "fill", "listing", "observe", "origin", "problem", "probe", "request", "s3error", "serve"}

// TestPaths follows a hit, a streamed miss and a led miss through the functions that they
// enter: docs/ARCHITECTURE.md lists the main ones of each in order, and a led miss visits
// few files, and seldom returns to one that it has left.
func TestPaths(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it builds the gateway anew, with a call in each function")
	}
	const mostFiles, mostReturns = 16, 25
	paths := enteredFunctions(t)
	for _, path := range []string{"hit", "streamed miss", "led miss"} {
		entered := paths[path]
		next := 0
		for _, call := range entered {
			file, function, _ := strings.Cut(call, " ")
			if want := listedPath(t, path); next < len(want) && filepath.Dir(file)+"."+function == want[next] {
				next++
			}
		}
		if want := listedPath(t, path); next < len(want) {
			t.Errorf("docs/ARCHITECTURE.md: a %s does not come to %s after those before it; it enters:\n%s", path, want[next], strings.Join(entered, "\n"))
		}
		files, returns := visits(entered)
		t.Logf("a %s enters %d functions in %d files, and returns %d times to one that it has left", path, len(entered), files, returns)
		if path == "led miss" && (files > mostFiles || returns > mostReturns) {
			t.Errorf("a led miss visits %d files and returns %d times to one that it has left; at most %d and %d:\n%s", files, returns, mostFiles, mostReturns, strings.Join(entered, "\n"))
		}
	}
}

// visits counts the files of calls, and how often they return to one that was left.
func visits(entered []string) (files, returns int) {
	seen := make(map[string]bool)
	last := ""
	for _, call := range entered {
		file, _, _ := strings.Cut(call, " ")
		if file != last && seen[file] {
			returns++
		}
		seen[file], last = true, file
	}
	return len(seen), returns
}

// listedPath returns the functions that docs/ARCHITECTURE.md lists for a path.
func listedPath(t *testing.T, path string) (list []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n### A "+path+"\n")
	section, _, _ = strings.Cut(section, "\n#")
	for _, m := range regexp.MustCompile("(?m)^[0-9]+\\. `([A-Za-z0-9.]+)`").FindAllStringSubmatch(section, -1) {
		list = append(list, m[1])
	}
	if !ok || len(list) < 5 {
		t.Fatalf("docs/ARCHITECTURE.md has no list of functions for a %s", path)
	}
	return list
}

// enteredFunctions runs testdata/paths_traced.go.txt with the rooms' functions noted, and
// returns those that each path enters, as file and function.
func enteredFunctions(t *testing.T) map[string][]string {
	t.Helper()
	overlay, err := json.Marshal(map[string]any{"Replace": noting(t)})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "test", "-v", "-vet=off", "-count=1", "-overlay", file, "-run", "^TestTracedPaths$", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	paths := make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "ENTERED "); ok {
			path, call, _ := strings.Cut(rest, ": ")
			paths[path] = append(paths[path], call)
		}
	}
	return paths
}

// noting returns the files that are laid over the module: those of the rooms, with a call
// at the start of each function, and what is called.
func noting(t *testing.T) map[string]string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{
		filepath.Join(dir, "calls", "calls.go"):    filepath.Join(dir, "testdata", "calls.go.txt"),
		filepath.Join(dir, "paths_traced_test.go"): filepath.Join(dir, "testdata", "paths_traced.go.txt"),
	}
	into := t.TempDir()
	for _, room := range traced {
		files, err := filepath.Glob(filepath.Join(room, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", room, files, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			copied := filepath.Join(into, strings.ReplaceAll(file, string(filepath.Separator), "-"))
			if err := os.WriteFile(copied, []byte(withCalls(t, file)), 0o600); err != nil {
				t.Fatal(err)
			}
			replace[filepath.Join(dir, file)] = copied
		}
	}
	return replace
}

// withCalls returns the text of a file with a call at the start of each function.
func withCalls(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	s := string(text)
	for _, decl := range slices.Backward(parsed.Decls) {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			typ := s[set.Position(f.Recv.List[0].Type.Pos()).Offset:set.Position(f.Recv.List[0].Type.End()).Offset]
			name = strings.TrimPrefix(typ, "*") + "." + name
		}
		at := set.Position(f.Body.Lbrace).Offset + 1
		s = s[:at] + " calls.Enter(`" + file + "`, `" + name + "`);" + s[at:]
	}
	if at := set.Position(parsed.Name.End()).Offset; s != string(text) {
		s = s[:at] + "; import \"yatagarasu/gateway/calls\"" + s[at:]
	}
	return s
}
