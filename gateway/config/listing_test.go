package config

import (
	"reflect"
	"strings"
	"testing"

	"yatagarasu/gateway/config/site"
)

func TestListing(t *testing.T) {
	for name, c := range map[string]struct {
		block string
		want  site.Listing
	}{
		"absent":           {"", site.Listing{}},
		"off":              {"listing: { enabled: false, paths: [/pub], page_size: 5 }", site.Listing{}},
		"defaults":         {"listing: { enabled: true }", site.Listing{Enabled: true, Formats: []string{"html", "json"}, PageSize: 1000}},
		"one format":       {"listing: { enabled: true, formats: [json] }", site.Listing{Enabled: true, Formats: []string{"json"}, PageSize: 1000}},
		"paths are tidied": {"listing: { enabled: true, paths: [/pub/, /] }", site.Listing{Enabled: true, Formats: []string{"html", "json"}, PageSize: 1000, Paths: []string{"/pub", "/"}}},
		"one path":         {"listing: { enabled: true, paths: /pub, formats: json }", site.Listing{Enabled: true, Formats: []string{"json"}, PageSize: 1000, Paths: []string{"/pub"}}},
		"one pattern":      {"listing: { enabled: true, hide: .* }", site.Listing{Enabled: true, Formats: []string{"html", "json"}, PageSize: 1000, Hide: []string{".*"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseString(nameFile("a") + "    " + c.block + "\n")
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.Buckets[0].Listing, c.want) || len(got.Warnings) > 0 {
				t.Errorf("got %+v, warnings %v", got.Buckets[0].Listing, got.Warnings)
			}
		})
	}
}

// TestListingWithoutLeave warns of a listing for a credential that, as the file says, may not
// list.
func TestListingWithoutLeave(t *testing.T) {
	for status, warnings := range map[string]int{"403": 0, "404": 1} {
		file := strings.Replace(nameFile("a"), "s3: {", "s3: { access_denied: "+status+",", 1)
		got, err := parseString(file + "    listing: { enabled: true }\n")
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Warnings) != warnings || warnings > 0 && !strings.Contains(got.Warnings[0].Error(), "buckets[0].listing: will hardly list anything") {
			t.Errorf("access_denied %s: %v", status, got.Warnings)
		}
	}
}
