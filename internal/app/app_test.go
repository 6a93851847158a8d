package app_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/app"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

// testConfig is a node on a database of the test's own, on free ports.
func testConfig(t *testing.T) app.Config {
	t.Helper()
	cfg := app.DefaultConfig()
	cfg.DatabaseURL = postgrestest.DB(t).URL
	cfg.Listen, cfg.AdminListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.ShutdownTimeoutSeconds = 5
	cfg.LogOutput = t.Output()
	return cfg
}

// startNode runs a node and gives what stops it: the result of Run.
func startNode(t *testing.T, cfg app.Config) (*app.App, func() error) {
	t.Helper()
	node, err := app.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	var result error
	var stopped bool
	stop := func() error {
		if !stopped {
			cancel()
			stopped, result = true, <-ended
		}
		return result
	}
	t.Cleanup(func() { _ = stop() })
	return node, stop
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// waitFor asks until the answer is as wanted.
func waitFor(t *testing.T, what string, there func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !there() {
		select {
		case <-deadline.C:
			t.Fatalf("waited too long for %s", what)
		case <-ticker.C:
		}
	}
}

type readyReport struct {
	Ready  bool              `json:"ready"`
	Checks map[string]string `json:"checks"`
}

func readyz(t *testing.T, node *app.App) (int, readyReport) {
	t.Helper()
	status, body := get(t, node.AdminURL()+"/readyz")
	var r readyReport
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	return status, r
}

func TestAdminEndpoints(t *testing.T) {
	t.Parallel()
	node, stop := startNode(t, testConfig(t))
	waitFor(t, "readiness", func() bool { status, _ := readyz(t, node); return status == http.StatusOK })
	for path, want := range map[string]string{
		"/livez":            "ok",
		"/metrics":          "kontor_db_pool_open",
		"/debug/pprof/":     "goroutine",
		"/debug/pprof/heap": "",
		"/readyz":           `"ready":true`,
	} {
		if status, body := get(t, node.AdminURL()+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", path, status, body)
		}
	}
	if status, _ := get(t, node.AdminURL()+"/debug/pprof/cmdline"); status != http.StatusNotFound {
		t.Errorf("the command line, which may hold a password, is shown: %d", status)
	}
	if status, body := get(t, node.URL()+"/metrics"); status != http.StatusNotFound {
		t.Errorf("metrics on the public listener: %d %.200s", status, body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if status, _ := get(t, node.AdminURL()+"/livez"); status != 0 {
		t.Errorf("the admin listener outlives the node: %d", status)
	}
}

func TestNotReadyOnAnOldSchema(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	node, _ := startNode(t, cfg)
	waitFor(t, "readiness", func() bool { status, _ := readyz(t, node); return status == http.StatusOK })
	if code, _, errOut := kontor(t, nil, "migrate", "down", "--database-url", cfg.DatabaseURL); code != 0 {
		t.Fatal(errOut)
	}
	status, r := readyz(t, node)
	if status != http.StatusServiceUnavailable || r.Ready || !strings.Contains(r.Checks["schema"], "kontor migrate up") || r.Checks["database"] != "ok" {
		t.Errorf("%d %+v", status, r)
	}
}

func TestAFailedStartLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	first, _ := startNode(t, testConfig(t))
	cfg := testConfig(t)
	cfg.AdminListen = strings.TrimPrefix(first.AdminURL(), "http://")
	_, err := app.New(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "the address is taken: "+cfg.AdminListen) {
		t.Fatalf("got %v", err)
	}
	cfg.AdminListen = "127.0.0.1:0"
	node, err := app.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	node.Close(t.Context())
	node.Close(t.Context())
	if status, _ := get(t, node.AdminURL()+"/livez"); status != 0 {
		t.Error("a closed node answers")
	}
}
