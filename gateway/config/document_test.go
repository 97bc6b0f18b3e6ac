package config

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/config/file"
)

// TestDocumentReadsBack puts the secrets back into the document of a file with all keys
// and parses it: the configuration is the same.
func TestDocumentReadsBack(t *testing.T) {
	for file, secrets := range map[string][]string{
		"testdata/minimal.good.yml": {"id", "secret"},
		"testdata/full.good.yml": {
			"id", file.Literal(testEnv["SECRET"]), "$${literal}", "external", "id", "s", "id", file.Literal(testEnv["YAML"]), "id", file.Literal(testEnv["YAML"]), "other", "s", "hunter2",
			"0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef0123456789abcdef",
			"hunter2", "0123456789abcdef0123456789abcdefhunter2", "0123456789abcdef0123456789abcdef", "0123456789abcdef",
		},
	} {
		c, err := parseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.MarshalIndent(c.Document(), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), `"***"`); n != len(secrets) {
			t.Fatalf("%s: %d secrets, want %d:\n%s", file, n, len(secrets), text)
		}
		next := 0
		whole := regexp.MustCompile(`"\*\*\*"`).ReplaceAllFunc(text, func([]byte) []byte {
			next++
			b, err := json.Marshal(secrets[next-1])
			if err != nil {
				t.Fatal(err)
			}
			return b
		})
		again, err := Parse("document", whole, nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", file, err, whole)
		}
		if !reflect.DeepEqual(again, c) {
			t.Errorf("%s: read back it is\n%+v\nwant\n%+v", file, again, c)
		}
	}
}

// isOurs reports whether a type is of the configuration, or of one of its rooms.
func isOurs(t reflect.Type) bool {
	return strings.HasPrefix(t.PkgPath(), reflect.TypeFor[Config]().PkgPath())
}

// TestDocumentHidesSecrets has a distinctive value in every field that may hold a secret.
func TestDocumentHidesSecrets(t *testing.T) {
	const mark = "distinctive"
	c := &Config{}
	var fill func(v reflect.Value)
	n := 0
	fill = func(v reflect.Value) {
		switch {
		case v.Type() == reflect.TypeFor[file.Secret]():
			v.Set(reflect.ValueOf(file.NewSecret(mark)))
			n++
		case v.Type() == reflect.TypeFor[any]() || v.Kind() == reflect.Interface:
		case v.Kind() == reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem())
		case v.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0))
		case v.Kind() == reflect.Struct && v.CanSet() && isOurs(v.Type()):
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		}
	}
	fill(reflect.ValueOf(c).Elem())
	if n < 5 {
		t.Fatalf("%d secrets are filled in", n)
	}
	c.Cluster.Enabled = true
	c.Buckets[0].S3.AccessKey = "AKIA" + mark + "LAST"
	c.JWT.JWKSURL = "https://issuer.example/keys?apikey=" + mark
	c.JWT.Introspection.Enabled, c.JWT.Introspection.URL = true, "https://issuer.example/introspect?tenant="+mark
	text, err := json.Marshal(c.Document())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), mark) {
		t.Errorf("a secret is in %s", text)
	}
	for _, want := range []string{`"secret_key":"***"`, `"session_token":"***"`, `"secret":"***"`, `"token":"***"`, `"password":"***"`, `"previous_secret":"***"`, `"access_key":"***LAST"`, `"jwks_url":"https://issuer.example/keys?***"`, `"url":"https://issuer.example/introspect?***"`, `"client_secret":"***"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("lacks %s: %s", want, text)
		}
	}
}

// TestSecretsHaveTheirType finds fields with the name of a secret and another type than
// Secret.
func TestSecretsHaveTheirType(t *testing.T) {
	suspicious := regexp.MustCompile(`(?i)secret|token|password|passphrase|credential|key$`)
	harmless := map[string]bool{"Origin.AccessKey": true, "Credentials.TokenFile": true, "ErrorDocument.Key": true}
	seen := make(map[reflect.Type]bool)
	var look func(typ reflect.Type)
	look = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] || !isOurs(typ) {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Type.Kind() == reflect.String && suspicious.MatchString(f.Name) && !harmless[typ.Name()+"."+f.Name] {
				t.Errorf("%s.%s is a string: make it a Secret", typ.Name(), f.Name)
			}
			look(f.Type)
		}
	}
	look(reflect.TypeFor[Config]())
	if !seen[reflect.TypeFor[access.Key]()] {
		t.Error("not all types are looked at")
	}
}
