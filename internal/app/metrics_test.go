package app_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

var update = flag.Bool("update", false, "write docs/reference/metrics.md anew")

// metric is a figure that a node exports.
type metric struct {
	name, kind, help string
	labels           []string
}

// metricsOf are the figures of a node with both roles, in the order of their names; those of Go, of the process and of the page itself aside.
func metricsOf(t *testing.T) []metric {
	t.Helper()
	cfg := testConfig(t)
	startSandbox(t, &cfg, sandbox.Faults{})
	node, _ := startNode(t, cfg)
	get(t, node.URL()+"/v1/openapi.json")
	kinds := map[string]string{}
	families, err := node.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		kinds[family.GetName()] = strings.ToLower(family.GetType().String())
	}
	described := make(chan *prometheus.Desc)
	go func() { node.Registry().Describe(described); close(described) }()
	form := regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "((?:[^"\\]|\\.)*)", (?:unit: "[^"]*", )?constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
	var list []metric
	for desc := range described {
		parts := form.FindStringSubmatch(desc.String())
		if parts == nil {
			t.Fatalf("%s cannot be read", desc)
		}
		m := metric{name: parts[1], help: strings.ReplaceAll(parts[2], `\"`, `"`), kind: kinds[parts[1]]}
		if regexp.MustCompile(`^(go|process|promhttp)_`).MatchString(m.name) {
			continue
		}
		switch {
		case m.kind != "":
		case strings.HasSuffix(m.name, "_total"):
			m.kind = "counter"
		case strings.HasSuffix(m.name, "_duration_seconds"):
			m.kind = "histogram"
		default:
			m.kind = "gauge"
		}
		for label := range strings.SplitSeq(parts[3]+","+parts[4], ",") {
			if name, _, _ := strings.Cut(label, "="); name != "" {
				m.labels = append(m.labels, name)
			}
		}
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return list
}

const metricsPage = "docs/reference/metrics.md"

// madeMark is where the page's tables begin.
const madeMark = "<!-- From here on made from the program by make generate. -->\n"

// metricParts are the page's tables, by the beginnings of names.
func metricParts() [][2]string {
	return [][2]string{
		{"http_", "HTTP server"},
		{"kontor_webhooks_", "HTTP server"},
		{"kontor_lane_", "Lanes"},
		{"kontor_idempotency_", "Lanes"},
		{"kontor_db_", "PostgreSQL"},
		{"kontor_task_", "Tasks"},
		{"kontor_sweep_", "Tasks"},
		{"kontor_destination_", "Destinations"},
		{"kontor_egress_", "Destinations"},
		{"kontor_limit_", "Limits"},
		{"kontor_schedule_", "Schedules"},
		{"kontor_event", "Events"},
		{"kontor_payment_", "Payments"},
		{"kontor_provider_", "Payments"},
		{"kontor_duplicate_", "Payments"},
		{"kontor_info", "The node"},
	}
}

func writtenMetrics(t *testing.T, list []metric) string {
	t.Helper()
	var out strings.Builder
	told, heading := 0, ""
	for _, part := range metricParts() {
		if part[1] != heading {
			heading = part[1]
			fmt.Fprintf(&out, "\n## %s\n\n| metric | kind | labels | what it tells |\n|---|---|---|---|\n", heading)
		}
		for _, m := range list {
			if strings.HasPrefix(m.name, part[0]) {
				told++
				fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", m.name, m.kind, strings.Join(m.labels, ", "), m.help)
			}
		}
	}
	if told != len(list) {
		t.Errorf("%d of %d metrics have a place on the page", told, len(list))
	}
	return out.String()
}

func TestTheReferenceHasEveryMetricAsItIs(t *testing.T) {
	t.Parallel()
	list := metricsOf(t)
	if len(list) < 30 {
		t.Fatalf("only %d metrics were found", len(list))
	}
	path := filepath.Join(repository, metricsPage)
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, _, found := strings.Cut(string(page), madeMark)
	if !found {
		t.Fatalf("%s does not say where its tables begin", metricsPage)
	}
	want := head + madeMark + writtenMetrics(t, list)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if want != string(page) {
		t.Errorf("%s is not what the program has: make generate", metricsPage)
	}
}

// misnamed tells what is wrong with how a metric is called and explained.
func misnamed(m metric) string {
	switch {
	case !regexp.MustCompile(`^(kontor|http_server)_[a-z]+(_[a-z]+)*$`).MatchString(m.name):
		return "it is not named as the others are"
	case (m.kind == "counter") != strings.HasSuffix(m.name, "_total"):
		return "counters, and only they, end in _total"
	case strings.Contains(m.name, "_ms") || strings.Contains(m.name, "_millis") || strings.Contains(m.name, "_percent"):
		return "units are seconds, bytes and ratios"
	case !regexp.MustCompile(`^[A-Z0-9].*\.$`).MatchString(m.help) || len(m.help) < 30:
		return "its help is no sentence"
	}
	return ""
}

func TestMetricsAreNamedByTheConventions(t *testing.T) {
	t.Parallel()
	for _, m := range metricsOf(t) {
		if wrong := misnamed(m); wrong != "" {
			t.Errorf("%s: %s: %s", m.name, wrong, m.help)
		}
	}
	const help = "What there is to be told, and to be done."
	for _, wrong := range []metric{
		{name: "tasks_total", kind: "counter", help: help},
		{name: "kontor_tasks", kind: "counter", help: help},
		{name: "kontor_tasks_total", kind: "gauge", help: help},
		{name: "kontor_wait_ms", kind: "gauge", help: help},
		{name: "kontor_tasks_total", kind: "counter", help: "Tasks."},
	} {
		if misnamed(wrong) == "" {
			t.Errorf("%+v passes", wrong)
		}
	}
}
