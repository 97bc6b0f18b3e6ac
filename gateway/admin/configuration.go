package admin

import (
	"fmt"
	"time"
	"yatagarasu/gateway/config"
)

// ReloadResult is what a reload did: the reply of the administrative call, and what
// SIGHUP logs.
type ReloadResult struct {
	Result     string `json:"result"` // reloaded or failed
	Generation int64  `json:"generation"`

	Added    []string       `json:"added"`   // buckets
	Removed  []string       `json:"removed"` // buckets
	Changed  []BucketChange `json:"changed"`
	Rotated  []string       `json:"credentials_rotated"` // buckets
	Emptied  []string       `json:"cache_emptied"`       // buckets
	Settings []string       `json:"settings"`            // other keys that took effect
	Restart  []string       `json:"needs_restart"`       // keys whose values are not in effect

	Errors []string `json:"errors,omitempty"`
}

// BucketChange names the parts of a bucket's configuration that changed.
type BucketChange struct {
	Bucket string   `json:"bucket"`
	Parts  []string `json:"parts"`
}

// LastReload is the last reload that was tried.
type LastReload struct {
	At time.Time `json:"at"`
	ReloadResult
}

// reloadConfig answers the call that reloads.
func (r *call) reloadConfig() (any, error) {
	result := r.a.Reload()
	if len(result.Errors) > 0 {
		return nil, &badReload{result.Errors}
	}
	return result, nil
}

// badReload is the answer to a reload that failed: 400 with all that is wrong.
type badReload struct {
	Errors []string `json:"errors"`
}

// Error implements error.
func (e *badReload) Error() string {
	return fmt.Sprintf("the configuration is not reloaded: %d mistake(s)", len(e.Errors))
}

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
