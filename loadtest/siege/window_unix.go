//go:build unix

package main

import "syscall"

// smallWindow has the kernel take little of what the gateway sends.
func smallWindow(c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
	}); e != nil {
		return e
	}
	return err
}
