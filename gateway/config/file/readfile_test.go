package file

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// TestFileFix has the advice for each cause that no test can make.
func TestFileFix(t *testing.T) {
	for cause, want := range map[error]string{
		syscall.EACCES: "let the user", syscall.EPERM: "let the user", syscall.EMFILE: "ulimit", syscall.EIO: "see to the disk", syscall.EINVAL: "write a path",
	} {
		if got := fileFix(&fs.PathError{Op: "open", Path: "x", Err: cause}); !strings.HasPrefix(got, strings.Split(want, "ulimit")[0]) || !strings.Contains(got, want) {
			t.Errorf("%v: %s", cause, got)
		}
		if got := readError("x", &fs.PathError{Op: "open", Path: "x", Err: cause}).Error(); !strings.Contains(got, want) {
			t.Errorf("%v: %s", cause, got)
		}
	}
	if got := reason(errors.New("plain")); got != "plain" {
		t.Errorf("got %s", got)
	}
}
