// Package needs skips tests that lack a program, or a kind of machine.
package needs

import (
	"os"
	"os/exec"
	"testing"
)

// Program returns the path of a program, or ends t as Skip does.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Skip(t, name+" is not installed")
	}
	return path
}

// Skip skips t for lack of something. Where the environment variable CI is set,
// everything must be tested: it fails t instead.
func Skip(t testing.TB, lack string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(lack)
	}
	t.Skip(lack)
}
