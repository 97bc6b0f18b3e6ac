package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// standIn is what takes the place of an image that is not ours, as no registry is asked: the same
// programs, from this machine, under the image's name.
type standIn struct {
	of       string   // the image, without its version
	programs []string // by their names in the image, which has a shell as well
	setup    string   // commands in the image's root
	changes  []string // Dockerfile lines
}

// standIns are for the images of deploy/compose.
var standIns = []standIn{
	{"quay.io/minio/minio", []string{"/usr/bin/minio", "/usr/bin/mc"}, "mkdir data", []string{`ENTRYPOINT ["/usr/bin/minio"]`}},
	{"prom/prometheus", []string{"/bin/prometheus"}, "mkdir prometheus && chown 65534:65534 prometheus",
		[]string{"USER 65534", "VOLUME /prometheus", `ENTRYPOINT ["/bin/prometheus"]`, `CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]`}},
	{"haproxy", []string{"/usr/local/sbin/haproxy"}, "",
		[]string{"USER 99", `CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]`}},
	{"valkey/valkey", []string{"/usr/local/bin/redis-server", "/usr/local/bin/redis-cli"},
		"mkdir -p data usr/local/bin && ln -s redis-server usr/local/bin/valkey-server && ln -s redis-cli usr/local/bin/valkey-cli", nil},
	// No Grafana is to be had. What takes its place sees the same files and network, and says that it is well.
	{"grafana/grafana", nil, "mkdir -p var/lib/grafana www/api && touch www/api/health && chown 472 var/lib/grafana",
		[]string{"USER 472", `CMD ["busybox", "httpd", "-f", "-p", "3000", "-h", "/www"]`}},
}

// standInFor makes the stand-in for an image.
func (e *engine) standInFor(image string) error {
	of, _, _ := strings.Cut(image, ":")
	for _, s := range standIns {
		if s.of != of {
			continue
		}
		root := filepath.Join(e.dir, strings.ReplaceAll(of, "/", "-"))
		script := `mkdir -p bin tmp etc && chmod 1777 tmp && cp "$(command -v busybox)" bin/busybox
			for a in sh ls cat wget; do ln -s busybox bin/$a; done
			` + s.setup + "\n"
		for _, program := range s.programs {
			script += fmt.Sprintf("program %s %s\n", filepath.Base(program), filepath.Dir(program))
		}
		for _, change := range s.changes {
			script += fmt.Sprintf("set -- \"$@\" -c '%s'\n", change)
		}
		if err := os.Mkdir(root, 0o755); err != nil {
			return err
		}
		// A program comes with the libraries that it is linked with.
		return e.run("sh", "-ec", fmt.Sprintf(`cd %s; PATH=%s:$PATH
			program() {
				mkdir -p ".$2"; p=$(command -v "$1"); cp "$p" ".$2/"
				ldd "$p" 2>/dev/null | grep -o '/[^ ]*' | while read -r lib; do mkdir -p ".$(dirname "$lib")"; cp -L "$lib" ".$lib"; done
			}
			%s
			tar -cf - . | docker import "$@" - %s; cd ..; rm -r %[1]s`, root, filepath.Join(e.root, "bin"), script, image))
	}
	return fmt.Errorf("there is no stand-in for %s: give standIns one", image)
}
