package config

import (
	"regexp"
	"strconv"
	"strings"
)

// ContentTypes are the types that objects have by their keys. The zero value leaves types as
// the origin has them.
type ContentTypes struct {
	// Guess gives objects without a type, or of application/octet-stream, one by the extension
	// of their keys. Default false.
	Guess bool

	// Map has types by the extension, in lower case and with its dot, whatever the origin says.
	Map Pairs `form:"-"`
}

func (c *ContentTypes) check(d *decoder, o object) {
	off := !o.misspells("guess")
	if at := o.get("guess"); at != nil {
		off = at.kind == kindBool && at.text == "false" // or it was reported
	}
	if o.n != nil && off && !o.has("map") && !o.misspells("map") {
		d.fail(o.n, "has no effect", "set guess: true, or add a map of types")
	}
	o.pairs("map", func(at *node, extension, value string) {
		lower := strings.ToLower(extension)
		name := "" // the path of at does not show a key with a dot
		if extensionForm.MatchString(extension) {
			name = strconv.Quote(extension) + " "
		}
		last := strings.LastIndexByte(lower, '.')
		switch isExtension := func(s string) bool {
			return len(s) >= 2 && len(s) <= MaxExtension && s[0] == '.' && !strings.ContainsAny(s[1:], "./") && isVisible(s)
		}; {
		case last > 0 && lower[0] == '.' && isExtension(lower[last:]):
			d.fail(at, name+"has two dots", `an extension begins at the last one, such as ".gz"`)
		case !isExtension(lower):
			d.fail(at, name+"is no extension", `write it with its dot, such as ".yaml"`)
		case !isMediaType(value):
			d.fail(at, name+"has no media type", `write such as "text/plain; charset=utf-8"`)
		case c.Map.has(lower):
			d.fail(at, name+"is there twice, in capital letters and in others", "remove one of them")
		default:
			c.Map = append(c.Map, Pair{lower, value})
		}
	})
}

// extensionForm matches extensions that a message may show.
var extensionForm = regexp.MustCompile(`^[A-Za-z0-9._+-]{1,16}$`)

// MaxExtension is the most bytes of an extension in content_types, with its dot.
const MaxExtension = 16

// isMediaType reports whether s is a media type with or without parameters.
func isMediaType(s string) bool {
	kind, parameters, _ := strings.Cut(s, ";")
	first, second, ok := strings.Cut(strings.TrimRight(kind, " "), "/")
	return ok && isToken(first) && isToken(second) && isFieldValue(s) && (parameters == "" || strings.Contains(parameters, "="))
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
	Set Pairs `form:"-"`

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

// headerRules decodes the list headers of a bucket.
func (d *decoder) headerRules(o object) (rules []HeaderRule) {
	list := o.list("headers")
	if len(list) > maxHeaderRules {
		d.fail(o.get("headers"), "has more than 32 rules", "write fewer, with wider matches")
		return nil
	}
	for _, item := range list {
		rule := HeaderRule{When: "success"}
		if d.fill(item, "buckets[].headers[]", &rule).n != nil {
			rules = append(rules, rule)
		}
	}
	return rules
}

// checkMatches warns of what b's rules hardly ever meet. o is the bucket.
func (d *decoder) checkMatches(o object, b *Bucket) {
	var paths []*node
	if at := o.get("headers"); at != nil {
		for _, item := range at.items {
			rule := d.within(item)
			match := d.within(rule.get("match"))
			if at := match.get("path"); at != nil {
				paths = append(paths, at)
			}
			at, when := match.get("content_type"), rule.get("when")
			if at != nil && when != nil && when.text == "always" && len(b.Website.ErrorDocuments) == 0 {
				d.warn(at, "is never met by errors, which have no type", "leave out when: always, or the type")
			}
		}
	}
	if at := d.within(o.get("listing")).get("paths"); at != nil {
		paths = append(paths, at.items...)
	}
	for _, at := range paths {
		if b.PathPrefix != "" && b.PathPrefix != "/" && strings.HasPrefix(at.text+"/", b.PathPrefix+"/") {
			d.warn(at, "begins with path_prefix, below which it is already", "leave path_prefix out of it")
		}
	}
}

func (r *HeaderRule) check(d *decoder, o object) {
	if o.n != nil && !o.has("set", "remove") && !o.misspells("set") && !o.misspells("remove") {
		d.fail(o.n, "changes nothing", "add set or remove")
	}
	changed := make(map[string]bool)
	change := func(at *node, name string) bool {
		problem, fix := headerProblem(name)
		switch {
		case !isToken(name):
			problem, fix = "is no name of a header", "write such as Cache-Control"
		case problem == "" && changed[name]:
			problem, fix = "is changed twice by one rule", "remove one of them"
		}
		if problem != "" {
			d.fail(at, problem, fix)
		}
		changed[name] = true
		return problem == ""
	}
	o.pairs("set", func(at *node, name, value string) {
		if !change(at, strings.ToLower(name)) {
			return
		}
		if !isFieldValue(value) {
			d.fail(at, "has characters that a header cannot carry", "write ASCII in one line")
			return
		}
		r.Set = append(r.Set, Pair{name, value})
	})
	o.stringOrList("remove", func(n *node, text string, _ bool) {
		if text = strings.ToLower(text); change(n, text) {
			r.Remove = append(r.Remove, text)
		}
	})
}

func (m *HeaderMatch) check(d *decoder, o object) {
	if o.n != nil && !o.has("path", "content_type") && !o.misspells("path") && !o.misspells("content_type") {
		d.fail(o.n, "matches everything", "remove it, or add path or content_type")
	}
	if at := o.get("path"); at != nil && m.Path != "" {
		if problem, fix := patternProblem(m.Path); problem != "" {
			d.fail(at, problem, fix)
		}
	}
	if at := o.get("content_type"); at != nil && m.ContentType != "" {
		m.ContentType = strings.ToLower(m.ContentType)
		if !isTypePattern(m.ContentType) {
			d.fail(at, "is no media type", "write such as text/html or image/*, without parameters")
		}
	}
}

// isTypePattern reports whether s is a media type without parameters, whose second half may be
// "*".
func isTypePattern(s string) bool {
	kind, all := strings.CutSuffix(s, "/*")
	if all {
		kind += "/x"
	}
	return isMediaType(kind) && !strings.ContainsAny(kind, "*; ")
}

// patternProblem says what is wrong with a pattern of paths.
func patternProblem(s string) (problem, fix string) {
	switch {
	case !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "*"):
		return "does not begin with \"/\" or \"*\"", "begin it with the path below path_prefix, such as \"/assets/*\""
	case strings.Count(s, "*") > 1:
		return "has more than one \"*\"", "use one, which stands for anything, slashes too"
	}
	_, problem, fix = canonicalPath("/" + strings.TrimPrefix(strings.Replace(s, "*", "x", 1), "/"))
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
