//go:build unix && !linux

package port

import "net"

// hold only finds out whether the port is free: on these systems a socket that held it
// would keep the server out.
func hold(port int, _ bool) error {
	ln, err := net.Listen("tcp", Address(port))
	if err != nil {
		return err
	}
	return ln.Close()
}
