package token

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func TestDecode(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`{"a":`, n-1) + `{}` + strings.Repeat("}", n-1) }
	members := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`"%d":0`, i))
		}
		return "{" + strings.Join(list, ",") + "}"
	}
	for _, c := range []struct {
		name, data string
		ok         bool
	}{
		{"empty object", `{}`, true},
		{"white space around", " \t\r\n{} \n", true},
		{"all kinds", `{"n":null,"t":true,"f":false,"s":"x","i":-1.5e3,"a":[1,"2",[],{}],"o":{"p":{}}}`, true},
		{"16 levels", nested(16), true},
		{"17 levels", nested(17), false},
		{"17 levels of arrays", `{"a":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`, false},
		{"empty name", `{"":1}`, true},
		{"256 members", members(256), true},
		{"257 members", members(257), false},
		{"names that differ in case", `{"exp":1,"Exp":2}`, true},
		{"duplicate name", `{"exp":1,"exp":2}`, false},
		{"duplicate name by escape", `{"exp":1,"\u0065xp":2}`, false},
		{"duplicate name within", `{"a":{"b":1,"b":1}}`, false},
		{"duplicate name in an array", `{"a":[{"b":1,"b":1}]}`, false},
		{"no object", `[]`, false}, {"string", `"x"`, false}, {"number", `1`, false}, {"null", `null`, false}, {"nothing", ``, false}, {"spaces", `  `, false},
		{"something behind", `{}{}`, false}, {"brace behind", `{}}`, false}, {"text behind", `{} x`, false}, {"NUL behind", "{}\x00", false},
		{"cut", `{"a":1`, false}, {"trailing comma", `{"a":1,}`, false}, {"comment", `{/**/}`, false}, {"single quotes", `{'a':1}`, false},
		{"NaN", `{"exp":NaN}`, false}, {"leading zero", `{"exp":01}`, false}, {"plus", `{"exp":+1}`, false}, {"hexadecimal", `{"exp":0x10}`, false},
		{"bad UTF-8", "{\"a\":\"\xff\"}", false}, {"lone surrogate", `{"a":"\ud800"}`, false}, {"control byte", "{\"a\":\"\n\"}", false},
		{"byte order mark", "\xef\xbb\xbf{}", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := new(Decoder).Object([]byte(c.data)); (err == nil) != c.ok {
				t.Errorf("%s: %v", c.data, err)
			}
		})
	}
}

func TestFind(t *testing.T) {
	o, err := new(Decoder).Object([]byte(`{
		"role": "admin",
		"a": {"b": "nested", "c": {"d": "deep"}, "list": [{"x": 1}]},
		"a.b": "literal",
		"https://example.com/app": {"roles": "namespaced", "x.y": "dotted"},
		"s": {"t": null},
		"s.t": null,
		"": {"": "empty"},
		"\u0074ext": "a\u0062c \ud83d\ude00"
	}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"role": "admin", "a.b": "literal", "a.c.d": "deep", "https://example.com/app.roles": "namespaced", "https://example.com/app.x.y": "dotted",
		"Role": "", "a.c.e": "", "a.b.c": "", "role.x": "", "a.list.x": "", "x": "", "a.": "", ".a": "", "text": "abc 😀",
	} {
		v, found := o.Find(name)
		if got, _ := v.(string); got != want || found != (want != "") {
			t.Errorf("%q is %v, want %q", name, v, want)
		}
	}
	if v, found := o.Find("s.t"); !found || v != nil {
		t.Error("null is not found")
	}
}

// plain returns v as encoding/json decodes it.
func plain(v any) any {
	switch v := v.(type) {
	case Number:
		return json.Number(v.Text)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	case Object:
		m := map[string]any{}
		for _, member := range v {
			m[member.Name] = plain(member.Value)
		}
		return m
	}
	return v
}

// FuzzDecode compares the decoder with two others: with encoding/json by its results,
// with jsontext by the documents that it refuses.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":[1,2,{"b":"c\n"}],"d":{"e":null}}`, `{"a":1,"a":2}`, `{"é":"\u00e9","n":-1.5e+10}`, "{\"a\":\"\xff\"}", `{"exp":1e300}`, `{"":{"":[]}}`,
		`{"":{"a":[[],{},"]}:,\"",1e5 , true ,null ],"\u0062":"\\"}}`, `{"a":1,"\u0061":2}`, "{\t\"a\"\r:\n-0.5e-7\t,\"b\":[ false\t]}", `{"a":"\\","b":"\\\""}`,
		`{"a":"\ud83d\ude00\/\b\f\r\t\"\\"}`, `{"a":"\ud83d"}`, `{"a":"\ude00\ud83d"}`, `{"a":"\uD83Dx"}`, `{"a":truefalse}`, `{"a":-}`, `{"a":0.}`, `{"a":1e}`, `{"a":00}`, ` { "a" : [ ] , "b" : { } } `, `{"a":"\u12`, `{"a":"\`, `{"a":[1,]}`, `{,}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		given := bytes.Clone(data)
		o, err := new(Decoder).Object(data)
		if !bytes.Equal(given, data) {
			t.Fatal("the input was changed")
		}
		if strict := strictObject(data); strict != (err == nil) {
			t.Fatalf("%q: %v, want %v", data, err, strict)
		}
		if err != nil {
			return
		}
		var want map[string]any
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", data, err)
		}
		if got := plain(o); !reflect.DeepEqual(got, any(want)) {
			t.Fatalf("%q: got %v, want %v", data, got, want)
		}
	})
}

// strictObject reports whether jsontext finds data to be one object, within the
// bounds.
func strictObject(data []byte) bool {
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	if dec.PeekKind() != '{' {
		return false
	}
	for {
		_, err := dec.ReadToken()
		if err == io.EOF {
			return true
		}
		depth := dec.StackDepth()
		if err != nil || depth > maxDepth {
			return false
		}
		if kind, n := dec.StackIndex(depth); kind == '{' && n > 2*maxMembers {
			return false
		}
		if depth == 0 {
			_, err := dec.ReadToken()
			return err == io.EOF
		}
	}
}
