package pool

import (
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
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

// stateClose is TCP_CLOSE of linux/tcp_states.h; a connection that the peer
// only closed is in another state.
const stateClose = 7

// delivered asks the kernel how much of what was written to c the peer has
// acknowledged; see tcp(7), TCP_INFO. ok is false where it cannot tell.
func delivered(c *net.TCPConn) (d delivery, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return d, false
	}
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		d = delivery{acked: info.Bytes_acked, pending: info.Unacked > 0 || info.Notsent_bytes > 0, unsent: info.Notsent_bytes, over: info.State == stateClose}
		ok = true
	})
	return d, ok && err == nil
}
