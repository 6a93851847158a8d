package api

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// thirdParty is the API that a destination is at; answer is called with the number of the request, from 1.
func (n *node) thirdParty(answer func(number int, w http.ResponseWriter, r *http.Request, body string)) {
	n.t.Helper()
	var mu sync.Mutex
	number := 0
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		number++
		answer(number, w, r, string(body))
	}))
	n.t.Cleanup(other.Close)
	n.must(http.StatusCreated, n.post("/v1/destinations", fmt.Sprintf(`{"name":"api","base_url":%q,"allow_private_networks":true}`, other.URL)))
}

// until asks again until an answer is as it should be.
func (n *node) until(path string, holds func(a answer) bool) answer {
	n.t.Helper()
	deadline := time.After(30 * time.Second)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		a := n.must(http.StatusOK, n.get(path))
		if holds(a) {
			return a
		}
		select {
		case <-deadline:
			n.t.Fatalf("in vain: %s", a)
		case <-ticker.C:
		}
	}
}

func state(want string) func(a answer) bool {
	return func(a answer) bool { return text(a.json, "state") == want }
}

func TestQueuesOverTheAPI(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	made := n.must(http.StatusCreated, n.post("/v1/queues", `{"name":"emails","max_dispatches_per_second":20,"retry_config":{"preset":"svix","jitter_percent":10}}`))
	if text(made.json, "max_burst_size") != "4" || text(made.json, "retry_config.jitter") != "0.1" || made.header.Get("Location") != "/v1/queues/emails" {
		t.Fatal(made)
	}
	n.refused("queue_exists", n.post("/v1/queues", `{"name":"emails"}`))
	slow := n.must(http.StatusCreated, n.post("/v1/queues", `{"name":"slow","max_dispatches_per_second":0.50}`))
	if text(slow.json, "max_dispatches_per_second") != "0.5" || text(slow.json, "max_burst_size") != "1" {
		t.Fatal(slow)
	}
	if a := n.must(http.StatusOK, n.send(http.MethodPatch, "/v1/queues/slow", `{"max_dispatches_per_second":33.333}`)); text(a.json, "max_dispatches_per_second") != "33.333" {
		t.Fatal(a)
	}
	for number, why := range map[string]string{
		"0": "must be at least 0.001", "0.0005": "of at most 3 decimals", "1e2": "without an exponent", "100000.001": "must be at most 100000", `"1"`: "must be a number, not text",
	} {
		if a := n.refused("invalid_request", n.post("/v1/queues", `{"name":"x","max_dispatches_per_second":`+number+`}`)); !strings.Contains(text(a.json, "detail"), why) {
			t.Error(number, a)
		}
	}
	n.must(http.StatusOK, n.send(http.MethodDelete, "/v1/queues/slow", ""))
	n.refused("invalid_request", n.post("/v1/queues", `{"name":"e mails"}`))
	n.refused("queue_invalid", n.post("/v1/queues", `{"name":"x","retry_config":{"min_backoff_seconds":60,"max_backoff_seconds":1}}`))
	version := text(made.json, "version")
	n.must(http.StatusOK, n.send(http.MethodPatch, "/v1/queues/emails", `{"version":`+version+`,"max_dispatches_per_second":5}`))
	n.refused("queue_changed", n.send(http.MethodPatch, "/v1/queues/emails", `{"version":`+version+`,"max_dispatches_per_second":6}`))
	paused := n.must(http.StatusOK, n.post("/v1/queues/emails/pause", `{"reason":"broken"}`))
	if text(paused.json, "effective_dispatch_rate") != "0" || text(paused.json, "max_dispatches_per_second") != "5" {
		t.Error(paused)
	}
	if text(paused.json, "state") != "paused" || text(paused.json, "pause_reason") != "broken" {
		t.Fatal(paused)
	}
	n.must(http.StatusOK, n.post("/v1/queues/emails/drain", ""))
	n.thirdParty(func(_ int, w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusOK) })
	n.refused("queue_draining", n.post("/v1/tasks", `{"queue":"emails","destination":"api","http_request":{"method":"POST","url":"/x"}}`))
	n.must(http.StatusOK, n.post("/v1/queues/emails/resume", ""))
	if a := n.must(http.StatusOK, n.get("/v1/queues/emails")); text(a.json, "state") != "running" || text(a.json, "tasks.available") != "0" || text(a.json, "tasks.drain_estimate_seconds") != "0" {
		t.Fatal(a)
	}
	if a := n.must(http.StatusOK, n.get("/v1/queues?limit=1")); text(a.json, "data.0.name") != "emails" || text(a.json, "has_more") != "false" {
		t.Fatal(a)
	}
	n.refused("queue_not_found", n.get("/v1/queues/emails", "Authorization", "Bearer "+n.otherKey))
	n.must(http.StatusOK, n.send(http.MethodDelete, "/v1/queues/emails", ""))
	n.refused("queue_not_found", n.get("/v1/queues/emails"))
	n.refused("method_not_allowed", n.send(http.MethodPut, "/v1/queues/emails", ""))
}

func TestDestinationsOverTheAPI(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	made := n.must(http.StatusCreated, n.post("/v1/destinations", `{"name":"stripe","base_url":"https://api.example","auth":{"type":"bearer","token":"env:SECRET_X"},
		"rate_limits":[{"name":"live","limit":90,"period_seconds":1}],"circuit_breaker":{"failure_threshold_percent":40},"classifier":{"409":"succeeded"}}`))
	if text(made.json, "circuit_breaker.failure_threshold_percent") != "40" || text(made.json, "auth.token") != "env:SECRET_X" || text(made.json, "hold") != "<nil>" {
		t.Fatal(made)
	}
	n.refused("destination_exists", n.post("/v1/destinations", `{"name":"stripe","base_url":"https://api.example"}`))
	n.refused("destination_invalid", n.post("/v1/destinations", `{"name":"x","base_url":"ftp://api.example"}`))
	n.must(http.StatusOK, n.send(http.MethodPatch, "/v1/destinations/stripe", `{"max_concurrent_dispatches":3}`))
	n.refused("destination_changed", n.send(http.MethodPatch, "/v1/destinations/stripe", `{"version":1,"max_concurrent_dispatches":4}`))
	paused := n.must(http.StatusOK, n.post("/v1/destinations/stripe/pause", `{"reason":"audit"}`))
	if text(paused.json, "hold.reason") != "operator" || text(paused.json, "hold.detail") != "audit" {
		t.Fatal(paused)
	}
	if a := n.must(http.StatusOK, n.post("/v1/destinations/stripe/resume", "")); text(a.json, "hold") != "<nil>" {
		t.Fatal(a)
	}
	if a := n.must(http.StatusOK, n.get("/v1/destinations")); text(a.json, "data.0.name") != "stripe" {
		t.Fatal(a)
	}
	if a := n.must(http.StatusOK, n.post("/v1/limits/consume", `{"limit":"destination/stripe","units":60}`)); text(a.json, "granted") != "true" {
		t.Fatal(a)
	}
	if a := n.must(http.StatusOK, n.post("/v1/limits/consume", `{"limit":"destination/stripe","units":60}`)); text(a.json, "granted") != "false" {
		t.Fatal(a)
	}
	n.refused("limit_not_found", n.post("/v1/limits/consume", `{"limit":"destination/other"}`))
	n.refused("destination_not_found", n.get("/v1/destinations/stripe", "Authorization", "Bearer "+n.otherKey))
	n.must(http.StatusOK, n.send(http.MethodDelete, "/v1/destinations/stripe", ""))
	n.refused("destination_not_found", n.get("/v1/destinations/stripe"))
}

func TestALimitKeyThatIsHeldIsShownWithItsDestination(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.thirdParty(func(_ int, w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	if a := n.must(http.StatusOK, n.get("/v1/destinations/api")); text(a.json, "held_limit_keys") != "[]" {
		t.Error(a)
	}
	n.must(http.StatusOK, n.send(http.MethodPatch, "/v1/destinations/api", `{"rate_limits":[{"name":"tenant","limit":10,"period_seconds":1,"per":"limit_key"}]}`))
	n.must(http.StatusCreated, n.post("/v1/tasks", `{"destination":"api","limit_key":"tenant-7","http_request":{"method":"PUT","url":"/x"}}`))
	a := n.until("/v1/destinations/api", func(a answer) bool { return text(a.json, "held_limit_keys.0.limit_key") == "tenant-7" })
	if text(a.json, "hold") != "<nil>" || !strings.Contains(text(a.json, "held_limit_keys.0.until"), "Z") {
		t.Error(a)
	}
}

func TestATaskOverTheAPI(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	got := make(chan string, 10)
	n.thirdParty(func(number int, w http.ResponseWriter, r *http.Request, body string) {
		got <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type") + " " + r.Header.Get("Idempotency-Key") + " " + body
		if number == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	const asked = `{"destination":"api","http_request":{"method":"PUT","url":"/contacts/1","body":"{\"name\":\"Ada\"}"},"subject_type":"contact","subject_id":"1",
		"tags":["sync"],"idempotency_key":"contact-1","retry_config":{"min_backoff_seconds":0},"name":"contact-1"}`
	made := n.must(http.StatusCreated, n.post("/v1/tasks", asked, "Idempotency-Key", "one"))
	id := text(made.json, "id")
	if made.header.Get("Location") != "/v1/tasks/"+id || text(made.json, "deduplicated") != "false" {
		t.Fatal(made)
	}
	if again := n.must(http.StatusCreated, n.post("/v1/tasks", asked, "Idempotency-Key", "one")); text(again.json, "id") != id || again.header.Get("Idempotent-Replayed") == "" {
		t.Fatal(again)
	}
	if same := n.must(http.StatusOK, n.post("/v1/tasks", asked)); text(same.json, "id") != id || text(same.json, "deduplicated") != "true" {
		t.Fatal(same)
	}
	const want = `PUT /contacts/1 application/json contact-1 {"name":"Ada"}`
	for range 2 {
		if request := <-got; request != want {
			t.Errorf("got %s, want %s", request, want)
		}
	}
	a := n.until("/v1/tasks/"+id, state("completed"))
	if text(a.json, "attempts") != "2" || text(a.json, "waiting") != "<nil>" || text(a.json, "http_request.body") != `{"name":"Ada"}` || text(a.json, "subject_id") != "1" {
		t.Error(a)
	}
	attempts := n.must(http.StatusOK, n.get("/v1/tasks/"+id+"/attempts"))
	if text(attempts.json, "data.0.outcome") != "succeeded" || text(attempts.json, "data.1.status") != "500" {
		t.Error(attempts)
	}
	for _, filter := range []string{"", "?subject_id=1&subject_type=contact", "?destination=api", "?tag=sync&state=completed", "?queue=default"} {
		if list := n.must(http.StatusOK, n.get("/v1/tasks"+filter)); text(list.json, "data.0.id") != id {
			t.Errorf("%s: %s", filter, list)
		}
	}
	if list := n.must(http.StatusOK, n.get("/v1/tasks", "Authorization", "Bearer "+n.otherKey)); text(list.json, "data.0") != "<none>" {
		t.Error(list)
	}
	n.refused("task_not_found", n.get("/v1/tasks/"+id, "Authorization", "Bearer "+n.otherKey))
	n.refused("task_not_found", n.get("/v1/tasks/"+id+"/attempts", "Authorization", "Bearer "+n.otherKey))
	n.refused("task_ended", n.post("/v1/tasks/"+id+"/cancel", ""))
	n.refused("task_ended", n.post("/v1/tasks/"+id+"/run", ""))
	n.refused("queue_not_found", n.post("/v1/tasks", `{"queue":"none","destination":"api","http_request":{"method":"GET","url":"/x"}}`))
	n.refused("destination_not_found", n.post("/v1/tasks", `{"destination":"none","http_request":{"method":"GET","url":"/x"}}`))
	n.refused("task_invalid", n.post("/v1/tasks", `{"destination":"api","http_request":{"method":"GET","url":"/x"},"name":"a","unique_key":"b"}`))
	n.refused("invalid_request", n.post("/v1/tasks", `{"destination":"api","http_request":{"method":"PUT","url":"/x","body_base64":"?"}}`))
}

func TestATaskIsReplacedOverTheAPI(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.thirdParty(func(_ int, w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusOK) })
	ask := func(onConflict string) string {
		return `{"destination":"api","http_request":{"method":"GET","url":"/x"},"unique_key":"record-7","on_conflict":"` + onConflict + `","schedule_time":"2036-01-01T00:00:00Z"}`
	}
	first := text(n.must(http.StatusCreated, n.post("/v1/tasks", ask("error"))).json, "id")
	if same := n.must(http.StatusOK, n.post("/v1/tasks", ask("return"))); text(same.json, "id") != first {
		t.Error(same)
	}
	if refused := n.refused("task_exists", n.post("/v1/tasks", ask("error"))); !strings.Contains(text(refused.json, "detail"), first) {
		t.Error(refused)
	}
	second := n.must(http.StatusCreated, n.post("/v1/tasks", ask("replace"), "Idempotency-Key", "one"))
	if again := n.must(http.StatusCreated, n.post("/v1/tasks", ask("replace"), "Idempotency-Key", "one")); text(again.json, "id") != text(second.json, "id") {
		t.Error(again)
	}
	n.until("/v1/tasks/"+first, state("cancelled"))
	n.until("/v1/tasks/"+text(second.json, "id"), state("scheduled"))
	n.refused("batch_rejected", n.post("/v1/tasks/batch", `{"tasks":[`+strings.ReplaceAll(ask("replace"), "record-7", "record-8")+`,`+ask("error")+`]}`))
	n.must(http.StatusCreated, n.post("/v1/tasks", strings.ReplaceAll(ask("error"), "record-7", "record-8")))
	n.refused("invalid_request", n.post("/v1/tasks", ask("sometimes")))
}

func TestAWaitingTaskOverTheAPI(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.thirdParty(func(_ int, w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusOK) })
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	ask := func() string {
		return text(n.must(http.StatusCreated, n.post("/v1/tasks", `{"destination":"api","http_request":{"method":"GET","url":"/x"},"schedule_time":"`+later+`"}`)).json, "id")
	}
	first, second := ask(), ask()
	if a := n.must(http.StatusOK, n.get("/v1/tasks/"+first)); text(a.json, "waiting.for") != "scheduled" || text(a.json, "waiting.estimated_at") != text(a.json, "due_at") {
		t.Error(a)
	}
	if a := n.must(http.StatusOK, n.post("/v1/tasks/"+first+"/cancel", "")); text(a.json, "state") != "cancelled" {
		t.Error(a)
	}
	n.refused("destination_in_use", n.send(http.MethodDelete, "/v1/destinations/api", ""))
	n.must(http.StatusOK, n.post("/v1/tasks/"+second+"/run", ""))
	n.until("/v1/tasks/"+second, state("completed"))
}

func TestTenThousandTasksAreQueuedByOneRequest(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.thirdParty(func(_ int, w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusOK) })
	n.must(http.StatusCreated, n.post("/v1/queues", `{"name":"bulk"}`))
	n.must(http.StatusOK, n.post("/v1/queues/bulk/pause", ""))
	var body strings.Builder
	body.WriteString(`{"tasks":[`)
	for i := range 10_000 {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"queue":"bulk","destination":"api","http_request":{"method":"PUT","url":"/contacts/%d","body":"{\"name\":\"Ada Lovelace\"}"},"subject_type":"contact","subject_id":"%d"}`, i, i)
	}
	body.WriteString(`]}`)
	began := time.Now()
	a := n.must(http.StatusOK, n.post("/v1/tasks/batch", body.String(), "Idempotency-Key", "bulk"))
	t.Logf("%d bytes took %v", body.Len(), time.Since(began))
	if text(a.json, "created") != "10000" || text(a.json, "tasks.9999.deduplicated") != "false" {
		t.Fatal(text(a.json, "created"))
	}
	if again := n.must(http.StatusOK, n.post("/v1/tasks/batch", body.String(), "Idempotency-Key", "bulk")); string(again.body) != string(a.body) {
		t.Error("the second answer is another")
	}
	q := n.must(http.StatusOK, n.get("/v1/queues/bulk"))
	if text(q.json, "tasks.available") != "10000" || text(q.json, "tasks.more") != "true" {
		t.Error(q)
	}
	refused := n.refused("batch_rejected", n.post("/v1/tasks/batch", `{"tasks":[{"destination":"api","http_request":{"method":"GET","url":"/x"}},{"destination":"none","http_request":{"method":"GET","url":"/x"}}]}`))
	if text(refused.json, "errors.0.param") != "/tasks/1/destination" || text(refused.json, "errors.0.code") != "destination_not_found" {
		t.Error(refused)
	}
	last := n.must(http.StatusOK, n.get("/v1/tasks/"+text(a.json, "tasks.100.id")))
	if text(last.json, "waiting.for") != "queue_paused" {
		t.Error(last)
	}
}

func TestDeadLettersOverTheAPI(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	var mu sync.Mutex
	healed := false
	n.thirdParty(func(_ int, w http.ResponseWriter, _ *http.Request, _ string) {
		mu.Lock()
		defer mu.Unlock()
		if !healed {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	})
	task := func(i int) string {
		return fmt.Sprintf(`{"destination":"api","http_request":{"method":"PUT","url":"/x/%d"},"subject_id":"%d"}`, i, i)
	}
	batch := n.must(http.StatusOK, n.post("/v1/tasks/batch", `{"tasks":[`+task(0)+`,`+task(1)+`,`+task(2)+`,`+task(3)+`]}`))
	for i := range 4 {
		n.until("/v1/tasks/"+text(batch.json, fmt.Sprintf("tasks.%d.id", i)), state("discarded"))
	}
	groups := n.must(http.StatusOK, n.get("/v1/dead-letters/groups"))
	if text(groups.json, "data.0.count") != "4" || text(groups.json, "data.0.first.reason") != "non_retryable" || text(groups.json, "data.0.latest.status") != "422" {
		t.Fatal(groups)
	}
	print := text(groups.json, "data.0.fingerprint")
	if list := n.must(http.StatusOK, n.get("/v1/dead-letters?fingerprint="+print+"&limit=3")); text(list.json, "has_more") != "true" || text(list.json, "data.2.destination") != "api" {
		t.Error(list)
	}
	first, second := text(batch.json, "tasks.0.id"), text(batch.json, "tasks.1.id")
	if a := n.must(http.StatusOK, n.post("/v1/dead-letters/"+first+"/discard", `{"note":"known"}`)); text(a.json, "resolution") != "discarded" || !strings.HasPrefix(text(a.json, "resolved_by"), "key_") {
		t.Error(a)
	}
	n.refused("dead_letter_resolved", n.post("/v1/dead-letters/"+first+"/replay", ""))
	n.refused("dead_letter_not_found", n.get("/v1/dead-letters/"+first, "Authorization", "Bearer "+n.otherKey))
	mu.Lock()
	healed = true
	mu.Unlock()
	again := n.must(http.StatusCreated, n.post("/v1/dead-letters/"+second+"/replay", "", "Idempotency-Key", "again"))
	if repeated := n.must(http.StatusCreated, n.post("/v1/dead-letters/"+second+"/replay", "", "Idempotency-Key", "again")); text(repeated.json, "id") != text(again.json, "id") {
		t.Error(repeated)
	}
	a := n.until("/v1/tasks/"+text(again.json, "id"), state("completed"))
	if text(a.json, "replay_of") != second || text(a.json, "idempotency_key") != second {
		t.Error(a)
	}
	preview := n.must(http.StatusOK, n.post("/v1/replays", `{"filter":{"destination":"api"},"dry_run":true}`))
	if text(preview.json, "count") != "2" || text(preview.json, "sample.1.destination") != "api" {
		t.Error(preview)
	}
	replay := n.must(http.StatusCreated, n.post("/v1/replays", `{"filter":{"destination":"api"},"max_dispatches_per_second":100,"canary":1,"stop_at_failure_percent":10}`))
	path := replay.header.Get("Location")
	if a := n.until(path, state("completed")); text(a.json, "replayed") != "2" || text(a.json, "succeeded") != "2" {
		t.Error(a)
	}
	n.refused("replay_ended", n.post(path+"/cancel", ""))
	n.refused("replay_not_found", n.get(path, "Authorization", "Bearer "+n.otherKey))
}

// TestWhatCouldNeverBeSentIsRefusedAtOnce, rather than found among the dead letters.
func TestWhatCouldNeverBeSentIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.must(http.StatusCreated, n.post("/v1/destinations", `{"name":"api","base_url":"https://example.org"}`))
	for members, param := range map[string]string{
		`"http_request":{"method":"POST","url":"x"}`:                                                                  "/http_request/url",
		`"http_request":{"method":"POST","url":"/a b"}`:                                                               "/http_request/url",
		`"http_request":{"method":"POST","url":"/a/../b"}`:                                                            "/http_request/url",
		`"http_request":{"method":"POST","url":"/x","headers":{"a b":"c"}}`:                                           "/http_request/headers",
		`"http_request":{"method":"POST","url":"/x","headers":{"Host":"c"}}`:                                          "/http_request/headers",
		`"http_request":{"method":"POST","url":"/x"},"verify":{"method":"GET","url":"x"}`:                             "/verify/url",
		`"http_request":{"method":"POST","url":"/x"},"idempotency_key":"a\nb"`:                                        "/idempotency_key",
		`"http_request":{"method":"POST","url":"/x","headers":{"X-A":"c\r\nX-B: d"}},"subject_type":"t"`:              "/http_request/headers",
		`"http_request":{"method":"POST","url":"/x","body":"a","body_base64":"YQ=="},"subject_id":"1"`:                "/http_request/body_base64",
		`"http_request":{"method":"POST","url":"https://u:p@example.org/x"},"name":"with-credentials-in-its-own-url"`: "/http_request/url",
	} {
		a := n.refused("invalid_request", n.post("/v1/tasks", `{"destination":"api",`+members+`}`))
		if text(a.json, "param") != param {
			t.Errorf("%s: %s", members, a)
		}
		a = n.refused("invalid_request", n.post("/v1/tasks/batch", `{"tasks":[{"destination":"api",`+members+`}]}`))
		if text(a.json, "param") != "/tasks/0"+param {
			t.Errorf("%s: %s", members, a)
		}
	}
}

func TestWhatIsNoIDIsToldOnce(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	a := n.refused("invalid_request", n.get("/v1/tasks/pay_1"))
	if text(a.json, "detail") != "task_id must be an id, tsk_ and 26 characters." || text(a.json, "errors.1") != "<none>" {
		t.Error(a)
	}
}
