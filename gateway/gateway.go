// Package gateway runs the gateway: it starts it, reloads its configuration, hands it over to a
// new process, and stops it. Start with New and Run; a request's path is in serve.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/admin"
	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/cluster"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/credentials"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/generation"
	"yatagarasu/gateway/handover"
	"yatagarasu/gateway/keys"
	"yatagarasu/gateway/listen"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/probe"
	"yatagarasu/gateway/serve"
	"yatagarasu/pool"
)

// Gateway is the gateway of one process. Use New, then Run once, which ends with a signal.
// Addr is safe for concurrent use.
type Gateway struct {
	serve.Server
	opts *Options
	tls  *tls.Config // of the main listener; nil: plain HTTP

	certificate listen.Certificate // that tls shows
	reloads     reloader

	operators  *admin.Server
	conns      listen.Conns // of clients
	address    string       // of the main listener
	compressor *fill.Compressor
	node       *cluster.Node // among several gateways; nil: there is only this one

	listener  atomic.Pointer[listen.Listener]
	redirects atomic.Pointer[listen.Listener] // sends clients to listener, by https; nil: there is none
	notify    *handover.Notifier              // set by Run

	upgrades   upgrader
	superseded atomic.Bool // another process has taken over
}

// ErrCut is returned by Run when requests under way had to be cut.
var ErrCut = errors.New("requests under way were cut")

// startGCPercent is GOGC while the gateway is set up. Nearly all that is allocated then
// stays, and collecting it would take a third of the time that a thousand buckets need.
// Beyond 32 MiB it is collected even so.
const startGCPercent = 800

// New validates o and the configuration that it names, and sets everything up but the
// listeners. A config.Errors lists what is wrong with the file. Not safe for concurrent use.
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

// Inspect sets up the generation of o's configuration for a look into it, not for serving. It
// opens no log, as that would leave files of the user who looks, and logs nothing. The caller
// closes the generation.
func Inspect(o *Options) (*serve.Generation, error) {
	quiet := *o
	quiet.Output, quiet.inspects = io.Discard, true
	g, err := New(&quiet)
	if err != nil {
		return nil, err
	}
	return g.Generation.Load(), nil
}

func newGateway(o *Options, file *config.Config) (*Gateway, error) {
	c := o.over(file)
	g := &Gateway{opts: o, address: c.Server.Address, notify: new(handover.Notifier)}
	g.Observer = &observe.Observer{Metrics: observe.NewMetrics()}
	g.Origins = &origin.Shared{Observer: g.Observer, Buffers: pool.NewBuffers(o.StreamBuffer, o.StreamBuffers), Retrieve: credentials.New, Proxies: o.proxies}
	g.Origins.Background.Panicked = func(p any) { g.Observer.RecordPanic(p, nil) }
	g.compressor = fill.NewCompressor(&g.Origins.Background, max(runtime.GOMAXPROCS(0)/4, 1))
	g.Started, g.Now, g.StreamBuffer, g.Clients = time.Now(), time.Now, o.StreamBuffer, &g.conns
	g.operators = &admin.Server{Server: &g.Server, Options: admin.Options{
		Version: o.Version, ConfigPath: o.ConfigPath, MaxConns: listen.OperatorsWithin(openFiles()), Flags: o.values, Reload: g.requestReload, Superseded: g.superseded.Load,
	}}
	g.operators.Guesses = admin.NewGuesses(o.LimitClients)
	g.Reserved = g.operators.Reserved
	var err error
	if o.inspects {
		err = g.CheckLogs(logging(&c.Logging))
	} else {
		err = g.OpenLogs(logging(&c.Logging), o.LogBuffer, o.LogRefused, o.Output)
	}
	if err != nil {
		return nil, err
	}
	g.limitConns(c)
	if g.node = g.newNode(&c.Cluster); g.node != nil {
		g.operators.Cluster = g.node
	}

	gen, err := generation.New(c, g.generationOptions(), nil)
	if err != nil {
		return nil, err
	}
	g.Generation.Store(gen)
	g.operators.History.Sample(g.Metrics, g.Started)
	if h := &c.Server.HTTPS; h.Enabled {
		if err := g.certificate.Load(h); err != nil {
			generation.Close(gen)
			return nil, err
		}
		g.tls = g.certificate.TLSConfig()
	}
	g.upgrades = upgrader{g: g, done: make(chan upgrade, 1)}
	g.reloads = reloader{calls: make(chan chan admin.ReloadResult), holds: make(chan chan struct{}), done: make(chan struct{})}
	g.operators.Ready.Store(probe.New(slices.Collect(gen.Origins()), c.Server.Ready, nil))
	return g, nil
}

// logging returns how c says that the process logs.
func logging(c *config.Logging) *observe.Logging {
	l := &observe.Logging{Level: c.Level, Format: c.Format, Output: c.Output, Slow: c.Slow, Sample: c.Sample}
	if c.Audit.Enabled {
		l.Audit = c.Audit.Output
	}
	return l
}

// generationOptions are those of each generation.
func (g *Gateway) generationOptions() *generation.Options {
	keySets := keys.Options{
		RefreshEvery: g.opts.AuthRefresh,
		OnFetch: func(name string, err error) {
			g.Metrics.KeyFetches.Count(err)
			if err != nil {
				g.Log.Warn().Str("jwks", name).Err(err).Msg("cannot refresh a key set; the last good copy stays in use up to jwks_max_age")
			}
		},
		OnTooOld: func(name string, maxAge time.Duration) {
			g.Log.Error().Str("jwks", name).Dur("max_age_ms", maxAge).Msg("a key set is no longer trusted: it could not be fetched for jwks_max_age; tokens that need it get 503 until it can")
		},
		OnLeftOut: func(name, key string, why error, usual bool) {
			e := g.Log.Warn()
			if usual {
				e = g.Log.Info()
			}
			e.Str("jwks", name).Str("kid", key).Err(why).Msg("a key of a key set is left out")
		},
		OnCrowd: func(name, algorithm string) {
			g.Log.Warn().Str("jwks", name).Str("algorithm", algorithm).Int("tried", access.MaxKeysTried).Msg("a key set has more keys for an algorithm than are tried with a token: some work only where the token has their kid; ask the issuer to name it")
		},
	}
	verifiers := auth.Options{Keys: keySets, OnIssuer: func(name string, err error) {
		if err != nil {
			g.Log.Error().Str("issuer", name).Err(err).Msg("the issuer of tokens cannot be asked: those that are not remembered get 503")
			return
		}
		g.Log.Info().Str("issuer", name).Msg("the issuer of tokens can be asked again")
	}}
	return &generation.Options{
		Node: g.node, Origins: g.Origins, Auth: verifiers, Now: func() time.Time { return g.Now() }, Compressor: g.compressor,
		AuthTokens: g.opts.AuthTokens, AuthMemory: g.opts.AuthMemory, LimitClients: g.opts.LimitClients, InFlight: &g.InFlight,
	}
}

// logWarnings logs what c has that is valid, and hardly meant.
func (g *Gateway) logWarnings(c *config.Config) {
	for _, w := range c.Warnings {
		g.Log.Warn().Str("warning", w.Error()).Msg("the configuration is valid, but hardly meant so")
	}
}

// Run serves until signals delivers SIGTERM or SIGINT, then drains and stops; a second one
// cuts the requests under way. SIGHUP reloads the configuration, SIGUSR1 opens the log files
// again, SIGUSR2 hands over to a new process. It returns nil, ErrCut if requests were cut, or
// what kept it from serving.
func (g *Gateway) Run(signals <-chan os.Signal) error {
	defer g.Logs.Close()
	defer func() { generation.Close(g.Generation.Load()) }() // that of the last reload
	g.notify = handover.NewNotifier(os.Getenv, os.Getpid(), &g.Log)
	in := g.opts.Inherited
	g.tune()
	log.SetFlags(0)
	log.SetOutput(observe.LibraryLog{Log: &g.Log})
	g.logWarnings(g.Generation.Load().Config)
	if err := generation.Start(context.Background(), g.Generation.Load(), nil); err != nil {
		return err
	}
	if err := g.openMetrics(); err != nil {
		return err
	}
	if g.node != nil {
		g.node.Start()
		defer g.node.Close()
	}
	defer g.operators.Close(endGrace)
	ln, err := g.listen()
	if err != nil {
		return err
	}
	if err := g.openRedirects(); err != nil {
		ln.Close()
		return err
	}
	in.CloseUnused(&g.Log)
	g.Origins.Pace = pool.NewPace(g.opts.MinRate, g.opts.MinRateWindow)
	defer g.Origins.Pace.Stop()
	g.operators.Ready.Load().Start(&g.Log)
	running, end := context.WithCancel(context.Background())
	ended := running.Done()
	go g.limitMemory(ended)   // ends with ended
	go g.relieveMemory(ended) // the same
	go g.runReloader(running)
	go g.operators.SampleStatus(ended) // ends with ended
	defer func() {
		end()
		<-g.reloads.done // no more changes
		g.operators.Ready.Load().Stop()
	}()

	if in.HandedOver() {
		g.awaitReady(min(upgradeReady, g.opts.UpgradeTimeout/2))
		if err := in.Claim(g.opts.UpgradeTimeout); err != nil {
			return err
		}
	}
	g.operators.Serve()
	served := make(chan error, 1)
	go func() { served <- g.serveClients(ended) }() // ends with the listeners, which stop closes
	g.Log.Info().Str("address", ln.Addr().String()).Bool("tls", g.tls != nil).
		Int("buckets", len(g.Generation.Load().Buckets)).Str("version", g.opts.Version).Msg("serving")
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
			case signalReload:
				g.upgrades.hungUp = true
				go g.requestReload() // ends with the reload, which logs what came of it
			case signalReopen:
				go g.ReopenLogs() // ends at once; with a file that is stuck, when that goes on
			case signalUpgrade:
				g.upgrades.begin()
			default:
				g.Log.Info().Str("signal", s.String()).Msg("stopping")
				g.upgrades.abandon()
				return g.stop(g.stopSignals(nil, signals, ended), served)
			}
		}
	}
}
