package site

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// CORS says which pages of other sites may read a bucket's objects by script (Fetch Standard,
// "CORS protocol"). The zero value: none.
type CORS struct {
	// Origins are those of the pages that may read, as browsers send them: a scheme, a host,
	// and a port unless it is the scheme's own. The first label of the host may be "*", which
	// stands for any one label. "*" alone is every page.
	Origins []string `form:"-"`

	// Credentials lets pages send cookies along, and read what comes. It does not go with
	// origins that anybody can have. Default false.
	Credentials bool

	// Headers are those that pages may send beside the ones that need no permission, in lower
	// case. Default: authorization, range.
	Headers []string `form:"-"`

	// Expose are the headers that pages may read beside the ones that need no permission, or "*"
	// alone. Default: etag, content-range, x-request-id.
	Expose []string `form:"-"`

	// MaxAge is how long a browser may remember its permission, in whole seconds; 0: not at all.
	// Default 2 h, beyond which Chromium does not go.
	MaxAge time.Duration

	// PrivateNetwork lets pages of the public Internet read from a gateway in a private
	// network, where the browser asks the gateway for that; newer versions of Chrome ask the
	// user instead. Default false.
	PrivateNetwork bool
}

// Check implements file.Checker.
func (c *CORS) Check(d *file.Decoder, o file.Object) {
	*c = CORS{Credentials: c.Credentials, MaxAge: c.MaxAge, PrivateNetwork: c.PrivateNetwork}
	if o.Node == nil {
		return
	}
	switch at := o.Get("max_age"); {
	case at == nil:
		c.MaxAge = 2 * time.Hour
	case c.MaxAge > 0 && c.MaxAge < time.Second:
		d.Fail(at, "is too short", "write at least 1s, or 0")
	}
	o.Need("origins", `list the origins of the pages that may read, such as "https://app.example.com", or "*" for all`)
	o.StringOrList("origins", func(n *file.Node, text string, _ bool) {
		if problem, fix := originProblem(text); problem != "" {
			d.Fail(n, problem, fix)
			return
		}
		if isTooWide(text) {
			const problem, fix = "is for every site with this ending", "name the sites, such as https://*.example.com"
			if c.Credentials {
				d.Fail(n, problem+", and any of them could read with its visitors' cookies", fix)
				return
			}
			d.Warn(n, problem, fix)
		}
		c.Origins = append(c.Origins, text)
	})
	all := slices.Contains(c.Origins, "*")
	if all && len(c.Origins) > 1 {
		d.Fail(o.Get("origins"), `has "*", which stands for all, beside others`, "write one or the others")
	}
	switch {
	case all && c.Credentials:
		d.Fail(o.Get("credentials"), `cannot go with the origin "*": any page could read with its visitors' cookies`, "list the origins, or remove it")
	case c.Credentials && slices.Contains(c.Origins, "null"):
		d.Fail(o.Get("credentials"), `cannot go with the origin "null": any page can send it from a frame, and would read with its visitors' cookies`, "list the origins, or remove it")
	}
	c.Headers = decodeHeaderNames(d, o, "headers", "authorization", "range")
	c.Expose = decodeHeaderNames(d, o, "expose", "etag", "content-range", "x-request-id")
	switch exposesAll := slices.Contains(c.Expose, "*"); {
	case exposesAll && c.Credentials:
		d.Fail(o.Get("expose"), `has "*", which browsers take for a header's name where there are credentials`, "name each header")
	case exposesAll && len(c.Expose) > 1:
		d.Fail(o.Get("expose"), `has "*", which stands for all, beside others`, "write one or the others")
	}
	if slices.Contains(c.Headers, "*") {
		d.Fail(o.Get("headers"), `has "*"`, "name each header")
	}
}

// decodeHeaderNames returns the names of headers in key, in lower case, or otherwise.
func decodeHeaderNames(d *file.Decoder, o file.Object, key string, otherwise ...string) (names []string) {
	if !o.Has(key) {
		return otherwise
	}
	o.StringOrList(key, func(n *file.Node, text string, _ bool) {
		if text = strings.ToLower(text); !form.IsToken(text) {
			d.Fail(n, "is no name of a header", "write such as etag")
		} else if !slices.Contains(names, text) {
			names = append(names, text)
		}
	})
	return names
}

// originProblem says what is wrong with an origin of a page.
func originProblem(s string) (problem, fix string) {
	const example = "write it as browsers do, such as https://app.example.com or https://*.example.com"
	if s == "*" || s == "null" {
		return "", ""
	}
	scheme, host, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme) {
		return "is no origin", example
	}
	switch {
	case strings.HasSuffix(host, "/"):
		return "ends in a slash, and no origin does", "remove the slash"
	case s != strings.ToLower(s):
		return "has capital letters, and no browser sends such an origin", "write it in lower case"
	}
	above, wild := strings.CutPrefix(host, "*.")
	u, err := url.Parse("x://" + above)
	if err != nil || wild && isAddress(u.Hostname()) || u.Host == "" || u.Path+u.RawQuery+u.Fragment != "" || u.User != nil || !isOriginHost(u) {
		return "is no origin", example
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
func isOriginHost(u *url.URL) bool { return isAddress(u.Hostname()) || form.IsHostName(u.Hostname()) }

// isAddress reports whether s is an IP address without a zone.
func isAddress(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

// isTooWide reports whether the "*" of an origin stands right above a single label, such as com,
// below which anybody can have a site.
func isTooWide(origin string) bool {
	_, host, wild := strings.Cut(origin, "://*.")
	return wild && !strings.Contains(host, ".")
}
