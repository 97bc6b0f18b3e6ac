package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// forge is as much of a forge as a release needs. Safe for concurrent use.
type forge struct {
	mu      sync.Mutex     // guards the following fields
	release map[string]any // what was asked for
	assets  map[string]int // name to size
	odd     []string       // requests that it does not know
}

func (f *forge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	const releases = "/repos/us/yatagarasu/releases"
	base := "http://" + r.Host
	answer := func(status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(body)
	}
	known := map[string]any{"id": 1, "html_url": base + "/1", "upload_url": base + releases + "/1/assets{?name,label}"}
	switch path := strings.TrimPrefix(r.URL.Path, "/api/v3"); {
	case r.Header.Get("Authorization") != "Bearer token-of-the-forge":
		answer(401, map[string]string{"message": "Bad credentials"})
	case path == "/rate_limit":
		answer(200, map[string]any{"resources": map[string]any{"core": map[string]int{"limit": 5000, "remaining": 5000}}})
	case r.Method == "GET" && strings.HasPrefix(path, releases+"/tags/"):
		answer(404, map[string]string{"message": "Not Found"})
	case r.Method == "POST" && path == releases || r.Method == "PATCH" && path == releases+"/1":
		if err := json.NewDecoder(r.Body).Decode(&f.release); err != nil {
			f.odd = append(f.odd, err.Error())
		}
		answer(201, known)
	case r.Method == "POST" && strings.HasSuffix(path, releases+"/1/assets"):
		n, _ := io.Copy(io.Discard, r.Body)
		f.assets[r.URL.Query().Get("name")] = int(n)
		answer(201, map[string]int{"id": 2})
	default:
		f.odd = append(f.odd, r.Method+" "+r.URL.String())
		answer(404, map[string]string{"message": "Not Found"})
	}
}

// newestVersion returns the newest version of the changelog, without a v.
func newestVersion(root string) (string, error) {
	changelog, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return "", err
	}
	newest := regexp.MustCompile(`(?m)^## \[(\d[^]]*)\]`).FindSubmatch(changelog)
	if newest == nil {
		return "", errors.New("CHANGELOG.md has no version")
	}
	return string(newest[1]), nil
}

// publishRelease publishes the last commit by `make release`, under the changelog's newest
// version and a fork's name, to a forge that is here.
func publishRelease(t *trial) error {
	version, err := newestVersion(t.root)
	if err != nil {
		return err
	}
	f := &forge{assets: make(map[string]int)}
	server := httptest.NewServer(f)
	t.atEnd(func() error { server.Close(); return nil })
	clone, err := t.clone("clone")
	if err != nil {
		return err
	}
	cmd := t.command("sh", "-ec", `
		printf '\ngithub_urls: {api: "%s/api/v3/", upload: "%s/", download: "%s/"}\n' "$2" "$2" "$2" >>.goreleaser.yaml
		git -c user.name=us -c user.email=us@localhost commit -qam "the forge is here"
		git tag "v$1"
		exec make release`, "-", version, server.URL)
	cmd.Dir = clone
	cmd.Env = append(os.Environ(), "GITHUB_TOKEN=token-of-the-forge", "GITHUB_REPOSITORY_OWNER=us", "GITHUB_REPOSITORY=us/yatagarasu", "GITHUB_REF_TYPE=")
	if _, err := t.output(cmd); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.odd) > 0 {
		return fmt.Errorf("the forge does not know %q", f.odd)
	}
	if body, _ := f.release["body"].(string); f.release["tag_name"] != "v"+version || f.release["draft"] == true || !strings.Contains(body, "\n### ") || !strings.Contains(body, "](https://github.com/us/yatagarasu/blob/v"+version+"/docs/") {
		return fmt.Errorf("the release is %.500v", f.release)
	}
	sums, err := os.ReadFile(filepath.Join(clone, "dist", "checksums.txt"))
	if err != nil {
		return err
	}
	want := []string{"checksums.txt"}
	for line := range strings.Lines(string(sums)) {
		want = append(want, strings.Fields(line)[1])
	}
	var got []string
	for name := range f.assets {
		got = append(got, name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("the release has %q, and checksums.txt %q", got, want)
	}
	t.say("version %s has %d files", version, len(got))
	return nil
}
