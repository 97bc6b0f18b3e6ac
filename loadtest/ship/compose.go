package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goccy/go-yaml"
)

// compose tries deploy/compose by the commands of its README, word for word.
func (t *trial) compose() error {
	if err := t.debian("prometheus", "haproxy", "redis-server", "curl"); err != nil {
		return err
	}
	mc := t.command("make", "-s", "tool-mc")
	mc.Env = append(os.Environ(), "CGO_ENABLED=0")
	if _, err := t.output(mc); err != nil {
		return err
	}
	plugin, err := t.pypi("docker-compose")
	if err != nil {
		return err
	}
	e, err := t.engine()
	if err != nil {
		return err
	}
	// `docker compose` finds its program in this folder.
	plugins := filepath.Join(e.dir, "config", "cli-plugins")
	if err := errors.Join(os.MkdirAll(plugins, 0o755), os.Symlink(plugin, filepath.Join(plugins, "docker-compose")), e.buildImage()); err != nil {
		return err
	}
	e.env = append(e.env, "DOCKER_CONFIG="+filepath.Dir(plugins))
	readme, err := os.ReadFile(filepath.Join(e.root, "deploy", "compose", "README.md"))
	if err != nil {
		return err
	}
	one, rest, _ := strings.Cut(string(readme), "\n## Two gateways")
	two, rest, _ := strings.Cut(rest, "\n## With a Valkey")
	shared, end, _ := strings.Cut(rest, "\n## End")
	if err := e.composeImages(); err != nil {
		return err
	}
	for _, try := range []func() error{
		func() error { return e.composeOne(commands(one)) },
		e.composeMetrics, e.composeGrafana,
		func() error { return e.composeTwo(commands(two)) },
		func() error { return e.composeCluster(commands(shared)) },
		func() error { return e.run("sh", "-ec", "cd deploy/compose; "+commands(end)) },
	} {
		if err := try(); err != nil {
			return fmt.Errorf("%w\n%s", err, e.composeLogs())
		}
	}
	return nil
}

// commands returns the indented lines of a page: what a reader would type.
func commands(page string) string {
	var b strings.Builder
	for line := range strings.Lines(page) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			b.WriteString(command)
		}
	}
	return b.String()
}

// composeImages checks the files, and makes the stand-ins for the images that they name.
func (e *engine) composeImages() error {
	var files [][]string // each over those before it
	for _, file := range []string{"compose.yaml", "compose.haproxy.yaml", "compose.cluster.yaml"} {
		var before []string
		if n := len(files); n > 0 {
			before = files[n-1]
		}
		files = append(files, append(slices.Clone(before), "-f", "deploy/compose/"+file))
	}
	var images string
	for _, f := range files {
		if err := e.run("docker", append(append([]string{"compose"}, f...), "config", "-q")...); err != nil {
			return err
		}
		var err error
		if images, err = e.output(e.command("docker", append(append([]string{"compose"}, f...), "config", "--images")...)); err != nil {
			return err
		}
	}
	made := map[string]bool{imageName: true}
	for image := range strings.FieldsSeq(images) {
		if made[image] {
			continue
		}
		made[image] = true
		if err := e.standInFor(image); err != nil {
			return err
		}
	}
	return nil
}

// composeOne types what the README says of one gateway.
func (e *engine) composeOne(commands string) error {
	begin := time.Now()
	out, err := e.output(e.command("sh", "-ec", commands))
	if err != nil {
		return err
	}
	e.say("up with one gateway, and asked for a public and a private object, in %s", time.Since(begin).Round(time.Second))
	var statuses []string
	for line := range strings.Lines(out) {
		if status, ok := strings.CutPrefix(line, "HTTP/1.1 "); ok {
			statuses = append(statuses, status[:3])
		}
	}
	if got := strings.Join(statuses, " "); got != "200 401 200" || !strings.Contains(out, "Everybody may read") || !strings.Contains(out, "Only those with a token") {
		return fmt.Errorf("the README's requests are answered with %q and these bodies: %s", got, out)
	}
	r, err := e.client().Get("http://127.0.0.1:8080/public/hello.txt")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.Header.Get("X-Cache") != "HIT" {
		return fmt.Errorf("the second time the object is a %q, not a HIT", r.Header.Get("X-Cache"))
	}
	_, err = get(e.client(), "http://127.0.0.1:8080/public/none", 404)
	return err
}

// composeMetrics asks Prometheus whether it has the gateway and the alerts.
func (e *engine) composeMetrics() error {
	alerts, err := os.ReadFile(filepath.Join(e.root, "deploy", "prometheus", "alerts.yaml"))
	if err != nil {
		return err
	}
	want := strings.Count(string(alerts), "- alert:")
	return e.eventually(time.Minute, func() error {
		var up struct {
			Data struct{ Result []struct{ Value [2]any } }
		}
		var rules struct {
			Data struct {
				Groups []struct{ Rules []struct{ Health string } }
			}
		}
		for path, to := range map[string]any{"query?query=up{job=%22yatagarasu%22}": &up, "rules": &rules} {
			body, err := get(e.client(), "http://127.0.0.1:9091/api/v1/"+path, 200)
			if err == nil {
				err = json.Unmarshal([]byte(body), to)
			}
			if err != nil {
				return err
			}
		}
		if r := up.Data.Result; len(r) != 1 || r[0].Value[1] != "1" {
			return fmt.Errorf("up{job=\"yatagarasu\"} is %v in Prometheus", r)
		}
		have := 0
		for _, group := range rules.Data.Groups {
			for _, rule := range group.Rules {
				if rule.Health == "ok" {
					have++
				}
			}
		}
		if have != want {
			return fmt.Errorf("%d alerts of %d are evaluated by Prometheus", have, want)
		}
		return nil
	})
}

// composeGrafana checks what Grafana would read, as no Grafana can be had: its files, where its
// container sees them, and the address of its source of data from there.
func (e *engine) composeGrafana() error {
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, Type, Access, URL string
			IsDefault               bool           `yaml:"isDefault"`
			JSONData                map[string]any `yaml:"jsonData"`
		}
	}
	var dashboards struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Type string
			Options    struct{ Path string }
		}
	}
	const provisioned = "/etc/grafana/provisioning/"
	for path, to := range map[string]any{"datasources": &sources, "dashboards": &dashboards} {
		text, err := e.output(e.command("docker", "exec", "yatagarasu-grafana-1", "cat", provisioned+path+"/yatagarasu.yaml"))
		if err == nil {
			err = yaml.UnmarshalWithOptions([]byte(text), to, yaml.Strict())
		}
		if err != nil {
			return err
		}
	}
	if len(sources.Datasources) != 1 || len(dashboards.Providers) != 1 {
		return errors.New("one source and one provider are for Grafana, and no more")
	}
	source, folder := sources.Datasources[0], dashboards.Providers[0].Options.Path
	if err := e.run("docker", "exec", "yatagarasu-grafana-1", "wget", "-q", "-O", "/dev/null", source.URL+"/api/v1/labels"); err != nil {
		return fmt.Errorf("the source of data does not answer Grafana: %w", err)
	}
	text, err := e.output(e.command("docker", "exec", "yatagarasu-grafana-1", "cat", folder+"/yatagarasu.json"))
	if err == nil && !json.Valid([]byte(text)) {
		err = errors.New("the dashboard for Grafana is no JSON")
	}
	return err
}

// composeTwo types what the README says of two gateways, under load. No request may be lost.
func (e *engine) composeTwo(commands string) error {
	up, stop, _ := strings.Cut(commands, "\n")
	if err := e.run("sh", "-ec", "cd deploy/compose; "+up); err != nil {
		return err
	}
	client := e.client()
	var answered atomic.Int64
	var failure atomic.Pointer[error]
	done := make(chan struct{})
	var workers sync.WaitGroup
	for worker := range 8 {
		workers.Go(func() { // ends with done
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				case <-time.After(5 * time.Millisecond): // a request is worth two cores' millisecond
				}
				url, want := "http://127.0.0.1:8080/public/hello.txt", http.StatusOK
				if n%2 == 1 { // another path may be for the other gateway
					url, want = fmt.Sprintf("http://127.0.0.1:8080/public/none-%d-%d", worker, n), http.StatusNotFound
				}
				if _, err := get(client, url, want); err != nil {
					failure.CompareAndSwap(nil, &err)
				}
				answered.Add(1)
			}
		})
	}
	before, err := e.servedBy("yatagarasu-gateway-1")
	if err == nil {
		err = e.eventually(20*time.Second, func() error {
			if now, err := e.servedBy("yatagarasu-gateway-1"); err != nil || now < before+50 {
				return fmt.Errorf("the gateway to be stopped serves %d requests, %w", now-before, err)
			}
			return nil
		})
	}
	begin, until := time.Now(), answered.Load()
	if err == nil {
		err = e.run("sh", "-ec", "cd deploy/compose; "+stop)
	}
	took, during := time.Since(begin), answered.Load()-until
	time.Sleep(2 * time.Second) // the other one serves on alone
	close(done)
	workers.Wait()
	if lost := failure.Load(); lost != nil {
		err = errors.Join(err, fmt.Errorf("a request was lost: %w", *lost))
	}
	if err != nil {
		return err
	}
	code, err := e.inspect("yatagarasu-gateway-1", "{{.State.Status}} {{.State.ExitCode}}")
	if err != nil || code != "exited 0" {
		return fmt.Errorf("the stopped gateway is %q, not exited with 0; %w", code, err)
	}
	e.say("one of two gateways stopped in %s with %d requests meanwhile, of %d in all: none lost", took.Round(100*time.Millisecond), during, answered.Load())
	return nil
}

// composeCluster types what the README says of a Valkey for two gateways.
func (e *engine) composeCluster(commands string) error {
	out, err := e.output(e.command("sh", "-ec", "cd deploy/compose; "+commands))
	if err != nil {
		return err
	}
	if !strings.Contains(out, `"nodes":2,"confirmed":2`) || !strings.Contains(strings.ToLower(out), "x-cache: shared") {
		return fmt.Errorf("a purge is not confirmed by both gateways, or no object is shared: %s", out)
	}
	e.say("two gateways share a purge and an object by a Valkey")
	return nil
}

// servedBy returns how many requests a container has logged.
func (e *engine) servedBy(container string) (int, error) {
	cmd := e.command("docker", "logs", container)
	cmd.Stdout, cmd.Stderr = nil, io.Discard
	out, err := cmd.Output()
	return strings.Count(string(out), `"message":"request"`), err
}

// composeLogs returns the ends of the containers' logs, for the error of a step that fails.
func (e *engine) composeLogs() string {
	out, _ := e.output(e.command("sh", "-c", `docker ps -a; for c in $(docker ps -aq); do docker inspect -f '{{.Name}} {{json .State.Health}}' $c; docker logs --tail 8 $c 2>&1; done`))
	return out
}
