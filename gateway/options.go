package gateway

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"slices"
	"time"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/flags"
	"yatagarasu/gateway/handover"
	"yatagarasu/gateway/serve"
	"yatagarasu/pool"
)

// Options are the settings of the process, fixed at start. The configuration file says what is
// served; where both have a value, the flag wins. Use NewOptions for the defaults.
type Options struct {
	ConfigPath string              // configuration file
	Version    string              // what /health and -version tell
	Output     io.Writer           // receives the log; nil: standard output
	Program    string              // path by which an upgrade starts the program anew, with the same arguments; empty: no upgrades
	Inherited  *handover.Inherited // sockets to listen on instead of opening some; nil: none
	inspects   bool                // every log is left alone: the gateway is made to be looked into

	proxies func(*url.URL) (*url.URL, error) // of origins; nil: those of the environment

	Address       string        // instead of server.address; empty: the file's
	HeaderTimeout time.Duration // for the TLS handshake and the arrival of a request head
	IdleTimeout   time.Duration // of a keep-alive connection without requests
	ReadBuffer    int           // bytes of the largest request head
	WriteBuffer   int           // bytes of the buffer that a response head is written through
	LeanAfter     int           // open connections after which a new one keeps no buffer between its requests

	StreamBuffer  int           // bytes of one stream buffer
	StreamBuffers int           // bound of the stream buffers in use; 0: none
	MinRate       int           // least bytes per second at which a body must move; 0: no check
	MinRateWindow time.Duration // how long a body may stay below MinRate

	// MaxConns, MaxConnsPerAddress and MaxInFlight are used instead of server.limits;
	// negative: the file's; 0: no limit.
	MaxConns, MaxConnsPerAddress, MaxInFlight int
	LimitClients                              int // bound of the clients that each limit per address or subject remembers

	AuthTokens  int           // bound of the tokens whose verdicts are remembered; 0: none
	AuthMemory  int64         // bound of their bytes; 0: none
	AuthRefresh time.Duration // how often key sets (jwks_url, jwks_file) are fetched

	GCPercent   int   // target of the garbage collector; 0: GOGC, or 50
	MemoryLimit int64 // soft memory limit in bytes; 0: GOMEMLIMIT or none

	CoreDumps  bool          // the process may be dumped and traced, as the system allows
	TimerSlack time.Duration // how late the kernel may wake a thread; 0: as it was started

	LogBuffer           int    // bytes of lines that may wait for each log
	LogRefused          int    // bound of the lines of refused requests in a second, in each log; 0: none
	LogLevel, LogFormat string // instead of those of the logging block; empty: the file's

	Drain           time.Duration // after SIGTERM, how long to keep serving while /ready fails
	ShutdownTimeout time.Duration // how long requests under way may take after that
	UpgradeTimeout  time.Duration // how long a new process may take until it can take over, and then waits until it is to
	UpgradeDrain    time.Duration // how long requests under way may take in the old one
}

// NewOptions returns the defaults.
func NewOptions() *Options {
	return &Options{
		HeaderTimeout:      10 * time.Second,
		IdleTimeout:        60 * time.Second,
		ReadBuffer:         16 << 10,
		WriteBuffer:        4 << 10,
		LeanAfter:          512,
		StreamBuffer:       pool.DefaultBufferSize,
		MinRate:            1 << 10,
		MinRateWindow:      30 * time.Second,
		MaxConns:           -1,
		MaxConnsPerAddress: -1,
		MaxInFlight:        -1,
		LimitClients:       1 << 17,
		AuthTokens:         100_000,
		AuthMemory:         128 << 20,
		AuthRefresh:        5 * time.Minute,
		TimerSlack:         time.Millisecond,
		LogBuffer:          4 << 20,
		LogRefused:         200,
		ShutdownTimeout:    25 * time.Second,
		UpgradeTimeout:     30 * time.Second,
		UpgradeDrain:       15 * time.Minute,
	}
}

// RegisterFlags registers a flag for each option with fs, and returns their groups for
// flags.Print.
func (o *Options) RegisterFlags(fs *flag.FlagSet) []flags.Group {
	var groups []flags.Group
	group := func(title string) { groups = append(groups, flags.Group{Title: title}) }
	name := func(n string) string {
		g := &groups[len(groups)-1]
		g.Names = append(g.Names, n)
		return n
	}

	group("Configuration")
	fs.StringVar(&o.ConfigPath, name("config"), o.ConfigPath, "Path of the configuration `file` (YAML): what is served, from which buckets, to whom. Required. See config.example.yaml")

	group("Listener")
	fs.StringVar(&o.Address, name("listen.address"), o.Address, "`host:port` to listen on instead of server.address. Change it to run several gateways from one file")
	fs.DurationVar(&o.HeaderTimeout, name("listen.header-timeout"), o.HeaderTimeout, "How long a client may take for the TLS handshake and for a complete request head. Lower it under slowloris attacks, raise it for clients on very slow links")
	fs.DurationVar(&o.IdleTimeout, name("listen.idle-timeout"), o.IdleTimeout, "How long a keep-alive connection without a request stays open. Set it above the idle timeout of a load balancer in front, so that the balancer closes first")
	flags.Size(fs, &o.ReadBuffer, name("listen.read-buffer"), "Largest request head, as a `size`; each connection with a request holds one such buffer. Beyond it: 431. Raise it for very large cookies or tokens")
	flags.Size(fs, &o.WriteBuffer, name("listen.write-buffer"), "Buffer for a response head and a small body, as a `size`, per busy connection. Raise it if most objects are slightly larger")
	fs.IntVar(&o.LeanAfter, name("listen.lean-after"), o.LeanAfter, "Open connections, as a `number`, after which a new one keeps no buffers between its requests: idle, it takes a third of the memory, and each of its requests costs one more system call and a change of goroutine there and back. 0: all. Raise it to trade memory for speed with very many busy connections")

	group("Streaming")
	flags.Size(fs, &o.StreamBuffer, name("stream.buffer-size"), "Stream buffer, as a `size`: objects up to it are read whole before they are sent; larger ones are streamed, by the kernel where both sides are plain TCP. A request that waits for its origin holds 16KiB, or a whole one where the last object from there filled more. At least 16KiB. Lower it to save memory with very many slow clients of small objects")
	fs.IntVar(&o.StreamBuffers, name("stream.buffers"), o.StreamBuffers, "Largest `number` of stream buffers in use at once; beyond it requests get 503. 0: no limit beside -limit.in-flight. Set it to bound memory to number x size")
	flags.Size(fs, &o.MinRate, name("stream.min-rate"), "Least rate, as a `size` per second, at which a client must take a body and an origin deliver it; slower transfers are cut. 0 turns it off. Raise it to free connections from slow readers sooner")
	fs.DurationVar(&o.MinRateWindow, name("stream.min-rate-window"), o.MinRateWindow, "How long a transfer may stay below -stream.min-rate before it is cut. Raise it for clients that pause, such as video players")

	group("Limits")
	fs.IntVar(&o.MaxConns, name("limit.connections"), o.MaxConns, "Largest `number` of client connections; beyond it a new one replaces the one idle longest, or gets 503 if all have a request under way. 0: as many as the limit of open files allows; -1: server.limits.max_connections, by default 65536. Where the limit of open files is too low for it, fewer are accepted, and the log says so")
	fs.IntVar(&o.MaxConnsPerAddress, name("limit.connections-per-address"), o.MaxConnsPerAddress, "Largest `number` of connections from one client address, or one /64 of IPv6. 0: no limit; -1: server.limits.max_connections_per_address, by default off. Leave it off behind a load balancer")
	fs.IntVar(&o.MaxInFlight, name("limit.in-flight"), o.MaxInFlight, "Largest `number` of requests under way, counted until the last body byte; beyond it 429. 0: no limit; -1: server.limits.max_in_flight, by default off. Set it to what memory and origins can bear")

	fs.IntVar(&o.LimitClients, name("limit.clients"), o.LimitClients, "Largest `number` of clients that each limit per address or subject remembers, in about 72 bytes each; a client whose burst is there again needs none. Beyond it a new client takes over what is left to the one idle longest. Raise it if more clients are active at a time, or if limits are below one request per second")

	group("Authentication")
	fs.IntVar(&o.AuthTokens, name("auth.cache-tokens"), o.AuthTokens, "Largest `number` of tokens whose verification is remembered until they expire, so that a repeated one costs a look-up instead of a signature. 0: none. Raise it if more tokens are in use at a time")
	flags.Size(fs, &o.AuthMemory, name("auth.cache-memory"), "Largest memory for them, as a `size`; a token of 1 KB takes about 1.5 KB. Lower it on small machines, raise it with -auth.cache-tokens")
	fs.DurationVar(&o.AuthRefresh, name("auth.jwks-refresh"), o.AuthRefresh, "How often the key sets of jwks_url, jwks_file and issuer_url are fetched. A token with an unknown kid fetches earlier, three times at once and then every 10 s at most. Lower it where withdrawn keys must stop working sooner")

	group("Runtime")
	fs.IntVar(&o.GCPercent, name("gc.percent"), o.GCPercent, "Heap growth in `percent` between garbage collections. 0: the GOGC variable, by default 50. Raise it to trade memory for CPU")
	flags.Size(fs, &o.MemoryLimit, name("gc.memory-limit"), "Soft limit of the process's memory, as a `size`. 0: the GOMEMLIMIT variable, by default none. Set it to about 90 % of a container's limit")
	fs.DurationVar(&o.TimerSlack, name("timer-slack"), o.TimerSlack, "How much later than asked for the kernel may wake a thread of the process, up to 10ms: Linux only. The Go runtime sleeps for some tens of microseconds at a time, and each time less saves CPU time. With less slack than this, the program starts itself again with it, as the same process, unless it was given sockets. 0: as it was started. Set it to 0 for a debugger that starts the program")
	fs.BoolVar(&o.CoreDumps, name("core-dumps"), o.CoreDumps, "Allow core dumps, debuggers and profilers, as the system's limits do. Without it the process's memory, which holds credentials, is closed to all but root: Linux only. Set it to look into a fault, where nobody else can read the dumps")

	group("Log")
	fs.StringVar(&o.LogLevel, name("log.level"), o.LogLevel, "Least `level` that is logged: trace, debug, info, warn or error. Empty: logging.level, by default info. Access lines are info: warn turns them off")
	fs.StringVar(&o.LogFormat, name("log.format"), o.LogFormat, "Log `format`: json, or text for reading. Empty: logging.format, by default json. text is slower: for development")
	flags.Size(fs, &o.LogBuffer, name("log.buffer"), "How much of each log may wait to be written, as a `size`. Beyond it lines are dropped, and counted in yatagarasu_log_dropped_total: a stuck log holds up no request. Raise it for bursts on a slow disk")
	fs.IntVar(&o.LogRefused, name("log.refused"), o.LogRefused, "Largest `number` of lines in a second, in each log, of requests that are refused: for their form, token, address or a limit, or because no bucket is there; and of /health and /ready. Beyond it they are counted in yatagarasu_log_left_out_total, and one line a second says how many. Lines of requests that are served are never left out. 0: no limit. Raise it where each refusal must be told")

	group("Stop and upgrade")
	fs.DurationVar(&o.Drain, name("shutdown.drain"), o.Drain, "After SIGTERM or SIGINT, how long to keep serving while /ready answers 503. Set it to the time a load balancer needs to notice")
	fs.DurationVar(&o.ShutdownTimeout, name("shutdown.timeout"), o.ShutdownTimeout, "How long requests under way may take to finish after that before they are cut. A second signal cuts at once. Raise it for long downloads, below the supervisor's kill timeout")
	fs.DurationVar(&o.UpgradeTimeout, name("upgrade.timeout"), o.UpgradeTimeout, "After SIGUSR2, how long the new process may take until it is set up; then it is ended, and this one goes on. Raise it where the start fetches key sets from slow hosts")
	fs.DurationVar(&o.UpgradeDrain, name("upgrade.drain"), o.UpgradeDrain, "After the new process has taken over, how long the old one may go on with requests under way before they are cut. SIGTERM then starts -shutdown.timeout. Raise it for downloads that take longer")
	return groups
}

// validate returns the first value that is out of its bounds.
func (o *Options) validate() error {
	for _, c := range []struct {
		bad     bool
		problem string
	}{
		{o.ReadBuffer < 4<<10 || o.ReadBuffer > 1<<20, fmt.Sprintf("-listen.read-buffer must be between 4KiB and 1MiB, not %d bytes", o.ReadBuffer)},
		{o.LeanAfter < 0, fmt.Sprintf("-listen.lean-after must be 0 or more, not %d", o.LeanAfter)},
		{o.WriteBuffer < 1<<10 || o.WriteBuffer > 1<<20, fmt.Sprintf("-listen.write-buffer must be between 1KiB and 1MiB, not %d bytes", o.WriteBuffer)},
		{o.StreamBuffer < 16<<10 || o.StreamBuffer > 16<<20, fmt.Sprintf("-stream.buffer-size must be between 16KiB and 16MiB, not %d bytes", o.StreamBuffer)},
		{o.HeaderTimeout <= 0, fmt.Sprintf("-listen.header-timeout must be above 0, not %s", o.HeaderTimeout)},
		{o.IdleTimeout <= 0, fmt.Sprintf("-listen.idle-timeout must be above 0, not %s", o.IdleTimeout)},
		{o.StreamBuffers < 0, fmt.Sprintf("-stream.buffers must be 0 or more, not %d", o.StreamBuffers)},
		{o.MinRate < 0, fmt.Sprintf("-stream.min-rate must be 0 or more, not %d", o.MinRate)},
		{o.MinRateWindow < 100*time.Millisecond, fmt.Sprintf("-stream.min-rate-window must be 100ms or more, not %s", o.MinRateWindow)},
		{min(o.MaxConns, o.MaxConnsPerAddress, o.MaxInFlight) < -1, "the -limit flags must be -1 (the file's value), 0 (no limit) or above"},
		{o.LimitClients < 1 || o.LimitClients > 1<<24, fmt.Sprintf("-limit.clients must be between 1 and 16777216, not %d", o.LimitClients)},
		{o.AuthTokens < 0 || o.AuthMemory < 0, "the -auth.cache flags must be 0 (nothing is remembered) or more"},
		{o.AuthRefresh < time.Second, fmt.Sprintf("-auth.jwks-refresh must be 1s or more, not %s", o.AuthRefresh)},
		{o.LogRefused < 0, fmt.Sprintf("-log.refused must be 0 or more, not %d", o.LogRefused)},
		{o.LogBuffer < 64<<10, fmt.Sprintf("-log.buffer must be 64KiB or more, not %d bytes", o.LogBuffer)},
		{o.GCPercent < 0 || o.MemoryLimit < 0, "the -gc flags must be 0 or more"},
		{o.TimerSlack < 0 || o.TimerSlack > 10*time.Millisecond, fmt.Sprintf("-timer-slack must be between 0 and 10ms, not %s", o.TimerSlack)},
		{o.Drain < 0 || o.ShutdownTimeout < 0, "the -shutdown flags must be 0 or more"},
		{o.UpgradeTimeout <= 0 || o.UpgradeDrain <= 0, "the -upgrade flags must be above 0"},
		{!slices.Contains([]string{"", "trace", "debug", "info", "warn", "error"}, o.LogLevel), fmt.Sprintf("-log.level is %q; use one of: trace, debug, info, warn, error", o.LogLevel)},
		{!slices.Contains([]string{"", "json", "text"}, o.LogFormat), fmt.Sprintf("-log.format is %q; use json or text", o.LogFormat)},
	} {
		if c.bad {
			return errors.New(c.problem)
		}
	}
	return nil
}

// over returns the file's configuration with the values of flags in place of its own.
func (o *Options) over(file *config.Config) *config.Config {
	c := *file
	c.Server.Address = cmp.Or(o.Address, c.Server.Address)
	c.Logging.Level = cmp.Or(o.LogLevel, c.Logging.Level)
	c.Logging.Format = cmp.Or(o.LogFormat, c.Logging.Format)
	limits := &c.Server.Limits
	for field, flag := range map[*int]int{&limits.MaxConnections: o.MaxConns, &limits.MaxConnectionsPerAddress: o.MaxConnsPerAddress, &limits.MaxInFlight: o.MaxInFlight} {
		if flag >= 0 {
			*field = flag
		}
	}
	return &c
}

// writeTimeout returns how long writing a response that is whole in memory may take: the
// largest one at the minimum rate, after its window.
func (o *Options) writeTimeout() time.Duration {
	rate := cmp.Or(o.MinRate, 1<<10)
	return o.MinRateWindow + time.Duration(max(o.StreamBuffer, serve.MaxAtOnce))*time.Second/time.Duration(rate)
}

// values returns the values of all flags by their names.
func (o *Options) values() map[string]string {
	values := make(map[string]string)
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	own := *o
	own.RegisterFlags(fs)
	fs.VisitAll(func(f *flag.Flag) { values[f.Name] = f.DefValue })
	return values
}
