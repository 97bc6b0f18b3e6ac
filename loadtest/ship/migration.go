package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/s3server"
)

// nginxScripts is where Debian's nginx has njs.
const nginxScripts = "/usr/lib/nginx/modules/ngx_http_js_module.so"

// migration runs nginx and the gateway, both as docs/MIGRATION.md has them, before one S3 server,
// and compares what they answer.
func migration(t *trial) error {
	if err := t.debian("nginx"); err != nil {
		return err
	}
	if _, err := os.Stat(nginxScripts); err != nil {
		if err := t.debian("libnginx-mod-http-js"); err != nil {
			return err
		}
	}
	page, err := os.ReadFile(filepath.Join(t.root, "docs", "MIGRATION.md"))
	if err != nil {
		return err
	}
	_, section, _ := strings.Cut(string(page), "## From nginx")
	blocks := make(map[string]string)
	for _, m := range regexp.MustCompile("(?ms)^```(js|nginx|yaml)\n(.*?)^```$").FindAllStringSubmatch(section, -1) {
		if blocks[m[1]] == "" {
			blocks[m[1]] = m[2]
		}
	}

	data := filepath.Join(t.dir, "s3")
	if err := os.Mkdir(data, 0o755); err != nil {
		return err
	}
	server, err := s3server.Start(t.ctx, s3server.Options{Kind: s3server.VersityGW, Dir: data, AccessKey: "migration", SecretKey: "migration-secret", Region: "eu-central-1", Log: t.log})
	if err != nil {
		return err
	}
	t.atEnd(server.Stop)
	err = server.Seed(t.ctx, "my-bucket", s3server.Object{Key: "a.txt", Body: "0123456789", ContentType: "text/plain"},
		s3server.Object{Key: "Größe (1)/it's *this*.css", Body: "body {}", ContentType: "text/css"},
		s3server.Object{Key: "large", Body: strings.Repeat("large", 1<<20)})
	if err != nil {
		return err
	}

	nginx, gateway, err := t.migrate(blocks, server)
	if err != nil {
		return err
	}
	first, err := ask(gateway, "GET", "/products/a.txt", "", "")
	if err != nil {
		return err
	}
	const unchanged = "status, body and headers"
	for _, c := range []struct {
		method, target, header, value string
		want                          string // of nginx, then of the gateway, where they differ
	}{
		{"GET", "/products/a.txt", "", "", unchanged},
		{"GET", "/products/a.txt", "", "", unchanged}, // a hit
		{"HEAD", "/products/a.txt", "", "", unchanged},
		{"GET", "/products/a.txt", "Range", "bytes=2-4", unchanged},
		{"GET", "/products/a.txt", "Range", "bytes=-3", unchanged},
		{"GET", "/products/a.txt", "If-None-Match", first.tag, unchanged},
		{"GET", "/products/a.txt", "If-None-Match", `"another"`, unchanged},
		{"GET", "/products/a.txt", "If-Modified-Since", first.modified, unchanged},
		{"GET", "/products/Gr%C3%B6%C3%9Fe%20(1)/it's%20*this*.css", "", "", unchanged},
		{"GET", "/products/Gr%c3%b6%C3%9fe%20%281%29/it%27s%20%2Athis%2a.css", "", "", unchanged},
		{"GET", "/products/large", "", "", unchanged},
		{"GET", "/products/absent", "", "", "404 404"},
		{"GET", "/elsewhere", "", "", "404 404"},
		{"GET", "/products/a.txt", "Range", "bytes=20-", "416 416"},
		{"GET", "/products/a.txt", "If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT", "200 304"},
		{"POST", "/products/a.txt", "", "", "403 405"},
	} {
		name := strings.TrimSpace(c.method + " " + c.target + " " + c.header)
		theirs, err := ask(nginx, c.method, c.target, c.header, c.value)
		if err != nil {
			return err
		}
		ours, err := ask(gateway, c.method, c.target, c.header, c.value)
		if err != nil {
			return err
		}
		if c.want == unchanged && (theirs != ours || theirs.status >= 400) {
			return fmt.Errorf("%s: nginx answers %.300q, the gateway %.300q", name, fmt.Sprint(theirs), fmt.Sprint(ours))
		}
		if got := fmt.Sprint(theirs.status, ours.status); c.want != unchanged && got != c.want {
			return fmt.Errorf("%s: nginx and the gateway answer %s, not %s", name, got, c.want)
		}
		if c.target == "/products/absent" && (!strings.Contains(theirs.body, "NoSuchKey") || !strings.Contains(ours.body, `"error":"not_found"`)) {
			return fmt.Errorf("%s: nginx says %q, the gateway %q", name, theirs.body, ours.body)
		}
	}
	for url, want := range map[string]int{nginx: 503, gateway: 429} {
		got := clientView{status: 200}
		for n := 0; n < 1000 && got.status == 200; n++ { // both allow a hundred, and fifty a second
			if got, err = ask(url, "GET", "/products/a.txt", "", ""); err != nil {
				return err
			}
		}
		if got.status != want {
			return fmt.Errorf("beyond the rate, %s answers %d, not %d", url, got.status, want)
		}
	}
	return nil
}

// migrate starts nginx and the gateway with the page's blocks, in which only places are
// replaced, and returns their URLs.
func (t *trial) migrate(blocks map[string]string, server *s3server.Server) (nginx, gateway string, err error) {
	var ports [2]int
	for i := range ports {
		if ports[i], err = port.Reserve(); err != nil {
			return "", "", err
		}
	}
	s3 := strings.TrimPrefix(server.Endpoint(), "http://")
	host := regexp.MustCompile(`host = '(.*?)'`).FindStringSubmatch(blocks["js"])
	if host == nil {
		return "", "", errors.New("docs/MIGRATION.md has no script with a host of S3")
	}
	aws := host[1]
	files := map[string]string{
		"sign.js":    strings.ReplaceAll(blocks["js"], aws, s3),
		"nginx.conf": strings.NewReplacer("https://"+aws, server.Endpoint(), aws, s3, "listen 8080", "listen "+port.Address(ports[0]), "/var/cache/nginx/s3", filepath.Join(t.dir, "cache")).Replace(blocks["nginx"]),
		"gateway.yaml": strings.NewReplacer("0.0.0.0:8080", port.Address(ports[1]), "region: \"eu-central-1\"", fmt.Sprintf("region: \"eu-central-1\"\n      endpoint: %q", server.Endpoint())).
			Replace(blocks["yaml"]),
	}
	for name, text := range files {
		if text == "" {
			return "", "", fmt.Errorf("docs/MIGRATION.md has no block for %s", name)
		}
		if err := os.WriteFile(filepath.Join(t.dir, name), []byte(text), 0o644); err != nil {
			return "", "", err
		}
	}
	for _, args := range [][]string{
		{"/usr/sbin/nginx", "-p", t.dir, "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off; master_process off; pid nginx.pid;"},
		{filepath.Join(t.root, "bin", "yatagarasu"), "-config", filepath.Join(t.dir, "gateway.yaml")},
	} {
		cmd := t.command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=migration", "AWS_SECRET_ACCESS_KEY=migration-secret")
		if _, err := t.start(cmd); err != nil {
			return "", "", err
		}
	}
	nginx, gateway = "http://"+port.Address(ports[0]), "http://"+port.Address(ports[1])
	for _, url := range []string{nginx, gateway} {
		if err := t.eventually(10*time.Second, func() error { _, err := ask(url, "GET", "/", "", ""); return err }); err != nil {
			return "", "", err
		}
	}
	return nginx, gateway, nil
}

// clientView is what a client gets, and should get from either.
type clientView struct {
	status                                     int
	body, tag, kind, modified, length, ofRange string
}

// ask sends a request with at most one header.
func ask(base, method, target, header, value string) (clientView, error) {
	r, err := http.NewRequest(method, base+target, nil)
	if err != nil {
		return clientView{}, err
	}
	if header != "" {
		r.Header.Set(header, value)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		return clientView{}, err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	h := got.Header
	return clientView{got.StatusCode, string(body), h.Get("ETag"), h.Get("Content-Type"), h.Get("Last-Modified"), h.Get("Content-Length"), h.Get("Content-Range")}, err
}
