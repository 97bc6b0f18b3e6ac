package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// The oldest and the newest Kubernetes that the chart is tried for; Chart.yaml has the oldest.
const oldestKubernetes, newestKubernetes = "1.27", "1.37"

// refusals are values that the chart refuses, and what it says.
var refusals = []struct {
	name, says string
	set        []string
}{
	{"no bucket", "config.buckets is empty: list the buckets to serve", []string{"--set-json", "config.buckets=[]"}},
	{"a misspelt value", "'replicaz'", []string{"--set", "replicaz=3"}},
	{"a misspelt key of the configuration", "'max_conections'", []string{"--set-json", `config.server.limits={"max_conections":1}`}},
	{"a port that is the chart's", "'address'", []string{"--set", "config.server.address=:80"}},
	{"a number that is none", "replicas", []string{"--set-string", "replicas=three"}},
	{"a drain below zero", "drainSeconds", []string{"--set", "shutdown.drainSeconds=-1"}},
	{"a digest that is none", "digest", []string{"--set", "image.digest=latest"}},
	{"a flag without a dash", "extraArgs", []string{"--set", "extraArgs[0]=log.level=warn"}},
	{"a memory limit of unknown unit", "write a number and one of", []string{"--set", "resources.limits.memory=1GB"}},
	{"autoscaling without a request", "autoscaling needs resources.requests.cpu", []string{"--set", "autoscaling.enabled=true,resources.requests.cpu=null"}},
	{"autoscaling without resources", "autoscaling needs resources.requests.cpu", []string{"--set", "autoscaling.enabled=true,resources=null"}},
	{"a budget of no pod", "maxUnavailable", []string{"--set", "podDisruptionBudget.maxUnavailable=0"}},
	{"a budget of no share", "maxUnavailable", []string{"--set", "podDisruptionBudget.maxUnavailable=0%"}},
	{"a configuration beside that of a Secret", "config is not used beside existingSecret", []string{"--set", "existingSecret=mine"}},
	{"a block beside that of a Secret", "config is not used beside existingSecret", []string{"--set-json", `config={"buckets":[],"cache":{"enabled":true}}`, "--set", "existingSecret=mine"}},
	{"the end of a pod by a flag", "set shutdown.drainSeconds and shutdown.timeoutSeconds", []string{"--set", "extraArgs[0]=-shutdown.timeout=300s"}},
	{"the port by a flag", "set service.port", []string{"--set", "extraArgs[0]=--listen.address=:80"}},
	{"annotations of an account that is not made", "serviceAccount.annotations are for an account that the chart makes", []string{"--set", "serviceAccount.create=false,serviceAccount.annotations.role=reader"}},
	{"an Ingress without a name", "ingress.hosts is empty", []string{"--set", "ingress.enabled=true"}},
	{"a route without a Gateway", "httpRoute.parentRefs is empty", []string{"--set", "httpRoute.enabled=true"}},
	{"an old Kubernetes", "requires kubeVersion", []string{"--kube-version", "1.26.9"}},
}

// renderings are values, by a file of ci/ and more, and what comes of them, notes to the user
// included.
var renderings = []struct {
	name, file, says string
	set              []string
}{
	{"a memory limit as a number", "minimal", "-gc.memory-limit=966367641\n", []string{"--set-json", "resources.limits.memory=1073741824"}},
	{"a memory limit with an exponent", "minimal", "-gc.memory-limit=900000000\n", []string{"--set-string", "resources.limits.memory=1e9"}},
	{"a memory limit in thousandths", "minimal", "-gc.memory-limit=900000000\n", []string{"--set", "resources.limits.memory=1000000000000m"}},
	{"a memory limit in pebibytes", "minimal", "-gc.memory-limit=1013309916158361\n", []string{"--set", "resources.limits.memory=1Pi"}},
	{"a memory limit in exabytes", "minimal", "-gc.memory-limit=900000000000000000\n", []string{"--set-string", "resources.limits.memory=1E"}},
	{"no resources", "minimal", "-shutdown.timeout=30s\n          envFrom:", []string{"--set", "resources=null"}},
	{"notes for a prefix", "minimal", "curl -i http://localhost:8080/products/KEY\n", nil},
	{"notes for TLS", "load-balancer", "curl -ik https://localhost:8080/KEY\n", nil},
	{"notes for a host", "gateway-api", "curl -i -H 'Host: files.example.com' http://localhost:8080/KEY\n", nil},
	{"notes for a Secret", "existing-secret", "curl -i http://localhost:8080/KEY\n", nil},
	{"a cluster has a way to Valkey", "cluster", "- port: 6379\n        protocol: TCP\n      to:\n", nil},
	{"the test of plain HTTP asks the Service", "minimal", `server: {address: "yatagarasu:80"}`, nil},
	{"the test of a Secret asks for readiness alone", "existing-secret", "metrics: {enabled: true, address: files-metrics, port: 9090}", nil},
}

// renderAll renders the chart by each line of renderings, with values of that folder. Helm prints notes only for a cluster, so
// a manifest has them here.
func (t *trial) renderAll(helm, chart, values string) error {
	folder := filepath.Join(t.dir, "unpacked")
	if err := errors.Join(os.Mkdir(folder, 0o755), t.run("tar", "-xzf", chart, "-C", folder)); err != nil {
		return err
	}
	folder = filepath.Join(folder, "yatagarasu")
	const notes = "apiVersion: v1\nkind: ConfigMap\ndata:\n  notes: |\n    {{- include (print .Template.BasePath \"/NOTES.txt\") . | nindent 4 }}\n"
	if err := os.WriteFile(filepath.Join(folder, "templates", "notes.yaml"), []byte(notes), 0o644); err != nil {
		return err
	}
	for _, r := range renderings {
		args := append([]string{"template", "yatagarasu", folder, "--kube-version", "1.37.0", "-f", filepath.Join(values, r.file+".yaml")}, r.set...)
		out, err := t.output(t.command(helm, args...))
		if err != nil || !strings.Contains(out, r.says) {
			return fmt.Errorf("%s: the chart makes nothing with %q of it, %v", r.name, r.says, err)
		}
	}
	return nil
}

// tryChart renders the Helm chart and the kustomizations in all their shapes, holds each against
// Kubernetes' own schemas, and each configuration in them against the gateway.
func tryChart(t *trial) error {
	helm, err := t.tool("helm")
	if err != nil {
		return err
	}
	folder := filepath.Join(t.root, "deploy", "helm", "yatagarasu")
	values, err := filepath.Glob(filepath.Join(folder, "ci", "*.yaml"))
	if err != nil || len(values) < 5 {
		return fmt.Errorf("there are only %d sets of values, %v", len(values), err)
	}
	page := filepath.Join(t.root, "docs", "KUBERNETES.md")
	examples, err := chartExamples(page, t.dir)
	if err != nil {
		return err
	}
	values = append(values, examples...)
	// What is released is the package, so that is what is tried.
	if err := t.run(helm, "package", folder, "--destination", t.dir, "--version", "9.8.7", "--app-version", "9.8.7"); err != nil {
		return err
	}
	chart := filepath.Join(t.dir, "yatagarasu-9.8.7.tgz")
	var rendered []string
	for _, v := range values {
		if err := t.run(helm, "lint", "--strict", chart, "-f", v, "--kube-version", oldestKubernetes+".0"); err != nil {
			return err
		}
		for _, version := range []string{oldestKubernetes, newestKubernetes} {
			out, err := t.output(t.command(helm, "template", "yatagarasu", chart, "-n", "files", "-f", v, "--kube-version", version+".0"))
			if err != nil {
				return err
			}
			path := filepath.Join(t.dir, version+"-"+filepath.Base(v))
			if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
				return err
			}
			rendered = append(rendered, path)
		}
	}
	for _, r := range refusals {
		args := append([]string{"template", "yatagarasu", chart, "--kube-version", "1.37.0", "-f", filepath.Join(folder, "ci", "minimal.yaml")}, r.set...)
		if _, err := t.output(t.command(helm, args...)); err == nil || !strings.Contains(err.Error(), r.says) {
			return fmt.Errorf("%s: the chart should say %q, and says %v", r.name, r.says, err)
		}
	}
	if err := t.renderAll(helm, chart, filepath.Join(folder, "ci")); err != nil {
		return err
	}
	kustomized, err := t.kustomizations()
	if err != nil {
		return err
	}
	rendered = append(rendered, kustomized...)
	if err := t.validate(rendered); err != nil {
		return err
	}
	if err := t.alertsOf(filepath.Join(t.dir, newestKubernetes+"-production.yaml"), filepath.Join(t.dir, "production.yaml")); err != nil {
		return err
	}
	if err := t.checkConfigurations(rendered); err != nil {
		return err
	}
	t.say("%d sets of values and %d overlays for Kubernetes %s and %s; %d sets of wrong ones refused, and %d special ones rendered",
		len(values), len(kustomized), oldestKubernetes, newestKubernetes, len(refusals), len(renderings))
	return chartDocs(filepath.Join(folder, "values.yaml"), page)
}

// kustomizations builds the overlays, and returns the files of their resources. What the chart
// made for them must be what it makes now.
func (t *trial) kustomizations() (files []string, err error) {
	kustomize, err := t.tool("kustomize")
	if err != nil {
		return nil, err
	}
	if err := t.run("make", "-s", "manifests", "INTO="+t.dir); err != nil {
		return nil, err
	}
	deploy := filepath.Join(t.root, "deploy", "kustomize")
	for _, name := range []string{"base/gateway.yaml", "overlays/production/extras.yaml", "overlays/cluster/extras.yaml"} {
		want, err := os.ReadFile(filepath.Join(t.dir, name))
		if err != nil {
			return nil, err
		}
		if have, err := os.ReadFile(filepath.Join(deploy, name)); err != nil {
			return nil, fmt.Errorf("%w; run `make manifests`", err)
		} else if !bytes.Equal(have, want) {
			return nil, fmt.Errorf("deploy/kustomize/%s is not what the chart makes; run `make manifests`", name)
		}
	}
	for _, overlay := range []string{"dev", "production", "cluster"} {
		out, err := t.output(t.command(kustomize, "build", filepath.Join(deploy, "overlays", overlay)))
		if err != nil {
			return nil, err
		}
		path := filepath.Join(t.dir, overlay+".yaml")
		if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
			return nil, err
		}
		files = append(files, path)
	}
	return files, nil
}

// crds returns a folder with the definitions of those resources that are not Kubernetes' own.
func (t *trial) crds() (string, error) {
	module, folder := filepath.Join(t.root, "loadtest", "ship", "crd"), filepath.Join(t.dir, "crds")
	make := t.command("go", "tool", "controller-gen", "crd", "paths=github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1", "output:dir="+folder)
	fetch := t.command("go", "mod", "download", "sigs.k8s.io/gateway-api") // which nothing imports
	find := t.command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api")
	make.Dir, fetch.Dir, find.Dir = module, module, module
	if _, err := t.output(make); err != nil {
		return "", err
	}
	if _, err := t.output(fetch); err != nil {
		return "", err
	}
	gateways, err := t.output(find)
	if err != nil {
		return "", err
	}
	name := "gateway.networking.k8s.io_httproutes.yaml"
	route, err := os.ReadFile(filepath.Join(strings.TrimSpace(gateways), "config", "crd", "standard", name))
	if err != nil {
		return "", err
	}
	return folder, os.WriteFile(filepath.Join(folder, name), route, 0o644)
}

// validate holds the resources in files against the schemas of their kinds, which must refuse a
// key that they do not know.
func (t *trial) validate(files []string) error {
	crds, err := t.crds()
	if err != nil {
		return err
	}
	python, err := t.pypi("python")
	if err != nil {
		return err
	}
	validator := []string{filepath.Join(t.root, "loadtest", "ship", "validate.py"), crds, oldestKubernetes + "," + newestKubernetes}
	out, err := t.output(t.command(python, append(validator, files...)...))
	if err != nil {
		return err
	}
	t.say("%s", strings.TrimSpace(out))
	text, err := os.ReadFile(filepath.Join(t.dir, newestKubernetes+"-production.yaml"))
	if err != nil {
		return err
	}
	for _, key := range []string{"automountServiceAccountToken", "jobLabel", "behavior"} {
		path := filepath.Join(t.dir, "misspelt.yaml")
		if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte(key+":"), []byte(key+"z:")), 0o644); err != nil {
			return err
		}
		if _, err := t.output(t.command(python, append(validator, path)...)); err == nil || !strings.Contains(err.Error(), key+"z") {
			return fmt.Errorf("the misspelt %sz is not found: %v", key, err)
		}
	}
	return nil
}

// resource is what the steps read of one.
type resource struct {
	Kind       string
	Metadata   struct{ Name string }
	Data       map[string]string
	StringData map[string]string `yaml:"stringData"`
	Spec       struct{ Groups any }
}

// configuration returns that of the gateway if r is a Secret with one.
func (r *resource) configuration() (string, error) {
	if r.Kind != "Secret" || r.Data["config.yaml"] == "" {
		return r.StringData["config.yaml"], nil
	}
	text, err := base64.StdEncoding.DecodeString(r.Data["config.yaml"])
	return string(text), err
}

// resources reads those of a file.
func resources[T any](path string) (list []T, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// One by one: the decoder takes documents without content for the end.
	for document := range strings.SplitSeq("\n"+string(text), "\n---\n") {
		if !strings.Contains("\n"+document, "\nkind: ") {
			continue
		}
		var r T
		if err := yaml.Unmarshal([]byte(document), &r); err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", path, err)
		}
		list = append(list, r)
	}
	if len(list) != strings.Count("\n"+string(text), "\nkind: ") {
		return nil, fmt.Errorf("%s has more resources than the %d that were read", path, len(list))
	}
	return list, nil
}

// alertsOf has the rules in each file be those of deploy/prometheus.
func (t *trial) alertsOf(files ...string) error {
	text, err := os.ReadFile(filepath.Join(t.root, "deploy", "prometheus", "alerts.yaml"))
	if err != nil {
		return err
	}
	var alerts struct{ Groups any }
	if err := yaml.Unmarshal(text, &alerts); err != nil {
		return err
	}
	want := fmt.Sprint(alerts.Groups)
	for _, file := range files {
		list, err := resources[resource](file)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(list, func(r resource) bool { return r.Kind == "PrometheusRule" })
		if at < 0 || fmt.Sprint(list[at].Spec.Groups) != want {
			return fmt.Errorf("%s has other alerts than deploy/prometheus/alerts.yaml", file)
		}
	}
	return nil
}

var reference = regexp.MustCompile(`\$\{(\w+)`)

// checkConfigurations has the gateway check each configuration in the files, with plausible values
// of the variables.
func (t *trial) checkConfigurations(files []string) error {
	gateway := filepath.Join(t.dir, "yatagarasu")
	if err := t.run("go", "build", "-o", gateway, "."); err != nil {
		return err
	}
	if err := t.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=files", "-days", "1",
		"-keyout", filepath.Join(t.dir, "tls.key"), "-out", filepath.Join(t.dir, "tls.crt")); err != nil {
		return err
	}
	if err := t.run("cp", filepath.Join(t.dir, "tls.crt"), filepath.Join(t.dir, "ca.crt")); err != nil {
		return err
	}
	checked := 0
	for _, file := range files {
		list, err := resources[resource](file)
		if err != nil {
			return err
		}
		for _, r := range list {
			text, err := r.configuration()
			if err != nil {
				return err
			}
			if text == "" {
				continue
			}
			if strings.Contains(text, "stale_if_error") && !strings.Contains(text, "ready: config") {
				return fmt.Errorf("%s: its configuration has stale_if_error, and no pod is in the Service while S3 is down: set server.ready: config", filepath.Base(file))
			}
			text = strings.ReplaceAll(text, "/etc/tls/", t.dir+"/")
			path := filepath.Join(t.dir, "config.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return err
			}
			check := t.command(gateway, "-config", path, "-check")
			for _, name := range reference.FindAllStringSubmatch(text, -1) {
				value := strings.Repeat("x", 64)
				switch {
				case strings.HasSuffix(name[1], "_ARN"):
					value = "arn:aws:iam::123456789012:role/reader"
				case strings.HasSuffix(name[1], "_FILE"):
					value = filepath.Join(t.dir, "tls.crt") // any that is there
				}
				check.Env = append(check.Env, name[1]+"="+value)
			}
			if out, err := t.output(check); err != nil || strings.Contains(out, "warning") {
				return fmt.Errorf("%s: its configuration: %w: %s", filepath.Base(file), err, out)
			}
			checked++
		}
	}
	if checked < 12 {
		return fmt.Errorf("only %d configurations were found", checked)
	}
	t.say("%d configurations are valid", checked)
	return nil
}
