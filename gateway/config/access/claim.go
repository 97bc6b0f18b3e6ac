package access

import (
	"encoding/json"
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"

	"yatagarasu/gateway/config/file"
)

// Claim is one rule on one claim of a token.
type Claim struct {
	// Name is the claim, "a.b" for member b of a.
	Name string `key:"claim"`

	// Operator is one of equals, not_equals, contains, in, not_in, gt, lt, gte,
	// lte, exists and matches.
	Operator string `form:"-"`

	// Value is compared with the claim: a string, bool, json.Number (the exact decimal
	// text) or Template; []any of these for in and not_in; nil for exists. For matches
	// it is a valid RE2 expression, which must match the whole claim.
	Value any
}

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

// decodeClaims decodes the claim rules of o, under either name.
func decodeClaims(d *file.Decoder, o file.Object) []Claim {
	key := "claims"
	if o.Has("claims_verification") {
		key = "claims_verification"
		if n := o.Get("claims"); n != nil {
			d.Fail(n, "is there beside claims_verification, which is the same list", "put all rules into one of them")
		}
	}
	var claims []Claim
	for _, item := range o.List(key) {
		var c Claim
		co := d.Fill(item, "jwt.claims[]", &c)
		co.Need("claim", "name the claim, such as role")
		co.Need("operator", "use one of: "+strings.Join(operators[:], ", "))
		if c.Operator = co.OneOf("operator", "", operators[:]...); c.Operator != "" {
			c.Value = decodeClaimValue(d, co, operands[c.Operator])
		}
		if c.Operator == "contains" && c.Value == "" {
			d.Fail(co.Get("value"), "is empty, and every string contains that", "say what the claim must contain")
		}
		claims = append(claims, c)
	}
	return claims
}

// decodeClaimValue decodes the value of a claim rule; see Claim.Value.
func decodeClaimValue(d *file.Decoder, o file.Object, want operand) any {
	if want == operandNone {
		if n := o.Get("value"); n != nil && (n.Kind != file.Bool || n.Text != "true") {
			d.Fail(n, "has no effect: exists compares with nothing, and an absent claim fails every rule", "remove it")
		}
		return nil
	}
	n := o.Need("value", "say what the claim is compared with")
	if n == nil {
		return nil
	}
	switch want {
	case operandList:
		var values []any
		for _, item := range o.List("value") {
			values = append(values, decodeClaimScalar(d, item))
		}
		return values
	case operandNumber:
		return file.Parsed(o, "value", "", file.Scalar(file.Number), "write a decimal number without quotes", func(text string) (json.Number, error) {
			if !file.IsNumber(text) {
				return "", errors.New("is no decimal number")
			}
			return json.Number(text), nil
		})
	case operandPattern:
		return decodePattern(d, n)
	}
	return decodeClaimScalar(d, n)
}

// decodeClaimScalar decodes a value that is compared with its type.
func decodeClaimScalar(d *file.Decoder, n *file.Node) any {
	switch n.Kind {
	case file.Bool:
		return n.Text == "true"
	case file.Number:
		if !file.IsNumber(n.Text) {
			d.Fail(n, "is no decimal number", "write digits with at most one point, or put a string in quotes")
		}
		return json.Number(n.Text)
	case file.String:
		value, _ := resolveTemplate(d, n)
		return value
	}
	d.Fail(n, "must be a string, a number or true or false, not "+n.Kind.String(), "write one value; lists go with the operators in and not_in")
	return nil
}

// decodePattern decodes an RE2 expression.
func decodePattern(d *file.Decoder, n *file.Node) any {
	if n.Kind != file.String {
		d.Fail(n, "must be a string, not "+n.Kind.String(), "put the expression in quotes")
		return nil
	}
	value, ok := resolveTemplate(d, n)
	if !ok {
		return nil
	}
	text, ok := value.(string)
	if !ok {
		d.Fail(n, "a request value cannot be part of an expression", "use the operator equals")
		return nil
	}
	if _, err := CompilePattern(text); err != nil {
		problem := "is no RE2 expression"
		var s *syntax.Error
		if errors.As(err, &s) {
			problem += ": " + s.Code.String()
		}
		d.Fail(n, problem, "see https://github.com/google/re2/wiki/Syntax")
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
