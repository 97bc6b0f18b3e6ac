package access

import "testing"

func TestIsPublic(t *testing.T) {
	a := &Auth{Enabled: true, Rules: []AuthRule{{Path: "/e"}, {Path: "/e/private", Enabled: true}, {Path: "/e/private/but"}}}
	for key, want := range map[string]bool{"e": true, "e/401.html": true, "ee/401.html": false, "x": false, "e/private": false, "e/private/x": false, "e/private/but/x": true, "e/privately": true} {
		if a.IsPublic(key) != want {
			t.Errorf("%s: %t", key, !want)
		}
	}
	if all := (&Auth{Enabled: true, Rules: []AuthRule{{Path: "/"}}}); !all.IsPublic("x") {
		t.Error("everything is public, and x is not")
	}
}
