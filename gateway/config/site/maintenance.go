package site

import (
	"net/netip"
	"time"

	"yatagarasu/gateway/config/file"
)

// Maintenance answers all requests for a bucket with 503.
type Maintenance struct {
	// Enabled closes the bucket. Default false.
	Enabled bool

	// Page is the path of the file that is sent, and Text its content, read only where
	// Enabled. Empty: the gateway's own error is sent.
	Page string `form:"-"`
	Text []byte `json:"-" key:"-"`

	// RetryAfter is when clients are told to come back. Default 5 min.
	RetryAfter time.Duration `least:"1s"`

	// Allow are the clients for whom all works, in the form of frontend.Server.TrustedProxies. Empty:
	// none.
	Allow []netip.Prefix `form:"-"`
}

// Check implements file.Checker.
func (m *Maintenance) Check(d *file.Decoder, o file.Object) {
	if o.Node == nil {
		return
	}
	d.NeedEnabled(o)
	if !o.Has("retry_after") {
		m.RetryAfter = 5 * time.Minute
	}
	m.Allow = o.Networks("allow", nil)
	at := o.Get("page")
	path, _, ok := d.Text(at)
	if !ok {
		return
	}
	if m.Page = path; !m.Enabled {
		return
	}
	text, ok := d.ReadFile(at, path)
	if ok && len(text) > maxStatusPage {
		d.Fail(at, d.ShowPath(at)+" is larger than 256 KiB", "make the page smaller")
		return
	}
	m.Text = text
}
