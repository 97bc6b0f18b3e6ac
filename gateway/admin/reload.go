package admin

import (
	"fmt"
	"time"
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
