package process

import (
	"net"
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
	for deadline := time.Now().Add(5 * time.Second); p.Output() != "hello"; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("output %q", p.Output())
		}
	}
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

func TestStopKillsWhatDoesNotStop(t *testing.T) {
	p, err := Start("/bin/sh", []string{"-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for p.Output() != "ready" {
		time.Sleep(time.Millisecond)
	}
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

func TestFreePortAvoidsATakenOne(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().(*net.TCPAddr).Port
	if port, err := FreePort(taken); err != nil || port == taken {
		t.Errorf("port %d, %v", port, err)
	}
}
