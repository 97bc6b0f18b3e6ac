package site

import (
	"regexp"
	"strconv"
	"strings"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// ContentTypes are the types that objects have by their keys. The zero value leaves types as
// the origin has them.
type ContentTypes struct {
	// Guess gives objects without a type, or of application/octet-stream, one by the extension
	// of their keys. Default false.
	Guess bool

	// Map has types by the extension, in lower case and with its dot, whatever the origin says.
	Map file.Pairs `form:"-"`
}

// Check implements file.Checker.
func (c *ContentTypes) Check(d *file.Decoder, o file.Object) {
	off := !o.Misspells("guess")
	if at := o.Get("guess"); at != nil {
		off = at.Kind == file.Bool && at.Text == "false" // or it was reported
	}
	if o.Node != nil && off && !o.Has("map") && !o.Misspells("map") {
		d.Fail(o.Node, "has no effect", "set guess: true, or add a map of types")
	}
	o.Pairs("map", func(at *file.Node, extension, value string) {
		lower := strings.ToLower(extension)
		name := "" // the path of at does not show a key with a dot
		if extensionForm.MatchString(extension) {
			name = strconv.Quote(extension) + " "
		}
		last := strings.LastIndexByte(lower, '.')
		switch isExtension := func(s string) bool {
			return len(s) >= 2 && len(s) <= form.MaxExtension && s[0] == '.' && !strings.ContainsAny(s[1:], "./") && form.IsVisible(s)
		}; {
		case last > 0 && lower[0] == '.' && isExtension(lower[last:]):
			d.Fail(at, name+"has two dots", `an extension begins at the last one, such as ".gz"`)
		case !isExtension(lower):
			d.Fail(at, name+"is no extension", `write it with its dot, such as ".yaml"`)
		case !isMediaType(value):
			d.Fail(at, name+"has no media type", `write such as "text/plain; charset=utf-8"`)
		case c.Map.Has(lower):
			d.Fail(at, name+"is there twice, in capital letters and in others", "remove one of them")
		default:
			c.Map = append(c.Map, file.Pair{Name: lower, Value: value})
		}
	})
}

// extensionForm matches extensions that a message may show.
var extensionForm = regexp.MustCompile(`^[A-Za-z0-9._+-]{1,16}$`)

// isMediaType reports whether s is a media type with or without parameters.
func isMediaType(s string) bool {
	Kind, parameters, _ := strings.Cut(s, ";")
	first, second, ok := strings.Cut(strings.TrimRight(Kind, " "), "/")
	return ok && form.IsToken(first) && form.IsToken(second) && isFieldValue(s) && (parameters == "" || strings.Contains(parameters, "="))
}
