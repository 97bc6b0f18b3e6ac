package port

import (
	"os"
	"syscall"
)

// hold binds a port until the process ends. With shared it also binds a port of
// connections that ended or of other reservations.
func hold(port int, shared bool) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	reuse := func() error {
		return os.NewSyscallError("setsockopt", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
	}
	if shared {
		err = reuse()
	}
	if err == nil {
		err = os.NewSyscallError("bind", syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
	}
	if err == nil && !shared {
		err = reuse()
	}
	if err != nil {
		syscall.Close(fd)
	}
	return err // nil: fd stays open on purpose
}
