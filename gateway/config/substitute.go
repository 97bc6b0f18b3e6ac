package config

import (
	"strconv"
	"strings"
)

// reference is one ${...} of a value.
type reference struct {
	name         string // of the variable
	hasDefault   bool
	defaultValue string
}

// splitReferences cuts s into literals and references and calls literal and refer for
// them in order; "$${" is the literal "${". It returns a problem and its fix for a
// reference without an end, or those that refer returns. It reads s once, so a
// variable's own value is never a reference.
func splitReferences(s string, literal func(string), refer func(inner string) (problem, fix string)) (problem, fix string) {
	for s != "" {
		i := strings.Index(s, "${")
		if i < 0 {
			literal(s)
			break
		}
		if i > 0 && s[i-1] == '$' {
			literal(s[:i-1] + "${")
			s = s[i+2:]
			continue
		}
		literal(s[:i])
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			return "a variable has no closing brace", "write ${NAME}, or $${ for a literal ${"
		}
		if problem, fix = refer(s[i+2 : i+end]); problem != "" {
			return problem, fix
		}
		s = s[i+end+1:]
	}
	return "", ""
}

// parseReference parses the text between the braces.
func parseReference(inner string) (r reference, ok bool) {
	r.name, r.defaultValue, r.hasDefault = strings.Cut(inner, ":-")
	return r, variableForm.MatchString(r.name)
}

// expand returns the value of the reference between the braces. As in a shell, the
// default also stands in for an empty variable.
func (d *decoder) expand(inner string) (value, problem, fix string) {
	r, ok := parseReference(inner)
	if !ok {
		return "", "a variable reference is malformed", "write ${NAME} or ${NAME:-default}; a name has letters, digits and _ only, and $${ is a literal ${"
	}
	if strings.Contains(r.defaultValue, "${") {
		return "", "the default of the variable " + r.name + " contains another variable", "write a literal default"
	}
	if v, ok := d.env(r.name); ok && (v != "" || !r.hasDefault) {
		return v, "", ""
	}
	if r.hasDefault {
		return r.defaultValue, "", ""
	}
	return "", "the variable " + r.name + " is not set", "set it in the environment, or write ${" + r.name + ":-default}"
}

// resolve returns the text of a scalar with variables substituted, and whether
// there were any. A failure is reported and not ok.
func (d *decoder) resolve(n *node) (text string, fromEnv, ok bool) {
	if n.kind != kindString || !strings.Contains(n.text, "${") {
		return n.text, false, true
	}
	parts, fromEnv, ok := d.substitute(n, false)
	text, _ = parts.constant()
	return text, fromEnv, ok
}

// resolveTemplate is resolve for the value of a claim rule: ${path.N}, ${bucket}
// and ${method} stay for the request. It returns a string or a Template.
func (d *decoder) resolveTemplate(n *node) (value any, ok bool) {
	parts, _, ok := d.substitute(n, true)
	if text, constant := parts.constant(); ok && constant {
		return text, true
	}
	return parts, ok
}

// substitute returns the parts of a string with variables substituted, with values of
// the request only where dynamic.
func (d *decoder) substitute(n *node, dynamic bool) (parts Template, fromEnv, ok bool) {
	literal := func(s string) {
		if last := len(parts) - 1; last >= 0 && parts[last].Var == "" {
			parts[last].Literal += s
		} else if s != "" {
			parts = append(parts, TemplatePart{Literal: s})
		}
	}
	problem, fix := splitReferences(n.text, literal, func(inner string) (problem, fix string) {
		if part, ok := requestValue(inner); ok && dynamic {
			parts = append(parts, part)
			return "", ""
		}
		if dynamic && strings.ContainsRune(inner, '.') && !strings.Contains(inner, ":-") {
			return "a request value is unknown", "use ${path.N} with N from 0 to 999, ${bucket} or ${method}"
		}
		value, problem, fix := d.expand(inner)
		literal(value)
		fromEnv = true
		return problem, fix
	})
	if problem != "" {
		d.fail(n, problem, fix)
		return nil, true, false
	}
	return parts, fromEnv, true
}

// constant returns the text of a template without values of the request.
func (t Template) constant() (text string, ok bool) {
	if len(t) == 0 {
		return "", true
	}
	return t[0].Literal, len(t) == 1 && t[0].Var == ""
}

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
