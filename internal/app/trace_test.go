package app_test

import (
	"encoding/hex"
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
	parent, heard := aTracedTask(t, node, cfg)
	if !regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`).MatchString(parent) || parent[:35] != heard[:min(35, len(heard))] || parent == heard {
		t.Errorf("the task has the parent %q, and its destination was told %q", parent, heard)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, part := range []string{
		"POST /v1/payments", "SELECT", "/v1/payments", cfg.Node, "command payment_creations", "batch payment_creations", "process payments",
		"POST /v1/tasks", "command task_creations", "process default",
	} {
		if !strings.Contains(sent.String(), part) {
			t.Errorf("no span tells of %q", part)
		}
	}
	// The request, its command, the attempt, what was sent; and the batch's link to the command.
	if id, err := hex.DecodeString(parent[3:35]); err != nil || strings.Count(sent.String(), string(id)) < 5 {
		t.Errorf("the trace of the task has %d spans and links, %v", strings.Count(sent.String(), string(id)), err)
	}
	if strings.Contains(sent.String(), "tok_approved") {
		t.Error("a span shows what was sent")
	}
	if !regexp.MustCompile(`"msg":"request".*"request_id":"req_\w+","trace_id":"[0-9a-f]{32}"`).MatchString(lines.String()) {
		t.Errorf("no line has both ids:\n%s", lines)
	}
}

// aTracedTask has a request queue a task, and gives the span that the task has as its parent, and the one that its destination hears of.
func aTracedTask(t *testing.T, node *app.App, cfg app.Config) (parent, heard string) {
	t.Helper()
	told := make(chan string, 1)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told <- r.Header.Get("Traceparent") }))
	t.Cleanup(other.Close)
	made := kontorJSON[struct{ Key string }](t, nil, "keys", "create", "--database-url", cfg.DatabaseURL)
	o := &operator{t, []string{"KONTOR_API_URL=" + node.URL(), "KONTOR_API_KEY=" + made.Key}}
	o.does("destinations create api --allow-private-networks --base-url " + other.URL)
	id := strings.TrimSpace(o.does("tasks create --file", o.file(`{"destination":"api","http_request":{"method":"POST","url":"/x"}}`)))
	task := kontorJSON[struct{ Traceparent string }](t, o.environ, "tasks", "get", id)
	return task.Traceparent, <-told
}
