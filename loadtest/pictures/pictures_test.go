package main

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPicturesAreCurrent has the committed pictures show the figures of docs/PERFORMANCE.md.
func TestPicturesAreCurrent(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "PERFORMANCE.md"))
	if err != nil {
		t.Fatal(err)
	}
	for scheme := range colours {
		want, err := draw(string(page), scheme)
		if err != nil {
			t.Fatal(err)
		}
		have, err := os.ReadFile(filepath.Join(root, picture(scheme)))
		if err != nil || string(have) != string(want) {
			t.Errorf("%s is not what docs/PERFORMANCE.md says, %v; draw it by: make pictures", picture(scheme), err)
		}
		parser := xml.NewDecoder(strings.NewReader(string(want)))
		for err == nil {
			_, err = parser.Token()
		}
		if err != io.EOF {
			t.Error(err)
		}
	}
}

func TestRead(t *testing.T) {
	const line = "| hit 1 KB | gateway | %s | 0.83 | 0.75-0.95 | 1.10 / 1.00 | goal met | 1 | 2 | 3 |\n"
	against := func(who string) string { return strings.Replace(line, "%s", who, 1) }
	all, err := read("text\n" + against("against") + against("fasthttp handler") + against("nginx") + against("HAProxy"))
	if err != nil || len(all) != 1 || len(all[0].ratios) != 2 || all[0].ratios[1] != (ratio{"HAProxy", 0.83, 0.75, 0.95}) {
		t.Errorf("%+v, %v", all, err)
	}
	for name, page := range map[string]string{
		"no table": "text", "a range that is none": strings.Replace(against("nginx"), "0.75-0.95", "0.75", 1), "no ratio": strings.Replace(against("nginx"), "0.83", "fast", 1),
	} {
		if all, err := read(page); err == nil {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

// TestClaim has the table bear out what README.md says of it: less CPU time than nginx and HAProxy
// but for small misses, the loss that the page explains first, and a tie that it tells of.
func TestClaim(t *testing.T) {
	const claim, loss = "mostly less CPU time than nginx and HAProxy as they come", "### Where the gateway loses, and why\n\n- **Misses of small objects.**"
	const tie = "- **Streams of 100 KB** cost as much as HAProxy's."
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil || !strings.Contains(string(readme), claim) {
		t.Fatalf("README.md does not say %q any more, %v: hold here what it says", claim, err)
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "PERFORMANCE.md"))
	if err != nil || !strings.Contains(string(page), loss) {
		t.Fatalf("docs/PERFORMANCE.md has no %q, %v", loss, err)
	}
	works, err := read(string(page))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range works {
		for _, r := range w.ratios {
			said := w.name == "stream 100 KB" && r.against == "HAProxy" && r.value == 1 && strings.Contains(string(page), tie)
			if loses := r.value >= 1 && !said; r.against != "Varnish" && loses != strings.HasPrefix(w.name, "miss 1 KB") {
				t.Errorf("%s: %.2f of the CPU time of %s; README.md and the page say otherwise", w.name, r.value, r.against)
			}
		}
	}
}
