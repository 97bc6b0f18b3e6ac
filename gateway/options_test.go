package gateway

import (
	"flag"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/flags"
)

func TestFlags(t *testing.T) {
	o := NewOptions()
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	groups := o.RegisterFlags(fs)
	grouped := map[string]int{}
	for _, g := range groups {
		for _, n := range g.Names {
			grouped[n]++
		}
	}
	fs.VisitAll(func(f *flag.Flag) {
		if grouped[f.Name] != 1 {
			t.Errorf("-%s is in %d groups", f.Name, grouped[f.Name])
		}
		if len(f.Usage) < 40 {
			t.Errorf("-%s teaches little: %q", f.Name, f.Usage)
		}
	})
	var help strings.Builder
	flags.Print(&help, fs, groups)
	for line := range strings.Lines(help.String()) {
		if line = strings.TrimSuffix(line, "\n"); len(line) > 80 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	for _, text := range []string{"-stream.buffer-size size (default 64KiB)", "-gc.memory-limit size (default 0)", "-limit.connections number (default -1)", "Listener:"} {
		if !strings.Contains(help.String(), text) {
			t.Errorf("the help lacks %q", text)
		}
	}

	err := fs.Parse([]string{"-config", "c.yaml", "-listen.address", ":1", "-listen.header-timeout", "1s", "-listen.idle-timeout", "2s",
		"-listen.read-buffer", "32KiB", "-listen.write-buffer", "8KiB", "-listen.lean-after", "7", "-stream.buffer-size", "128KiB", "-stream.buffers", "3", "-stream.min-rate", "2KiB",
		"-stream.min-rate-window", "5s", "-limit.connections", "4", "-limit.connections-per-address", "5", "-limit.in-flight", "6", "-limit.clients", "99", "-auth.cache-tokens", "7", "-auth.cache-memory", "1MiB", "-auth.jwks-refresh", "9s", "-gc.percent", "50",
		"-gc.memory-limit", "4GiB", "-core-dumps", "-timer-slack", "2ms", "-log.level", "warn", "-log.format", "text", "-log.buffer", "1MiB", "-log.refused", "3", "-shutdown.drain", "7s", "-shutdown.timeout", "8s",
		"-upgrade.timeout", "11s", "-upgrade.drain", "12m"})
	if err != nil {
		t.Fatal(err)
	}
	want := Options{ConfigPath: "c.yaml", Address: ":1", HeaderTimeout: time.Second, IdleTimeout: 2 * time.Second, ReadBuffer: 32 << 10, WriteBuffer: 8 << 10, LeanAfter: 7,
		StreamBuffer: 128 << 10, StreamBuffers: 3, MinRate: 2 << 10, MinRateWindow: 5 * time.Second, MaxConns: 4, MaxConnsPerAddress: 5, MaxInFlight: 6, LimitClients: 99,
		AuthTokens: 7, AuthMemory: 1 << 20, AuthRefresh: 9 * time.Second,
		GCPercent: 50, MemoryLimit: 4 << 30, CoreDumps: true, TimerSlack: 2 * time.Millisecond, LogLevel: "warn", LogFormat: "text", LogBuffer: 1 << 20, LogRefused: 3, Drain: 7 * time.Second, ShutdownTimeout: 8 * time.Second,
		UpgradeTimeout: 11 * time.Second, UpgradeDrain: 12 * time.Minute}
	if !reflect.DeepEqual(*o, want) {
		t.Errorf("flags give %+v, want %+v", *o, want)
	}
	if err := o.validate(); err != nil {
		t.Error(err)
	}
	for _, args := range [][]string{{"-stream.min-rate", "3GiB"}, {"-listen.read-buffer", "much"}} {
		if err := fs.Parse(args); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
}

// What the help calls the default is what an unset flag does.
func TestFlagDefaults(t *testing.T) {
	o := NewOptions()
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	o.RegisterFlags(fs)
	defaults := map[string]string{
		"config": "", "listen.address": "", "listen.header-timeout": "10s", "listen.idle-timeout": "1m0s",
		"listen.read-buffer": "16KiB", "listen.write-buffer": "4KiB", "listen.lean-after": "512",
		"stream.buffer-size": "64KiB", "stream.buffers": "0", "stream.min-rate": "1KiB", "stream.min-rate-window": "30s",
		"limit.connections": "-1", "limit.connections-per-address": "-1", "limit.in-flight": "-1", "limit.clients": "131072",
		"auth.cache-tokens": "100000", "auth.cache-memory": "128MiB", "auth.jwks-refresh": "5m0s",
		"gc.percent": "0", "gc.memory-limit": "0", "core-dumps": "false", "timer-slack": "1ms", "log.level": "", "log.format": "", "log.buffer": "4MiB", "log.refused": "200", "shutdown.drain": "0s", "shutdown.timeout": "25s",
		"upgrade.timeout": "30s", "upgrade.drain": "15m0s",
	}
	fs.VisitAll(func(f *flag.Flag) {
		if want, ok := defaults[f.Name]; !ok || f.DefValue != want {
			t.Errorf("-%s is %q by default, want %q", f.Name, f.DefValue, want)
		}
		if err := f.Value.Set(f.DefValue); err != nil {
			t.Errorf("-%s does not take its own default: %v", f.Name, err)
		}
		delete(defaults, f.Name)
	})
	if len(defaults) > 0 {
		t.Errorf("no flags: %v", defaults)
	}
	if !reflect.DeepEqual(o, NewOptions()) {
		t.Errorf("the defaults, set as flags, give %+v", *o)
	}
}

func TestOptionsAreValidated(t *testing.T) {
	if err := NewOptions().validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for name, change := range map[string]func(*Options){
		"-listen.read-buffer":     func(o *Options) { o.ReadBuffer = 1 },
		"-log.refused":            func(o *Options) { o.LogRefused = -1 },
		"-listen.lean-after":      func(o *Options) { o.LeanAfter = -1 },
		"-listen.write-buffer":    func(o *Options) { o.WriteBuffer = 2 << 20 },
		"-stream.buffer-size":     func(o *Options) { o.StreamBuffer = 1 << 10 },
		"-listen.header-timeout":  func(o *Options) { o.HeaderTimeout = 0 },
		"-listen.idle-timeout":    func(o *Options) { o.IdleTimeout = -1 },
		"-stream.buffers":         func(o *Options) { o.StreamBuffers = -1 },
		"-stream.min-rate ":       func(o *Options) { o.MinRate = -1 },
		"-stream.min-rate-window": func(o *Options) { o.MinRateWindow = 0 },
		"-limit":                  func(o *Options) { o.MaxInFlight = -2 },
		"-limit.clients":          func(o *Options) { o.LimitClients = 0 },
		"-gc":                     func(o *Options) { o.GCPercent = -1 },
		"-timer-slack":            func(o *Options) { o.TimerSlack = 11 * time.Millisecond },
		"-shutdown":               func(o *Options) { o.Drain = -1 },
		"-upgrade":                func(o *Options) { o.UpgradeDrain = 0 },
		"-log.level":              func(o *Options) { o.LogLevel = "loud" },
		"-log.buffer":             func(o *Options) { o.LogBuffer = 1 },
		"-log.format":             func(o *Options) { o.LogFormat = "xml" },
	} {
		o := NewOptions()
		change(o)
		if err := o.validate(); err == nil || !strings.HasPrefix(strings.TrimPrefix(err.Error(), "the "), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWriteTimeoutFollowsTheMinimumRate(t *testing.T) {
	o := NewOptions()
	if got, want := o.writeTimeout(), 158*time.Second; got != want {
		t.Errorf("%s, want %s: the window, and 128 KiB at 1 KiB/s", got, want)
	}
	o.MinRate = 0
	if o.writeTimeout() <= 0 {
		t.Error("without a minimum rate a client that never reads would hold a connection for ever")
	}
}

func TestTextLog(t *testing.T) {
	origin := startOrigin(t, serveText("x"))
	gw := startGateway(t, oneBucket("/pub", origin.URL), func(o *Options) { o.LogFormat = "text" })
	gw.do("GET", "/pub/x")
	gw.log.waitFor(t, "INF request")
	gw.log.waitFor(t, "path=/pub/x")
}
