package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"yatagarasu/loadtest/process"
)

// clockVariable says by how many seconds the clock of a gateway is ahead.
const clockVariable = "YATAGARASU_CLOCK_AHEAD"

// buildWithClock builds the gateway into a folder, with a clock that clockVariable sets,
// and returns its path. libfaketime has no hold on Go programs, which ask the kernel for the time and not
// the C library; so the package time is another.
func buildWithClock(ctx context.Context, dir string) (string, error) {
	root, err := process.ModuleRoot()
	if err != nil {
		return "", err
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("cannot ask go where it is: %w", err)
	}
	original := filepath.Join(strings.TrimSpace(string(goroot)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return "", fmt.Errorf("cannot read package time: %w", err)
	}
	const begin = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	changed := strings.NewReplacer("import (", "import (\n\t\"syscall\"", begin, begin+"\tsec += ahead\n").Replace(string(text)) + `
var ahead = func() (seconds int64) {
	text, _ := syscall.Getenv("` + clockVariable + `")
	sign := int64(1)
	for _, c := range []byte(text) {
		if c == '-' {
			sign = -1
		} else {
			seconds = 10*seconds + int64(c-'0')
		}
	}
	return sign * seconds
}()
`
	if !strings.Contains(changed, begin+"\tsec += ahead\n") {
		return "", fmt.Errorf("cannot set a clock in Go %s: time.Now is not what it was; change buildWithClock", runtime.Version())
	}
	replacement, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	document, err := json.Marshal(map[string]map[string]string{"Replace": {original: replacement}})
	if err != nil {
		return "", err
	}
	for path, text := range map[string]string{replacement: changed, overlay: string(document)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	binary := filepath.Join(dir, "yatagarasu")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-overlay", overlay, "-o", binary, ".")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the gateway with another clock: %w: %s", err, out)
	}
	return binary, nil
}
