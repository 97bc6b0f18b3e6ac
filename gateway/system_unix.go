//go:build unix

package gateway

import (
	"os"
	"syscall"
)

// Signals returns those that Run understands.
func Signals() []os.Signal {
	return []os.Signal{os.Interrupt, syscall.SIGTERM, signalReload, signalReopen, signalUpgrade}
}

// What signals ask for, beside the end.
const (
	signalReload  = syscall.SIGHUP
	signalReopen  = syscall.SIGUSR1
	signalUpgrade = syscall.SIGUSR2
)

// openFiles returns how many descriptors the process may have.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return maxOpenFiles // accepting then waits for descriptors, as it does when other processes take them all
	}
	return int(min(limit.Cur, maxOpenFiles))
}
