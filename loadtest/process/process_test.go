package process

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStop(t *testing.T) {
	p, err := Start("/bin/sh", []string{"-c", "echo $GREETING; exec sleep 60"}, []string{"GREETING=hello"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it says hello", func() bool { return p.Output() == "hello" })
	if n, err := p.PeakMemory(); err != nil || n <= 0 {
		t.Errorf("peak memory %d, %v", n, err)
	}
	if err := p.Stop(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.Pid(), 0); err != syscall.ESRCH {
		t.Errorf("the process still exists: %v", err)
	}
}

func TestStdoutOfItsOwn(t *testing.T) {
	var own, out strings.Builder
	cmd := exec.Command("/bin/sh", "-c", "echo result; echo trouble >&2")
	cmd.Stdout = &own
	p, err := StartCommand(cmd, &out)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if own.String() != "result\n" || out.String() != "trouble\n" || p.Output() != "trouble" {
		t.Errorf("stdout %q, out %q, output %q", own.String(), out.String(), p.Output())
	}
}

func TestStopKillsWhatDoesNotStop(t *testing.T) {
	p, err := Start("/bin/sh", []string{"-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is ready", func() bool { return p.Output() == "ready" })
	if err := p.Stop(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "did not stop") {
		t.Errorf("Stop: %v", err)
	}
	<-p.Done()
}

func TestWhatIsMissing(t *testing.T) {
	if _, err := Find("no-such-program"); err == nil || !strings.Contains(err.Error(), "make build tools") {
		t.Errorf("Find: %v", err)
	}
	if _, err := Start("/no/such/program", nil, nil, nil); err == nil {
		t.Error("a missing program starts")
	}
}

func TestExitCode(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 99": 99, "kill -9 $$": -1} {
		p, err := Start("/bin/sh", []string{"-c", script}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		if got := p.ExitCode(); got != want {
			t.Errorf("%s: %d, want %d", script, got, want)
		}
	}
}

func TestKillGroupEndsChildren(t *testing.T) {
	p, err := Start("/bin/sh", []string{"-c", "sleep 60 & echo $!; wait"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	child := 0
	eventually(t, "it has a child", func() bool { child, err = strconv.Atoi(p.Output()); return err == nil })
	p.KillGroup()
	eventually(t, "the child is gone", func() bool { return gone(child) })
}

// eventually waits until cond holds: of what processes do, nothing tells the test when it happens.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) { // the only way to look again later
		if time.Now().After(deadline) {
			t.Fatal("never:", what)
		}
	}
}

// gone tells whether a process has ended, whether or not somebody asked how.
func gone(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(status), ") Z ")
}
