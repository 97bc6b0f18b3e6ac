package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSlack has a child of the test, which is this test again, allow itself some timer slack.
func TestSlack(t *testing.T) {
	const envWant = "TEST_TIMER_SLACK"
	if d, err := time.ParseDuration(os.Getenv(envWant)); err == nil {
		said := "done"
		if err := allowSlack(d); err != nil {
			said = err.Error()
		}
		fmt.Println(os.Getpid(), said, slackOfAll(), os.Getenv(envSlack))
		os.Exit(0)
	}
	runtime.LockOSThread() // by which the children are started
	defer runtime.UnlockOSThread()
	own := timerSlack()
	if own <= 0 {
		t.Fatalf("the slack of the test itself is %s", own)
	}
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(own), 0, 0, 0)
	for _, c := range []struct{ started, allowed, want time.Duration }{
		{50 * time.Microsecond, time.Millisecond, time.Millisecond},
		{50 * time.Microsecond, 0, 50 * time.Microsecond},
		{2 * time.Millisecond, time.Millisecond, 2 * time.Millisecond},
	} {
		if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(c.started), 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSlack$")
		cmd.Env = append(os.Environ(), envWant+"="+c.allowed.String())
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if want := fmt.Sprintf("%d done [%s] \n", cmd.Process.Pid, c.want); string(out) != want {
			t.Errorf("started with %s, and %s allowed: %q, want %q", c.started, c.allowed, out, want)
		}
	}
}

// What cannot be started leaves the process as it was.
func TestSlackWithoutProgram(t *testing.T) {
	var before, after syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := execute(filepath.Join(t.TempDir(), "none")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("the error is %v", err)
	}
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &after); err != nil || after != before {
		t.Errorf("the limit of open files is %v, and was %v: %v", after, before, err)
	}
}

// slackOfAll returns the different slacks of the process's threads, of which only one with
// CAP_SYS_NICE may look at others than its own.
func slackOfAll() []time.Duration {
	all := []time.Duration{timerSlack()}
	threads, _ := filepath.Glob("/proc/self/task/*")
	for _, path := range threads {
		b, err := os.ReadFile("/proc/" + filepath.Base(path) + "/timerslack_ns")
		if err != nil {
			continue
		}
		ns, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		all = append(all, time.Duration(ns))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
