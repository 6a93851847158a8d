package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const (
	alertsFile   = "deploy/prometheus/alerts.yaml"
	watchingPage = "docs/operating/watching.md"
)

// rule is one of Prometheus's.
type rule struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func alertRules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, alertsFile))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var list []rule
	for _, group := range file.Groups {
		list = append(list, group.Rules...)
	}
	return list
}

// metricsByName are the names that PromQL may use: those of a histogram's parts with it.
func metricsByName(list []metric) map[string]metric {
	byName := map[string]metric{}
	for _, m := range list {
		if m.kind != "histogram" {
			byName[m.name] = m
			continue
		}
		byName[m.name+"_sum"], byName[m.name+"_count"] = m, m
		m.labels = append(slices.Clone(m.labels), "le")
		byName[m.name+"_bucket"] = m
	}
	return byName
}

// strangers are what a piece of PromQL names that there is not: metrics, labels that a metric is selected by, labels that it is
// grouped by and that none of its metrics has.
func strangers(known map[string]metric, promql string) []string {
	var found []string
	labels := []string{"instance", "job", "le"}
	use := regexp.MustCompile(`\b((?:kontor|http)_[a-z_]+)(?:\{([^}]*)\})?`)
	grouping := regexp.MustCompile(`\b(?:by|on|without|group_left) *\(([^)]*)\)`)
	quoted := regexp.MustCompile(`"[^"]*"`)
	if strings.Count(promql, "(") != strings.Count(promql, ")") || strings.Count(promql, "{") != strings.Count(promql, "}") {
		found = append(found, "brackets that do not match")
	}
	ungrouped := grouping.ReplaceAllString(promql, "")
	for _, match := range use.FindAllStringSubmatch(ungrouped, -1) {
		m, is := known[match[1]]
		if !is {
			found = append(found, "metric "+match[1])
			continue
		}
		labels = append(labels, m.labels...)
		for selector := range strings.SplitSeq(quoted.ReplaceAllString(match[2], ""), ",") {
			if label := strings.TrimSpace(strings.TrimRight(selector, "=!~ ")); label != "" && !slices.Contains(m.labels, label) {
				found = append(found, fmt.Sprintf("label %s of %s", label, m.name))
			}
		}
	}
	for _, match := range grouping.FindAllStringSubmatch(promql, -1) {
		for label := range strings.SplitSeq(match[1], ",") {
			if label = strings.TrimSpace(label); label != "" && !slices.Contains(labels, label) {
				found = append(found, "label "+label)
			}
		}
	}
	return found
}

func TestAlertsNameWhatThereIs(t *testing.T) {
	t.Parallel()
	known, rules := metricsByName(metricsOf(t)), alertRules(t)
	page, err := os.ReadFile(filepath.Join(repository, watchingPage))
	if err != nil {
		t.Fatal(err)
	}
	var told, want []string
	for _, match := range regexp.MustCompile(`(?m)^### (Kontor\w+)\n\n\*(Page|Ticket)\.\*`).FindAllStringSubmatch(string(page), -1) {
		told = append(told, match[1]+" "+strings.ToLower(match[2]))
	}
	for _, r := range rules {
		want = append(want, r.Alert+" "+r.Labels["severity"])
		if found := strangers(known, r.Expr); len(found) > 0 || !strings.Contains(r.Expr, "kontor_") && !strings.Contains(r.Expr, "http_") {
			t.Errorf("%s: there is no %v", r.Alert, found)
		}
		if runbook := "https://github.com/kontorhq/kontor/blob/main/" + watchingPage + "#" + anchor(r.Alert); r.Annotations["runbook_url"] != runbook {
			t.Errorf("%s: its runbook is %s", r.Alert, r.Annotations["runbook_url"])
		}
		if r.Annotations["summary"] == "" {
			t.Errorf("%s has no summary", r.Alert)
		}
	}
	if len(rules) < 15 || !slices.Equal(told, want) {
		t.Errorf("%s has %v, and %s %v", watchingPage, told, alertsFile, want)
	}
	for _, match := range regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		if found := strangers(known, match[1]); len(found) > 0 {
			t.Errorf("%s: there is no %v", watchingPage, found)
		}
	}
	for _, cells := range rows(t, watchingPage) {
		if found := strangers(known, strings.Join(cells, " ")); len(cells) > 1 && len(withoutHistograms(found, known)) > 0 {
			t.Errorf("%s: there is no %v", watchingPage, found)
		}
	}
}

// withoutHistograms leaves out the bare names of histograms, which prose may use.
func withoutHistograms(found []string, known map[string]metric) []string {
	return slices.DeleteFunc(found, func(name string) bool {
		_, is := known[strings.TrimPrefix(name, "metric ")+"_count"]
		return is
	})
}

func TestWhatPromQLMisnamesIsFound(t *testing.T) {
	t.Parallel()
	known := metricsByName([]metric{{name: "kontor_a_total", kind: "counter", labels: []string{"queue"}}, {name: "kontor_b_seconds", kind: "histogram"}})
	for promql, want := range map[string]int{
		`sum by (queue) (rate(kontor_a_total{queue=~"x|y"}[5m])) > 0`:    0,
		`histogram_quantile(0.9, sum by (le) (kontor_b_seconds_bucket))`: 0,
		`kontor_c_total`:                 1,
		`kontor_b_seconds > 1`:           1,
		`kontor_a_total{kind="x"}`:       1,
		`sum by (kind) (kontor_a_total)`: 1,
		`sum(kontor_a_total`:             1,
	} {
		if found := strangers(known, promql); len(found) != want {
			t.Errorf("%s: %v", promql, found)
		}
	}
}
