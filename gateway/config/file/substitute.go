package file

import (
	"regexp"
	"strings"
)

// variableForm matches the names of variables.
var variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

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
func (d *Decoder) expand(inner string) (value, problem, fix string) {
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
func (d *Decoder) resolve(n *Node) (text string, fromEnv, ok bool) {
	if n.Kind != String || !strings.Contains(n.Text, "${") {
		return n.Text, false, true
	}
	var b strings.Builder
	fromEnv, ok = d.Substitute(n, func(s string) { b.WriteString(s) }, nil)
	return b.String(), fromEnv, ok
}

// Substitute cuts the string of n into its parts: it calls literal for each text, those of
// variables too. refer, which may be nil, is asked first whether a reference is its own, or
// what is wrong with it. A failure is reported and not ok.
func (d *Decoder) Substitute(n *Node, literal func(string), refer func(inner string) (taken bool, problem, fix string)) (fromEnv, ok bool) {
	problem, fix := splitReferences(n.Text, literal, func(inner string) (problem, fix string) {
		if refer != nil {
			if taken, problem, fix := refer(inner); taken || problem != "" {
				return problem, fix
			}
		}
		value, problem, fix := d.expand(inner)
		literal(value)
		fromEnv = true
		return problem, fix
	})
	if problem != "" {
		d.Fail(n, problem, fix)
		return true, false
	}
	return fromEnv, true
}
