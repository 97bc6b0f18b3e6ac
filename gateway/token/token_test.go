package token

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// signature is as long as one by HS256.
const signature = "0123456789abcdef0123456789abcdef"

// written returns a token with this header and these claims, byte for byte, and any signature.
func written(header, claims string) string {
	return b64(header) + "." + b64(claims) + "." + b64(signature)
}

func TestParse(t *testing.T) {
	const plain = `{"alg":"HS256"}`
	good := written(plain, `{}`)
	for _, c := range []struct {
		name, raw string
		want      error
	}{
		{"plain", good, nil},
		{"all that is used", written(`{"typ":"JWT","kid":"a b","alg":"ES256","cty":"x"}`, `{}`), nil},
		{"members about keys", written(`{"alg":"HS256","jwk":{"kty":"oct"},"jku":5,"x5u":null,"x5c":[]}`, `{}`), nil},
		{"claims that are no JSON", written(plain, "x"), nil},
		{"no signature", b64(plain) + "." + b64(`{}`) + ".", nil}, // which no key bears out
		{"a long one", written(plain, strings.Repeat("x", 6000)), nil},
		{"too long", strings.Repeat("A", MaxLen+1), ErrTooLong},
		{"nothing", "", ErrMalformed}, {"dots", "..", ErrMalformed}, {"no claims", b64(plain) + "..x", ErrMalformed}, {"two parts", b64(plain) + "." + b64(`{}`), ErrMalformed},
		{"four parts", good + ".AAAA", ErrMalformed}, {"five parts", good + ".AAAA.AAAA", ErrMalformed},
		{"padding", good + "=", ErrMalformed}, {"line feed", good + "\n", ErrMalformed}, {"carriage return", good + "\r", ErrMalformed}, {"space", " " + good, ErrMalformed},
		{"another alphabet", strings.Replace(good, ".", ".+/+/", 1), ErrMalformed},
		{"a header with a space first", written(` {"alg":"HS256"}`, `{}`), ErrMalformed},
		{"a header that is an array", b64(`["alg"]`) + ".e30.AA", ErrMalformed},
		{"a header of bad base64url", strings.Replace(good, ".", "A.", 1), ErrMalformed},
		{"a header with a name twice", written(`{"alg":"HS256","alg":"none"}`, `{}`), ErrMalformed},
		{"no alg", written(`{"typ":"JWT"}`, `{}`), ErrMalformed}, {"alg is a number", written(`{"alg":5}`, `{}`), ErrMalformed},
		{"kid is a number", written(`{"alg":"HS256","kid":5}`, `{}`), ErrMalformed}, {"typ is null", written(`{"alg":"HS256","typ":null}`, `{}`), ErrMalformed},
		{"cty is an array", written(`{"alg":"HS256","cty":["x"]}`, `{}`), ErrMalformed},
		{"crit", written(`{"alg":"HS256","crit":["exp"]}`, `{}`), ErrCritical}, {"crit of nothing", written(`{"alg":"HS256","crit":null}`, `{}`), ErrCritical},
	} {
		if err := new(Token).Parse([]byte(c.raw)); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// One Token reads others: nothing of the one before is left.
func TestTokenIsReused(t *testing.T) {
	tok := new(Token)
	for _, c := range []struct {
		header, claims, alg, kid, typ, sub string
		err                                error
	}{
		{`{"alg":"HS256","kid":"one","typ":"JWT"}`, `{"sub":"alice","aud":"x"}`, "HS256", "one", "JWT", "alice", nil},
		{`{"alg":"HS256","kid":"one","typ":"JWT"}`, `{"sub":"bob"}`, "HS256", "one", "JWT", "bob", nil},
		{`{"alg":"ES256"}`, `{}`, "ES256", "", "", "", nil},
		{`{"alg":"none","crit":[]}`, `{"sub":"eve"}`, "", "", "", "", ErrCritical},
		{`{"alg":"none","crit":[]}`, `{"sub":"eve"}`, "", "", "", "", ErrCritical}, // its header was not kept
		{`{"alg":"HS256","kid":"one","typ":"JWT"}`, `{"sub":"carol"}`, "HS256", "one", "JWT", "carol", nil},
	} {
		raw := []byte(written(c.header, c.claims))
		if err := tok.Parse(raw); err != c.err {
			t.Fatalf("%s: %v, want %v", c.header, err, c.err)
		} else if err != nil {
			continue
		}
		claims, err := tok.Claims("sub", "aud")
		if err != nil {
			t.Fatal(err)
		}
		if sub, _ := claims.Text("sub"); sub != c.sub || tok.Alg != c.alg || tok.Kid != c.kid || tok.Typ != c.typ {
			t.Errorf("%s, %s: %q, %q, %q, %q", c.header, c.claims, sub, tok.Alg, tok.Kid, tok.Typ)
		}
		if !bytes.Equal(tok.Raw, raw) || !bytes.HasPrefix(raw, tok.Payload) || string(tok.Signature) != signature {
			t.Errorf("%s: %q, %q, %q", c.header, tok.Raw, tok.Payload, tok.Signature)
		}
		if tok.Forget(); tok.Raw != nil || tok.Payload != nil {
			t.Error("not forgotten")
		}
	}
	if err := tok.Parse([]byte(written(`{"alg":"HS256"}`, `{"a":1,"a":2}`))); err != nil {
		t.Fatal(err)
	}
	if _, err := tok.Claims(); err != ErrJSON {
		t.Errorf("claims with a name twice: %v", err)
	}
}

// There is one way to write a token: the stray bits of its parts are zero.
func TestTokensAreCanonical(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, pad := range []string{"", "x", "xx"} {
		good := written(fmt.Sprintf(`{"alg":"HS256","x":%q}`, pad), fmt.Sprintf(`{"pads":%q}`, pad))
		if err := new(Token).Parse([]byte(good)); err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(good, ".")
		altered := 0
		for i, part := range parts {
			if len(part)%4 == 0 {
				continue // no bits are left over
			}
			altered++
			last := strings.IndexByte(alphabet, part[len(part)-1]) | 1
			other := append([]string(nil), parts...)
			other[i] = part[:len(part)-1] + alphabet[last:last+1]
			if err := new(Token).Parse([]byte(strings.Join(other, "."))); err != ErrMalformed {
				t.Errorf("part %d of %d bytes: %v", i, len(part), err)
			}
		}
		if altered < 2 {
			t.Errorf("pad %q: only %d parts end in spare bits", pad, altered)
		}
	}
}

func TestDate(t *testing.T) {
	for _, c := range []struct {
		claims    string
		up        bool
		want      int64
		found, ok bool
	}{
		{`{}`, true, 0, false, true},
		{`{"t":1772366400}`, true, 1772366400e9, true, true}, {`{"t":1772366400}`, false, 1772366400e9, true, true},
		{`{"t":1772366400.1}`, true, 1772366401e9, true, true}, {`{"t":1772366400.9}`, false, 1772366400e9, true, true},
		{`{"t":253402300799}`, false, Forever, true, true}, {`{"t":9223372036}`, false, Forever, true, true}, {`{"t":9223372035}`, false, 9223372035e9, true, true},
		{`{"t":"1"}`, true, 0, true, false}, {`{"t":null}`, true, 0, true, false}, {`{"t":1e9999999999999999}`, true, 0, true, false},
	} {
		o, err := new(Decoder).Object([]byte(c.claims))
		if err != nil {
			t.Fatal(err)
		}
		if got, found, ok := o.Date("t", c.up); got != c.want || found != c.found || ok != c.ok {
			t.Errorf("%s, up %t: %d, %t, %t", c.claims, c.up, got, found, ok)
		}
	}
	o, err := new(Decoder).Object([]byte(`{"t":-1}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := o.Date("t", false); ok {
		t.Error("before 1970")
	}
}

func TestSubject(t *testing.T) {
	long := strings.Repeat("é", 300)
	ids := make(map[uint64]string)
	for claims, want := range map[string]string{
		`{}`: "", `{"sub":""}`: "", `{"sub":5}`: "", `{"sub":"alice"}`: "alice", `{"sub":"alice","iss":"me"}`: "alice", `{"sub":"ealice","iss":"m"}`: "ealice",
		`{"sub":"` + long + `1"}`: long[:256], `{"sub":"` + long + `2"}`: long[:256],
	} {
		o, err := new(Decoder).Object([]byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		sub, id := o.Subject("")
		if sub != want || (id == 0) != (want == "") {
			t.Errorf("%.40s: %q, %d", claims, sub, id)
		}
		_, said := o.Text("iss")
		if _, judged := o.Subject("them"); id != 0 && (judged == id) != said {
			t.Errorf("%.40s: %d, and by a name of the issuer %d", claims, id, judged)
		}
		if other := ids[id]; other != "" && id != 0 {
			t.Errorf("%.40s has the id of %.40s", claims, other)
		}
		ids[id] = claims
	}
}

// TestRecipients has tokens with issuers and audiences, and who may take them.
func TestRecipients(t *testing.T) {
	accepted := []string{"me", "us"}
	for _, c := range []struct {
		claims                            string
		issued, meant, anyIssuer, unnamed bool // with accepted, and with none named
	}{
		{`{}`, false, false, true, true},
		{`{"iss":"me","aud":"us"}`, true, true, true, false}, {`{"iss":"Me","aud":"Us"}`, false, false, true, false},
		{`{"iss":["me"],"aud":["x","us"]}`, false, true, true, false}, {`{"iss":5,"aud":["us",5]}`, false, false, true, false}, {`{"aud":null}`, false, false, true, false}, {`{"aud":[]}`, false, false, true, false},
	} {
		o, err := new(Decoder).Object([]byte(c.claims))
		if err != nil {
			t.Fatal(err)
		}
		if a, b, d, e := o.IssuedBy(accepted), o.MeantFor(accepted), o.IssuedBy(nil), o.MeantFor(nil); a != c.issued || b != c.meant || d != c.anyIssuer || e != c.unnamed {
			t.Errorf("%s: %t, %t, %t, %t", c.claims, a, b, d, e)
		}
	}
}

func TestIsType(t *testing.T) {
	for _, c := range []struct {
		header, typ string
		want        bool
	}{
		{"at+jwt", "at+jwt", true}, {"AT+JWT", "application/at+jwt", true}, {"Application/AT+jwt", "at+jwt", true}, {"", "at+jwt", false}, {"JWT", "at+jwt", false},
		{"application/", "at+jwt", false}, {"x/at+jwt", "at+jwt", false}, {"application/application/at+jwt", "at+jwt", false},
	} {
		if got := (&Token{Typ: c.header}).IsType(c.typ); got != c.want {
			t.Errorf("%q is %q: %t", c.header, c.typ, got)
		}
	}
}

// FuzzParse reads any text as a token: it never panics, changes nothing of what it was given,
// and takes nothing that is written in two ways.
func FuzzParse(f *testing.F) {
	for _, s := range []string{written(`{"alg":"HS256"}`, fmt.Sprintf(`{"exp":%d}`, time.Now().Unix())), "a.b.c", "..", "eyJhbGciOiJub25lIn0.e30.", strings.Repeat("a", 9000), "e30.e30.e30", "eyJhbGciOiIifQ.AA.AA"} {
		f.Add([]byte(s))
	}
	tok := new(Token)
	f.Fuzz(func(t *testing.T, raw []byte) {
		given := bytes.Clone(raw)
		err := tok.Parse(raw)
		if !bytes.Equal(given, raw) {
			t.Fatal("the token was changed")
		}
		if again := new(Token).Parse(raw); again != err {
			t.Fatalf("%v, and by a new one %v", err, again)
		}
		if err != nil {
			return
		}
		header, rest, _ := strings.Cut(string(raw), ".")
		head, err := base64.RawURLEncoding.DecodeString(header)
		if err != nil {
			t.Fatal(err)
		}
		if back := b64(string(head)) + "." + b64(string(tok.claims)) + "." + b64(string(tok.Signature)); back != header+"."+rest {
			t.Fatalf("%q is written %q, too", raw, back)
		}
		tok.Claims()
	})
}
