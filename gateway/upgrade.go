package gateway

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/handover"
)

const (
	// upgradeReady is how long the new process waits to be ready. After that it takes over
	// even so: unreachable origins are no reason against an upgrade.
	upgradeReady = 5 * time.Second
	// upgradeIdle is how long a connection may stay idle after an upgrade. A request that
	// comes until then is answered, and its connection closed.
	upgradeIdle = 5 * time.Second
)

// upgrader does upgrades, one at a time. Its methods are for the goroutine of Run.
type upgrader struct {
	g      *Gateway
	done   chan upgrade       // receives the upgrade that was begun
	cancel context.CancelFunc // ends the upgrade under way; nil: none is
	hungUp bool               // SIGHUP came since begin
}

// upgrade is a new process that has started, or the error that it ended with.
type upgrade struct {
	successor *handover.Successor
	over      chan<- struct{} // closed at the end of the upgrade: reloads wait for that
	err       error
}

// begin starts a new process. Its upgrade arrives on done.
func (u *upgrader) begin() {
	if u.cancel != nil {
		u.g.Log.Warn().Msg("an upgrade is under way; another is not begun")
		return
	}
	u.hungUp = false
	u.g.Log.Info().Str("program", u.g.opts.Program).Msg("upgrading: starting the new process")
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
		err = started.successor.TakeOver(u.g.notify)
	}
	if err != nil {
		u.g.Log.Error().Err(err).Msg("the upgrade failed; this process goes on")
		return false
	}
	u.g.superseded.Store(true) // before reloads go on: they are refused
	if u.hungUp {              // the file may have changed after the new process read it
		started.successor.PassOn(signalReload, &u.g.Log)
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
		started.successor.End()
		close(started.over)
	}
}

// errSuperseded is the error of a reload after a hand-over.
var errSuperseded = errors.New("this process has handed over to a new one; reload that")

// finish ends the gateway after s has taken over its sockets.
func (g *Gateway) finish(s *handover.Successor, signals <-chan os.Signal, served <-chan error) error {
	g.Draining.Store(true)
	g.closeListeners(served)
	if ln := g.operators.Listener.Load(); ln != nil {
		ln.Close() // probes and scrapes go to the new process
	}
	g.Log.Info().Int("pid", s.Cmd.Process.Pid).Int("connections", g.conns.Len()).Int("requests", g.conns.Active()).
		Msg("upgraded: the new process serves; finishing the requests under way")
	drained := g.conns.Drain(upgradeIdle)
	limit := time.NewTimer(g.opts.UpgradeDrain)
	defer limit.Stop()
	long := time.NewTimer(2 * upgradeIdle)
	defer long.Stop()
	for stopping := false; ; {
		select {
		case <-drained:
			return g.cut(drained)
		case <-limit.C:
			return g.cut(drained)
		case <-long.C:
			g.dropCaches() // downloads can take long, and the new process needs the memory
		case signal := <-signals:
			if stopping {
				return g.cut(drained)
			}
			stopping = true
			g.Log.Info().Str("signal", signal.String()).Msg("stopping")
			g.conns.Drain(0)
			limit.Reset(g.opts.ShutdownTimeout)
		}
	}
}

// dropCaches gives back the memory of the caches. Objects that are being sent stay.
func (g *Gateway) dropCaches() {
	for _, b := range g.Generation.Load().Buckets {
		if b.Cached != nil {
			b.Cached.Cache.PurgeGroup(b.Name, false)
		}
	}
	debug.FreeOSMemory()
}

// awaitReady waits until /ready would answer 200, for up to limit.
func (g *Gateway) awaitReady(limit time.Duration) {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if code, _ := g.operators.Ready.Load().Report(false, false); code == fasthttp.StatusOK {
			return
		}
	}
}

// startCurrent starts a process with the configuration of this one, and holds up reloads. If a
// reload came meanwhile, it starts the process again: the first one may not have read the new
// file, and a hand-over would undo the reload.
func (g *Gateway) startCurrent(ctx context.Context) upgrade {
	for {
		gen := g.Generation.Load()
		s, err := handover.Start(ctx, g.opts.Program, g.opts.UpgradeTimeout, g.sockets())
		if err != nil {
			return upgrade{err: err}
		}
		over := make(chan struct{})
		select {
		case g.reloads.holds <- over:
		case <-ctx.Done():
			s.End()
			return upgrade{err: context.Cause(ctx)}
		}
		if g.Generation.Load() == gen {
			return upgrade{successor: s, over: over}
		}
		close(over)
		s.End()
		g.Log.Info().Msg("the configuration was reloaded meanwhile: starting the new process again")
	}
}

// sockets are what a new process listens on, by name.
func (g *Gateway) sockets() map[string]*net.TCPListener {
	sockets := map[string]*net.TCPListener{handover.SocketMain: g.listener.Load().TCPListener}
	if ln := g.operators.Listener.Load(); ln != nil {
		sockets[handover.SocketMetrics] = ln
	}
	if ln := g.redirects.Load(); ln != nil {
		sockets[handover.SocketRedirect] = ln.TCPListener
	}
	return sockets
}
