package pool

import (
	"net"
	"unsafe"

	"golang.org/x/sys/windows"
)

// The system's errors by which failures are told apart.
const (
	errnoReset         = windows.WSAECONNRESET
	errnoPeerGone      = windows.WSAECONNABORTED // a write to a connection that the peer has closed
	errnoNoAddress     = windows.WSAEADDRNOTAVAIL
	errnoNoDescriptors = windows.WSAEMFILE
)

// shortages are errors for lack of what a connection needs.
var shortages = [...]error{windows.WSAEMFILE, windows.WSAENOBUFS, windows.ERROR_NOT_ENOUGH_MEMORY}

// wsaPoll asks for the state of sockets; see WSAPoll of winsock2.h.
var wsaPoll = windows.NewLazySystemDLL("ws2_32.dll").NewProc("WSAPoll")

// pollFD is WSAPOLLFD of winsock2.h.
type pollFD struct {
	fd      windows.Handle
	events  int16
	revents int16
}

const pollIn = 0x0100 | 0x0200 // POLLRDNORM and POLLRDBAND

// peekSocket looks at the receive queue of fd. It never blocks.
func peekSocket(fd uintptr) peekResult {
	p := pollFD{fd: windows.Handle(fd), events: pollIn}
	n, _, _ := wsaPoll.Call(uintptr(unsafe.Pointer(&p)), 1, 0)
	switch {
	case int32(n) < 0:
		return peekUnknown
	case n == 0:
		return peekClean
	case p.revents&pollIn == 0:
		return peekEOF
	}
	// Something can be read: bytes, or the end.
	var b byte
	buf, got, flags := windows.WSABuf{Len: 1, Buf: &b}, uint32(0), uint32(windows.MSG_PEEK)
	if err := windows.WSARecv(p.fd, &buf, 1, &got, &flags, nil, nil); err != nil || got == 0 {
		return peekEOF
	}
	return peekBytes
}

// delivered cannot tell here: Pace then goes by the bytes handed to the system.
func delivered(*net.TCPConn) (delivery, bool) { return delivery{}, false }
