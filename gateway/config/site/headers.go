package site

import (
	"strings"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

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

// DecodeHeaderRules decodes the list headers of a bucket.
func DecodeHeaderRules(d *file.Decoder, o file.Object) (rules []HeaderRule) {
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
