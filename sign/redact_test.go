package sign

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNothingPrintsSecrets(t *testing.T) {
	o := Options{AccessKey: "AKIDPLAIN", SecretKey: "SECRETPLAIN", SessionToken: "TOKENPLAIN", Region: "eu-west-1"}
	s := newSigner(t, o)
	s.AppendHeaders(nil, &Request{Method: "GET", Path: []byte("/")}, exampleTime) // with a derived key too
	type holder struct{ signer *Signer }
	type Holder struct {
		Signer  *Signer
		Options Options
	}
	values := map[string]any{
		"signer pointer":       s,
		"options":              o,
		"options pointer":      &o,
		"in an exported field": Holder{s, o},
		"in a hidden field":    holder{s},
		"slice":                []any{s, o},
	}
	for name, v := range values {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
				fmt.Fprintf(&out, format+"\n", v)
			}
			if strings.Contains(name, "pointer") || strings.Contains(name, "hidden") {
				// Of anything but a pointer, fmt prints the parts without asking Format.
				fmt.Fprintf(&out, "%p\n", v)
			}
			fmt.Fprintln(&out, v)
			slog.New(slog.NewTextHandler(&out, nil)).Info("text", "v", v)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "v", v)
			if err := json.NewEncoder(&out).Encode(v); err != nil {
				t.Fatal(err)
			}
			for _, plain := range []string{"AKIDPLAIN", "SECRETPLAIN", "TOKENPLAIN"} {
				hexed := fmt.Sprintf("%x", plain)
				if s := out.String(); strings.Contains(s, plain) || strings.Contains(strings.ToLower(s), hexed) {
					t.Errorf("prints %s:\n%s", plain, s)
				}
			}
		})
	}
}

func TestStringNamesTheRegion(t *testing.T) {
	o := exampleOptions
	s := newSigner(t, o)
	want := "sign.Signer{Region: us-east-1, credential: ***}"
	for _, got := range []string{s.String(), fmt.Sprintf("%#v", s), fmt.Sprint(s), fmt.Sprintf("%x", s)} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	want = "sign.Options{Region: us-east-1, credential: ***}"
	for _, got := range []string{o.String(), fmt.Sprintf("%#v", o), fmt.Sprint(o), fmt.Sprintf("%+q", o)} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := fmt.Sprint((*Signer)(nil)); got != "<nil>" {
		t.Errorf("a nil signer prints %q", got)
	}
}
