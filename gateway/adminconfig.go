package gateway

import (
	"flag"
	"time"

	"yatagarasu/gateway/config"
)

// configReply tells the configuration in effect.
type configReply struct {
	Generation int64             `json:"generation"`
	File       string            `json:"file"`
	Loaded     time.Time         `json:"loaded"`
	Config     config.Document   `json:"config"` // where a flag wins, its value; what needs a restart, as at the start
	Flags      map[string]string `json:"flags"`
}

// config answers with the configuration in effect, without its secrets.
func (r *adminRequest) config() (any, error) {
	g := r.g
	gen := g.generation.Load()
	return &configReply{Generation: gen.number, File: g.opts.ConfigPath, Loaded: gen.loaded.UTC(), Config: gen.config.Document(), Flags: g.opts.values()}, nil
}

// values returns the flags by their names.
func (o *Options) values() map[string]string {
	values := make(map[string]string)
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	own := *o
	own.RegisterFlags(fs)
	fs.VisitAll(func(f *flag.Flag) { values[f.Name] = f.DefValue })
	return values
}
