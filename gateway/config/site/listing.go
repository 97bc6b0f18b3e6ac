package site

import (
	"cmp"
	"fmt"
	"strings"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// Listing offers pages of what is in a folder. The zero value: none.
type Listing struct {
	// Enabled offers them. Default false. Where it is false, nothing else is set.
	Enabled bool

	// Paths are the folders below the bucket's prefix that have listings, with all that are
	// below them, in the form of config.Bucket.PathPrefix. Empty: all folders.
	Paths []string `form:"-"`

	// Formats are the forms that a listing has, FormatHTML and FormatJSON; clients that have no
	// preference get the first. Default: both, in this order.
	Formats []string `form:"-"`

	// PageSize is the most entries of one page. Default 1000, which is the most that S3 lists
	// at once.
	PageSize int `least:"1" most:"1000"`

	// Hide has patterns of names that listings do not show. One "*" stands for anything.
	// Folders with such a name have no listings. Empty: none.
	Hide []string `form:"-"`
}

// The forms of a listing.
const (
	FormatHTML = "html"
	FormatJSON = "json"
)

// defaultPageSize is the most that S3 lists at once.
const defaultPageSize = 1000

// Check implements file.Checker.
func (l *Listing) Check(d *file.Decoder, o file.Object) {
	d.NeedEnabled(o)
	o.StringOrList("paths", func(n *file.Node, text string, _ bool) {
		path, problem, fix := form.Path(text)
		if folder, _, ok := strings.Cut(path, "*"); ok {
			problem, fix = "has a \"*\"", fmt.Sprintf("write %q: all below is listed too", cmp.Or(strings.TrimRight(folder, "/"), "/"))
		}
		if problem != "" {
			d.Fail(n, problem, fix)
			return
		}
		l.Paths = append(l.Paths, path)
	})
	o.StringOrList("formats", func(n *file.Node, text string, fromEnv bool) {
		if text != FormatHTML && text != FormatJSON {
			d.Fail(n, "unknown format"+file.QuotedWord(text, fromEnv), "use one of: html, json")
			return
		}
		l.Formats = append(l.Formats, text)
	})
	o.StringOrList("hide", func(n *file.Node, text string, _ bool) {
		if problem, fix := namePatternProblem(text); problem != "" {
			d.Fail(n, problem, fix)
			return
		}
		l.Hide = append(l.Hide, text)
	})
	if !l.Enabled {
		*l = Listing{}
		return
	}
	if !o.Has("page_size") {
		l.PageSize = defaultPageSize
	}
	if !o.Has("formats") {
		l.Formats = []string{FormatHTML, FormatJSON}
	}
}

// namePatternProblem says what is wrong with a pattern of names.
func namePatternProblem(s string) (problem, fix string) {
	switch {
	case strings.Contains(s, "/"):
		return "has a slash, and no name has one", "write the name alone, such as \"*.map\""
	case strings.Count(s, "*") > 1:
		return "has more than one \"*\"", "use one, which stands for anything"
	case s == "*":
		return "hides everything", "remove the listing, or write such as \".*\""
	case strings.ContainsFunc(s, form.IsControl):
		return "contains a control character", "remove it"
	}
	return "", ""
}
