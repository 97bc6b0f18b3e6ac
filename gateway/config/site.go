package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// CORS says which pages of other sites may read a bucket's objects by script (Fetch Standard,
// "CORS protocol"). The zero value: none.
type CORS struct {
	// Origins are those of the pages that may read, as browsers send them: a scheme, a host,
	// and a port unless it is the scheme's own. The first label of the host may be "*", which
	// stands for any one label. "*" alone is every page.
	Origins []string `form:"-"`

	// Credentials lets pages send cookies along, and read what comes. Default false.
	Credentials bool

	// Headers are those that pages may send beside the ones that need no permission, in lower
	// case. Default: authorization, range.
	Headers []string `form:"-"`

	// Expose are the headers that pages may read beside the ones that need no permission, or "*"
	// alone. Default: etag, content-range, x-request-id.
	Expose []string `form:"-"`

	// MaxAge is how long a browser may remember its permission. Default 2 h, beyond which
	// Chromium does not go.
	MaxAge time.Duration

	// PrivateNetwork lets pages of the public Internet read from a gateway in a private
	// network. Default false.
	PrivateNetwork bool
}

func (c *CORS) check(d *decoder, o object) {
	*c = CORS{Credentials: c.Credentials, MaxAge: c.MaxAge, PrivateNetwork: c.PrivateNetwork}
	if o.n == nil {
		return
	}
	if !o.has("max_age") {
		c.MaxAge = 2 * time.Hour
	}
	o.need("origins", `list the origins of the pages that may read, such as "https://app.example.com", or "*" for all`)
	o.stringOrList("origins", func(n *node, text string, _ bool) {
		if problem, fix := originProblem(text); problem != "" {
			d.fail(n, problem, fix)
			return
		}
		c.Origins = append(c.Origins, text)
	})
	all := slices.Contains(c.Origins, "*")
	if all && len(c.Origins) > 1 {
		d.fail(o.get("origins"), `has "*", which stands for all, beside others`, "write one or the others")
	}
	if all && c.Credentials {
		d.fail(o.get("credentials"), `cannot go with the origin "*": any page could read with its visitors' cookies`, "list the origins, or remove it")
	}
	c.Headers = o.headerNames("headers", "authorization", "range")
	c.Expose = o.headerNames("expose", "etag", "content-range", "x-request-id")
	if c.Credentials && slices.Contains(c.Expose, "*") {
		d.fail(o.get("expose"), `has "*", which browsers take for a header's name where there are credentials`, "name each header")
	}
	if slices.Contains(c.Headers, "*") {
		d.fail(o.get("headers"), `has "*"`, "name each header")
	}
}

// headerNames returns the names of headers in key, in lower case, or otherwise.
func (o object) headerNames(key string, otherwise ...string) (names []string) {
	if !o.has(key) {
		return otherwise
	}
	o.stringOrList(key, func(n *node, text string, _ bool) {
		if text = strings.ToLower(text); !isToken(text) {
			o.d.fail(n, "is no name of a header", "write such as etag")
		} else if !slices.Contains(names, text) {
			names = append(names, text)
		}
	})
	return names
}

// originProblem says what is wrong with an origin of a page.
func originProblem(s string) (problem, fix string) {
	const form = "write it as browsers do, such as https://app.example.com or https://*.example.com"
	if s == "*" || s == "null" {
		return "", ""
	}
	scheme, host, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme) {
		return "is no origin", form
	}
	switch {
	case strings.HasSuffix(host, "/"):
		return "ends in a slash, and no origin does", "remove it"
	case s != strings.ToLower(s):
		return "has capital letters, and no browser sends such an origin", "write it in lower case"
	}
	u, err := url.Parse("x://" + strings.TrimPrefix(host, "*."))
	if err != nil || u.Host == "" || u.Path+u.RawQuery+u.Fragment != "" || u.User != nil || !isOriginHost(u) {
		return "is no origin", form
	}
	if port := u.Port(); strings.HasSuffix(u.Host, ":") || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return "has the port of its scheme, which no browser sends", "remove the port"
	}
	return "", ""
}

// isScheme reports whether s is a scheme of URLs, in lower case (RFC 3986, 3.1).
func isScheme(s string) bool {
	return s != "" && s[0] >= 'a' && s[0] <= 'z' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// isOriginHost reports whether the host of u is a DNS name or an address.
func isOriginHost(u *url.URL) bool {
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && a.Zone() == "" || isHostName(u.Hostname())
}

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
	if o.n != nil && !o.has("map") && !c.Guess {
		d.fail(o.n, "has no effect", "set guess: true, or add a map of types")
	}
	o.pairs("map", func(at *node, extension, value string) {
		lower := strings.ToLower(extension)
		switch {
		case len(lower) < 2 || len(lower) > MaxExtension || lower[0] != '.' || strings.ContainsAny(lower[1:], "./") || !isVisible(lower):
			d.fail(at, "is no extension", `write it with its dot, such as ".yaml"`)
		case !isMediaType(value):
			d.fail(at, "is no media type", `write such as "text/plain; charset=utf-8"`)
		case c.Map.has(lower):
			d.fail(at, "is there twice, in capital letters and in others", "remove one of them")
		default:
			c.Map = append(c.Map, Pair{lower, value})
		}
	})
}

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

// Pairs are the entries of a mapping whose keys the file chooses, in its order.
type Pairs []Pair

// Pair is one entry.
type Pair struct{ Name, Value string }

// has reports whether p has a name.
func (p Pairs) has(name string) bool {
	return slices.ContainsFunc(p, func(one Pair) bool { return one.Name == name })
}

// pairs calls use for each entry of key, a mapping of strings.
func (o object) pairs(key string, use func(at *node, key, value string)) {
	n := o.get(key)
	switch {
	case n == nil:
		return
	case n.kind != kindMap:
		o.d.fail(n, "must be a mapping, not "+n.kind.String(), "write one entry on each line, as name: \"value\"")
		return
	}
	for _, e := range n.entries {
		if text, _, ok := o.d.text(e.value); ok {
			use(e.value, e.key, text)
		}
	}
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
