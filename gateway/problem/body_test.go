package problem

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestErrorBody(t *testing.T) {
	for _, tc := range []struct {
		name          string
		plain         bool
		code, message string
		id            string
		want          string
	}{
		{"JSON", false, "not_found", "the object does not exist", "01HX",
			`{"error":"not_found","message":"the object does not exist","status":404,"request_id":"01HX"}` + "\n"},
		{"JSON without id", false, "not_found", "x", "", `{"error":"not_found","message":"x","status":404,"request_id":""}` + "\n"},
		{"JSON with quotes and controls", false, `a"\`, "b\n\x00\x7f</script>&", "\xff",
			`{"error":"a\"\\","message":"b\u000a\u0000\u007f\u003c/script\u003e\u0026","status":404,"request_id":"` + "\ufffd\"}\n"},
		{"plain", true, "not_found", "the object does not exist", "01HX", "404 not_found: the object does not exist\nrequest id: 01HX\n"},
		{"plain without id", true, "not_found", "x", "", "404 not_found: x\n"},
		{"plain has no lines of others", true, "a\r\nb", "c\nd\x7f", "e\x00f", "404 a  b: c d \nrequest id: e f\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := AppendBody([]byte("x"), tc.plain, 404, tc.code, tc.message, []byte(tc.id))
			if string(got) != "x"+tc.want {
				t.Errorf("got  %s\nwant x%s", got, tc.want)
			}
		})
	}
}

func FuzzErrorBody(f *testing.F) {
	f.Add("not_found", "the object \"a\\b\" does not exist\n", []byte("01HX\x00\xff\u2028é日\xf0\x9f"))
	f.Fuzz(func(t *testing.T, code, message string, id []byte) {
		body := AppendBody(nil, false, 404, code, message, id)
		var got struct {
			Error, Message string
			Status         int
			RequestID      string `json:"request_id"`
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		proper := func(s string) string { return string([]rune(s)) } // each wrong byte becomes U+FFFD
		if got.Error != proper(code) || got.Message != proper(message) || got.RequestID != proper(string(id)) || got.Status != 404 {
			t.Fatalf("%q: %+v", body, got)
		}
		if !utf8.Valid(body) || body[len(body)-1] != '\n' || strings.ContainsAny(string(body[:len(body)-1]), "<\n\x00") {
			t.Fatalf("%q", body)
		}
		if plain := AppendBody(nil, true, 404, code, message, id); strings.Count(string(plain), "\n") > 2 || strings.ContainsAny(string(plain), "\r\x00\x1b") {
			t.Fatalf("%q", plain)
		}
	})
}
