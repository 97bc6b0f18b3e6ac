package gateway

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/cluster"
	"yatagarasu/gateway/introspect"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/s3error"
	"yatagarasu/loadtest/needs"
	"yatagarasu/pool"
)

// A query is one of the dashboard's or an alert's.
type query struct{ where, expr string }

// alertQueries are those of the alerts.
func alertQueries(t *testing.T) (list []query) {
	t.Helper()
	text, err := os.ReadFile("../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var alerts struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
			}
		}
	}
	if err := yaml.Unmarshal(text, &alerts); err != nil || len(alerts.Groups) != 1 || len(alerts.Groups[0].Rules) < 5 {
		t.Fatalf("alerts: %v", err)
	}
	for _, r := range alerts.Groups[0].Rules {
		list = append(list, query{r.Alert, r.Expr})
	}
	return list
}

// dashboardQueries are those of the dashboard's panels and variables.
func dashboardQueries(t *testing.T) (list []query) {
	t.Helper()
	text, err := os.ReadFile("../deploy/grafana/yatagarasu.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Query, Type string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil || len(dashboard.Panels) < 5 {
		t.Fatalf("dashboard: %v", err)
	}
	for _, p := range dashboard.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			list = append(list, query{p.Title, target.Expr})
		}
	}
	for _, v := range dashboard.Templating.List {
		if v.Type == "query" {
			list = append(list, query{"a variable", v.Query})
		}
	}
	return list
}

// metricLabels returns the labels of each metric, those that Prometheus adds included.
func metricLabels(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../docs/METRICS.md") // whose table is what the code says, see TestMetricsDocs
	if err != nil {
		t.Fatal(err)
	}
	labels := make(map[string][]string)
	for line := range strings.Lines(string(text)) {
		columns := strings.Split(line, " | ")
		name, ok := strings.CutPrefix(columns[0], "| `yatagarasu_")
		if !ok || len(columns) != 5 {
			continue
		}
		name = "yatagarasu_" + strings.TrimSuffix(name, "`")
		has := append(strings.Split(columns[3], ", "), "instance", "job")
		labels[name] = has
		if columns[1] == "histogram" {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				labels[name+part] = append(slices.Clone(has), "le")
			}
		}
	}
	return labels
}

// upstreamReasons are the reasons that a request to an origin can fail for.
func upstreamReasons() []string {
	list := []string{problem.HeadError.Reason, problem.Credential.Reason}
	for r := pool.ReasonDNS; r <= pool.ReasonClientSlow; r++ {
		list = append(list, r.String())
	}
	for _, o := range s3error.Codes {
		list = append(list, o.Reason)
	}
	for status := 300; status < 600; status++ {
		list = append(list, s3error.Classify(status, "").Reason)
	}
	return append(list, s3error.KMS.Reason, s3error.Foreign.Reason)
}

// labelValues returns what a label of a metric can be; nil: what the configuration
// says, or the machine.
func labelValues(metric, label string) (list []string) {
	switch label {
	case "code":
		for code := 100; code < 600; code++ {
			list = append(list, strconv.Itoa(code))
		}
	case "reason":
		if metric == "yatagarasu_cluster_resyncs_total" {
			return cluster.Resyncs[:]
		}
		if metric != "yatagarasu_auth_total" {
			return upstreamReasons()
		}
		for r := range auth.Reason(auth.NumReasons) {
			list = append(list, r.String())
		}
	case "outcome":
		switch metric {
		case "yatagarasu_auth_total":
			return []string{"public", "allowed", "denied"}
		case "yatagarasu_cluster_store_total":
			return cluster.Outcomes[:]
		case "yatagarasu_introspections_total":
			return introspect.Outcomes[:]
		case "yatagarasu_jwks_fetches_total", "yatagarasu_config_reloads_total", "yatagarasu_credentials_refreshes_total":
			return []string{"ok", "failed"}
		}
		for _, o := range observe.Outcomes {
			list = append(list, o.Name)
		}
	case "limit":
		for l := observe.LimitNone + 1; l < observe.NumLimits; l++ {
			list = append(list, l.String())
		}
	case "operation":
		return []string{"read", "write"}
	case "method":
		return observe.MethodNames[:]
	case "state":
		return []string{"idle", "in_use"}
	}
	return list
}

var (
	promQLName     = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`) // of a metric, a label, a function
	promQLSelector = regexp.MustCompile(`(yatagarasu_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	promQLMatcher  = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"([^"]*)"`)
	promQLBy       = regexp.MustCompile(`\bby \(([^)]*)\) \(`)
)

// flaws returns what a query asks for that is not there.
func (q query) flaws(t *testing.T) (list []string) {
	labels := metricLabels(t)
	for _, s := range promQLSelector.FindAllStringSubmatch(q.expr, -1) {
		metric := s[1]
		has, ok := labels[metric]
		if !ok {
			list = append(list, metric+" is no metric")
			continue
		}
		for _, m := range promQLMatcher.FindAllStringSubmatch(s[2], -1) {
			if !slices.Contains(has, m[1]) {
				list = append(list, metric+" has no label "+m[1])
				continue
			}
			list = append(list, strangeValues(metric, m[1], m[2], m[3])...)
		}
	}
	for _, at := range promQLBy.FindAllStringSubmatchIndex(q.expr, -1) {
		inner := q.expr[at[1]:][:closing(q.expr[at[1]:])]
		for label := range strings.SplitSeq(q.expr[at[2]:at[3]], ", ") {
			for _, s := range promQLSelector.FindAllStringSubmatch(inner, -1) {
				if !slices.Contains(labels[s[1]], label) {
					list = append(list, s[1]+" has no label "+label+" to sum by")
				}
			}
		}
	}
	return list
}

// strangeValues tells of the alternatives of a matcher that no value of the label meets.
func strangeValues(metric, label, operator, value string) (list []string) {
	values := labelValues(metric, label)
	if values == nil {
		return nil
	}
	alternatives := []string{regexp.QuoteMeta(value)}
	if strings.Contains(operator, "~") {
		alternatives = strings.Split(value, "|")
	}
	for _, a := range alternatives {
		if !slices.ContainsFunc(values, regexp.MustCompile("^(?:"+a+")$").MatchString) {
			list = append(list, label+" of "+metric+" is never "+a)
		}
	}
	return list
}

// closing returns where the parenthesis ends that s begins within.
func closing(s string) int {
	depth := 1
	for i, c := range s {
		switch c {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(s)
}

// TestDeployedQueries has every query of the dashboard and the alerts name metrics
// that exist, with labels that they have and values that these can take.
func TestDeployedQueries(t *testing.T) {
	var metrics bytes.Buffer
	startGateway(t, adminYAML(startOrigin(t, serveText("hello")).URL)).operators.WriteMetrics(&metrics)
	for _, q := range append(alertQueries(t), dashboardQueries(t)...) {
		for _, flaw := range q.flaws(t) {
			t.Errorf("%s: %s", q.where, flaw)
		}
		used := 0
		for _, name := range promQLName.FindAllString(q.expr, -1) {
			switch {
			case strings.HasPrefix(name, "process_"), strings.HasPrefix(name, "go_"):
				if !strings.Contains(metrics.String(), "\n"+name+" ") {
					t.Errorf("%s: %s is no metric", q.where, name)
				}
				used++
			case name == "up", strings.HasPrefix(name, "yatagarasu_"):
				used++
			}
		}
		if used == 0 {
			t.Errorf("%s asks for nothing: %s", q.where, q.expr)
		}
	}
}

// TestAlertedReasons has docs/METRICS.md name the reasons that the alert is for.
func TestAlertedReasons(t *testing.T) {
	text, err := os.ReadFile("../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, row, _ := strings.Cut(string(text), "\n| the origin refuses the gateway |")
	row, _, _ = strings.Cut(row, "\n")
	for _, q := range alertQueries(t) {
		if q.where != "YatagarasuCredentialRejected" {
			continue
		}
		m := promQLMatcher.FindStringSubmatch(q.expr)
		if m == nil {
			t.Fatalf("%s is for no reasons", q.expr)
		}
		if want := "`" + strings.ReplaceAll(m[3], "|", "`, `") + "`"; !strings.Contains(row, want) {
			t.Errorf("docs/METRICS.md lacks %s", want)
		}
		return
	}
	t.Error("there is no such alert")
}

// TestAlertsFire has the alerts fire as testdata/alerts.yaml says.
func TestAlertsFire(t *testing.T) {
	promtool := needs.Program(t, "promtool")
	if out, err := exec.Command(promtool, "test", "rules", "testdata/alerts.yaml").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestReasonsAreExplained has docs/OPERATIONS.md say of each reason that a request to an
// origin can fail for what it means.
func TestReasonsAreExplained(t *testing.T) {
	text, err := os.ReadFile("../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Why a request was answered so\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, reason := range upstreamReasons() {
		if !strings.Contains(section, "`"+reason+"`") {
			t.Errorf("the section lacks %s", reason)
		}
	}
}
