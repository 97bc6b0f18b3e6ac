package config

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

// isFieldValue reports whether s can be the value of a header: ASCII without control
// characters, and without white space at its ends.
func isFieldValue(s string) bool {
	return s != "" && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// HeaderRule changes the headers of answers.
type HeaderRule struct {
	// Match says of which answers. The zero value: of all.
	Match HeaderMatch

	// Set are headers that answers get, in the place of those of the same name.
	Set file.Pairs `form:"-"`

	// Remove are the names of headers that answers lose, in lower case.
	Remove []string `form:"-"`

	// When is "success" for answers with an object, or 304, or "always" for errors, too.
	// Default "success".
	When string `of:"success, always"`
}

// HeaderMatch says which answers a rule is for: those that meet all that is set.
type HeaderMatch struct {
	// Path is that of the request below the bucket's prefix, or of what stands in for it in a
	// website, with "/" first, decoded. One "*" stands for anything. Empty: any path.
	Path string

	// ContentType is the media type of the object, without parameters, in lower case; its second
	// half may be "*". Empty: any.
	ContentType string
}

// maxHeaderRules bounds the rules of a bucket.
const maxHeaderRules = 32

// decodeHeaderRules decodes the list headers of a bucket.
func decodeHeaderRules(d *file.Decoder, o file.Object) (rules []HeaderRule) {
	list := o.List("headers")
	if len(list) > maxHeaderRules {
		d.Fail(o.Get("headers"), "has more than 32 rules", "write fewer, with wider matches")
		return nil
	}
	for _, item := range list {
		rule := HeaderRule{When: "success"}
		if d.Fill(item, "buckets[].headers[]", &rule).Node != nil {
			rules = append(rules, rule)
		}
	}
	return rules
}

// Check implements file.Checker.
func (r *HeaderRule) Check(d *file.Decoder, o file.Object) {
	if o.Node != nil && !o.Has("set", "remove") && !o.Misspells("set") && !o.Misspells("remove") {
		d.Fail(o.Node, "changes nothing", "add set or remove")
	}
	changed := make(map[string]bool)
	change := func(at *file.Node, name string) bool {
		problem, fix := headerProblem(name)
		switch {
		case !form.IsToken(name):
			problem, fix = "is no name of a header", "write such as Cache-Control"
		case problem == "" && changed[name]:
			problem, fix = "is changed twice by one rule", "remove one of them"
		}
		if problem != "" {
			d.Fail(at, problem, fix)
		}
		changed[name] = true
		return problem == ""
	}
	o.Pairs("set", func(at *file.Node, name, value string) {
		if !change(at, strings.ToLower(name)) {
			return
		}
		if !isFieldValue(value) {
			d.Fail(at, "has characters that a header cannot carry", "write ASCII in one line")
			return
		}
		r.Set = append(r.Set, file.Pair{Name: name, Value: value})
	})
	o.StringOrList("remove", func(n *file.Node, text string, _ bool) {
		if text = strings.ToLower(text); change(n, text) {
			r.Remove = append(r.Remove, text)
		}
	})
}

// Check implements file.Checker.
func (m *HeaderMatch) Check(d *file.Decoder, o file.Object) {
	if o.Node != nil && !o.Has("path", "content_type") && !o.Misspells("path") && !o.Misspells("content_type") {
		d.Fail(o.Node, "matches everything", "remove it, or add path or content_type")
	}
	if at := o.Get("path"); at != nil && m.Path != "" {
		if problem, fix := patternProblem(m.Path); problem != "" {
			d.Fail(at, problem, fix)
		}
	}
	if at := o.Get("content_type"); at != nil && m.ContentType != "" {
		m.ContentType = strings.ToLower(m.ContentType)
		if !isTypePattern(m.ContentType) {
			d.Fail(at, "is no media type", "write such as text/html or image/*, without parameters")
		}
	}
}

// isTypePattern reports whether s is a media type without parameters, whose second half may be
// "*".
func isTypePattern(s string) bool {
	Kind, all := strings.CutSuffix(s, "/*")
	if all {
		Kind += "/x"
	}
	return isMediaType(Kind) && !strings.ContainsAny(Kind, "*; ")
}

// patternProblem says what is wrong with a pattern of paths.
func patternProblem(s string) (problem, fix string) {
	switch {
	case !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "*"):
		return "does not begin with \"/\" or \"*\"", "begin it with the path below path_prefix, such as \"/assets/*\""
	case strings.Count(s, "*") > 1:
		return "has more than one \"*\"", "use one, which stands for anything, slashes too"
	}
	_, problem, fix = form.Path("/" + strings.TrimPrefix(strings.Replace(s, "*", "x", 1), "/"))
	return problem, fix
}

// headerProblem says why no rule may change a header, given in lower case.
func headerProblem(name string) (problem, fix string) {
	if strings.HasPrefix(name, "access-control-") {
		return "is for cors to say", "use the block cors"
	}
	switch name {
	case "content-type":
		return "is for content_types to say", "use content_types.map"
	case "vary":
		return "is for the gateway to say: an answer without it would be kept for others", "remove it"
	case "set-cookie":
		return "would be the same for every client", "set cookies in the application"
	case "connection", "content-length", "date", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade":
		return "is of the protocol", "remove it"
	case "accept-ranges", "age", "allow", "cache-status", "content-encoding", "content-range", "etag", "last-modified", "location", "retry-after", "www-authenticate", "x-cache", "x-request-id":
		return "says what the answer is, which no rule can change", "remove it"
	}
	return "", ""
}
