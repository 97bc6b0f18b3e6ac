package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// An upgrade: the running process starts the program anew with its listening sockets
// and a connection to itself. On that connection,
//
//	the new one says  READY=1    it is set up, and would serve
//	the old one says  SERVE=1    from here on there is no way back
//	the new one says  SERVING=1  it accepts connections
//
// The old one then accepts no more, tells the service manager, closes the connection,
// and finishes what is under way. Whatever goes wrong before SERVE=1, the new process
// has not accepted a connection and ends, and the old one goes on. Until READY=1, what
// the new process writes to standard error goes to the old one too, which logs it.
const (
	socketUpgrade = "upgrade"
	saysReady     = "READY=1"
	saysServe     = "SERVE=1"
	saysServing   = "SERVING=1"

	// upgradeStep bounds each step of the conversation after SERVE=1.
	upgradeStep = 5 * time.Second
	// upgradeReady is how long the new process waits to be ready; origins that are not
	// reachable keep no upgrade from happening.
	upgradeReady = 5 * time.Second
	// upgradeIdle is how long a connection may stay idle after an upgrade: requests on
	// it that come until then are answered, and moved to the new process by that.
	upgradeIdle = 5 * time.Second
)

// envParent has the process that begins an upgrade, in place of LISTEN_PID: the new
// one's own number cannot be told before it exists.
const envParent = "YATAGARASU_PARENT"

// Program returns the path that the program was started by, absolute. What is there
// later is its next version; a symbolic link is kept for that.
func Program() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot find the program's own path: %w", err)
	}
	started, err := exec.LookPath(os.Args[0])
	if err == nil {
		started, err = filepath.Abs(started)
	}
	if err != nil || !sameFile(started, self) {
		return self, nil
	}
	return started, nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// upgrader makes upgrades, one at a time, for Run.
type upgrader struct {
	g      *Gateway
	done   chan upgrade
	cancel context.CancelFunc // nil: none is under way
	hungUp bool               // SIGHUP came since begin
}

// upgrade is what came of starting a new process.
type upgrade struct {
	successor *successor
	over      chan<- struct{} // to be closed at the end: reloads wait for that
	err       error
}

// begin starts a new process. What comes of that arrives on done.
func (u *upgrader) begin() {
	if u.cancel != nil {
		u.g.log.Warn().Msg("an upgrade is under way; another is not begun")
		return
	}
	u.hungUp = false
	u.g.log.Info().Str("program", u.g.opts.Program).Msg("upgrading: starting the new process")
	var ctx context.Context
	ctx, u.cancel = context.WithCancel(context.Background())
	go func() { u.done <- u.g.startCurrent(ctx) }() // ends with the start of the process, or by cancel
}

// complete hands over, and reports whether that is done. If not, this process goes on.
func (u *upgrader) complete(started upgrade) bool {
	u.cancel()
	u.cancel = nil
	err := started.err
	if err == nil {
		defer close(started.over)
		err = u.g.handOver(started.successor)
	}
	if err != nil {
		u.g.log.Error().Err(err).Msg("the upgrade failed; this process goes on")
		return false
	}
	u.g.superseded.Store(true) // before reloads go on: they are refused
	if u.hungUp {              // what it was sent for may have come after the new process read the file
		u.g.passOn(started.successor, syscall.SIGHUP)
	}
	return true
}

// abandon ends the upgrade that is under way, if one is.
func (u *upgrader) abandon() {
	if u.cancel == nil {
		return
	}
	u.cancel()
	if started := <-u.done; started.err == nil {
		started.successor.end()
		close(started.over)
	}
}

// handOver has the process serve. After an error this one goes on to do so.
func (g *Gateway) handOver(s *successor) error {
	s.conn.SetDeadline(time.Now().Add(upgradeStep))
	_, err := io.WriteString(s.conn, saysServe+"\n")
	if err == nil {
		_, err = s.expect(saysServing)
	}
	if err != nil {
		return fmt.Errorf("it does not serve: %w, %s", err, s.end())
	}
	g.notify.send("MAINPID="+strconv.Itoa(s.cmd.Process.Pid), "STATUS=handed over to a new process")
	if err := g.notify.barrier(upgradeStep); err != nil {
		g.log.Warn().Err(err).Msg("the service manager does not confirm that it follows the new process")
	}
	g.notify.silence()
	s.conn.Close()
	return nil
}

// errSuperseded is what a reload gives after a hand-over.
var errSuperseded = errors.New("this process has handed over to a new one; reload that")

// passOn has s do what a signal that came here asks for.
func (g *Gateway) passOn(s *successor, signal os.Signal) {
	if err := s.cmd.Process.Signal(signal); err != nil {
		g.log.Warn().Err(err).Str("signal", signal.String()).Msg("a signal for the new process cannot be passed on")
		return
	}
	g.log.Info().Str("signal", signal.String()).Int("pid", s.cmd.Process.Pid).Msg("passed on to the new process")
}

// finish ends the gateway after s has taken over its sockets.
func (g *Gateway) finish(s *successor, signals <-chan os.Signal, served <-chan error) error {
	g.draining.Store(true)
	g.closeListener(served)
	if ln := g.metricsListener.Load(); ln != nil {
		ln.Close() // probes and scrapes are for the new process
	}
	g.log.Info().Int("pid", s.cmd.Process.Pid).Int("connections", g.conns.len()).Int("requests", g.conns.active()).
		Msg("upgraded: the new process serves; finishing the requests under way")
	gone := g.conns.letGo(upgradeIdle)
	limit := time.NewTimer(g.opts.UpgradeDrain)
	defer limit.Stop()
	long := time.NewTimer(2 * upgradeIdle)
	defer long.Stop()
	for stopping := false; ; {
		select {
		case <-gone:
			return g.cut(gone)
		case <-limit.C:
			return g.cut(gone)
		case <-long.C:
			g.dropCaches() // downloads can take long, and the new process needs the memory
		case signal := <-signals:
			if stopping {
				return g.cut(gone)
			}
			stopping = true
			g.log.Info().Str("signal", signal.String()).Msg("stopping")
			g.conns.letGo(0)
			limit.Reset(g.opts.ShutdownTimeout)
		}
	}
}

// dropCaches gives back the memory of the caches. What is being sent stays.
func (g *Gateway) dropCaches() {
	for _, b := range g.generation.Load().buckets {
		if b.cached != nil {
			b.cached.cache.PurgeGroup(b.name, false)
		}
	}
	debug.FreeOSMemory()
}

// awaitReady waits until /ready would be 200, for up to limit.
func (g *Gateway) awaitReady(limit time.Duration) {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if code, _ := g.ready.Load().report(false); code == fasthttp.StatusOK {
			return
		}
	}
}

// handedOver tells whether another process hands its sockets over to this one.
func (in *Inherited) handedOver() bool { return in != nil && in.from != nil }

// claim says that this process would serve, and waits until it is to, for up to limit:
// the one that began the upgrade may be in a reload, which comes first. If that process
// ends, so does the wait.
func (in *Inherited) claim(limit time.Duration) error {
	in.from.SetDeadline(time.Now().Add(limit))
	_, err := io.WriteString(in.from, saysReady+"\n")
	var answer []byte
	if err == nil {
		answer = make([]byte, len(saysServe)+1)
		_, err = io.ReadFull(in.from, answer)
	}
	if err != nil || string(answer) != saysServe+"\n" {
		return errors.New("the process that began the upgrade gave it up")
	}
	return nil
}

// confirm says that this process serves, and waits until the other one is done with
// the service manager.
func (in *Inherited) confirm() {
	in.from.SetDeadline(time.Now().Add(2 * upgradeStep))
	io.WriteString(in.from, saysServing+"\n")
	io.Copy(io.Discard, in.from)
	in.from.Close()
}

// Stderr returns a writer to w which, during an upgrade, tells the process that began
// it as well what goes wrong.
func (in *Inherited) Stderr(w io.Writer) io.Writer {
	if !in.handedOver() {
		return w
	}
	return &startWriter{w: w, from: in.from}
}

// startWriter writes to both while the second can be written to.
type startWriter struct{ w, from io.Writer }

// Write implements io.Writer.
func (s *startWriter) Write(p []byte) (int, error) {
	if s.from != nil {
		if _, err := s.from.Write(p); err != nil {
			s.from = nil
		}
	}
	return s.w.Write(p)
}
