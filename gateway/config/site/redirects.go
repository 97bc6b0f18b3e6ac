package site

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// Redirect sends clients elsewhere.
type Redirect struct {
	// From is a path below the bucket's prefix, in which one "*" stands for anything.
	From string `form:"-"`

	// To is such a path, or an absolute http or https URL. Its "*", if there is one, becomes
	// what the one of From stood for.
	To string `form:"-"`

	// Status is 301, 302, 307 or 308. Default 301.
	Status int `form:"-"`
}

// redirects decodes the rules. None may lead to where a rule applies again: clients would go in
// circles, or from one place to the next.
func (w *Website) redirects(d *file.Decoder, o file.Object) {
	list := o.List("redirects")
	if len(list) > maxRedirects {
		d.Fail(o.Get("redirects"), "has more than 1000 rules", "write fewer, with \"*\"")
		return
	}
	var targets []*file.Node // of the rules, in order
	for _, item := range list {
		r := Redirect{Status: 301}
		one := d.Fill(item, "buckets[].website.redirects[]", &r)
		if one.Node == nil {
			continue
		}
		from, to := one.Need("from", "write the path that has moved"), one.Need("to", "write where it is now")
		r.From = one.Checked("from", "", func(s string) (string, string, string) {
			problem, fix := redirectPathProblem(s)
			return s, problem, fix
		})
		r.To = one.Checked("to", "", func(s string) (string, string, string) {
			problem, fix := targetProblem(s)
			return s, problem, fix
		})
		if at := one.Get("status"); at != nil {
			if r.Status = one.Integer("status", 301, 300, 399); !slices.Contains([]int{301, 302, 307, 308}, r.Status) {
				d.Fail(at, "is no status of a redirect", "write 301 or 308 for good, or 302 or 307 for now")
			}
		}
		if from == nil || to == nil || r.From == "" || r.To == "" {
			continue
		}
		if strings.Contains(r.To, "*") && !strings.Contains(r.From, "*") {
			d.Fail(to, `has "*", which from has not`, "put one into from, or write the whole path")
			continue
		}
		if slices.ContainsFunc(w.Redirects, func(other Redirect) bool { return other.From == r.From }) {
			d.Fail(from, "is there twice", "remove one of them")
			continue
		}
		w.Redirects, targets = append(w.Redirects, r), append(targets, to)
	}
	for i, r := range w.Redirects {
		for k, other := range w.Redirects {
			if r.To[0] == '/' && patternsMeet(other.From, r.To) {
				what := "which this rule matches again"
				if k != i {
					what = "which the rule for " + strconv.Quote(other.From) + " matches"
				}
				d.Fail(targets[i], "leads to a path "+what+": clients would be sent on and on", "write where the path leads in the end, or make from narrower")
				break
			}
			if r.To[0] == '/' && w.TrailingSlash == "redirect" && patternsMeet(other.From, r.To+"/") {
				d.Warn(targets[i], "leads in circles where the path is a folder with an index: a rule takes the slash away that trailing_slash adds", "end it in \"/\", or set trailing_slash: serve")
				break
			}
		}
	}
}

func redirectPathProblem(s string) (problem, fix string) {
	if !strings.HasPrefix(s, "/") {
		return "does not begin with \"/\"", "write the path below path_prefix, such as \"/old/*\""
	}
	return patternProblem(s)
}

// targetProblem says what is wrong with the target of a redirect.
func targetProblem(s string) (problem, fix string) {
	const example = "write a path below path_prefix, such as \"/new/*\", or an http or https URL"
	if strings.HasPrefix(s, "/") {
		return patternProblem(s)
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || !form.IsVisible(s) {
		return "is neither a path nor an http or https URL", example
	}
	_, rest, _ := strings.Cut(s, "://")
	at := strings.IndexByte(rest, '*')
	if strings.Count(s, "*") > 1 {
		return "has more than one \"*\"", "use one, which becomes what that of from stood for"
	}
	if at >= 0 && (at < strings.IndexByte(rest, '/') || !strings.Contains(rest, "/") || strings.ContainsAny(rest[:at], "?#")) {
		return "has \"*\" elsewhere than in the path", "put it behind the host, such as https://example.com/*"
	}
	return "", ""
}

// patternsMeet reports whether there is a path that two patterns match.
func patternsMeet(a, b string) bool {
	before, after, wild := strings.Cut(a, "*")
	first, last, otherWild := strings.Cut(b, "*")
	switch {
	case !wild && !otherWild:
		return a == b
	case wild && otherWild:
		return (strings.HasPrefix(before, first) || strings.HasPrefix(first, before)) && (strings.HasSuffix(after, last) || strings.HasSuffix(last, after))
	case wild:
		return len(b) >= len(before)+len(after) && strings.HasPrefix(b, before) && strings.HasSuffix(b, after)
	}
	return patternsMeet(b, a)
}
