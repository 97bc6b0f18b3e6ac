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
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/config"
	"yatagarasu/pool"
)

// Gateway serves one configuration. Use New, then Run once.
type Gateway struct {
	opts    *Options
	started time.Time
	log     zerolog.Logger
	metrics *metricSet
	buffers *pool.Buffers
	pace    *pool.Pace
	server  fasthttp.Server
	tls     *tls.Config // of the listener; nil: plain HTTP

	generation atomic.Pointer[generation]
	exchanges  sync.Pool // of *exchange
	conns      connTable
	ready      *readiness

	inFlight    atomic.Int64
	maxInFlight int64
	draining    atomic.Bool
	address     string
	listener    atomic.Pointer[listener]
}

// ErrCut is returned by Run when requests under way had to be cut.
var ErrCut = errors.New("requests under way were cut")

// New validates o and the configuration it names and sets everything up, short
// of opening a listener. A config.Errors lists what is wrong with the file.
func New(o *Options) (*Gateway, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	c, err := config.Load(o.ConfigPath, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	return newGateway(o, c)
}

func newGateway(o *Options, c *config.Config) (*Gateway, error) {
	if err := refuseUnenforced(c); err != nil {
		return nil, err
	}
	g := &Gateway{
		opts:    o,
		started: time.Now(),
		log:     newLogger(o, &c.Logging),
		metrics: newMetricSet(),
		buffers: pool.NewBuffers(o.StreamBuffer, o.StreamBuffers),
		address: c.Server.Address,
	}
	if o.Address != "" {
		g.address = o.Address
	}
	g.exchanges.New = func() any { return new(exchange) }
	limits := limitsOf(o, &c.Server.Limits)
	g.maxInFlight = int64(limits.MaxInFlight)
	g.conns.init(limits.MaxConnections, limits.MaxConnectionsPerAddress)

	gen, err := newGeneration(c, g.buffers, g.metrics)
	if err != nil {
		return nil, err
	}
	g.generation.Store(gen)
	if g.tls, err = listenerTLS(&c.Server.HTTPS); err != nil {
		gen.close()
		return nil, err
	}
	g.ready = newReadiness(gen, c.Server.Ready)
	g.server = fasthttp.Server{
		Handler:                      g.handle,
		ErrorHandler:                 g.handleError,
		HeaderReceived:               headReceived,
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
		SecureErrorLogMessage:        true,
		CloseOnShutdown:              true,
		Logger:                       serverLogger{&g.log},
	}
	for _, u := range c.Unenforced {
		g.log.Warn().Str("key", u.Path).Msg("this key is not enforced by this build")
	}
	return g, nil
}

// refuseUnenforced fails for keys that would leave something open which the
// file says is closed.
func refuseUnenforced(c *config.Config) error {
	var errs config.Errors
	for _, u := range c.Unenforced {
		if u.Refuse {
			errs = append(errs, &config.Error{
				File: u.File, Line: u.Line, Column: u.Column, Path: u.Path,
				Problem: "not enforced by this build, so the gateway will not start",
				Fix:     "remove the bucket or protect it in front of the gateway until a build enforces this key",
			})
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// limitsOf returns the file's limits with the flags' over them.
func limitsOf(o *Options, file *config.Limits) config.Limits {
	pick := func(flag, file int) int {
		if flag >= 0 {
			return flag
		}
		return file
	}
	return config.Limits{
		MaxConnections:           pick(o.MaxConns, file.MaxConnections),
		MaxConnectionsPerAddress: pick(o.MaxConnsPerAddress, file.MaxConnectionsPerAddress),
		MaxInFlight:              pick(o.MaxInFlight, file.MaxInFlight),
	}
}

// Run serves until signals delivers a value, then drains and stops; a second
// value cuts what is still under way. It returns nil, ErrCut when requests were
// cut, or what kept it from serving.
func (g *Gateway) Run(signals <-chan os.Signal) error {
	g.tune()
	ln, err := g.listen()
	if err != nil {
		return err
	}
	g.pace = pool.NewPace(g.opts.MinRate, g.opts.MinRateWindow)
	defer g.pace.Stop()
	g.ready.start(g)
	defer g.ready.stop()

	served := make(chan error, 1)
	go func() { served <- g.server.Serve(ln) }() // ended by Shutdown in stop
	g.log.Info().Str("address", ln.Addr().String()).Bool("tls", g.tls != nil).
		Int("buckets", len(g.generation.Load().buckets)).Str("version", g.opts.Version).Msg("serving")
	select {
	case err := <-served:
		return fmt.Errorf("cannot serve on %s: %w", ln.Addr(), err)
	case s := <-signals:
		g.log.Info().Str("signal", s.String()).Msg("stopping")
	}
	return g.stop(signals)
}

// Addr returns the listener's address once Run listens; nil before.
func (g *Gateway) Addr() net.Addr {
	if ln := g.listener.Load(); ln != nil {
		return ln.Addr()
	}
	return nil
}

// tune applies the settings of the runtime.
func (g *Gateway) tune() {
	if g.opts.GCPercent > 0 {
		debug.SetGCPercent(g.opts.GCPercent)
	}
	if g.opts.MemoryLimit > 0 {
		debug.SetMemoryLimit(g.opts.MemoryLimit)
	}
}

// stop drains, lets requests under way finish within the timeout, and cuts the
// rest.
func (g *Gateway) stop(signals <-chan os.Signal) error {
	g.draining.Store(true)
	cut := false
	if g.opts.Drain > 0 {
		select {
		case <-time.After(g.opts.Drain):
		case <-signals:
			cut = true
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.opts.ShutdownTimeout)
	defer cancel()
	if cut {
		cancel()
	}
	watched := make(chan struct{})
	go func() { // ends with ctx
		defer close(watched)
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := g.server.ShutdownWithContext(ctx)
	cancel()
	<-watched
	left := g.inFlight.Load()
	g.conns.closeAll()
	g.generation.Load().close()
	if err != nil && left > 0 {
		g.log.Warn().Int64("requests", left).Msg("stopped; requests under way were cut")
		return fmt.Errorf("%w: %d", ErrCut, left)
	}
	g.log.Info().Msg("stopped; nothing was cut")
	return nil
}

// since returns how long x has been under way.
func (g *Gateway) since(x *exchange) time.Duration { return time.Since(x.start) }

// headReceived keeps fasthttp from reading, or inviting, a request body: the
// handler sees it in the raw head, refuses, and closes the connection.
func headReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if n := h.ContentLength(); n > 0 || n == -1 {
		h.SetContentLength(0)
		h.Del(fasthttp.HeaderExpect)
	}
	return fasthttp.RequestConfig{}
}
