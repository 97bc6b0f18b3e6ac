package cache

import (
	"strings"
	"testing"
)

func TestAudience(t *testing.T) {
	for line, settled := range map[string]bool{
		"": false, "max-age=60": false, "no-transform": false, "no-store": false, "no-cache": false, "must-revalidate": false, "immutable, max-age=31536000": false, "stale-while-revalidate=9": false,

		"public": true, "PUBLIC": true, "max-age=60, public": true, ", public ,": true, "public, public=1": true,
		"public=1": false, "public=": false, `public=""`: false, "public;max-age=1": false, "publics": false, `x="public"`: false, `x="a, public"`: false, `x="a\", public"`: false, `x="a\\", public`: true,

		"s-maxage=60": true, "S-MaxAge=0": true, `s-maxage="60"`: true, "s-maxage=99999999999999999999": true,
		"s-maxage": false, "s-maxage=": false, "s-maxage=soon": false, "s-maxage=-1": false, "s-maxage 60": false, "s-maxage=60;": false,

		"private": true, "max-age=60, Private": true, "private, public": true,
		`private="x"`: false, `private="x, y", max-age=1`: false, "private=x": false, `private=""`: false, `private="x", private`: true, `private="x", public`: true,

		`x="a, public`: false, `x="a, private`: false, `x"a, public, b"`: false, `public, x="`: false, `x="a" b", public`: false, `max-age="60"0, s-maxage=5`: false,
	} {
		var a Audience
		a.Add([]byte(line))
		if a.Settled() != settled {
			t.Errorf("%s: settled: %t; %+v", line, !settled, a)
		}
	}
	var several Audience
	for _, line := range strings.Split("max-age=60|no-transform|s-maxage=9", "|") {
		if several.Settled() {
			t.Errorf("before %s", line)
		}
		several.Add([]byte(line))
	}
	if !several.Settled() {
		t.Error("the last line does not count")
	}
}
