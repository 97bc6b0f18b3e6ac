package config

import (
	"encoding/json"
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
)

// operand is the type of value that an operator takes.
type operand uint8

const (
	operandScalar operand = iota // a string, number or boolean
	operandNumber
	operandList
	operandPattern
	operandNone
)

// operators are the comparisons of a claim rule, and operands what they take: a scalar
// where nothing is said.
var (
	operators = [...]string{"equals", "not_equals", "contains", "in", "not_in", "gt", "lt", "gte", "lte", "exists", "matches"}
	operands  = map[string]operand{
		"in": operandList, "not_in": operandList, "gt": operandNumber, "lt": operandNumber, "gte": operandNumber, "lte": operandNumber,
		"exists": operandNone, "matches": operandPattern,
	}
)

// claims decodes the claim rules of o, under either name.
func (d *decoder) claims(o object) []Claim {
	key := "claims"
	if o.has("claims_verification") {
		key = "claims_verification"
		if n := o.get("claims"); n != nil {
			d.fail(n, "is there beside claims_verification, which is the same list", "put all rules into one of them")
		}
	}
	var claims []Claim
	for _, item := range o.list(key) {
		var c Claim
		co := d.fill(item, "jwt.claims[]", &c)
		co.need("claim", "name the claim, such as role")
		co.need("operator", "use one of: "+strings.Join(operators[:], ", "))
		if c.Operator = co.oneOf("operator", "", operators[:]...); c.Operator != "" {
			c.Value = d.claimValue(co, operands[c.Operator])
		}
		if c.Operator == "contains" && c.Value == "" {
			d.fail(co.get("value"), "is empty, and every string contains that", "say what the claim must contain")
		}
		claims = append(claims, c)
	}
	return claims
}

// claimValue decodes the value of a claim rule; see Claim.Value.
func (d *decoder) claimValue(o object, want operand) any {
	if want == operandNone {
		if n := o.get("value"); n != nil && (n.kind != kindBool || n.text != "true") {
			d.fail(n, "has no effect: exists compares with nothing, and an absent claim fails every rule", "remove it")
		}
		return nil
	}
	n := o.need("value", "say what the claim is compared with")
	if n == nil {
		return nil
	}
	switch want {
	case operandList:
		var values []any
		for _, item := range o.list("value") {
			values = append(values, d.claimScalar(item))
		}
		return values
	case operandNumber:
		return parsed(o, "value", "", scalar(kindNumber), "write a decimal number without quotes", func(text string) (json.Number, error) {
			if !isNumber(text) {
				return "", errors.New("is no decimal number")
			}
			return json.Number(text), nil
		})
	case operandPattern:
		return d.pattern(n)
	}
	return d.claimScalar(n)
}

// claimScalar decodes a value that is compared with its type.
func (d *decoder) claimScalar(n *node) any {
	switch n.kind {
	case kindBool:
		return n.text == "true"
	case kindNumber:
		if !isNumber(n.text) {
			d.fail(n, "is no decimal number", "write digits with at most one point, or put a string in quotes")
		}
		return json.Number(n.text)
	case kindString:
		value, _ := d.resolveTemplate(n)
		return value
	}
	d.fail(n, "must be a string, a number or true or false, not "+n.kind.String(), "write one value; lists go with the operators in and not_in")
	return nil
}

// pattern decodes an RE2 expression.
func (d *decoder) pattern(n *node) any {
	if n.kind != kindString {
		d.fail(n, "must be a string, not "+n.kind.String(), "put the expression in quotes")
		return nil
	}
	value, ok := d.resolveTemplate(n)
	if !ok {
		return nil
	}
	text, ok := value.(string)
	if !ok {
		d.fail(n, "a request value cannot be part of an expression", "use the operator equals")
		return nil
	}
	if _, err := CompilePattern(text); err != nil {
		problem := "is no RE2 expression"
		var s *syntax.Error
		if errors.As(err, &s) {
			problem += ": " + s.Code.String()
		}
		d.fail(n, problem, "see https://github.com/google/re2/wiki/Syntax")
	}
	return text
}

// CompilePattern compiles an RE2 expression that must match a whole text.
func CompilePattern(text string) (*regexp.Regexp, error) {
	// On its own first: an expression that is valid only within the anchors would break
	// out of them.
	if _, err := regexp.Compile(text); err != nil {
		return nil, err
	}
	// Within the anchors, an expression may be invalid that is valid on its own: \Q takes
	// them literally, and they nest one level deeper.
	return regexp.Compile(`\A(?:` + text + `)\z`)
}
