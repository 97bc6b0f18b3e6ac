package gateway

import (
	"os"
	"syscall"
)

// Signals returns those that Run understands: Ctrl+C, and the end of the session or the system.
func Signals() []os.Signal {
	return []os.Signal{os.Interrupt, syscall.SIGTERM}
}

// notSent is a signal that nobody can send here.
type notSent string

func (s notSent) Signal()        {}
func (s notSent) String() string { return string(s) }

// What signals ask for elsewhere. Here POST /admin/reload does the first; there is nothing for
// the others.
const (
	signalReload  notSent = "reload"
	signalReopen  notSent = "reopen"
	signalUpgrade notSent = "upgrade"
)

// openFiles returns how many sockets the process may have: as many as there is memory for.
func openFiles() int { return maxOpenFiles }
