package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/token"
)

// TestOperators has claims and rules, and whether the rule lets a token with these claims
// read teams/acme/x.
func TestOperators(t *testing.T) {
	for _, c := range []struct {
		name, claims, rule string
		want               bool
	}{
		{"equals string", `"c":"admin"`, `equals, value: admin`, true},
		{"equals another string", `"c":"Admin"`, `equals, value: admin`, false},
		{"equals empty string", `"c":""`, `equals, value: admin`, false},
		{"T42 equals 1 and 1", `"c":1`, `equals, value: 1`, true},
		{"T42 equals 1 and 1.0", `"c":1.0`, `equals, value: 1`, true},
		{"T42 equals 1 and the string 1", `"c":"1"`, `equals, value: 1`, false},
		{"T42 equals the string 1 and 1", `"c":1`, `equals, value: "1"`, false},
		{"T42 equals 1 and true", `"c":true`, `equals, value: 1`, false},
		{"T42 equals true and the string true", `"c":"true"`, `equals, value: true`, false},
		{"T42 equals true and 1", `"c":1`, `equals, value: true`, false},
		{"equals true", `"c":true`, `equals, value: true`, true},
		{"equals false", `"c":false`, `equals, value: true`, false},
		{"equals an array of it", `"c":["admin"]`, `equals, value: admin`, false},
		{"equals an object", `"c":{"admin":true}`, `equals, value: admin`, false},
		{"equals beyond 2^53", `"c":9007199254740993`, `equals, value: 9007199254740993`, true},
		{"equals beyond 2^53, one off", `"c":9007199254740992`, `equals, value: 9007199254740993`, false},

		{"not_equals another", `"c":"reader"`, `not_equals, value: guest`, true},
		{"not_equals the same", `"c":"guest"`, `not_equals, value: guest`, false},
		{"not_equals in an array", `"c":["guest"]`, `not_equals, value: guest`, false},
		{"not_equals of another type", `"c":5`, `not_equals, value: guest`, false},
		{"not_equals absent", `"d":5`, `not_equals, value: guest`, false},
		{"not_equals null", `"c":null`, `not_equals, value: guest`, false},

		{"in", `"c":"b"`, `in, value: [a, b]`, true},
		{"not among", `"c":"c"`, `in, value: [a, b]`, false},
		{"in of mixed types", `"c":2`, `in, value: [a, 2, true]`, true},
		{"in does not convert", `"c":"2"`, `in, value: [a, 2, true]`, false},
		{"in an array", `"c":["a"]`, `in, value: [a, b]`, false},
		{"not_in", `"c":"c"`, `not_in, value: [a, b]`, true},
		{"not_in, but it is", `"c":"b"`, `not_in, value: [a, b]`, false},
		{"not_in of another type", `"c":7`, `not_in, value: [a, b]`, false},
		{"not_in an array", `"c":["x"]`, `not_in, value: [a, b]`, false},
		{"not_in absent", `"d":1`, `not_in, value: [a, b]`, false},

		{"T43 contains an element", `"c":["a","b"]`, `contains, value: b`, true},
		{"T43 contains no such element", `"c":["ab"]`, `contains, value: b`, false},
		{"T43 contains a number", `"c":[1,2.0]`, `contains, value: 2`, true},
		{"T43 contains does not convert", `"c":["2"]`, `contains, value: 2`, false},
		{"T43 contains a part of a string", `"c":"read write"`, `contains, value: write`, true},
		{"T43 contains no such part", `"c":"read"`, `contains, value: write`, false},
		{"T43 contains a number in a string", `"c":"12"`, `contains, value: 2`, false},
		{"T43 contains in an object", `"c":{"b":1}`, `contains, value: b`, false},
		{"T43 contains in an inner array", `"c":[["b"]]`, `contains, value: b`, false},
		{"T43 contains in nothing", `"c":[]`, `contains, value: b`, false},
		{"T43 contains a null element", `"c":[null]`, `contains, value: b`, false},

		{"T44 gt", `"c":4`, `gt, value: 3`, true},
		{"T44 gt equal", `"c":3`, `gt, value: 3`, false},
		{"T44 gte equal", `"c":3.0`, `gte, value: 3`, true},
		{"T44 gte less", `"c":2.9999999999999999999`, `gte, value: 3`, false},
		{"T44 lt", `"c":2.9999999999999999999`, `lt, value: 3`, true},
		{"T44 lt equal", `"c":3`, `lt, value: 3`, false},
		{"T44 lte equal", `"c":3`, `lte, value: 3`, true},
		{"T44 lte more", `"c":3.0000000000000000001`, `lte, value: 3`, false},
		{"T44 gt beyond 2^53", `"c":9007199254740993`, `gt, value: 9007199254740992`, true},
		{"T44 gt beyond 2^53, equal", `"c":9007199254740993`, `gt, value: 9007199254740993`, false},
		{"T44 gt with a string", `"c":"9"`, `gt, value: 3`, false},
		{"T44 lt with a string", `"c":"1"`, `lt, value: 3`, false},
		{"T44 gt with an array", `"c":[9]`, `gt, value: 3`, false},
		{"T44 gt with true", `"c":true`, `gt, value: 0`, false},
		{"T44 lt with null", `"c":null`, `lt, value: 3`, false},
		{"T44 an exponent beyond reach", `"c":1e99999999999999999999`, `gt, value: 3`, false},
		{"T44 a negative exponent beyond reach", `"c":1e-99999999999999999999`, `lt, value: 3`, false},

		{"exists", `"c":false`, `exists`, true},
		{"exists, empty", `"c":""`, `exists`, true},
		{"T45 exists absent", `"d":1`, `exists`, false},
		{"T45 exists null", `"c":null`, `exists`, false},
		{"T45 equals null", `"c":null`, `equals, value: "null"`, false},
		{"T45 matches null", `"c":null`, `matches, value: ".*"`, false},

		{"matches", `"c":"a-12"`, `matches, value: "[a-z]-[0-9]+"`, true},
		{"matches the whole claim only", `"c":"a-12 "`, `matches, value: "[a-z]-[0-9]+"`, false},
		{"matches no line of it", `"c":"x\na-12\n"`, `matches, value: "(?m)^a-12$"`, false},
		{"matches each alternative as a whole", `"c":"admins"`, `matches, value: "admin|root"`, false},
		{"matches a number", `"c":12`, `matches, value: "12"`, false},

		{"path", `"c":"acme"`, `equals, value: "${path.1}"`, true},
		{"path of another", `"c":"other"`, `equals, value: "${path.1}"`, false},
		{"path beyond the end", `"c":""`, `equals, value: "${path.9}"`, false},
		{"path beyond the end, negated", `"c":"x"`, `not_equals, value: "${path.9}"`, false},
		{"path beyond the end beside another", `"c":"x"`, `in, value: [x, "${path.9}"]`, false},
		{"path beyond the end, negated list", `"c":"y"`, `not_in, value: [x, "${path.9}"]`, false},
		{"path beyond the end beside a number", `"c":1`, `in, value: [1, "${path.9}"]`, false},
		{"path beyond the end, negated list of numbers", `"c":2`, `not_in, value: ["${path.9}", 1]`, false},
		{"path beside a number", `"c":2`, `not_in, value: ["${path.1}", 1]`, true},
		{"path among others", `"c":"acme"`, `in, value: [x, "${path.1}"]`, true},
		{"path as an element", `"c":["x","acme"]`, `contains, value: "${path.1}"`, true},
		{"path in a string", `"c":"x acme y"`, `contains, value: "${path.1}"`, true},
		{"path beyond the end in a string", `"c":"x acme y"`, `contains, value: "${path.7}"`, false},
		{"path is no number", `"c":1`, `equals, value: "${path.1}"`, false},
		{"joined", `"c":"files:GET:teams/acme!"`, `equals, value: "${bucket}:${method}:${path.0}/${path.1}!"`, true},
		{"joined, something missing", `"c":"files:GET:teams/!"`, `equals, value: "${bucket}:${method}:${path.0}/${path.8}!"`, false},
		{"bucket", `"c":"files"`, `equals, value: "${bucket}"`, true},
		{"method", `"c":"GET"`, `equals, value: "${method}"`, true},
		{"method of another", `"c":"HEAD"`, `equals, value: "${method}"`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPolicy(t, hs256("claims: [{claim: c, operator: "+c.rule+"}]\n"))
			q := request(valid(c.claims), "teams/acme/x")
			for _, again := range []string{"", " again"} { // the second time, from the cache
				want := Allowed
				if !c.want {
					want = ClaimRefused
				}
				if got := p.Authorize(q).Reason; got != want {
					t.Errorf("%q%s, want %q", got, again, want)
				}
			}
		})
	}
}

// Empty segments do not bring another one under a rule.
func TestEmptySegmentsFailTemplates(t *testing.T) {
	for _, c := range []struct {
		key, rule string
		want      Reason
	}{
		{"data/secret/x", `equals, value: "${path.1}"`, Allowed}, {"data/secret/x", `not_equals, value: "${path.1}"`, ClaimRefused},
		{"/data/secret/x", `not_equals, value: "${path.1}"`, ClaimRefused}, {"data//secret/x", `not_equals, value: "${path.1}"`, ClaimRefused},
		{"/data/secret/x", `equals, value: "${path.2}"`, ClaimRefused}, {"//secret/x", `equals, value: "${path.2}"`, ClaimRefused},
		{"/data/secret/x", `not_in, value: ["${path.1}", other]`, ClaimRefused}, {"data/secret//x", `equals, value: "${path.1}"`, Allowed},
	} {
		p := newPolicy(t, hs256("claims: [{claim: c, operator: "+c.rule+"}]\n"))
		if got := p.Authorize(request(valid(`"c":"secret"`), c.key)).Reason; got != c.want {
			t.Errorf("%s, %s: %q, want %q", c.key, c.rule, got, c.want)
		}
	}
}

// The configuration knows each operator and no other.
func TestOperatorsAreConfigurable(t *testing.T) {
	for name := range operators {
		value := map[string]string{"exists": "", "in": ", value: [a]", "not_in": ", value: [a]", "gt": ", value: 1", "lt": ", value: 1", "gte": ", value: 1", "lte": ", value: 1"}
		v, special := value[name]
		if !special {
			v = ", value: a"
		}
		loadAuth(t, hs256("claims: [{claim: c, operator: "+name+v+"}]\n"))
	}
	_, err := config.Parse("f", []byte("buckets: [{name: b, path_prefix: /b, s3: {bucket: b, region: r, access_key: a, secret_key: s}, auth: {enabled: true, jwt: {secret: "+secret+", algorithm: HS256, claims: [{claim: c, operator: nonsense}]}}}]"), nil)
	if err == nil || strings.Count(err.Error(), ",") < len(operators)-1 {
		t.Fatal(err)
	}
	for name := range operators {
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(err.Error()) {
			t.Errorf("the configuration does not know %s", name)
		}
	}
}

func TestSegment(t *testing.T) {
	for _, c := range []struct {
		key  string
		n    int
		want string
	}{
		{"a/b/c", 0, "a"}, {"a/b/c", 2, "c"}, {"a/b/c", 3, ""}, {"a", 0, "a"}, {"", 0, ""}, {"/a", 0, ""}, {"/a", 1, ""}, {"a//b", 1, ""}, {"a/", 1, ""}, {"a", 999, ""},
		{"/a/b", 1, ""}, {"/a/b", 2, ""}, {"a//b", 0, "a"}, {"a//b", 2, ""}, {"a//b/c", 3, ""}, {"a/b//c", 1, "b"}, {"a/b/", 1, "b"}, {"//", 2, ""},
	} {
		if got := string(segment([]byte(c.key), c.n)); got != c.want {
			t.Errorf("segment %d of %q is %q, want %q", c.n, c.key, got, c.want)
		}
	}
}

// naive applies an operator to a claim decoded by encoding/json, in the plainest way. It is
// the model of the differential fuzz test.
func naive(operator string, claim, want any, key, method string) bool {
	fill := func(v any) (any, bool) {
		s, isString := v.(string)
		if !isString {
			return v, true
		}
		segments := strings.Split(key, "/")
		ok := true
		s = regexp.MustCompile(`\$\{[a-z0-9.]+\}`).ReplaceAllStringFunc(s, func(name string) string {
			var i int
			switch {
			case name == "${method}":
				return method
			case name == "${bucket}":
				return "files"
			}
			if _, err := fmt.Sscanf(name, "${path.%d}", &i); err != nil || i >= len(segments) || slices.Contains(segments[:i+1], "") {
				ok = false
				return ""
			}
			return segments[i]
		})
		return s, ok
	}
	number := func(v any) (*big.Rat, bool) {
		n, ok := v.(json.Number)
		if !ok {
			return nil, false
		}
		return new(big.Rat).SetString(string(n))
	}
	same := func(a, b any) (equal, comparable bool) {
		if x, ok := number(a); ok {
			y, ok := number(b)
			return ok && x.Cmp(y) == 0, ok
		}
		switch a.(type) {
		case string, bool:
			return a == b, fmt.Sprintf("%T", a) == fmt.Sprintf("%T", b)
		}
		return false, false
	}
	if claim == nil {
		return false
	}
	wants := []any{want}
	if list, ok := want.([]any); ok {
		wants = append([]any(nil), list...)
	}
	missing := make([]bool, len(wants))
	for i := range wants {
		v, ok := fill(wants[i])
		wants[i], missing[i] = v, !ok
	}
	switch operator {
	case "exists":
		return true
	case "matches":
		s, ok := claim.(string)
		whole := regexp.MustCompile(want.(string))
		whole.Longest()
		at := whole.FindStringIndex(s)
		return ok && at != nil && at[0] == 0 && at[1] == len(s)
	case "contains":
		if missing[0] {
			return false
		}
		if list, ok := claim.([]any); ok {
			for _, item := range list {
				if equal, _ := same(item, wants[0]); equal {
					return true
				}
			}
			return false
		}
		s, ok1 := claim.(string)
		part, ok2 := wants[0].(string)
		return ok1 && ok2 && strings.Contains(s, part)
	case "gt", "lt", "gte", "lte":
		x, ok1 := number(claim)
		y, ok2 := number(wants[0])
		if !ok1 || !ok2 {
			return false
		}
		order := x.Cmp(y)
		return map[string]bool{"gt": order > 0, "lt": order < 0, "gte": order >= 0, "lte": order <= 0}[operator]
	}
	found, comparable := false, false
	for i := range wants {
		equal, can := same(claim, wants[i])
		if missing[i] {
			return false
		}
		found, comparable = found || equal, comparable || can
	}
	if operator == "not_equals" || operator == "not_in" {
		return comparable && !found
	}
	return found
}

// FuzzRules compares compiled rules with the naive model.
func FuzzRules(f *testing.F) {
	values := []any{"a", "acme", "${path.0}", "${path.1}-${method}", "x${bucket}", json.Number("3"), json.Number("9007199254740993"), json.Number("-1.5"), true, false, "[a-z]+", "${path.5}"}
	names := []string{"equals", "not_equals", "in", "not_in", "contains", "gt", "lt", "gte", "lte", "exists", "matches"} // all of operators
	patterns := []string{"[a-z]+", "a|acme", "acme|a", "a+?", "(?i)ACME", "(?m)^[a-z ]*$", ".*e", "(?U)a.*", "", `\Qacme\E`, "x(files)?", "[^/]{4}"}
	for i := range 132 {
		f.Add(uint8(i), uint8(i*7), uint8(i*3), []string{"acme/GET/x", "/acme/GET/x", "acme//GET/x"}[i%3], []byte([]string{`"acme"`, `3`, `["a","acme",3]`, `null`, `true`, `9007199254740992.0`, `"GET-GET"`, `{"a":"acme"}`, `"xfiles"`, `"a acme b"`, `-1.50`}[i/11%11]))
	}
	f.Fuzz(func(t *testing.T, at, first, second uint8, key string, claim []byte) {
		op := names[int(at)%len(names)]
		var want any = values[int(first)%len(values)]
		switch op {
		case "exists":
			want = nil
		case "in", "not_in":
			want = []any{want, values[int(second)%len(values)]}
		case "gt", "lt", "gte", "lte":
			want = values[5+int(first)%3]
		case "matches":
			want = patterns[int(first)%len(patterns)]
			if second%2 == 1 {
				want = key
			}
			if _, err := access.CompilePattern(want.(string)); err != nil || len(key) > 100 {
				return
			}
		}
		text := append(append([]byte(`{"c":`), claim...), '}')
		o, err := new(token.Decoder).Object(text)
		if err != nil {
			return
		}
		var all map[string]any
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		if dec.Decode(&all) != nil {
			t.Fatalf("encoding/json refuses %q", text)
		}
		if len(all) != 1 {
			return // the claim broke out of its place
		}
		if len(regexp.MustCompile(`[eE][-+0-9]{4,}`).Find(text)) > 0 {
			return // math/big takes its time with such numbers
		}
		r := newRule(access.Claim{Name: "c", Operator: op, Value: template(want)}, "files")
		v, _ := o.Find("c")
		q := &Request{Key: []byte(key), Method: "GET"}
		if got, want := r.holds(v, q), naive(op, all["c"], want, key, "GET"); got != want {
			t.Fatalf("%s %v, claim %s, key %q: %v, want %v", op, r.Value, claim, key, got, want)
		}
	})
}

// template returns v as the configuration does.
func template(v any) any {
	switch v := v.(type) {
	case []any:
		return []any{template(v[0]), template(v[1])}
	case string:
		if !strings.Contains(v, "${") {
			return v
		}
		var parts access.Template
		for _, m := range regexp.MustCompile(`\$\{([a-z]+)(?:\.([0-9]))?\}|[^$]+`).FindAllStringSubmatch(v, -1) {
			if m[1] == "" {
				parts = append(parts, access.TemplatePart{Literal: m[0]})
				continue
			}
			p := access.TemplatePart{Var: m[1]}
			if m[2] != "" {
				p.Index = int(m[2][0] - '0')
			}
			parts = append(parts, p)
		}
		return parts
	}
	return v
}
