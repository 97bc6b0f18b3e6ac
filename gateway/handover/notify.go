package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Notifier tells the service manager how the process fares, by the protocol of
// sd_notify(3). The zero value has nobody to tell. Safe for concurrent use.
type Notifier struct {
	silent   atomic.Bool // another process is the service now
	log      *zerolog.Logger
	address  *net.UnixAddr // nil: nobody
	watchdog time.Duration // within which a sign of life is expected; 0: none is
}

// NewNotifier returns the notifier that the environment names, for the process pid.
func NewNotifier(lookup func(string) string, pid int, log *zerolog.Logger) *Notifier {
	n := &Notifier{log: log}
	socket := lookup("NOTIFY_SOCKET")
	if socket == "" {
		return n
	}
	if socket[0] != '/' && socket[0] != '@' {
		log.Warn().Str("NOTIFY_SOCKET", socket).Msg("cannot notify the service manager: the address is neither a path nor begins with @")
		return n
	}
	n.address = &net.UnixAddr{Net: "unixgram", Name: socket} // Go knows @ as abstract, too
	usec, err := strconv.ParseInt(lookup("WATCHDOG_USEC"), 10, 64)
	if p := lookup("WATCHDOG_PID"); err == nil && usec > 0 && (p == "" || p == strconv.Itoa(pid)) {
		n.watchdog = time.Duration(usec) * time.Microsecond
	}
	return n
}

// Send sends assignments such as READY=1. A service manager that cannot be reached
// keeps nothing from being served.
func (n *Notifier) Send(assignments ...string) {
	if n.address == nil || n.silent.Load() {
		return
	}
	if err := n.write([]byte(strings.Join(assignments, "\n")), nil); err != nil {
		n.log.Warn().Err(err).Msg("cannot notify the service manager")
	}
}

// write sends a message, and with it a file, if one is passed.
func (n *Notifier) write(message []byte, passed *os.File) error {
	c, err := net.DialUnix("unixgram", nil, n.address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	return sendMessage(c, message, passed)
}

// Reloading tells that a reload has begun; READY=1 ends it.
func (n *Notifier) Reloading() {
	if n.address == nil {
		return
	}
	now, err := monotonic()
	if err != nil {
		n.log.Warn().Err(err).Msg("cannot notify the service manager of a reload")
		return
	}
	n.Send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Microseconds()))
}

// Barrier waits, for up to limit, until all that was sent has been dealt with: a
// message whose sender is gone by then is lost.
func (n *Notifier) Barrier(limit time.Duration) error {
	if n.address == nil {
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	err = n.write([]byte("BARRIER=1"), w)
	w.Close()
	if err != nil {
		return err
	}
	if err := r.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := r.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer within %s", limit)
	}
	return nil // the service manager closed its copy
}

// KeepAlive gives the signs of life that the service manager's watchdog expects,
// until stop is closed.
func (n *Notifier) KeepAlive(stop <-chan struct{}) {
	if n.watchdog == 0 {
		return
	}
	for {
		n.Send("WATCHDOG=1")
		select {
		case <-time.After(n.watchdog / 2):
		case <-stop:
			return
		}
	}
}
