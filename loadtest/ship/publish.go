package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"yatagarasu/loadtest/port"
)

// publish pushes the chart to a registry of its own by the target that a release uses, as a fork
// would, and looks at what is there. The step platforms pushes the image.
func publish(t *trial) error {
	crane, err := t.tool("crane")
	if err != nil {
		return err
	}
	helm, err := t.tool("helm")
	if err != nil {
		return err
	}
	n, err := port.Reserve()
	if err != nil {
		return err
	}
	host := port.Address(n)
	if _, err := t.start(t.command(crane, "registry", "serve", "--address", host)); err != nil {
		return err
	}
	if err := t.eventually(10*time.Second, func() error { _, err := get(http.DefaultClient, "http://"+host+"/v2/", 200); return err }); err != nil {
		return err
	}

	const version = "0.0.1"
	outputs := filepath.Join(t.dir, "outputs") // what later steps of a workflow read
	push := t.command("make", "-s", "chart-push", "VERSION=v"+version, "OWNER=Us", "IMAGE="+host+"/us/yatagarasu", "CHARTS=oci://"+host+"/us/charts", "HELM_PUSH=--plain-http")
	push.Env = append(os.Environ(), "GITHUB_OUTPUT="+outputs)
	if _, err := t.output(push); err != nil {
		return err
	}
	told, err := os.ReadFile(outputs)
	if err != nil {
		return err
	}
	name := host + "/us/charts/yatagarasu"
	digest, err := t.output(t.command(crane, "digest", name+":"+version))
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("name=%s\ndigest=%s\n", name, strings.TrimSpace(digest)); string(told) != want {
		return fmt.Errorf("the target tells %q, and the registry has %q", told, want)
	}
	chart, err := t.output(t.command(helm, "show", "all", "oci://"+name, "--version", version, "--plain-http"))
	if err != nil {
		return err
	}
	for _, want := range []string{"version: " + version, `appVersion: "?` + version + `"?`, "home: https://github.com/Us/yatagarasu", "  repository: " + host + "/us/yatagarasu"} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(chart) {
			return fmt.Errorf("the chart that was pushed lacks %q", want)
		}
	}
	return nil
}
