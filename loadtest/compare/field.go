package main

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"yatagarasu/loadtest/gateway"
	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
)

// field holds the running contenders, their origin and their settings.
type field struct {
	dir       string // temporary
	self      string // this program
	origin    *contender
	byName    map[string]*contender
	processes []*process.Process
	settings  settings
}

// settings fill the templates of the contenders' configurations.
type settings struct {
	Dir               string
	Origin, OriginTLS string // host:port
	Certificate, Key  string // PEM files of every TLS listener
	LogLevel, LogFile string
	HTTPS             bool
	Secret            string // of tokens
	CPUs              string // for taskset; empty: all
	User              string // of nginx's workers
	Nginx             string // name of its files, without an ending
	Sendfile          bool   // nginx serves hits from open files
	Ports             map[string]int
}

//go:embed gateway.yaml
var gatewayTemplate string

//go:embed nginx.conf
var nginxTemplate string

//go:embed haproxy.cfg
var haproxyTemplate string

//go:embed Caddyfile
var caddyTemplate string

//go:embed varnish.vcl
var varnishTemplate string

// start starts the origin and the contenders named, and waits until they serve.
func start(ctx context.Context, dir string, names map[string]bool) (_ *field, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &field{dir: dir, self: self, byName: map[string]*contender{}}
	defer func() {
		if err != nil {
			f.stop()
		}
	}()
	f.settings = settings{
		Dir: dir, Secret: strings.Repeat("comparison-secret-", 3),
		Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"),
		User: "www-data",
	}
	if os.Getuid() == 0 { // nginx's workers are another user, who must read it
		if err := os.Chmod(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if err := writeCertificate(f.settings.Certificate, f.settings.Key); err != nil {
		return nil, err
	}
	if err := f.writeFiles(); err != nil {
		return nil, err
	}
	if err := port.Retry(func() error { return f.startOrigin(ctx) }); err != nil {
		return nil, err
	}
	for _, name := range contenderNames {
		if !names[name] {
			continue
		}
		err := port.Retry(func() error {
			c, err := f.launch(name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			f.byName[name] = c
			return c.await(ctx)
		})
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

// startOrigin starts the origin and notes where it is.
func (f *field) startOrigin(ctx context.Context) (err error) {
	s := &f.settings
	if *s, err = s.withPorts("origin", "originTLS"); err != nil {
		return err
	}
	s.Origin, s.OriginTLS = port.Address(s.Ports["origin"]), port.Address(s.Ports["originTLS"])
	base := "http://" + s.Origin + "/objects"
	f.origin, err = f.run(direct, map[string]string{"hit": base, "miss": base}, f.self, "origin", s.Origin, s.OriginTLS, s.Certificate, s.Key)
	if err != nil {
		return err
	}
	return f.origin.await(ctx)
}

// withPorts returns s with ports for listeners of some names.
func (s settings) withPorts(names ...string) (settings, error) {
	ports := maps.Clone(s.Ports)
	if ports == nil {
		ports = map[string]int{}
	}
	for _, name := range names {
		n, err := port.Reserve()
		if err != nil {
			return s, err
		}
		ports[name] = n
	}
	s.Ports = ports
	return s, nil
}

// url returns the base URL of a listener.
func (s settings) url(scheme, name, path string) string {
	return scheme + "://" + port.Address(s.Ports[name]) + path
}

// run starts a contender, to be ended by stop.
func (f *field) run(name string, base map[string]string, command ...string) (*contender, error) {
	p, err := process.Start(command[0], command[1:], nil, io.Discard)
	if err != nil {
		return nil, err
	}
	f.processes = append(f.processes, p)
	return &contender{Process: p, name: name, base: base}, nil
}

// The contenders, in the order of starting: the floor repeats what a gateway answers.
const (
	ours       = "gateway"
	oursLogged = "gateway, metrics and JSON log on"
	oursToken  = "gateway, JWT with 2 rules"
	oursAsked  = "gateway, token that its issuer judged"
	oursTLS    = "gateway over TLS"
	oursSite   = "gateway, CORS and 2 header rules"
	oursGzip   = "gateway, compressed"
	floor      = "fasthttp handler"
	nginx      = "nginx"
	nginxFiles = "nginx, sendfile and open_file_cache"
	haproxy    = "HAProxy"
	varnish    = "Varnish"
	nginxGzip  = "nginx, gzip_static"
	caddyGzip  = "Caddy, precompressed"
	direct     = "the origin itself"
)

var contenderNames = []string{ours, oursLogged, oursToken, oursAsked, oursSite, oursGzip, oursTLS, floor, nginx, nginxFiles, nginxGzip, caddyGzip, haproxy, varnish, direct}

// launch starts one contender.
func (f *field) launch(name string) (*contender, error) {
	switch name {
	case ours, oursLogged, oursTLS:
		s := f.settings
		s.LogLevel, s.LogFile = "warn", "stderr"
		if name == oursLogged {
			s.LogLevel, s.LogFile = "info", filepath.Join(f.dir, "access.log")
		}
		s.HTTPS = name == oursTLS
		return f.launchGateway(name, s)
	case oursToken:
		return f.withToken()
	case oursAsked:
		return f.variant(name, "hit", "asked", "Authorization: Bearer 2YotnFZFEjr1zCsicMWpAA2YotnFZFEjr1zCsicM"), nil
	case oursSite:
		return f.variant(name, "hit", "site", "Origin: https://a.example.org"), nil
	case oursGzip:
		return f.variant(name, "gzip", "gzip", "Accept-Encoding: gzip"), nil
	case caddyGzip:
		s, err := f.settings.withPorts("caddy")
		if err != nil {
			return nil, err
		}
		file, err := f.fill("Caddyfile", caddyTemplate, s)
		if err != nil {
			return nil, err
		}
		c, err := f.run(name, map[string]string{"gzip": s.url("http", "caddy", "")}, "caddy", "run", "--config", file, "--adapter", "caddyfile")
		if c != nil {
			c.header, c.fromFiles = "Accept-Encoding: gzip", true
		}
		return c, err
	case nginxGzip:
		c := *f.byName[nginxFiles]
		c.fromFiles = true
		c.name, c.header, c.base = name, "Accept-Encoding: gzip", map[string]string{"gzip": c.base["gzip"]}
		return &c, nil
	case floor:
		return f.launchFloor(f.byName[ours], "")
	case nginx, nginxFiles:
		s, err := f.settings.withPorts("nginxHit", "nginxTLS", "nginxMiss", "nginxMissTLS", "nginxGzip")
		if err != nil {
			return nil, err
		}
		s.Nginx = "nginx"
		if name == nginxFiles {
			s.Nginx, s.Sendfile = "nginx-files", true
		}
		file, err := f.fill(s.Nginx+".conf", nginxTemplate, s)
		if err != nil {
			return nil, err
		}
		ways := map[string]string{
			"hit": s.url("http", "nginxHit", "/hit"), "tls": s.url("https", "nginxTLS", "/hit"),
			"miss": s.url("http", "nginxMiss", "/miss"), "missTLS": s.url("http", "nginxMissTLS", "/miss"),
		}
		if s.Sendfile {
			ways["gzip"] = s.url("http", "nginxGzip", "")
		}
		return f.run(name, ways, "nginx", "-p", f.dir, "-e", filepath.Join(f.dir, s.Nginx+".log"), "-c", file)
	case haproxy:
		s, err := f.settings.withPorts("haproxyHit", "haproxyMiss")
		if err != nil {
			return nil, err
		}
		file, err := f.fill("haproxy.cfg", haproxyTemplate, s)
		if err != nil {
			return nil, err
		}
		return f.run(name, map[string]string{
			"hit": s.url("http", "haproxyHit", "/hit"), "miss": s.url("http", "haproxyMiss", "/miss"),
		}, "haproxy", "-db", "-f", file)
	case varnish:
		s, err := f.settings.withPorts("varnish")
		if err != nil {
			return nil, err
		}
		file, err := f.fill("varnish.vcl", varnishTemplate, s)
		if err != nil {
			return nil, err
		}
		return f.run(name, map[string]string{"hit": s.url("http", "varnish", "/hit")},
			"varnishd", "-F", "-n", filepath.Join(f.dir, "varnish"), "-a", port.Address(s.Ports["varnish"]), "-f", file, "-s", "malloc,256m")
	case direct:
		return f.origin, nil
	}
	panic("BUG: no contender " + name)
}

// launchFloor starts the floor, which repeats what a gateway answers, on the processors
// cpus; empty: all.
func (f *field) launchFloor(of *contender, cpus string) (*contender, error) {
	var recordings []recording
	for _, object := range []string{"1k", "10k", "100k", "1m"} {
		r, err := record(of.url("hit", object), object)
		if err != nil {
			return nil, err
		}
		recordings = append(recordings, r)
	}
	b, err := json.Marshal(recordings)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(f.dir, "floor.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return nil, err
	}
	at, err := port.Reserve()
	if err != nil {
		return nil, err
	}
	return f.run(floor, map[string]string{"hit": "http://" + port.Address(at)}, pinned(cpus, f.self, "floor", port.Address(at), file)...)
}

// pinned returns the command line that runs args on the processors cpus; empty: all.
func pinned(cpus string, args ...string) []string {
	if cpus == "" {
		return args
	}
	return append([]string{"taskset", "-c", cpus}, args...)
}

// launchGateway starts a gateway with s.
func (f *field) launchGateway(name string, s settings) (*contender, error) {
	binary, err := process.Find("yatagarasu")
	if err != nil {
		return nil, err
	}
	s, err = s.withPorts("gateway", "metrics")
	if err != nil {
		return nil, err
	}
	file, err := f.fill(strings.ReplaceAll(name, " ", "-")+".yaml", gatewayTemplate, s)
	if err != nil {
		return nil, err
	}
	ways := map[string]string{"hit": s.url("http", "gateway", "/hit"), "miss": s.url("http", "gateway", "/miss"), "missTLS": s.url("http", "gateway", "/secure")}
	if s.HTTPS {
		ways = map[string]string{"tls": s.url("https", "gateway", "/hit")}
	}
	return f.run(name, ways, pinned(s.CPUs, binary, "-config", file, "-listen.address", port.Address(s.Ports["gateway"]))...)
}

// withToken returns the gateway as a contender whose requests carry a token.
func (f *field) withToken() (*contender, error) {
	token, err := gateway.Token(filepath.Join(f.dir, ours+".yaml"), "jwt", "role=reader", "-claim", "level=3")
	if err != nil {
		return nil, err
	}
	return f.variant(oursToken, "hit", "jwt", "Authorization: Bearer "+token), nil
}

// variant returns the gateway as a contender whose requests, with a header line, are for another
// of its buckets, in one way.
func (f *field) variant(name, way, bucket, header string) *contender {
	c := *f.byName[ours]
	c.name, c.header = name, header
	c.base = map[string]string{way: strings.TrimSuffix(c.base["hit"], "/hit") + "/" + bucket}
	return &c
}

// writeFiles writes the objects that are served from files, and beside each one its compressed
// form.
func (f *field) writeFiles() error {
	dir := filepath.Join(f.dir, "files")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"1k", styles} {
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, gzip.DefaultCompression)
		if err != nil {
			return err
		}
		w.Write(objectBody(name))
		w.Close()
		for file, data := range map[string][]byte{name: objectBody(name), name + ".gz": b.Bytes()} {
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill writes a configuration from a template and returns its path.
func (f *field) fill(name, text string, s settings) (string, error) {
	t, err := template.New(name).Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, s); err != nil {
		return "", err
	}
	path := filepath.Join(f.dir, name)
	return path, os.WriteFile(path, b.Bytes(), 0o644)
}

// stop ends everything.
func (f *field) stop() error {
	var errs []error
	for _, p := range f.processes {
		errs = append(errs, p.Stop(5*time.Second))
	}
	return errors.Join(errs...)
}
