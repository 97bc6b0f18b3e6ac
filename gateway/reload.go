package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"yatagarasu/gateway/admin"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/upstream"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/generation"
	"yatagarasu/gateway/listen"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/probe"
	"yatagarasu/gateway/serve"
)

// reloader has the channels of the one goroutine that changes the configuration.
type reloader struct {
	calls chan chan admin.ReloadResult // requests for a reload
	holds chan chan struct{}           // requests to begin none until the sent channel is closed
	done  chan struct{}                // closed when the goroutine has ended
}

// runReloader does reloads, and looks at the certificate's files, until ctx ends, which also
// ends the reload under way.
func (g *Gateway) runReloader(ctx context.Context) {
	defer close(g.reloads.done)
	tick := time.NewTicker(listen.CertificateInterval)
	defer tick.Stop()
	for {
		select {
		case reply := <-g.reloads.calls:
			reply <- g.reload(ctx)
		case over := <-g.reloads.holds:
			select {
			case <-over:
			case <-ctx.Done():
				return
			}
		case <-tick.C:
			g.renewCertificate()
		case <-ctx.Done():
			return
		}
	}
}

// requestReload has the configuration file reloaded, and waits for the result. A gateway that
// has stopped fails it.
func (g *Gateway) requestReload() admin.ReloadResult {
	reply := make(chan admin.ReloadResult, 1)
	select {
	case g.reloads.calls <- reply:
		return <-reply
	case <-g.reloads.done:
		return admin.ReloadResult{Result: "failed", Errors: []string{generation.ErrStopping.Error()}}
	}
}

// reload builds a generation from the file and puts it into effect. If anything is wrong, the
// present one stays in effect.
func (g *Gateway) reload(ctx context.Context) admin.ReloadResult {
	if g.superseded.Load() { // meant for the new process, so it is no failure of this one
		return admin.ReloadResult{Result: "failed", Generation: g.Generation.Load().Number, Errors: []string{errSuperseded.Error()}}
	}
	g.notify.Reloading()
	defer func() { g.notify.Send("READY=1", g.statusServing()) }()
	began := time.Now()
	r, err := g.tryReload(ctx)
	if err != nil {
		r = admin.ReloadResult{Result: "failed", Generation: r.Generation, Errors: []string{err.Error()}} // nothing changed
		if _, many := errors.AsType[file.Errors](err); many {
			r.Errors = strings.Split(err.Error(), "\n") // one line for each
		}
	}
	g.operators.LastReload.Store(&admin.LastReload{At: began.UTC(), ReloadResult: r}) // r does not change any more
	g.Metrics.Reloads.Count(err)
	if err != nil {
		for _, e := range r.Errors {
			g.Log.Error().Str("error", e).Msg("the configuration is not reloaded: the present one stays in effect")
		}
		return r
	}
	g.logWarnings(g.Generation.Load().Config)
	event := g.Log.Info()
	if len(r.Restart) > 0 {
		event = g.Log.Warn()
	}
	event.Int64("generation", r.Generation).Strs("added", r.Added).Strs("removed", r.Removed).Interface("changed", r.Changed).
		Strs("credentials_rotated", r.Rotated).Strs("cache_emptied", r.Emptied).Strs("settings", r.Settings).Strs("needs_restart", r.Restart).
		Float64("duration_ms", observe.Milliseconds(time.Since(began))).Msg("configuration reloaded")
	return r
}

// tryReload is reload without logs, metrics and notifications.
func (g *Gateway) tryReload(ctx context.Context) (r admin.ReloadResult, err error) {
	var old, gen *serve.Generation
	defer func() {
		if p := recover(); p != nil { // a bug must not end a process that serves
			g.Log.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("a reload panicked")
			if old != nil && g.Generation.Load() != old {
				err = nil // the new one is in effect; the log has the panic
				return
			}
			err = fmt.Errorf("cannot reload: %v", p)
			if gen != nil {
				generation.Retire(gen, old)
			}
		}
	}()
	old = g.Generation.Load()
	r = admin.ReloadResult{Result: "reloaded", Generation: old.Number}
	c, err := config.Load(g.opts.ConfigPath, os.LookupEnv)
	if err != nil {
		return r, err
	}
	c = g.opts.over(c)
	compare(&r, old.Config, c)
	loadsCertificate := g.tls != nil && c.Server.HTTPS.Enabled
	keepStarted(c, old.Config)
	gen, err = generation.New(c, g.generationOptions(), old)
	if err != nil {
		return r, err
	}
	if err := generation.Start(ctx, gen, old); err != nil {
		generation.Retire(gen, old)
		return r, err
	}
	if loadsCertificate {
		before := g.certificate.Current.Load()
		if err := g.certificate.Load(&c.Server.HTTPS); err != nil {
			generation.Retire(gen, old)
			return r, err
		}
		if c.Server.HTTPS != old.Config.Server.HTTPS || !reflect.DeepEqual(before.Certificate, g.certificate.Current.Load().Certificate) {
			r.Settings = append(r.Settings, "server.https")
		}
	}
	r.Generation, r.Emptied = gen.Number, generation.Emptied(gen, old)
	ready := probe.New(slices.Collect(gen.Origins()), c.Server.Ready, g.operators.Ready.Load())

	// From here on nothing fails.
	g.limitConns(c)
	g.Apply(logging(&c.Logging))
	g.Generation.Store(gen)
	outdate(gen.Budgets, &r)
	generation.Retire(old, gen)
	before := g.operators.Ready.Swap(ready)
	ready.Start(&g.Log)
	go before.Stop() // ends with the probe under way
	return r, nil
}

// renewCertificate loads the certificate again if its files have changed.
func (g *Gateway) renewCertificate() {
	h := &g.Generation.Load().Config.Server.HTTPS
	if g.tls == nil || !h.Enabled || !g.certificate.Changed(h) {
		return
	}
	if err := g.certificate.Load(h); err != nil {
		// Often one file is written before the other.
		g.Log.Warn().Err(err).Msg("the certificate's files changed, but cannot be used; the present one stays in effect")
		return
	}
	g.Log.Info().Str("cert_path", h.CertPath).Msg("certificate renewed")
}

// settings are the keys outside buckets: their names in the result of a reload, whether a
// change needs a restart, and their place in a configuration.
var settings = []struct {
	key     string
	restart bool
	field   func(*config.Config) any // a pointer to it
}{
	{"server.address", true, func(c *config.Config) any { return &c.Server.Address }},
	{"server.https.enabled", true, func(c *config.Config) any { return &c.Server.HTTPS.Enabled }},
	{"server.https.redirect_address", true, func(c *config.Config) any { return &c.Server.HTTPS.RedirectAddress }},
	{"server.require_https", false, func(c *config.Config) any { return &c.Server.RequireHTTPS }},
	{"server.proxy_protocol", true, func(c *config.Config) any { return &c.Server.ProxyProtocol }},
	{"server.forwarded_header", false, func(c *config.Config) any { return &c.Server.ForwardedHeader }},
	{"server.trusted_proxies", false, func(c *config.Config) any { return &c.Server.TrustedProxies }},
	{"server.ready", false, func(c *config.Config) any { return &c.Server.Ready }},
	{"server.limits", false, func(c *config.Config) any { return &c.Server.Limits }},
	{"server.allow", false, func(c *config.Config) any { return &c.Server.Allow }},
	{"server.deny", false, func(c *config.Config) any { return &c.Server.Deny }},
	{"cluster", true, func(c *config.Config) any { return &c.Cluster }},
	{"logging.level", false, func(c *config.Config) any { return &c.Logging.Level }},
	{"logging.slow", false, func(c *config.Config) any { return &c.Logging.Slow }},
	{"logging.sample", false, func(c *config.Config) any { return &c.Logging.Sample }},
	{"logging.output", true, func(c *config.Config) any { return &c.Logging.Output }},
	{"logging.audit", true, func(c *config.Config) any { return &c.Logging.Audit }},
	{"logging.format", true, func(c *config.Config) any { return &c.Logging.Format }},
	{"metrics", true, func(c *config.Config) any { return &c.Metrics }},
	{"admin.token", false, func(c *config.Config) any { return &c.Admin.Token }},
}

// compare sets the fields of r for the differences between the configuration in effect and c.
func compare(r *admin.ReloadResult, old, c *config.Config) {
	r.Added, r.Removed, r.Changed, r.Rotated, r.Emptied = []string{}, []string{}, []admin.BucketChange{}, []string{}, []string{}
	r.Settings, r.Restart = []string{}, []string{}
	for _, s := range settings {
		switch {
		case reflect.DeepEqual(s.field(old), s.field(c)):
		case s.restart:
			r.Restart = append(r.Restart, s.key)
		default:
			r.Settings = append(r.Settings, s.key)
		}
	}
	before := make(map[string]*config.Bucket)
	for i := range old.Buckets {
		before[old.Buckets[i].Name] = &old.Buckets[i]
	}
	for i := range c.Buckets {
		b := &c.Buckets[i]
		was := before[b.Name]
		delete(before, b.Name)
		if was == nil {
			r.Added = append(r.Added, b.Name)
			continue
		}
		if rotated(&was.S3, &b.S3) {
			r.Rotated = append(r.Rotated, b.Name)
		}
		if parts := differences(was, b); len(parts) > 0 {
			r.Changed = append(r.Changed, admin.BucketChange{Bucket: b.Name, Parts: parts})
		}
	}
	r.Removed = slices.AppendSeq(r.Removed, maps.Keys(before))
	slices.Sort(r.Removed)
}

// keepStarted gives those keys of c whose changes need a restart the values in effect.
func keepStarted(c, effective *config.Config) {
	if !c.Server.HTTPS.Enabled {
		c.Server.HTTPS = effective.Server.HTTPS // where TLS goes on, so does its certificate
	}
	for _, s := range settings {
		if s.restart {
			reflect.ValueOf(s.field(c)).Elem().Set(reflect.ValueOf(s.field(effective)).Elem())
		}
	}
}

// rotated returns whether the credential of a replica in both has changed.
func rotated(was, s *upstream.S3) bool {
	before := staticCredentials(was)
	for origin, c := range staticCredentials(s) {
		if b, ok := before[origin]; ok && b != c {
			return true
		}
	}
	return false
}

// staticCredentials returns the credentials in s by the names of its replicas: access key,
// secret key and session token. Without replicas, the name is empty.
func staticCredentials(s *upstream.S3) map[string][3]file.Secret {
	all := make(map[string][3]file.Secret)
	for i, o := range s.Origins() {
		name := ""
		if len(s.Replicas) > 0 {
			name = s.Replicas[i].Name
		}
		all[name] = [3]file.Secret{file.NewSecret(o.AccessKey), o.SecretKey, o.SessionToken}
	}
	return all
}

// differences returns the keys in which two configurations of a bucket differ.
func differences(was, b *config.Bucket) (parts []string) {
	x, y := reflect.ValueOf(*was), reflect.ValueOf(*b)
	for _, f := range reflect.VisibleFields(x.Type()) {
		if !f.Anonymous && !reflect.DeepEqual(x.FieldByIndex(f.Index).Interface(), y.FieldByIndex(f.Index).Interface()) {
			parts = append(parts, file.KeyOf(f))
		}
	}
	return parts
}

// outdate keeps fetches under way for buckets that r changed from being stored: they were
// sent, and judged, by the old configuration. Objects of removed buckets are purged: no purge
// would reach them until the bucket comes back.
func outdate(all fill.Budgets, r *admin.ReloadResult) {
	for _, bucket := range slices.Concat(r.Removed, r.Added) { // a late request of the old configuration may have stored some
		for _, b := range all {
			b.Cache.PurgeGroup(bucket, false)
		}
	}
	for _, change := range r.Changed {
		if !slices.Contains(change.Parts, "cache") && !slices.Contains(change.Parts, "s3") {
			continue
		}
		for _, b := range all {
			b.Cache.Outdate(change.Bucket)
		}
	}
}
