package web

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Explain tells what the site does to the answers about a key: line is given a word for each
// thing, and what it says.
func (s *Site) Explain(key []byte, line func(name, text string)) {
	if s == nil {
		return
	}
	if s.CORS != nil {
		line("cors", s.CORS.explain())
	}
	if s.Headers != nil {
		s.Headers.explain(key, line)
	}
}

// explain says which pages may read.
func (c *CORS) explain() string {
	if c.all {
		return "every page may read"
	}
	origins := slices.Sorted(maps.Keys(c.origins))
	for _, w := range c.wild {
		origins = append(origins, w.before+"*"+w.after)
	}
	return "pages of " + strings.Join(origins, ", ") + " may read"
}

// explain tells what each rule for a key does.
func (h *Headers) explain(key []byte, line func(name, text string)) {
	for i, r := range h.rules {
		if r.path != nil && !r.path.matches(key) {
			continue
		}
		var when []string
		if r.contentType != "" {
			when = append(when, "for the type "+r.contentType)
		}
		if r.always {
			when = append(when, "errors too")
		}
		var does []string
		for _, n := range h.names {
			switch {
			case n.rules&(1<<i) == 0:
			case n.lines[i] == "":
				does = append(does, "removes "+n.lower)
			default:
				does = append(does, "sets "+strings.TrimSpace(n.lines[i])+map[bool]string{true: " (over TLS)"}[n.secure])
			}
		}
		text := strings.Join(does, "; ")
		if len(when) > 0 {
			text = strings.Join(when, ", ") + ": " + text
		}
		line(fmt.Sprintf("headers[%d]", i), text)
	}
}
