package cache

import (
	"math/big"
	"regexp"
	"strings"
	"testing"
)

// control parses lines of Cache-Control.
func control(lines ...string) (c Control) {
	c.Reset()
	for _, line := range lines {
		ParseControl(&c, []byte(line))
	}
	return c
}

// with returns the control without directives, changed.
func with(change func(*Control)) (c Control) {
	c.Reset()
	if change != nil {
		change(&c)
	}
	return c
}

func TestParseControl(t *testing.T) {
	const most = MaxSeconds
	maxAge := func(n int64) Control { return with(func(c *Control) { c.MaxAge = n }) }
	minFresh := func(n int64) Control { return with(func(c *Control) { c.MinFresh = n }) }
	maxStale := func(n int64) Control { return with(func(c *Control) { c.MaxStale = n }) }
	none, noStore := with(nil), with(func(c *Control) { c.NoStore = true })
	noCache, private := with(func(c *Control) { c.NoCache = true }), with(func(c *Control) { c.Private = true })

	for _, tc := range []struct {
		name  string
		lines []string
		want  Control
	}{
		{"no line", nil, none},
		{"empty line", []string{""}, none},
		{"commas and whitespace", []string{" ,\t, ,"}, none},

		{"no-store", []string{"no-store"}, noStore},
		{"no-cache", []string{"no-cache"}, noCache},
		{"private", []string{"private"}, private},
		{"public", []string{"public"}, none},
		{"must-revalidate", []string{"must-revalidate"}, with(func(c *Control) { c.MustRevalidate = true })},
		{"proxy-revalidate", []string{"proxy-revalidate"}, with(func(c *Control) { c.ProxyRevalidate = true })},
		{"immutable", []string{"immutable"}, none},
		{"immutable with an argument, which has no meaning", []string{"immutable=0"}, none},
		{"no-transform", []string{"no-transform"}, none},
		{"only-if-cached", []string{"only-if-cached"}, with(func(c *Control) { c.OnlyIfCached = true })},
		{"max-age", []string{"max-age=60"}, maxAge(60)},
		{"s-maxage", []string{"s-maxage=60"}, with(func(c *Control) { c.SMaxAge = 60 })},
		{"stale-while-revalidate", []string{"stale-while-revalidate=60"}, with(func(c *Control) { c.StaleWhileRevalidate = 60 })},
		{"stale-if-error", []string{"stale-if-error=60"}, with(func(c *Control) { c.StaleIfError = 60 })},
		{"min-fresh", []string{"min-fresh=60"}, minFresh(60)},
		{"max-stale", []string{"max-stale=60"}, maxStale(60)},
		{"max-stale without an argument is without bound", []string{"max-stale"}, maxStale(most)},

		{"any case", []string{"MAX-Age=60"}, maxAge(60)},
		{"unknown directives are ignored", []string{`max-ages=1, x-max-age=2, foo, bar="max-age=3, no-store", max-age=60`}, maxAge(60)},
		{"an unknown directive of any length is ignored", []string{strings.Repeat("no-store", 50)}, none},
		{"another name that begins alike", []string{"no-store-x, no-cached, privates"}, none},
		{"list with empty elements and whitespace", []string{",, \tno-store\t ,max-age=60 , "}, with(func(c *Control) { c.NoStore, c.MaxAge = true, 60 })},
		{"several lines", []string{"max-age=60", "no-store"}, with(func(c *Control) { c.NoStore, c.MaxAge = true, 60 })},

		{"quoted number", []string{`max-age="60"`}, maxAge(60)},
		{"quoted number with an escape", []string{`max-age="6\0"`}, maxAge(0)},
		{"quoted nothing", []string{`max-age=""`}, maxAge(0)},
		{"text behind a quoted number", []string{`max-age="60"0`}, maxAge(0)},
		{"quote that is not closed", []string{`max-age="60, no-store`}, with(func(c *Control) { c.NoStore, c.MaxAge = true, 0 })},
		{"quote that ends in an escape", []string{`foo="\", no-store`}, noStore},
		{"quote alone", []string{`max-age="`}, maxAge(0)},
		{"comma and escaped quote within a quote", []string{`foo="a\", no-store", max-age=60`}, maxAge(60)},
		{"quote away from an argument's start quotes nothing", []string{`foo"a, no-store, b"`}, noStore},

		{"no-cache with fields", []string{`no-cache="Set-Cookie, X-A"`}, noCache},
		{"private with fields", []string{`private="Set-Cookie, X-A"`}, private},
		{"private with a field as a token", []string{`private=Set-Cookie`}, private},
		{"private with an empty list", []string{`private=""`}, private},
		{"private with fields that are not closed", []string{`private="Set-Cookie`}, private},
		{"no-store with an argument stands", []string{"no-store=1"}, noStore},
		{"no-store with an empty argument stands", []string{"no-store="}, noStore},
		{"semicolon instead of a comma", []string{"private; max-age=60"}, private},
		{"semicolon behind a number", []string{"max-age=60; no-store"}, maxAge(0)},

		{"number with leading zeros", []string{"max-age=0060"}, maxAge(60)},
		{"largest number", []string{"max-age=2147483648"}, maxAge(most)},
		{"overflow saturates", []string{"max-age=2147483649"}, maxAge(most)},
		{"overflow of 64 bits saturates", []string{"max-age=99999999999999999999999"}, maxAge(most)},
		{"max-stale saturates", []string{"max-stale=99999999999999999999999"}, maxStale(most)},
		{"no argument is stale", []string{"max-age"}, maxAge(0)},
		{"empty argument is stale", []string{"max-age="}, maxAge(0)},
		{"negative is stale", []string{"max-age=-1"}, maxAge(0)},
		{"sign is stale", []string{"max-age=+1"}, maxAge(0)},
		{"fraction is stale", []string{"max-age=1.5"}, maxAge(0)},
		{"exponent is stale", []string{"max-age=1e3"}, maxAge(0)},
		{"unit is stale", []string{"max-age=60s"}, maxAge(0)},
		{"other digits are stale", []string{"max-age=٣"}, maxAge(0)},
		{"whitespace before = is stale", []string{"max-age =60"}, maxAge(0)},
		{"whitespace behind = is stale", []string{"max-age= 60"}, maxAge(0)},
		{"space instead of = is stale", []string{"max-age 60"}, maxAge(0)},
		{"colon instead of = is stale", []string{"max-age:60"}, maxAge(0)},
		{"invalid s-maxage is stale", []string{"s-maxage=x, max-age=60"}, with(func(c *Control) { c.SMaxAge, c.MaxAge = 0, 60 })},
		{"invalid stale-while-revalidate is none", []string{"stale-while-revalidate"}, with(func(c *Control) { c.StaleWhileRevalidate = 0 })},
		{"invalid stale-if-error is none", []string{"stale-if-error=x"}, with(func(c *Control) { c.StaleIfError = 0 })},
		{"invalid min-fresh asks for the most", []string{"min-fresh"}, minFresh(most)},
		{"invalid max-stale accepts nothing", []string{"max-stale=x"}, maxStale(0)},
		{"empty max-stale accepts nothing", []string{"max-stale="}, maxStale(0)},

		{"same number twice", []string{"max-age=60, max-age=060"}, maxAge(60)},
		{"two numbers are stale", []string{"max-age=60, max-age=61"}, maxAge(0)},
		{"two numbers in two lines are stale", []string{"max-age=60", "max-age=61"}, maxAge(0)},
		{"two numbers and one again are stale", []string{"max-age=60, max-age=61, max-age=60"}, maxAge(0)},
		{"a number and an invalid one are stale", []string{"max-age=x, max-age=60"}, maxAge(0)},
		{"two min-fresh ask for the most", []string{"min-fresh=1, min-fresh=2, min-fresh=1"}, minFresh(most)},
		{"max-stale with and without a bound accepts nothing", []string{"max-stale, max-stale=5"}, maxStale(0)},

		{"= alone", []string{"=60, =, ="}, none},
		{"no name", []string{`="no-store", "no-cache"`}, none},
		{"control bytes", []string{"\x00no-store, no-store\x00"}, noStore},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := control(tc.lines...); got != tc.want {
				t.Errorf("%q:\n got %+v\nwant %+v", tc.lines, got, tc.want)
			}
		})
	}
}

func TestControlZeroValueIsNeverFresh(t *testing.T) {
	var c Control
	ParseControl(&c, []byte("max-age=60, s-maxage=60"))
	if c.MaxAge != 0 || c.SMaxAge != 0 {
		t.Errorf("without Reset: %+v", c)
	}
}

func TestParsePragma(t *testing.T) {
	for value, want := range map[string]bool{
		"":                    false,
		"no-cache":            true,
		"No-Cache":            true,
		`a="b, c", no-cache`:  true,
		"no-cache=1":          true,
		`a="no-cache"`:        false,
		"no-cached, no-store": false,
	} {
		var c Control
		c.Reset()
		ParsePragma(&c, []byte(value))
		if c != with(func(c *Control) { c.NoCache = want }) {
			t.Errorf("%q: %+v", value, c)
		}
	}
}

var (
	naiveElement   = regexp.MustCompile(`(?s)^(?:[^,=]*="(?:[^"\\]|\\.)*"[^,]*|[^,]*)`)
	naiveDirective = regexp.MustCompile("(?s)^([-!#$%&'*+.^_`|~0-9A-Za-z]*)(.*)$")
	naiveQuoted    = regexp.MustCompile(`(?s)^"((?:[^"\\]|\\.)*)"$`)
	naiveNumber    = regexp.MustCompile(`^[0-9]+$`)
)

// parseControlNaive is the model: first it collects the arguments of each name
// by regular expressions, then it judges them, whatever their order.
func parseControlNaive(lines ...string) (c Control) {
	type argument struct {
		text   string
		absent bool
	}
	args := map[string][]argument{}
	for _, line := range lines {
		for {
			element := naiveElement.FindString(line)
			m := naiveDirective.FindStringSubmatch(strings.Trim(element, " \t"))
			name, arg := strings.ToLower(m[1]), argument{text: "no number", absent: m[2] == ""}
			if text, ok := strings.CutPrefix(m[2], "="); ok {
				arg.text = text
				if q := naiveQuoted.FindStringSubmatch(text); q != nil {
					arg.text = q[1]
				}
			}
			args[name] = append(args[name], arg)
			if line = line[len(element):]; line == "" {
				break
			}
			line = line[1:]
		}
	}
	number := func(name string, worst int64) int64 {
		n := int64(-1)
		for _, arg := range args[name] {
			this := worst
			if arg.absent && name == "max-stale" {
				this = MaxSeconds
			} else if naiveNumber.MatchString(arg.text) {
				b, _ := new(big.Int).SetString(arg.text, 10)
				if this = MaxSeconds; b.Cmp(big.NewInt(MaxSeconds)) < 0 {
					this = b.Int64()
				}
			} else {
				return worst
			}
			if n >= 0 && n != this {
				return worst
			}
			n = this
		}
		return n
	}
	has := func(name string) bool { return len(args[name]) > 0 }
	return Control{
		NoStore: has("no-store"), NoCache: has("no-cache"), Private: has("private"),
		MustRevalidate: has("must-revalidate"), ProxyRevalidate: has("proxy-revalidate"),
		OnlyIfCached: has("only-if-cached"),
		MaxAge:       number("max-age", 0), SMaxAge: number("s-maxage", 0),
		StaleWhileRevalidate: number("stale-while-revalidate", 0), StaleIfError: number("stale-if-error", 0),
		MinFresh: number("min-fresh", MaxSeconds), MaxStale: number("max-stale", 0),
	}
}

func FuzzParseControl(f *testing.F) {
	for _, v := range []string{
		"", "no-store", "public, max-age=60, stale-while-revalidate=5, stale-if-error=7, immutable",
		`private="a, b", no-cache="c\"d", s-maxage="60"`, "max-stale, max-stale=5, min-fresh=x, only-if-cached, no-transform",
		`max-age="60, must-revalidate ;proxy-revalidate`, `foo="a\", no-store`, "max-age=99999999999999999999, max-age = 3",
	} {
		f.Add(v, "max-age=60")
		f.Add("max-stale=1, min-fresh=2", v)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if got, want := control(a, b), parseControlNaive(a, b); got != want {
			t.Fatalf("%q, %q:\n  got %+v\nmodel %+v", a, b, got, want)
		}
	})
}
