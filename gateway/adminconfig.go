package gateway

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
func (r *adminRequest) config() (any, error) {
	gen := r.a.generation.Load()
	return &configReply{Generation: gen.number, File: r.a.configPath, Loaded: gen.loaded.UTC(), Config: gen.config.Document(), Flags: r.a.flags()}, nil
}
