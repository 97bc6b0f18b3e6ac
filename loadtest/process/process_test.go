package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func awaitOutput(t *testing.T, p *Process, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := p.Await(ctx, time.Millisecond, func() error {
		if got := p.Output(); got != want {
			return fmt.Errorf("output %q, want %q", got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAwait(t *testing.T) {
	p, err := Start("/bin/sh", []string{"-c", "echo said; exec sleep 60"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	awaitOutput(t, p, "said")
	never := func() error { return errors.New("not yet") }
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	for _, want := range []string{"sh does not get ready: not yet; it said: said", "sh does not get ready: the process ended: not yet; it said: said"} {
		if err := p.Await(ctx, time.Millisecond, never); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		ctx = t.Context()
		p.Kill()
	}
}

func TestStop(t *testing.T) {
	p, err := Start("/bin/sh", []string{"-c", "echo $GREETING; while :; do sleep 0.1; done"}, []string{"GREETING=hello"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	awaitOutput(t, p, "hello")
	if now, err := p.Memory(); err != nil || now <= 0 {
		t.Errorf("memory %d, %v", now, err)
	} else if peak, err := p.PeakMemory(); err != nil || peak < now {
		t.Errorf("memory %d, at its peak %d, %v", now, peak, err)
	}
	if stat, err := ReadStat(p.Pid()); err != nil || stat.Parent != os.Getpid() || stat.RSS <= 0 {
		t.Errorf("%+v, %v", stat, err)
	}
	if err := p.Stop(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.Pid(), 0); err != syscall.ESRCH {
		t.Errorf("the process still exists: %v", err)
	}
}

func TestParseStat(t *testing.T) {
	got, err := parseStat("812 (a (b) c) S 1 812 812 0 -1 4194560 1 2 3 4 120 34 5 6 20 0 9 0 100 123456 7 18446744073709551615")
	want := Stat{Parent: 1, CPU: 1540 * time.Millisecond, RSS: 7 * int64(os.Getpagesize())}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, line := range []string{"", "812 (a", "812 (a) S 1 2", "812 (a) S x 1 1 0 -1 0 0 0 0 0 1 1 0 0 0 0 0 0 0 0 1"} {
		if _, err := parseStat(line); err == nil {
			t.Errorf("%q was accepted", line)
		}
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

func TestFrozen(t *testing.T) {
	p, err := Start("/bin/sh", []string{"-c", "while :; do sleep 0.01; done"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.KillGroup()
	for _, frozen := range []bool{true, false} {
		if p.Thaw(); frozen {
			p.Freeze()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := p.Await(ctx, time.Millisecond, func() error {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
			if stopped := strings.Contains(string(status), ") T "); err != nil || stopped != frozen {
				return fmt.Errorf("frozen: %v, stopped: %v, %w", frozen, stopped, err)
			}
			return nil
		})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestStopKillsWhatDoesNotStop(t *testing.T) {
	p, err := Start("/bin/sh", []string{"-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	awaitOutput(t, p, "ready")
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
	for deadline := time.Now().Add(5 * time.Second); child == 0; time.Sleep(time.Millisecond) {
		if child, err = strconv.Atoi(p.Output()); err != nil && time.Now().After(deadline) {
			t.Fatalf("output %q", p.Output())
		}
	}
	p.KillGroup()
	for deadline := time.Now().Add(5 * time.Second); !gone(child); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the child lives on")
		}
	}
}

// gone tells whether a process has ended, whether or not somebody asked how.
func gone(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(status), ") Z ")
}
