package app_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// operator runs verbs against a node.
type operator struct {
	*testing.T
	environ []string
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	cfg := testConfig(t)
	node, _ := startNode(t, cfg)
	waitFor(t, "readiness", func() bool { status, _ := readyz(t, node); return status == http.StatusOK })
	made := kontorJSON[struct{ Key string }](t, nil, "keys", "create", "--database-url", cfg.DatabaseURL)
	return &operator{t, []string{"KONTOR_API_URL=" + node.URL(), "KONTOR_API_KEY=" + made.Key}}
}

// does runs a verb that must succeed, and gives what it printed.
func (o *operator) does(line string, more ...string) string {
	o.Helper()
	code, out, errOut := kontor(o.T, o.environ, append(strings.Fields(line), more...)...)
	if code != 0 {
		o.Fatalf("kontor %s: exit code %d: %s", line, code, errOut)
	}
	return out
}

// fails runs a verb that must not.
func (o *operator) fails(code int, says, line string) {
	o.Helper()
	got, out, errOut := kontor(o.T, o.environ, strings.Fields(line)...)
	if got != code || !strings.Contains(errOut, says) {
		o.Errorf("kontor %s: exit code %d, %s %s; want %d and %q", line, got, out, errOut, code, says)
	}
}

func (o *operator) file(content string) string {
	o.Helper()
	path := filepath.Join(o.TempDir(), "members.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		o.Fatal(err)
	}
	return path
}

func TestAnOperatorLooksAfterTasks(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/bad") {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	}))
	t.Cleanup(other.Close)
	o.does("destinations create api --allow-private-networks --base-url " + other.URL)
	o.does("destinations create once --base-url https://api.example --file", o.file(`{"rate_limits":[{"name":"hour","limit":1,"period_seconds":3600}]}`))
	inOrder(t, o.does("limits consume destination/once"), "granted")
	o.fails(1, "not granted", "limits consume destination/once")
	o.does("queues create slow --max-dispatches-per-second 5")
	inOrder(t, o.does("queues list"), "NAME", "STATE", "slow", "running", "5")
	o.does("queues pause slow --paused-until 1h --reason maintenance")
	o.does("queues update slow --max-concurrent-dispatches 2")
	inOrder(t, o.does("queues get slow"), "max_concurrent_dispatches", "2", "pause_reason", "maintenance", "state", "paused")

	task := func(path, flags string) string {
		content := `{"destination":"api","http_request":{"method":"POST","url":"` + path + `"}}`
		return strings.TrimSpace(o.does("tasks create "+flags+" --file", o.file(content)))
	}
	waits := task("/x", "--queue slow --subject-type invoice --subject-id 42")
	inOrder(t, o.does("tasks why "+waits), waits, "is available", "The queue slow is paused until", "maintenance", "likely to begin")
	inOrder(t, o.does("tasks list --subject-type invoice --subject-id 42"), "ID", "STATE", waits, "available", "slow", "api", "42")
	later := task("/x", "--schedule-time 2h")
	inOrder(t, o.does("tasks why "+later), "is scheduled", "It is wanted at")
	inOrder(t, o.does("tasks cancel "+later), later, "is cancelled")
	inOrder(t, o.does("tasks replay "+later), "queued as tsk_")
	for range 3 {
		task("/x", "--schedule-time 2h --subject-type wrong --subject-id 1")
	}
	inOrder(t, o.does("tasks cancel --filter subject-type=wrong --filter created-from=-1h --dry-run"), "3 that wait")
	inOrder(t, o.does("tasks cancel --filter subject-type=wrong"), "3 are cancelled; 0 are at work")
	inOrder(t, o.does("tasks cancel --filter subject-type=wrong --json"), `"cancelled": 0`)
	o.fails(2, "name a task, or give --filter", "tasks cancel")
	o.does("queues resume slow")
	waitFor(t, "the task's end", func() bool { return strings.Contains(o.does("tasks get "+waits), "completed") })
	inOrder(t, o.does("tasks attempts "+waits), "NUMBER", "1", "succeeded", "200")
	inOrder(t, o.does("tasks why "+waits), "is completed since", "Attempt 1 ended as succeeded")

	bad, worse := task("/bad", ""), task("/bad", "")
	for _, id := range []string{bad, worse} {
		waitFor(t, "a dead letter", func() bool { return strings.Contains(o.does("dead-letters list"), id) })
	}
	inOrder(t, o.does("dead-letters groups"), "FINGERPRINT", "COUNT", "2", "api", "422")
	inOrder(t, o.does("dead-letters replay --filter destination=api --filter reason=non_retryable --dry-run"), "2 would be replayed", "api")
	inOrder(t, o.does("dead-letters discard "+bad+" --note known"), "note", "known", "resolution", "discarded")
	again := strings.TrimPrefix(strings.TrimSpace(o.does("dead-letters replay "+worse)), "queued as ")
	inOrder(t, o.does("tasks get "+again), "replay_of", worse)
	waitFor(t, "its end", func() bool { return strings.Contains(o.does("tasks get "+again), "discarded") })
	replay, _, _ := strings.Cut(o.does("dead-letters replay --filter destination=api --max-dispatches-per-second 100"), " ")
	inOrder(t, o.does("dead-letters replays"), "FILTER", replay, `"destination":"api"`)
	waitFor(t, "the replay's end", func() bool { return !strings.Contains(o.does("dead-letters progress "+replay), "running") })

	o.does("destinations pause api --reason audit")
	inOrder(t, o.does("destinations list"), "api", "operator", "audit")
	o.does("destinations resume api")
	listed := kontorJSON[struct{ Data []map[string]any }](t, o.environ, "tasks", "list", "--limit", "2")
	if len(listed.Data) != 2 {
		t.Errorf("%d tasks", len(listed.Data))
	}
	o.fails(1, "There is no such task", "tasks get tsk_01k4x9d2rzfqe8s5v0m3t7a1bc")
	o.fails(1, "state", "tasks list --state sleeping")
	o.fails(2, "no time such as", "queues pause slow --paused-until tomorrow")
	o.fails(2, "name a task, or give --filter", "dead-letters replay")
}
