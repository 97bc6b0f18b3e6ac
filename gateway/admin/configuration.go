package admin

import (
	"fmt"
	"time"

	"yatagarasu/gateway/config/file"
)

// ReloadResult is what a reload changed: the reply of the administrative call, and the log
// line of SIGHUP.
type ReloadResult struct {
	Result     string `json:"result"` // reloaded or failed
	Generation int64  `json:"generation"`

	Added    []string       `json:"added"`   // buckets
	Removed  []string       `json:"removed"` // buckets
	Changed  []BucketChange `json:"changed"`
	Rotated  []string       `json:"credentials_rotated"` // buckets
	Emptied  []string       `json:"cache_emptied"`       // buckets
	Settings []string       `json:"settings"`            // changed keys outside buckets
	Restart  []string       `json:"needs_restart"`       // changed keys that keep their old values until a restart

	Errors []string `json:"errors,omitempty"`
}

// BucketChange names the parts of a bucket's configuration that changed.
type BucketChange struct {
	Bucket string   `json:"bucket"`
	Parts  []string `json:"parts"`
}

// LastReload is the last reload that was tried, and when it began.
type LastReload struct {
	At time.Time `json:"at"`
	ReloadResult
}

// reloadConfig reloads the configuration.
func (r *call) reloadConfig() (any, error) {
	result := r.a.Reload()
	if len(result.Errors) > 0 {
		return nil, &badReload{result.Errors}
	}
	return result, nil
}

// badReload is the answer to a reload that failed: 400 with all mistakes.
type badReload struct {
	Errors []string `json:"errors"`
}

// Error implements error.
func (e *badReload) Error() string {
	return fmt.Sprintf("the configuration is not reloaded: %d mistake(s)", len(e.Errors))
}

// configReply is the configuration in effect.
type configReply struct {
	Generation int64             `json:"generation"`
	File       string            `json:"file"`
	Loaded     time.Time         `json:"loaded"`
	Config     file.Document     `json:"config"` // with the values of flags that win over the file; keys that need a restart have the values of the start
	Flags      map[string]string `json:"flags"`
}

// config returns the configuration in effect, without its secrets.
func (r *call) config() (any, error) {
	gen := r.a.Generation.Load()
	return &configReply{Generation: gen.Number, File: r.a.ConfigPath, Loaded: gen.Loaded.UTC(), Config: gen.Config.Document(), Flags: r.a.Flags()}, nil
}
