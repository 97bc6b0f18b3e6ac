package gateway

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"yatagarasu/gateway/handover"
)

// serviceManager receives what a notifier sends.
type serviceManager struct {
	address string
	mu      sync.Mutex // guards the following fields
	got     []string
	deaf    bool // barriers are not answered
}

// startServiceManager listens at address, a path or an abstract name.
func startServiceManager(t *testing.T, address string) *serviceManager {
	t.Helper()
	m := &serviceManager{address: address}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: address})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		c.Close()
		<-ended
	})
	go func() { // ends with c
		defer close(ended)
		message, control := make([]byte, 4096), make([]byte, 256)
		for {
			n, controls, _, _, err := c.ReadMsgUnix(message, control)
			if err != nil {
				return
			}
			m.note(string(message[:n]), control[:controls])
		}
	}()
	return m
}

func (m *serviceManager) note(message string, control []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, message)
	passed, _ := unix.ParseSocketControlMessage(control)
	for i := range passed {
		fds, _ := unix.ParseUnixRights(&passed[i])
		for _, fd := range fds {
			if !m.deaf {
				unix.Close(fd)
			}
		}
	}
}

// messages returns what arrived so far.
func (m *serviceManager) messages() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.got...)
}

// waitFor waits until n messages begin with text, and returns the last of them.
func (m *serviceManager) waitFor(t *testing.T, n int, text string) string {
	t.Helper()
	var found []string
	arrived := polled(10*time.Second, func() bool {
		found = slices.DeleteFunc(m.messages(), func(message string) bool { return !strings.HasPrefix(message, text) })
		return len(found) >= n
	})
	if !arrived {
		t.Fatalf("%q does not arrive %d times, but %q", text, n, m.messages())
	}
	return found[n-1]
}

func TestNotify(t *testing.T) {
	addresses := map[string]string{"path": filepath.Join(t.TempDir(), "n")}
	if runtime.GOOS == "linux" {
		addresses["abstract"] = fmt.Sprintf("@yatagarasu-test-%d", os.Getpid())
	}
	for name, address := range addresses {
		t.Run(name, func(t *testing.T) {
			m := startServiceManager(t, address)
			t.Setenv("NOTIFY_SOCKET", address)
			t.Setenv("WATCHDOG_USEC", "20000")
			t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
			gw, write := fileGateway(t, oneBucket("/pub", "http://127.0.0.1:1"))
			if got := m.waitFor(t, 1, "READY=1\n"); !strings.Contains(got, "STATUS=serving 1 bucket(s) on "+gw.addr) {
				t.Errorf("at the start: %q", got)
			}
			m.waitFor(t, 3, "WATCHDOG=1")

			gw.signals <- syscall.SIGHUP
			got := m.waitFor(t, 1, "RELOADING=1\n")
			usec, err := strconv.ParseInt(strings.TrimPrefix(got, "RELOADING=1\nMONOTONIC_USEC="), 10, 64)
			var now unix.Timespec
			unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
			if age := time.Duration(now.Nano() - usec*1000); err != nil || age < 0 || age > time.Minute {
				t.Errorf("a reload: %q, %s ago by the clock", got, age)
			}
			if got := m.waitFor(t, 2, "READY=1\n"); !strings.Contains(got, "generation 2") {
				t.Errorf("after a reload: %q", got)
			}
			write("nonsense: 1\n")
			gw.signals <- syscall.SIGHUP
			if got := m.waitFor(t, 3, "READY=1\n"); !strings.Contains(got, "generation 2; the last reload failed") {
				t.Errorf("after a reload that failed: %q", got)
			}
			if err := gw.stop(); err != nil {
				t.Fatal(err)
			}
			m.waitFor(t, 1, "STOPPING=1\nSTATUS=")
		})
	}
}

func TestNotifyBarrier(t *testing.T) {
	g := handlerGateway(t, "http://127.0.0.1:1", "warn")
	m := startServiceManager(t, filepath.Join(t.TempDir(), "n"))
	n := handover.NewNotifier(func(name string) string { return map[string]string{"NOTIFY_SOCKET": m.address}[name] }, 7, &g.Log)
	if err := n.Barrier(10 * time.Second); err != nil {
		t.Errorf("answered: %v", err)
	}
	m.mu.Lock()
	m.deaf = true
	m.mu.Unlock()
	if err := n.Barrier(10 * time.Millisecond); err == nil {
		t.Error("a barrier that nobody answers is passed")
	}
	if got := m.messages(); len(got) != 2 || got[0] != "BARRIER=1" {
		t.Errorf("sent: %q", got)
	}
	if err := new(handover.Notifier).Barrier(0); err != nil {
		t.Errorf("with nobody to tell: %v", err)
	}
	gone := handover.NewNotifier(func(name string) string { return map[string]string{"NOTIFY_SOCKET": "/no/such/socket"}[name] }, 7, &g.Log)
	if err := gone.Barrier(time.Second); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("with a socket that is not there: %v", err)
	}
}
