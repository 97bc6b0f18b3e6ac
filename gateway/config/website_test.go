package config

import (
	"strings"
	"testing"

	"yatagarasu/gateway/config/site"
)

const siteHead = "buckets:\n  - name: a\n    path_prefix: /a\n    s3: { bucket: bbb, region: r, access_key: a, secret_key: s }\n"

// TestWebsiteDefaults has what a site gets that its file does not say.
func TestWebsiteDefaults(t *testing.T) {
	for lines, want := range map[string]site.Website{
		"website: { index: i.html }":                                     {Index: "i.html", TrailingSlash: "redirect"},
		"website: { index: i.html, trailing_slash: off }":                {Index: "i.html", TrailingSlash: "off"},
		"website: { spa: { fallback: app } }":                            {SPA: site.SPA{Fallback: "app"}},
		"website: { spa: { fallback: app, assets: /x/ } }":               {SPA: site.SPA{Fallback: "app", Assets: []string{"/x"}}},
		"website: { redirects: [{ from: /a, to: /b }] }":                 {Redirects: []site.Redirect{{From: "/a", To: "/b", Status: 301}}},
		"website: { redirects: [{ from: /a, to: /b, status: 307 }] }":    {Redirects: []site.Redirect{{From: "/a", To: "/b", Status: 307}}},
		"website: { error_documents: [{ status: 403, key: a/b.html }] }": {ErrorDocuments: []site.ErrorDocument{{Status: 403, Key: "a/b.html"}}},
	} {
		c, err := parseString(siteHead + "    " + lines + "\n")
		if err != nil {
			t.Errorf("%s: %v", lines, err)
			continue
		}
		got, asked := c.Buckets[0].Website, &Config{Buckets: []Bucket{{Site: site.Site{Website: want}}}}
		if dump(&Config{Buckets: []Bucket{{Site: site.Site{Website: got}}}}) != dump(asked) {
			t.Errorf("%s: %+v, want %+v", lines, got, want)
		}
	}
}

// TestFallbackAdvice warns where each link of an application is a request to S3.
func TestFallbackAdvice(t *testing.T) {
	for lines, want := range map[string]int{
		"website: { spa: { fallback: app } }\n    cache: { enabled: true }":                   1,
		"website: { spa: { fallback: app } }\n    cache: { enabled: true, negative_ttl: 1s }": 0,
		"website: { spa: { fallback: app } }\n    cache: { enabled: false }":                  0,
		"website: { spa: { fallback: app } }":                                                 0,
		"website: { index: app }\n    cache: { enabled: true }":                               0,
	} {
		c, err := parseString(siteHead + "    " + lines + "\n")
		if err != nil || len(c.Warnings) != want {
			t.Errorf("%s: %v, %v", lines, c.Warnings, err)
		} else if want > 0 && c.Warnings[0].Error() != "test.yaml:5:23: buckets[0].website.spa: has the origin asked at each request for a page of the application, as that there is no such object is not remembered; set cache.negative_ttl, such as 10s" {
			t.Error(c.Warnings[0])
		}
	}
}

// TestSlashAdvice warns of a rule that takes the slash of a folder away.
func TestSlashAdvice(t *testing.T) {
	for website, want := range map[string]int{
		`index: i.html, redirects: [{ from: "/docs/", to: "/docs" }]`:                        1,
		`index: i.html, redirects: [{ from: "/docs/*", to: "/docs" }]`:                       1,
		`index: i.html, redirects: [{ from: "/docs/", to: "/docs" }], trailing_slash: serve`: 0,
		`redirects: [{ from: "/docs/", to: "/docs" }]`:                                       0,
		`index: i.html, redirects: [{ from: "/*.htm", to: "/*.html" }]`:                      0,
		`index: i.html, redirects: [{ from: "/a", to: "/docs" }]`:                            0,
		`index: i.html, redirects: [{ from: "/a/", to: "https://example.com/a" }]`:           0,
	} {
		c, err := parseString(siteHead + "    website: { " + website + " }\n")
		if err != nil || len(c.Warnings) != want {
			t.Errorf("%s: %v, %v", website, c, err)
		}
	}
}

// TestSiteAdvice warns of rules that hardly meet what they are meant for, and of origins that
// anybody can have.
func TestSiteAdvice(t *testing.T) {
	for lines, want := range map[string]string{
		`headers: [{ match: { path: "/a/x" }, set: { X: y } }]`:                                            `headers[0].match.path: begins with path_prefix, below which it is already; leave path_prefix out of it`,
		`headers: [{ match: { path: "/ab/*" }, set: { X: y } }]`:                                           "",
		`listing: { enabled: true, paths: [/x, /a] }`:                                                      `listing.paths[1]: begins with path_prefix, below which it is already; leave path_prefix out of it`,
		`headers: [{ match: { content_type: text/html }, set: { X: y }, when: always }]`:                   `headers[0].match.content_type: is never met by errors, which have no type; leave out when: always, or the type`,
		`headers: [{ match: { content_type: text/html }, set: { X: y }, when: success }]`:                  "",
		`headers: [{ match: { path: /x }, set: { X: y }, when: always }]`:                                  "",
		`cors: { origins: "https://*.com" }`:                                                               `cors.origins: is for every site with this ending; name the sites, such as https://*.example.com`,
		`cors: { origins: ["https://*.example.com", "null"] }`:                                             "",
		"headers: [{ match: { content_type: text/html }, set: { X: y }, when: always }]\n    " + documents: "",
	} {
		c, err := parseString(siteHead + "    " + lines + "\n")
		if err != nil {
			t.Errorf("%s: %v", lines, err)
			continue
		}
		var got string
		for _, w := range c.Warnings {
			got += strings.TrimPrefix(w.Path, "buckets[0].") + ": " + w.Problem + "; " + w.Fix
		}
		if got != want {
			t.Errorf("%s: %q, want %q", lines, got, want)
		}
	}
}

// documents is a website whose errors have a type.
const documents = "website: { error_documents: [{ status: 404, key: 404.html }] }"
