//go:build unix

package listen

import "golang.org/x/sys/unix"

// shortages are the errors of an accept that pass.
var shortages = []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED, unix.EINTR}
