package access

import (
	"regexp"
	"strconv"
	"strings"

	"yatagarasu/gateway/config/file"
)

// Template is a string that contains values of the request: its parts, joined.
type Template []TemplatePart

// TemplatePart is a literal or one value of the request.
type TemplatePart struct {
	// Literal is the text of the part where Var is empty.
	Literal string

	// Var is "path", "bucket" or "method"; empty for a literal.
	Var string

	// Index is the segment of "path", from 0, among the decoded segments of the object
	// key after the prefix.
	Index int
}

// resolveTemplate returns the value of a claim rule: a string with its variables substituted, or
// a Template with ${path.N}, ${bucket} and ${method}, which stay for the request.
func resolveTemplate(d *file.Decoder, n *file.Node) (value any, ok bool) {
	var parts Template
	_, ok = d.Substitute(n, func(s string) {
		if last := len(parts) - 1; last >= 0 && parts[last].Var == "" {
			parts[last].Literal += s
		} else if s != "" {
			parts = append(parts, TemplatePart{Literal: s})
		}
	}, func(inner string) (taken bool, problem, fix string) {
		if part, ok := requestValue(inner); ok {
			parts = append(parts, part)
			return true, "", ""
		}
		if strings.ContainsRune(inner, '.') && !strings.Contains(inner, ":-") {
			return false, "a request value is unknown", "use ${path.N} with N from 0 to 999, ${bucket} or ${method}"
		}
		return false, "", ""
	})
	if !ok {
		return Template(nil), false
	}
	if text, constant := parts.constant(); constant {
		return text, true
	}
	return parts, true
}

// constant returns the text of a template without values of the request.
func (t Template) constant() (text string, ok bool) {
	if len(t) == 0 {
		return "", true
	}
	return t[0].Literal, len(t) == 1 && t[0].Var == ""
}

// segmentForm matches the request value that is a segment of the path.
var segmentForm = regexp.MustCompile(`^path\.(0|[1-9][0-9]{0,2})$`)

// requestValue parses the text between the braces of a request value.
func requestValue(inner string) (TemplatePart, bool) {
	if inner == "bucket" || inner == "method" {
		return TemplatePart{Var: inner}, true
	}
	segment := segmentForm.FindStringSubmatch(inner)
	if segment == nil {
		return TemplatePart{}, false
	}
	index, err := strconv.Atoi(segment[1])
	return TemplatePart{Var: "path", Index: index}, err == nil
}

// String returns t as it is written in the file.
func (t Template) String() string {
	var b strings.Builder
	for _, p := range t {
		switch p.Var {
		case "":
			b.WriteString(file.Literal(p.Literal))
		case "path":
			b.WriteString("${path." + strconv.Itoa(p.Index) + "}")
		default:
			b.WriteString("${" + p.Var + "}")
		}
	}
	return b.String()
}
