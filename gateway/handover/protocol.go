// Package handover passes sockets between processes: from a service manager, and from the
// running gateway to the one that takes over. It speaks to both.
package handover

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// An upgrade: the running process starts the program anew with its listening sockets
// and a connection to itself. On that connection,
//
//	the new one says  READY=1    it is set up, and would serve
//	the old one says  SERVE=1    from here on there is no way back
//	the new one says  SERVING=1  it accepts connections
//
// The old one then accepts no more, tells the service manager, closes the connection,
// and finishes what is under way. Whatever goes wrong before SERVE=1, the new process
// has not accepted a connection and ends, and the old one goes on. Until READY=1, what
// the new process writes to standard error goes to the old one too, which logs it.
const (
	socketUpgrade = "upgrade"
	saysReady     = "READY=1"
	saysServe     = "SERVE=1"
	saysServing   = "SERVING=1"

	// upgradeStep bounds each step of the conversation after SERVE=1.
	upgradeStep = 5 * time.Second
)

// envParent has the process that begins an upgrade, in place of LISTEN_PID: the new
// one's own number cannot be told before it exists.
const envParent = "YATAGARASU_PARENT"

// Program returns the path that the program was started by, absolute. What is there
// later is its next version; a symbolic link is kept for that.
func Program() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot find the program's own path: %w", err)
	}
	started, err := exec.LookPath(os.Args[0])
	if err == nil {
		started, err = filepath.Abs(started)
	}
	a, _ := os.Stat(started) // nothing is the same as what is not there
	b, _ := os.Stat(self)
	if err != nil || !os.SameFile(a, b) {
		return self, nil
	}
	return started, nil
}

// HandedOver tells whether another process hands its sockets over to this one.
func (in *Inherited) HandedOver() bool { return in != nil && in.from != nil }

// Claim says that this process would serve, and waits until it is to, for up to limit:
// the one that began the upgrade may be in a reload, which comes first. If that process
// ends, so does the wait.
func (in *Inherited) Claim(limit time.Duration) error {
	in.from.SetDeadline(time.Now().Add(limit))
	_, err := io.WriteString(in.from, saysReady+"\n")
	var answer []byte
	if err == nil {
		answer = make([]byte, len(saysServe)+1)
		_, err = io.ReadFull(in.from, answer)
	}
	if err != nil || string(answer) != saysServe+"\n" {
		return errors.New("the process that began the upgrade gave it up")
	}
	return nil
}

// Confirm says that this process serves, and waits until the other one is done with
// the service manager.
func (in *Inherited) Confirm() {
	in.from.SetDeadline(time.Now().Add(2 * upgradeStep))
	io.WriteString(in.from, saysServing+"\n")
	io.Copy(io.Discard, in.from)
	in.from.Close()
}

// Stderr returns a writer to w which, during an upgrade, tells the process that began
// it as well what goes wrong.
func (in *Inherited) Stderr(w io.Writer) io.Writer {
	if !in.HandedOver() {
		return w
	}
	return &startWriter{w: w, from: in.from}
}

// startWriter writes to both; from may be gone.
type startWriter struct{ w, from io.Writer }

// Write implements io.Writer.
func (s *startWriter) Write(p []byte) (int, error) {
	s.from.Write(p)
	return s.w.Write(p)
}
