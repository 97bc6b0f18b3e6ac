// Package gateway is the running gateway: listeners, the path of a request, and
// what surrounds it.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/config"
	"yatagarasu/pool"
)

// Gateway serves one configuration. Use New, then Run once.
type Gateway struct {
	server
	opts *Options
	tls  *tls.Config // of the listener; nil: plain HTTP

	certificate certificate // for tls
	reloads     reloader

	operators *admin
	conns     connTable // of clients
	address   string
	listener  atomic.Pointer[listener]
	notify    *notifier // set by Run

	upgrades   upgrader
	superseded atomic.Bool // another process has taken over

}

// ErrCut is returned by Run when requests under way had to be cut.
var ErrCut = errors.New("requests under way were cut")

// startGCPercent is GOGC while the gateway is set up. Nearly all that is allocated then
// stays, and to collect it meanwhile takes a third of the time that a thousand buckets
// need; beyond 32 MiB it is collected even so.
const startGCPercent = 800

// New validates o and the configuration it names and sets everything up, short
// of opening a listener. A config.Errors lists what is wrong with the file. It is not to
// be called twice at the same time.
func New(o *Options) (*Gateway, error) {
	if usual := debug.SetGCPercent(startGCPercent); usual >= 0 && usual < startGCPercent {
		defer debug.SetGCPercent(usual)
	} else {
		debug.SetGCPercent(usual)
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	c, err := config.Load(o.ConfigPath, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	return newGateway(o, c)
}

func newGateway(o *Options, file *config.Config) (*Gateway, error) {
	c := o.over(file)
	g := &Gateway{opts: o, address: c.Server.Address, notify: new(notifier)}
	g.observer = &observer{metrics: newMetricSet()}
	g.origins = &shared{observer: g.observer, buffers: pool.NewBuffers(o.StreamBuffer, o.StreamBuffers)}
	g.origins.background.panicked = func(p any) { g.observer.panicked(p, nil) }
	g.started, g.now, g.streamBuffer = time.Now(), time.Now, o.StreamBuffer
	g.operators = &admin{server: &g.server, adminOptions: adminOptions{
		version: o.Version, configPath: o.ConfigPath, clients: &g.conns, flags: o.values, reload: g.requestReload, superseded: g.superseded.Load,
	}}
	g.reserved = g.operators.reserved
	if err := g.openLogs(&c.Logging); err != nil {
		return nil, err
	}
	limits := &c.Server.Limits
	g.conns.init(limits.MaxConnections, limits.MaxConnectionsPerAddress)

	gen, err := newGeneration(c, g.generationOptions(), nil)
	if err != nil {
		return nil, err
	}
	g.generation.Store(gen)
	g.operators.ring.sample(g.metrics, g.started)
	if h := &c.Server.HTTPS; h.Enabled {
		if err := g.certificate.load(h); err != nil {
			gen.Close()
			return nil, err
		}
		g.tls = g.certificate.serverTLS()
	}
	g.upgrades = upgrader{g: g, done: make(chan upgrade, 1)}
	g.reloads = reloader{calls: make(chan chan reloadResult), holds: make(chan chan struct{}), done: make(chan struct{})}
	g.operators.ready.Store(newReadiness(slices.Collect(gen.origins()), c.Server.Ready, nil))
	return g, nil
}

// openLogs opens the logs of c, unless the gateway is made to be looked into.
func (g *Gateway) openLogs(c *config.Logging) error {
	if g.opts.inspects {
		return g.observer.checkLogs(c)
	}
	return g.observer.openLogs(c, g.opts.LogBuffer, g.opts.Output)
}

// newServer returns a server of clients.
func (g *Gateway) newServer() *fasthttp.Server {
	s := g.newHTTPServer()
	s.Handler, s.ErrorHandler, s.ConnState, s.WriteBufferSize = g.handle, g.handleError, g.conns.track, g.opts.WriteBuffer
	s.HeaderReceived = func(h *fasthttp.RequestHeader) fasthttp.RequestConfig { return g.operators.headReceived(h, false) }
	return s
}

// newHTTPServer returns what the servers of both listeners have in common.
func (g *Gateway) newHTTPServer() *fasthttp.Server {
	return &fasthttp.Server{
		Concurrency:                  1 << 30, // connections are bounded by the listener
		ReadBufferSize:               g.opts.ReadBuffer,
		ReadTimeout:                  g.opts.HeaderTimeout,
		IdleTimeout:                  g.opts.IdleTimeout,
		WriteTimeout:                 g.opts.writeTimeout(),
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		NoDefaultDate:                true, // see exchange.completeHead
		SecureErrorLogMessage:        true,
		Logger:                       serverLogger{&g.log},
	}
}

// generationOptions are those of each generation.
func (g *Gateway) generationOptions() *generationOptions {
	return &generationOptions{
		origins: g.origins, auth: g.authOptions(), now: func() time.Time { return g.now() },
		authTokens: g.opts.AuthTokens, authMemory: g.opts.AuthMemory, limitClients: g.opts.LimitClients, inFlight: &g.inFlight,
	}
}

// authOptions are those of the verifiers.
func (g *Gateway) authOptions() auth.Options {
	return auth.Options{
		RefreshEvery: g.opts.AuthRefresh,
		OnFetch: func(name string, err error) {
			if err == nil {
				g.metrics.keyFetches[0].Inc()
				return
			}
			g.metrics.keyFetches[1].Inc()
			g.log.Warn().Str("jwks", name).Err(err).Msg("cannot refresh a key set; the last good copy stays in use")
		},
		OnLeftOut: func(name, key string, why error, usual bool) {
			e := g.log.Warn()
			if usual {
				e = g.log.Info()
			}
			e.Str("jwks", name).Str("kid", key).Err(why).Msg("a key of a key set is left out")
		},
		OnCrowd: func(name, algorithm string) {
			g.log.Warn().Str("jwks", name).Str("algorithm", algorithm).Int("tried", config.MaxKeysTried).Msg("a key set has more keys for an algorithm than are tried with a token: some work only where the token has their kid")
		},
	}
}

// Run serves until signals delivers SIGTERM or SIGINT, then drains and stops; a
// second one cuts what is still under way. SIGHUP reloads the configuration, SIGUSR2
// hands over to a new process. It returns nil, ErrCut when requests were
// cut, or what kept it from serving.
func (g *Gateway) Run(signals <-chan os.Signal) error {
	defer g.logs.close()
	g.notify = newNotifier(os.Getenv, os.Getpid(), &g.log)
	in := g.opts.Inherited
	g.tune()
	if err := g.generation.Load().start(context.Background(), nil); err != nil {
		return err
	}
	if err := g.openMetrics(); err != nil {
		g.generation.Load().Close()
		return err
	}
	defer g.operators.close(endGrace)
	ln, err := g.listen()
	if err != nil {
		g.generation.Load().Close()
		return err
	}
	in.closeUnused(&g.log)
	g.origins.pace = pool.NewPace(g.opts.MinRate, g.opts.MinRateWindow)
	defer g.origins.pace.Stop()
	g.operators.ready.Load().start(&g.log)
	running, end := context.WithCancel(context.Background())
	ended := running.Done()
	go g.limitMemory(ended) // ends with ended
	go g.runReloader(running)
	go g.operators.sampleStatus(ended) // ends with ended
	defer func() {
		end()
		<-g.reloads.done // no more changes
		g.operators.ready.Load().stop()
		g.generation.Load().Close()
	}()

	if in.handedOver() {
		g.awaitReady(min(upgradeReady, g.opts.UpgradeTimeout/2))
		if err := in.claim(g.opts.UpgradeTimeout); err != nil {
			return err
		}
	}
	g.operators.serve()
	served := make(chan error, 1)
	go func() { served <- g.serveClients(ln, ended) }() // ends with the listener, which stop closes
	g.log.Info().Str("address", ln.Addr().String()).Bool("tls", g.tls != nil).
		Int("buckets", len(g.generation.Load().buckets)).Str("version", g.opts.Version).Msg("serving")
	go g.attend(ended) // ends with ended
	for {
		select {
		case err := <-served:
			return fmt.Errorf("cannot serve on %s: %w", ln.Addr(), err)
		case u := <-g.upgrades.done:
			if g.upgrades.complete(u) {
				return g.finish(u.successor, g.stopSignals(u.successor, signals, ended), served)
			}
		case s := <-signals:
			switch s {
			case syscall.SIGHUP:
				g.upgrades.hungUp = true
				go g.requestReload() // ends with the reload, which logs what came of it
			case syscall.SIGUSR1:
				go g.reopenLogs() // ends at once; with a file that is stuck, when that goes on
			case syscall.SIGUSR2:
				g.upgrades.begin()
			default:
				g.log.Info().Str("signal", s.String()).Msg("stopping")
				g.upgrades.abandon()
				return g.stop(g.stopSignals(nil, signals, ended), served)
			}
		}
	}
}

// serveClients serves the connections that ln accepts, until it is closed. Lean ones
// take less memory while no request is under way, and a read and two switches between
// goroutines more for each request. ended is closed when none is left.
func (g *Gateway) serveClients(ln *listener, ended <-chan struct{}) error {
	lean := make(chan error, 1)
	go func() { // ends with ln
		s := g.newServer()
		s.ReduceMemoryUsage = true
		s.Handler = newLeanWorkers(g.handle, ended).handle
		lean <- s.Serve(&ln.lean)
	}()
	return errors.Join(g.newServer().Serve(ln), <-lean)
}

// Addr returns the listener's address once Run listens; nil before.
func (g *Gateway) Addr() net.Addr {
	if ln := g.listener.Load(); ln != nil {
		return ln.Addr()
	}
	return nil
}

// usualGCPercent is GOGC while the gateway serves, unless something else is asked for.
// Requests leave next to no garbage, so the runtime's 100 would buy nothing with the
// memory it takes. A handshake with an origin leaves some.
const usualGCPercent = 50

// tune applies the settings of the runtime.
func (g *Gateway) tune() {
	switch {
	case g.opts.GCPercent > 0:
		debug.SetGCPercent(g.opts.GCPercent)
	case os.Getenv("GOGC") == "":
		debug.SetGCPercent(usualGCPercent)
	}
	if g.opts.MemoryLimit > 0 {
		debug.SetMemoryLimit(g.opts.MemoryLimit)
	}
}

// MetricsAddr returns the address of the metrics listener once it is open; nil
// before, and without one.
func (g *Gateway) MetricsAddr() net.Addr {
	if ln := g.operators.listener.Load(); ln != nil {
		return ln.Addr()
	}
	return nil
}
