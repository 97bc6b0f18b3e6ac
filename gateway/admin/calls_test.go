package admin

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestAdminDocs has the documentation list every call.
func TestAdminDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/ADMIN.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range routes {
		if !strings.Contains(string(text), "| `"+c.method+" "+c.path+"` |") {
			t.Errorf("docs/ADMIN.md lacks %s %s", c.method, c.path)
		}
	}
}

func TestMatchAdminPath(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		args          []string
		ok            bool
	}{
		{"/a/b", "/a/b", nil, true},
		{"/a/b", "/a", nil, false},
		{"/a", "/a/b", nil, false},
		{"/a/{x}", "/a/b", []string{"b"}, true},
		{"/a/{x}", "/a/", nil, false},
		{"/a/{x}", "/a/b/c", nil, false},
		{"/a/{x}/{y...}", "/a/b/c/d//e/", []string{"b", "c/d//e/"}, true},
		{"/a/{x}/{y...}", "/a/b/", nil, false},
		{"/a/{x}/{y...}", "/a/b", nil, false},
	} {
		args, ok := matchPath(c.pattern, c.path)
		if ok != c.ok || ok && fmt.Sprint(args) != fmt.Sprint(c.args) {
			t.Errorf("%s, %s: %q, %v", c.pattern, c.path, args, ok)
		}
	}
}
