package pool

import (
	"net"

	"golang.org/x/sys/unix"
)

// delivery is what the kernel knows of a connection's send side.
type delivery struct {
	acked   uint64 // bytes that the peer has acknowledged
	pending bool   // bytes wait to be sent or acknowledged
	over    bool   // the connection was reset
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
		d = delivery{acked: info.Bytes_acked, pending: info.Unacked > 0 || info.Notsent_bytes > 0, over: info.State == stateClose}
		ok = true
	})
	return d, ok && err == nil
}
