package auth

import "testing"

// TestReader has a reader judge each key as Authorize does, in any order.
func TestReader(t *testing.T) {
	p := newPolicy(t, hs256("claims: [{claim: sub, operator: exists, value: true}]\n")+`
rules:
  - {path: /open, enabled: false}
  - {path: /open/red, claims: [{claim: team, operator: equals, value: red}]}
  - {path: /home, claims: [{claim: team, operator: equals, value: "${path.1}"}]}
`)
	keys := []string{"open/x", "a", "open/red/x", "home/red/x", "home/blue/x", "home", "open//red", "", "open"}
	for name, token := range map[string]string{
		"none": "", "no token": "junk", "expired": handmade(plainHeader, `{"sub":"a","exp":1}`), "badly signed": badlySigned(valid("")), "without the claim": handmade(plainHeader, `{"exp":9999999999}`),
		"red": valid(`"team":"red"`), "blue": valid(`"team":"blue"`), "no team": valid(""),
	} {
		reader := p.NewReader(request(token, ""))
		for _, key := range append(keys, keys...) {
			want := p.Authorize(request(token, key)).Reason == Allowed
			if got := reader.Reads([]byte(key)); got != want {
				t.Errorf("%s: %q: %t, want %t", name, key, got, want)
			}
		}
	}
}

// TestReaderUnsure has the issuer of a token away: that is told, and nothing is left out as if the
// client might not read it.
func TestReaderUnsure(t *testing.T) {
	j := newJudge(t)
	j.fail(503)
	p := j.policy(t, nil)
	for token, want := range map[string]Reason{"": Allowed, "a b": Allowed, "opaque": IssuerUnavailable} {
		reader := p.NewReader(request(token, ""))
		if v := reader.LookUp(); v.Reason != want || v != reader.LookUp() {
			t.Errorf("%q: %s, want %s", token, v.Reason, want)
		}
		if reader.Reads([]byte("x")) {
			t.Errorf("%q reads", token)
		}
	}
	if j.lookUps("opaque") != 1 {
		t.Errorf("%d look-ups", j.lookUps("opaque"))
	}
}
