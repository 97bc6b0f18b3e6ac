package pool

import (
	"syscall"
	"unsafe"
)

// peekSocket looks at the receive queue of fd; see recv(2), MSG_PEEK.
//
// Not unix.Recvfrom, which allocates a peer address for every call. It never
// blocks, so the scheduler need not know of it.
func peekSocket(fd uintptr) peekResult {
	var b [1]byte
	// b stays in place during the call: converted in the argument list, as
	// package unsafe wants for system calls.
	n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), uintptr(len(b)), syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	switch {
	case e == syscall.EAGAIN || e == syscall.EINTR:
		return peekClean
	case e != 0 || n == 0:
		return peekEOF
	default:
		return peekBytes
	}
}
