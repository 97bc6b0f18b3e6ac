package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
)

// freeValues are those below which users write what they like.
var freeValues = map[string]bool{"config": true, "resources": true, "dashboard.labels": true}

// documented is a row of the table of values.
var documented = regexp.MustCompile("(?m)^\\| `([\\w.]+)` \\| `([^`]*)` \\|")

// chartDocs has the page list the chart's values with their defaults, and no others.
func chartDocs(values, page string) error {
	text, err := os.ReadFile(values)
	if err != nil {
		return err
	}
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return err
	}
	defaults := make(map[string]string)
	if err := flatten(defaults, "", tree); err != nil {
		return err
	}
	if text, err = os.ReadFile(page); err != nil {
		return err
	}
	for _, row := range documented.FindAllStringSubmatch(string(text), -1) {
		name, said := row[1], row[2]
		if is, ok := defaults[name]; !ok || is != said {
			return fmt.Errorf("%s says that the value %s is %s by default; values.yaml says %q", page, name, said, is)
		}
		delete(defaults, name)
	}
	for name, is := range defaults {
		return fmt.Errorf("%s has no row for the value %s, default %s", page, name, is)
	}
	return nil
}

// flatten puts the leaves of tree, as JSON, into leaves.
func flatten(leaves map[string]string, prefix string, tree map[string]any) error {
	for key, value := range tree {
		name := prefix + key
		if below, ok := value.(map[string]any); ok && len(below) > 0 && !freeValues[name] {
			if err := flatten(leaves, name+".", below); err != nil {
				return err
			}
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		leaves[name] = strings.ReplaceAll(string(text), `,"`, `, "`)
	}
	return nil
}

// valuesBlock is an example of values on a page.
var valuesBlock = regexp.MustCompile("(?ms)^( *)```yaml\n(.*?)^ *```$")

// chartExamples writes the examples of values on the page into folder, and returns their files.
func chartExamples(page, folder string) (files []string, err error) {
	text, err := os.ReadFile(page)
	if err != nil {
		return nil, err
	}
	for i, block := range valuesBlock.FindAllStringSubmatch(string(text), -1) {
		values := strings.TrimPrefix(strings.ReplaceAll("\n"+block[2], "\n"+block[1], "\n"), "\n")
		file := filepath.Join(folder, fmt.Sprintf("example-%d.yaml", i+1))
		if err := os.WriteFile(file, []byte(values), 0o644); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	if len(files) < 2 {
		return nil, fmt.Errorf("%s has only %d examples of values", page, len(files))
	}
	return files, nil
}
