package admin

import (
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
func (r *call) config() (any, error) {
	gen := r.a.Generation.Load()
	return &configReply{Generation: gen.Number, File: r.a.ConfigPath, Loaded: gen.Loaded.UTC(), Config: gen.Config.Document(), Flags: r.a.Flags()}, nil
}
