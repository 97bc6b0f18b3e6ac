package config

import (
	"errors"
	"regexp"
	"slices"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/frontend"
	"yatagarasu/gateway/config/shared"
)

// Load reads the file at path, which may be a pipe, and checks it; see Parse.
func Load(path string, env func(string) (string, bool)) (*Config, error) {
	data, err := file.Read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, env)
}

// LoadListeners reads from the file at path where the gateway listens, and how it is spoken to
// there. Mistakes elsewhere are no error: variables and key files may be the gateway's own.
func LoadListeners(path string, env func(string) (string, bool)) (frontend.Server, frontend.Metrics, error) {
	data, err := file.Read(path)
	if err != nil {
		return frontend.Server{}, frontend.Metrics{}, err
	}
	c, err := parse(path, data, env)
	mistakes, _ := errors.AsType[file.Errors](err)
	mistakes = slices.DeleteFunc(mistakes, func(e *file.Error) bool { return c != nil && !ofListeners.MatchString(e.Path) })
	if len(mistakes) > 0 {
		return frontend.Server{}, frontend.Metrics{}, mistakes
	}
	return c.Server, c.Metrics, nil
}

// ofListeners matches the paths of what LoadListeners reads, and that of the whole file.
var ofListeners = regexp.MustCompile(`^(|metrics(\..*)?|server(\.(address|proxy_protocol|trusted_proxies.*|https(\.enabled)?))?)$`)

// Parse checks the configuration in data, which is called name in messages, and
// returns it with the variables of env substituted and all defaults filled in.
// env is os.LookupEnv or a function like it; nil is an empty environment.
//
// The error, if any, is Errors: everything that is wrong, or the first mistake
// of syntax. It contains no value of a variable and none that may be secret.
// Parse reads the certificate and key files that the configuration names, as
// seen from the working directory, and does nothing else outside of memory. It
// keeps no reference to data.
func Parse(name string, data []byte, env func(string) (string, bool)) (*Config, error) {
	c, err := parse(name, data, env)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// parse is Parse, but returns what it could make of the file beside the mistakes; nil: it is
// no YAML.
func parse(name string, data []byte, env func(string) (string, bool)) (*Config, error) {
	d, root, err := file.Open(name, data, env, grammar)
	if err != nil {
		return nil, err
	}
	c := new(Config)
	if root != nil {
		decodeConfig(d, root, c)
	}
	c.Warnings = d.Warnings()
	return c, d.Err()
}

// decodeConfig decodes the whole file. Blocks that others refer to come first.
func decodeConfig(d *file.Decoder, n *file.Node, c *Config) {
	*c = Config{
		Server:  frontend.Default(),
		Cluster: shared.Default(),
		Logging: Logging{Level: "info", Format: "json", Output: "stdout", Sample: 1},
		Metrics: frontend.Metrics{Port: 9090},
	}
	o := d.Fill(n, "", c)
	if o.Node == nil {
		return
	}
	checkPorts(d, o, c)

	global := access.DecodeGlobal(d, o.Get("jwt"))
	c.JWT = global.JWT
	defaults := decodeCache(d, o.Get("cache"), nil)
	if defaults.set {
		c.Cache = &defaults.Cache
	}
	o.Need("buckets", "add a list of one or more buckets")
	used := uniqueness{map[string]*file.Node{}, map[[2]string]*file.Node{}}
	for _, item := range o.List("buckets") {
		if b, ok := decodeBucket(d, item, &global, &defaults); ok {
			used.add(d, item, &b)
			c.Buckets = append(c.Buckets, b)
		}
	}
	if global.JWT != nil && !global.Used {
		d.Fail(o.Get("jwt"), "has no effect: no bucket with auth.enabled: true uses it",
			"set auth.enabled: true on the private buckets, or jwt.enabled: false here")
	}
	checkCacheUse(d, &defaults)
	checkClusterUse(d, o, c, defaults.sharing)
	checkSubjects(d, c, d.Within(o.Get("server")))
}
