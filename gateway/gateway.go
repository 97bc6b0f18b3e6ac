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
	lastReload  atomic.Pointer[reloadOutcome] // nil: none yet

	conns    connTable
	ready    atomic.Pointer[readiness]
	prewarms prewarmJobs
	address  string
	listener atomic.Pointer[listener]
	notify   *notifier // set by Run

	upgrades   upgrader
	superseded atomic.Bool // another process has taken over

	metricsServer   *fasthttp.Server // nil: no metrics listener
	metricsListener atomic.Pointer[net.TCPListener]
	metricsConns    connTable
	metricsLoopback atomic.Bool // it is reached from this machine alone
	statusPolicy    string      // of the page there
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
	g.started, g.now, g.streamBuffer, g.reserved = time.Now(), time.Now, o.StreamBuffer, g.serveReserved
	g.logging.Store(&c.Logging)
	z, err := g.logs.open(&g.log, o, &c.Logging)
	if err != nil {
		return nil, err
	}
	g.log.init(z)
	limits := &c.Server.Limits
	g.conns.init(limits.MaxConnections, limits.MaxConnectionsPerAddress)

	gen, err := newGeneration(c, g.generationOptions(), nil)
	if err != nil {
		return nil, err
	}
	g.generation.Store(gen)
	g.status.sample(g.metrics, g.started)
	if h := &c.Server.HTTPS; h.Enabled {
		if err := g.certificate.load(h); err != nil {
			gen.close()
			return nil, err
		}
		g.tls = g.certificate.serverTLS()
	}
	g.upgrades = upgrader{g: g, done: make(chan upgrade, 1)}
	g.reloads = reloader{calls: make(chan chan reloadResult), holds: make(chan chan struct{}), done: make(chan struct{})}
	g.ready.Store(newReadiness(gen, c.Server.Ready, nil))
	return g, nil
}

// newServer returns a server of clients.
func (g *Gateway) newServer() *fasthttp.Server {
	o := g.opts
	return &fasthttp.Server{
		Handler:                      g.handle,
		ErrorHandler:                 g.handleError,
		HeaderReceived:               func(h *fasthttp.RequestHeader) fasthttp.RequestConfig { return g.headReceived(h, false) },
		ConnState:                    g.connState,
		Concurrency:                  1 << 30, // connections are bounded by the listener
		ReadBufferSize:               o.ReadBuffer,
		WriteBufferSize:              o.WriteBuffer,
		ReadTimeout:                  o.HeaderTimeout,
		IdleTimeout:                  o.IdleTimeout,
		WriteTimeout:                 o.writeTimeout(),
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		NoDefaultDate:                true, // see exchange.complete
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
		g.generation.Load().close()
		return err
	}
	defer g.closeMetrics()
	ln, err := g.listen()
	if err != nil {
		g.generation.Load().close()
		return err
	}
	in.closeUnused(&g.log)
	g.origins.pace = pool.NewPace(g.opts.MinRate, g.opts.MinRateWindow)
	defer g.origins.pace.Stop()
	g.ready.Load().start(g)
	running, end := context.WithCancel(context.Background())
	ended := running.Done()
	go g.limitMemory(ended) // ends with ended
	go g.runReloader(running)
	go g.sampleStatus(ended) // ends with ended
	defer func() {
		end()
		<-g.reloads.done // no more changes
		g.ready.Load().stop()
		g.generation.Load().close()
	}()

	if in.handedOver() {
		g.awaitReady(min(upgradeReady, g.opts.UpgradeTimeout/2))
		if err := in.claim(g.opts.UpgradeTimeout); err != nil {
			return err
		}
	}
	g.serveMetrics()
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

// headerInvited marks a request whose body fasthttp reads. No client can send it: a name
// is not empty before its colon.
const headerInvited = ":invited"

// headReceived keeps fasthttp from reading, or inviting, a request body: the
// handler sees it in the raw head, answers as if there were none, or refuses it, and the
// connection is closed. The body of an administrative call is read from those who may
// make it.
func (g *Gateway) headReceived(h *fasthttp.RequestHeader, metrics bool) fasthttp.RequestConfig {
	n := h.ContentLength()
	body := n > 0 || n == -1
	if body && g.invites(h, metrics) {
		h.Set(headerInvited, "yes")
		if n > maxAdminBody {
			h.Del(fasthttp.HeaderExpect) // fasthttp refuses it without a look at it
		}
		return fasthttp.RequestConfig{MaxRequestBodySize: maxAdminBody}
	}
	if body {
		h.SetContentLength(0)
		h.SetConnectionClose()
	}
	if len(h.Peek(fasthttp.HeaderExpect)) > 0 {
		h.Del(fasthttp.HeaderExpect) // nothing is expected to follow
	}
	return fasthttp.RequestConfig{}
}

// invites tells whether the body that h announces is read: that of an administrative
// call that may have one, of somebody who may make it.
func (g *Gateway) invites(h *fasthttp.RequestHeader, metrics bool) bool {
	method := string(h.Method())
	if method == fasthttp.MethodGet || method == fasthttp.MethodHead {
		return false
	}
	var t target
	if t.parse(h.RequestURI()) != targetOK || !isAdmin(t.path) || g.mayAdminister(h, &t, metrics) != nil {
		return false
	}
	call, _, _ := findAdminCall(method, string(t.path))
	return call != nil
}
