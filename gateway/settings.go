package gateway

import (
	"reflect"

	"yatagarasu/gateway/config"
)

// settings are the keys that are not those of buckets: how the report of a reload calls
// them, where they are in a configuration, and whether only a restart changes them.
var settings = []struct {
	key     string
	restart bool
	field   func(*config.Config) any // a pointer to it
}{
	{"server.address", true, func(c *config.Config) any { return &c.Server.Address }},
	{"server.https.enabled", true, func(c *config.Config) any { return &c.Server.HTTPS.Enabled }},
	{"server.proxy_protocol", true, func(c *config.Config) any { return &c.Server.ProxyProtocol }},
	{"server.forwarded_header", false, func(c *config.Config) any { return &c.Server.ForwardedHeader }},
	{"server.trusted_proxies", false, func(c *config.Config) any { return &c.Server.TrustedProxies }},
	{"server.ready", false, func(c *config.Config) any { return &c.Server.Ready }},
	{"server.limits", false, func(c *config.Config) any { return &c.Server.Limits }},
	{"server.allow", false, func(c *config.Config) any { return &c.Server.Allow }},
	{"server.deny", false, func(c *config.Config) any { return &c.Server.Deny }},
	{"logging.level", false, func(c *config.Config) any { return &c.Logging.Level }},
	{"logging.slow", false, func(c *config.Config) any { return &c.Logging.Slow }},
	{"logging.sample", false, func(c *config.Config) any { return &c.Logging.Sample }},
	{"logging.output", true, func(c *config.Config) any { return &c.Logging.Output }},
	{"logging.audit", true, func(c *config.Config) any { return &c.Logging.Audit }},
	{"logging.format", true, func(c *config.Config) any { return &c.Logging.Format }},
	{"metrics", true, func(c *config.Config) any { return &c.Metrics }},
	{"admin.token", false, func(c *config.Config) any { return &c.Admin.Token }},
}

// compareSettings returns the keys with values in c that differ from those in effect:
// those that a reload changes, and those that it does not.
func compareSettings(effective, c *config.Config) (changed, restart []string) {
	changed, restart = []string{}, []string{}
	for _, s := range settings {
		switch {
		case reflect.DeepEqual(s.field(effective), s.field(c)):
		case s.restart:
			restart = append(restart, s.key)
		default:
			changed = append(changed, s.key)
		}
	}
	return changed, restart
}

// keepStarted gives the keys of c that only a restart changes the values in effect.
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

// over returns the file's configuration with the flags' values over it.
func (o *Options) over(file *config.Config) *config.Config {
	c := *file
	for _, s := range []struct {
		field *string
		flag  string
	}{{&c.Server.Address, o.Address}, {&c.Logging.Level, o.LogLevel}, {&c.Logging.Format, o.LogFormat}} {
		if s.flag != "" {
			*s.field = s.flag
		}
	}
	limits := &c.Server.Limits
	for _, s := range []struct {
		field *int
		flag  int
	}{{&limits.MaxConnections, o.MaxConns}, {&limits.MaxConnectionsPerAddress, o.MaxConnsPerAddress}, {&limits.MaxInFlight, o.MaxInFlight}} {
		if s.flag >= 0 {
			*s.field = s.flag
		}
	}
	return &c
}
