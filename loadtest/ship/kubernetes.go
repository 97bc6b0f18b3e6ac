package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tryKubernetes installs the chart on a real Kubernetes.
func tryKubernetes(t *trial) error {
	helm, err := t.tool("helm")
	if err != nil {
		return err
	}
	c, err := t.cluster()
	if err != nil {
		return err
	}
	if err := c.acceptsAll(helm); err != nil {
		return fmt.Errorf("what the API server says: %w", err)
	}
	if err := c.startNode(); err != nil {
		return fmt.Errorf("cannot start a node: %w", err)
	}
	return c.rollouts(helm)
}

// namespace makes a namespace in which pods must be restricted.
func (c *cluster) namespace(name string) error {
	_, err := c.api(http.MethodPost, "/api/v1/namespaces", map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{
		"name": name, "labels": map[string]string{"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}}})
	return err
}

// acceptsAll has the API server take each resource of each shape of the chart and of the
// kustomizations, without an unknown key and without a warning.
func (c *cluster) acceptsAll(helm string) error {
	folder, err := c.crds()
	if err != nil {
		return err
	}
	for _, kind := range []string{"monitoring.coreos.com_servicemonitors", "monitoring.coreos.com_prometheusrules", "gateway.networking.k8s.io_httproutes"} {
		if _, err := c.create(filepath.Join(folder, kind+".yaml"), "default", ""); err != nil {
			return err
		}
	}
	if err := c.namespace("shapes"); err != nil {
		return err
	}
	// What a controller makes in a whole cluster.
	if _, err := c.api(http.MethodPost, "/api/v1/namespaces/shapes/serviceaccounts", map[string]any{"metadata": map[string]string{"name": "default"}}); err != nil {
		return err
	}
	chart := filepath.Join(c.root, "deploy", "helm", "yatagarasu")
	values, err := filepath.Glob(filepath.Join(chart, "ci", "*.yaml"))
	if err != nil {
		return err
	}
	var files []string
	for _, v := range values {
		out, err := c.output(c.command(helm, "template", "yatagarasu", chart, "-n", "shapes", "-f", v, "--kube-version", "1.34.0"))
		if err != nil {
			return err
		}
		file := filepath.Join(c.dir, "shape-"+filepath.Base(v))
		if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
			return err
		}
		files = append(files, file)
	}
	overlays, err := c.kustomizations()
	if err != nil {
		return err
	}
	count := 0
	for _, file := range append(files, overlays...) {
		n, err := c.create(file, "shapes", "?dryRun=All&fieldValidation=Strict")
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		count += n
	}
	// So much for what is right: is it also seen what is wrong?
	for wrong, says := range map[string]string{"automountServiceAccountTokenz": "unknown field", "privileged": "PodSecurity"} {
		text, err := os.ReadFile(filepath.Join(c.dir, "shape-minimal.yaml"))
		if err != nil {
			return err
		}
		if wrong == "privileged" {
			text = bytes.ReplaceAll(text, []byte("allowPrivilegeEscalation: false"), []byte("privileged: true"))
		} else {
			text = bytes.ReplaceAll(text, []byte(strings.TrimSuffix(wrong, "z")), []byte(wrong))
		}
		file := filepath.Join(c.dir, "wrong.yaml")
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
		if _, err := c.create(file, "shapes", "?dryRun=All&fieldValidation=Strict"); err == nil || !strings.Contains(err.Error(), says) {
			return fmt.Errorf("it takes %s: %v", wrong, err)
		}
	}
	c.say("the API server takes %d resources strictly, restricted, without a warning", count)
	return nil
}

// create posts the resources of a file, and returns how many. A warning is an error.
func (c *cluster) create(file, namespace, query string) (count int, err error) {
	list, err := resources[map[string]any](file)
	if err != nil {
		return 0, err
	}
	for _, r := range list {
		path, err := c.path(r, namespace)
		if err != nil {
			return 0, err
		}
		answer, err := c.api(http.MethodPost, path+query, r)
		if err != nil {
			return 0, err
		}
		if len(answer.warnings) > 0 {
			return 0, fmt.Errorf("%v: it warns: %q", r["kind"], answer.warnings)
		}
	}
	return len(list), nil
}

// path returns that of the resources like r. A new kind's may take a moment to be there.
func (c *cluster) path(r map[string]any, namespace string) (path string, err error) {
	version, _ := r["apiVersion"].(string)
	path = "/apis/" + version
	if version == "v1" {
		path = "/api/v1"
	}
	err = c.eventually(20*time.Second, func() error {
		list, err := c.api(http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		kinds, _ := list.body["resources"].([]any)
		at := slices.IndexFunc(kinds, func(k any) bool {
			kind := k.(map[string]any)
			return kind["kind"] == r["kind"] && !strings.Contains(kind["name"].(string), "/")
		})
		if at < 0 {
			return fmt.Errorf("%s has no %v", version, r["kind"])
		}
		kind := kinds[at].(map[string]any)
		if kind["namespaced"] == true {
			path += "/namespaces/" + namespace
			r["metadata"].(map[string]any)["namespace"] = namespace
		}
		path += "/" + kind["name"].(string)
		return nil
	})
	return path, err
}
