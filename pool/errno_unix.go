//go:build unix

package pool

import "golang.org/x/sys/unix"

// The system's errors by which failures are told apart.
const (
	errnoReset         = unix.ECONNRESET
	errnoPeerGone      = unix.EPIPE // a write to a connection that the peer has closed
	errnoNoAddress     = unix.EADDRNOTAVAIL
	errnoNoDescriptors = unix.EMFILE
)

// shortages are errors for lack of what a connection needs.
var shortages = [...]error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM}
