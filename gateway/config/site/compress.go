package site

import (
	"slices"
	"strings"

	"yatagarasu/gateway/config/file"
)

// Compress says which objects in memory clients get compressed. The zero value: none.
type Compress struct {
	// Enabled turns compression on. Default false.
	Enabled bool

	// Encodings are the codings to offer, the preferred ones first: "br", "zstd", "gzip".
	// Default: all of them, in this order.
	Encodings []string `form:"-"`

	// Precompressed are the encodings of which the bucket may have a form beside the object, as
	// "app.js.br" beside "app.js". What is the object, decoded, is taken instead of compressing
	// it. Default: none.
	Precompressed []string `form:"-"`

	// MinSize is the size from which objects are compressed. Default 1 KiB.
	MinSize file.Size

	// Types are the media types to compress, in lower case and without parameters; the second
	// half of one may be "*". Default: what gains by it.
	Types []string `form:"-"`
}

// encodings are those that a bucket may offer.
var encodings = []string{"br", "zstd", "gzip"}

// usualTypes are the types to compress where the file names none: what is text, and formats that
// are not compressed themselves.
var usualTypes = []string{
	"text/*", "application/javascript", "application/json", "application/ld+json", "application/geo+json", "application/jsonl", "application/manifest+json",
	"application/xml", "application/xhtml+xml", "application/rss+xml", "application/atom+xml", "application/yaml", "application/toml", "application/wasm",
	"application/vnd.apple.mpegurl", "application/dash+xml", "application/gpx+xml", "application/vnd.google-earth.kml+xml",
	"application/vnd.ms-fontobject", "font/ttf", "font/otf", "font/collection", "image/svg+xml", "image/x-icon", "image/bmp", "model/gltf+json", "model/obj",
}

// Check implements file.Checker.
func (c *Compress) Check(d *file.Decoder, o file.Object) {
	d.NeedEnabled(o)
	if c.MinSize == 0 {
		c.MinSize = 1 << 10
	}
	o.StringOrList("encodings", func(n *file.Node, text string, fromEnv bool) {
		if !slices.Contains(encodings, text) {
			d.Fail(n, "unknown encoding"+file.QuotedWord(text, fromEnv), "use one of: "+strings.Join(encodings, ", "))
			return
		}
		c.Encodings = append(c.Encodings, text)
	})
	o.StringOrList("precompressed", func(n *file.Node, text string, _ bool) {
		if !slices.Contains(c.Encodings, text) && (o.Has("encodings") || !slices.Contains(encodings, text)) {
			d.Fail(n, "is not among encodings", "add it there, or remove it")
			return
		}
		c.Precompressed = append(c.Precompressed, text)
	})
	if !o.Has("encodings") {
		c.Encodings = encodings
	}
	o.StringOrList("types", func(n *file.Node, text string, _ bool) {
		if text = strings.ToLower(text); !isTypePattern(text) {
			d.Fail(n, "is no media type", "write such as application/json or text/*, without parameters")
			return
		}
		c.Types = append(c.Types, text)
	})
	if !o.Has("types") {
		c.Types = usualTypes
	}
	if !c.Enabled {
		*c = Compress{}
	}
}
