package app_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/kontorhq/kontor/internal/app"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

func TestRequestsAreTraced(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var sent strings.Builder
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		sent.Write(body)
	}))
	t.Cleanup(collector.Close)
	cfg := testConfig(t)
	lines := &strings.Builder{} // read after the node has stopped
	cfg.OTLPEndpoint, cfg.LogOutput = collector.URL, lines
	startSandbox(t, &cfg, sandbox.Faults{})
	node, stop := startNode(t, cfg)
	if answer := <-pay(t, newClient(t, node, cfg), "tok_approved"); answer == nil || answer.JSON201 == nil {
		t.Fatalf("got %+v", answer)
	}
	if parent := parentOfATask(t, node, cfg); !regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`).MatchString(parent) {
		t.Errorf("the task has the parent %q", parent)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, part := range []string{"POST /v1/payments", "SELECT", "/v1/payments", cfg.Node} {
		if !strings.Contains(sent.String(), part) {
			t.Errorf("no span tells of %q", part)
		}
	}
	if strings.Contains(sent.String(), "tok_approved") {
		t.Error("a span shows what was sent")
	}
	if !regexp.MustCompile(`"msg":"request".*"request_id":"req_\w+","trace_id":"[0-9a-f]{32}"`).MatchString(lines.String()) {
		t.Errorf("no line has both ids:\n%s", lines)
	}
}

// parentOfATask is the span that a task has which a traced request has queued.
func parentOfATask(t *testing.T, node *app.App, cfg app.Config) string {
	t.Helper()
	made := kontorJSON[struct{ Key string }](t, nil, "keys", "create", "--database-url", cfg.DatabaseURL)
	o := &operator{t, []string{"KONTOR_API_URL=" + node.URL(), "KONTOR_API_KEY=" + made.Key}}
	o.does("destinations create api --base-url https://api.example")
	id := strings.TrimSpace(o.does("tasks create --schedule-time 2h --file", o.file(`{"destination":"api","http_request":{"method":"POST","url":"/x"}}`)))
	task := kontorJSON[struct{ Traceparent string }](t, o.environ, "tasks", "get", id)
	return task.Traceparent
}
