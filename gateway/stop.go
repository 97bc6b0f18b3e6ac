package gateway

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"yatagarasu/gateway/generation"
	"yatagarasu/gateway/handover"
	"yatagarasu/gateway/listen"
)

// endGrace is how long requests that were cut may take to end and be logged.
const endGrace = time.Second

// closingPoll is how often stop looks for connections whose last bytes are still on their way.
const closingPoll = 20 * time.Millisecond

// stopSignals returns a channel of those signals that stop the process, until done is closed.
// SIGUSR1 still opens the logs again. SIGHUP goes to s, the process that has taken over; nil:
// none has.
func (g *Gateway) stopSignals(s *handover.Successor, signals <-chan os.Signal, done <-chan struct{}) <-chan os.Signal {
	stops := make(chan os.Signal, 1)
	go func() { // ends with done
		for {
			select {
			case signal := <-signals:
				switch signal {
				case signalReopen:
					go g.ReopenLogs() // as in Run
				case signalReload:
					if s != nil {
						s.PassOn(signal, &g.Log)
					}
				case syscall.SIGTERM, os.Interrupt:
					select {
					case stops <- signal:
					default: // one is enough
					}
				}
			case <-done:
				return
			}
		}
	}()
	return stops
}

// stop serves on for the drain delay while /ready fails, closes the listener, waits within the
// timeout for the requests under way and for clients to receive what is in closed connections,
// and cuts the rest. A signal cuts at once. served yields when the listener is no longer read.
func (g *Gateway) stop(signals <-chan os.Signal, served <-chan error) error {
	g.notify.Send("STOPPING=1", "STATUS=finishing the requests under way")
	g.Draining.Store(true)
	cut := false
	if g.opts.Drain > 0 {
		select {
		case <-time.After(g.opts.Drain):
		case <-signals:
			cut = true
		}
	}
	g.closeListeners(served)
	g.Log.Info().Int("connections", g.conns.Len()).Int("requests", g.conns.Active()).Msg("no new connections; finishing the requests under way")
	drained := g.conns.Drain(0)
	if !cut {
		timeout := time.NewTimer(g.opts.ShutdownTimeout)
		defer timeout.Stop()
		select {
		case <-drained:
			g.awaitClosing(timeout.C, signals)
		case <-timeout.C:
		case <-signals:
		}
	}
	return g.cut(drained)
}

// awaitClosing waits until clients have received the last bytes of their answers, or for the
// timeout or a signal. The kernel needs no process for that; but with the process of a
// container goes its network, and what is then still in a socket is lost.
func (g *Gateway) awaitClosing(timeout <-chan time.Time, signals <-chan os.Signal) {
	address, ok := g.listener.Load().Addr().(*net.TCPAddr)
	if !ok {
		return
	}
	left := listen.Closing(address.Port)
	if left == 0 {
		return
	}
	g.Log.Info().Int("connections", left).Msg("all answers are written; waiting for clients to receive the last bytes")
	poll := time.NewTicker(closingPoll)
	defer poll.Stop()
	for left > 0 {
		select {
		case <-poll.C:
			left = listen.Closing(address.Port)
		case <-timeout:
			g.Log.Warn().Int("connections", left).Msg("clients have not received their last bytes")
			return
		case <-signals:
			return
		}
	}
}

// closeListeners closes the listeners for clients. Connections that they have accepted may still
// be added to the table until served yields.
func (g *Gateway) closeListeners(served <-chan error) {
	g.listener.Load().Close()
	if ln := g.redirects.Load(); ln != nil {
		ln.Close()
	}
	go func() { // ends with the listeners
		<-served
		g.conns.Seal()
	}()
}

// cut closes the open connections, ends all fetches, and returns ErrCut if requests were under
// way. drained is closed when no connection is open.
func (g *Gateway) cut(drained <-chan struct{}) error {
	left := g.conns.CloseAll()
	generation.Abort(g.Generation.Load())
	ctx, cancel := context.WithTimeout(context.Background(), endGrace)
	defer cancel()
	ended := make(chan struct{})
	go func() { // ends with what was cut
		defer close(ended)
		g.operators.Prewarms.Close(ctx)
		<-drained
		g.Origins.Background.Wait() // no request waits for these, and the cache ends as well
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		g.Log.Warn().Msg("not all that was cut has ended")
	}
	if left > 0 {
		g.Log.Warn().Int("requests", left).Msg("stopped; requests under way were cut")
		return fmt.Errorf("%w: %d", ErrCut, left)
	}
	g.Log.Info().Msg("stopped; nothing was cut")
	return nil
}
