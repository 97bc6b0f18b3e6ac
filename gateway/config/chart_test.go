package config

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// chartOwns are the keys that the Helm chart sets itself.
var chartOwns = []string{"metrics", "server.address"}

// sameBlock are the blocks that have the keys of another.
var sameBlock = map[string]string{
	"buckets[].auth.jwt":                           "jwt",
	"buckets[].cache":                              "cache",
	"buckets[].auth.rules[].claims[]":              "jwt.claims[]",
	"buckets[].auth.rules[].claims_verification[]": "jwt.claims[]",
	"jwt.claims_verification[]":                    "jwt.claims[]",
}

// jsonSchema describes the block at path. Values may be of any type: each can be a variable.
func jsonSchema(path string) map[string]any {
	keys := make(map[string]any)
	for _, key := range grammar.Keys(path) {
		at := key
		if path != "" {
			at = path + "." + key
		}
		if slices.Contains(chartOwns, at) {
			continue
		}
		block, list := at, at+"[]"
		if same, ok := sameBlock[block]; ok {
			block = same
		}
		if same, ok := sameBlock[list]; ok {
			list = same
		}
		switch {
		case grammar.Keys(block) != nil:
			keys[key] = jsonSchema(block)
		case grammar.Keys(list) != nil:
			keys[key] = map[string]any{"type": "array", "items": jsonSchema(list)}
		default:
			keys[key] = map[string]any{}
		}
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": keys}
}

// TestChartSchema has the values of the Helm chart know the keys of the configuration. UPDATE=1
// writes them.
func TestChartSchema(t *testing.T) {
	const path = "../../deploy/helm/yatagarasu/values.schema.json"
	before := []byte(read(t, path))
	var chart struct {
		Schema     string         `json:"$schema"`
		Type       string         `json:"type"`
		Additional bool           `json:"additionalProperties"`
		Required   []string       `json:"required,omitempty"`
		Properties map[string]any `json:"properties"`
		Defs       map[string]any `json:"$defs"`
	}
	in := json.NewDecoder(bytes.NewReader(before))
	in.DisallowUnknownFields()
	if err := in.Decode(&chart); err != nil {
		t.Fatal(err)
	}
	chart.Properties["config"] = jsonSchema("")
	var after bytes.Buffer
	out := json.NewEncoder(&after)
	out.SetEscapeHTML(false)
	out.SetIndent("", " ")
	if err := out.Encode(chart); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(before, after.Bytes()) {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("%s has other keys of config than the gateway, or is not as this test writes it: run UPDATE=1 go test -run TestChartSchema ./gateway/config", path)
	}
	if err := os.WriteFile(path, after.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
