package app_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const dashboardFile = "deploy/grafana/kontor.json"

// dashboard is one of Grafana's, as far as it names metrics.
type dashboard struct {
	Panels []struct {
		ID                       int
		Type, Title, Description string
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct{ RefID, Expr, LegendFormat string }
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func TestTheDashboardNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(repository, dashboardFile))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	exported := metricsOf(t)
	known := metricsByName(exported)
	legend := regexp.MustCompile(`\{\{(\w+)\}\}`)
	used, ids, exprs := map[string]bool{}, map[int]bool{}, 0
	for _, panel := range d.Panels {
		if ids[panel.ID] || panel.Title == "" || panel.GridPos.X+panel.GridPos.W > 24 || panel.GridPos.H == 0 {
			t.Errorf("the panel %d %q has another's number, no title or no place", panel.ID, panel.Title)
		}
		ids[panel.ID] = true
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("%s shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			exprs++
			if found := strangers(known, target.Expr); len(found) > 0 {
				t.Errorf("%s: there is no %v", panel.Title, found)
			}
			for _, match := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !regexp.MustCompile(`by \([^)]*\b` + match[1] + `\b`).MatchString(target.Expr) {
					t.Errorf("%s: %s is not grouped by %s", panel.Title, target.Expr, match[1])
				}
			}
			for name := range known {
				used[known[name].name] = used[known[name].name] || regexp.MustCompile(`\b`+name+`\b`).MatchString(target.Expr)
			}
		}
	}
	for _, variable := range d.Templating.List {
		if variable.Definition == "" {
			continue
		}
		metric, label, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(variable.Definition, "label_values("), ")"), ", ")
		if !slices.Contains(known[metric].labels, label) {
			t.Errorf("$%s: %s has no label %s", variable.Name, metric, label)
		}
	}
	if exprs < 40 {
		t.Errorf("only %d expressions were found", exprs)
	}
	// What is not on it: those that only tell of the node's inside.
	aside := []string{
		"http_server_active_requests", "kontor_idempotency_requests_total", "kontor_webhooks_received_total", "kontor_db_pool_open", "kontor_db_pool_waits_total",
		"kontor_sweep_runs_total", "kontor_destination_rate_limit", "kontor_limit_granted_total", "kontor_limit_known", "kontor_limit_live",
		"kontor_limit_refused_total", "kontor_limit_wait_seconds", "kontor_events_written_total",
	}
	for _, m := range exported {
		if ours := strings.HasPrefix(m.name, "kontor_") || strings.HasPrefix(m.name, "http_"); ours && used[m.name] == slices.Contains(aside, m.name) {
			t.Errorf("%s: on the dashboard %v, left aside %v", m.name, used[m.name], slices.Contains(aside, m.name))
		}
	}
}
