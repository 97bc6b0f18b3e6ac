// Package needs says what a test does without a program or a machine that it needs.
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

// Skip skips t for lack of something. Where everything must be tested, which the
// variable CI tells, it fails t instead.
func Skip(t testing.TB, lack string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(lack)
	}
	t.Skip(lack)
}
