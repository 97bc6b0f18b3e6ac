// Package port reserves TCP ports on 127.0.0.1 for programs that take the number of a
// port but no listener.
//
// A number got by listening on port 0 and closing may be taken before the program binds
// it: the kernel gives ports of that range to every outgoing connection, and there are
// thousands of those under load. So a reservation is held: it is a socket that is bound
// and stays so until this process ends. It is bound without SO_REUSEADDR, which fails
// if any other socket has the port, a reservation by a test of another package too,
// and gets the option afterwards. Then a server may bind the same port, since both
// sockets have the option and neither listens; servers set it, or they could not
// restart. The kernel gives a bound port to no connection and to no listener on
// port 0. A lock file would bind only those who know of it; a listener handed down
// would do, but nginx, HAProxy, Varnish and the S3 servers take none.
//
// A reservation is not given back. It costs one descriptor. A server that a test kills
// and starts again finds its port; until then connections to it are refused.
//
// The numbers come from outside the range that the kernel hands out, so that no
// connection in TIME_WAIT has them either, and on systems other than Linux, whose
// sockets cannot share a port like that, no connection takes one before its server
// does. A program that was told the same number by somebody else can still be first:
// see InUse.
package port

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
)

// The ports to choose from where the kernel does not say what it hands out: below the
// ranges of Linux (from 32768) and of BSD and IANA (from 49152), above most well-known
// ports.
const (
	first = 20_000
	last  = 32_767
)

// Reserve returns a port that nobody else has, and keeps it until the process ends.
// Safe for concurrent use.
func Reserve() (int, error) {
	text, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range") // absent elsewhere
	from, to := outside(string(text))
	n := to - from + 1
	start := rand.IntN(n)
	for i := range n {
		port := from + (start+i)%n
		err := hold(port, false)
		if err == nil {
			return port, nil
		}
		if !InUse(err.Error()) {
			return 0, fmt.Errorf("cannot reserve port %d: %w", port, err)
		}
	}
	return 0, fmt.Errorf("cannot reserve a port: all from %d to %d are in use", from, to)
}

// Prefer reserves port if nothing listens on it. Otherwise, or if port is 0, it reserves
// any port, as Reserve does.
func Prefer(port int) (int, error) {
	if port == 0 {
		return Reserve()
	}
	// Listen, since that is what the server will do: connections that ended a moment ago
	// hinder only those who bind alone.
	ln, err := net.Listen("tcp", Address(port))
	if err != nil {
		return Reserve()
	}
	if err := errors.Join(ln.Close(), hold(port, true)); err != nil {
		return Reserve()
	}
	return port, nil
}

// Try calls start with a port from Prefer, and with others as often as Retry does.
func Try(preferred int, start func(port int) error) error {
	return Retry(func() error {
		port, err := Prefer(preferred)
		if err != nil {
			return err
		}
		preferred = 0
		return start(port)
	})
}

// Retry calls start up to three times, as long as its error says that an address is in
// use. start takes other ports each time.
func Retry(start func() error) error {
	for try := 1; ; try++ {
		if err := start(); err == nil || try == 3 || !InUse(err.Error()) {
			return err
		}
	}
}

// Address returns host and port.
func Address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// InUse tells whether a program, or the kernel, says that an address is taken, so that
// another try with another port is worth it.
func InUse(message string) bool {
	return strings.Contains(strings.ToLower(message), "already in use")
}

// outside returns the range of ports to choose from. handedOut is the range that the
// kernel hands out, as "first last".
func outside(handedOut string) (from, to int) {
	var low, high int
	if _, err := fmt.Sscan(handedOut, &low, &high); err != nil || low > high {
		return first, last
	}
	const most, enough = 65_535, 1_000
	switch {
	case low-first >= enough:
		return first, low - 1
	case most-high >= enough:
		return high + 1, most
	}
	return first, last // inside, where a bound port is safe too
}
