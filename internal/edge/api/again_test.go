package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestATaskIsDoneAgain(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	got := make(chan string, 10)
	n.thirdParty(func(_ int, w http.ResponseWriter, r *http.Request, body string) {
		got <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Idempotency-Key") + " " + body
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	})
	queue := func(path, more string) string {
		return text(n.must(http.StatusCreated, n.post("/v1/tasks", fmt.Sprintf(`{"destination":"api","http_request":{"method":"POST","url":%q,"body":"1"}%s}`, path, more))).json, "id")
	}
	ends := func(id, as, saw string) {
		t.Helper()
		n.until("/v1/tasks/"+id, state(as))
		if g := <-got; g != saw {
			t.Errorf("the other side saw %q, want %q", g, saw)
		}
	}
	first := queue("/good", "")
	ends(first, "completed", "POST /good "+first+" 1")
	again := n.must(http.StatusCreated, n.post("/v1/tasks/"+first+"/replay", "", "Idempotency-Key", "again"))
	second := text(again.json, "id")
	if again.header.Get("Location") != "/v1/tasks/"+second {
		t.Error(again.header)
	}
	ends(second, "completed", "POST /good "+first+" 1")
	if same := n.must(http.StatusCreated, n.post("/v1/tasks/"+first+"/replay", "", "Idempotency-Key", "again")); text(same.json, "id") != second {
		t.Error(same)
	}
	if a := n.must(http.StatusOK, n.get("/v1/tasks/"+second)); text(a.json, "replay_of") != first {
		t.Error(a)
	}

	bad := queue("/bad", "")
	ends(bad, "discarded", "POST /bad "+bad+" 1")
	edited := text(n.must(http.StatusCreated, n.post("/v1/tasks/"+bad+"/replay", `{"http_request":{"method":"PUT","url":"/good","body":"2"}}`)).json, "id")
	ends(edited, "completed", "PUT /good "+edited+" 2")
	if a := n.must(http.StatusOK, n.get("/v1/dead-letters/"+bad)); text(a.json, "resolution") != "replayed" || text(a.json, "replayed_as") != edited {
		t.Error(a)
	}
	bad = queue("/bad", "")
	ends(bad, "discarded", "POST /bad "+bad+" 1")
	edited = text(n.must(http.StatusCreated, n.post("/v1/dead-letters/"+bad+"/replay", `{"new_key":false,"http_request":{"method":"PUT","url":"/good","body":"2"}}`)).json, "id")
	ends(edited, "completed", "PUT /good "+bad+" 2")

	waits := queue("/good", `,"schedule_time":"2100-01-01T00:00:00Z"`)
	n.refused("task_not_ended", n.post("/v1/tasks/"+waits+"/replay", ""))
	n.refused("task_not_found", n.post("/v1/tasks/"+waits+"/replay", "", "Authorization", "Bearer "+n.otherKey))
	n.must(http.StatusCreated, n.post("/v1/payments", payment("tok_approved", "")))
	own := text(n.must(http.StatusOK, n.get("/v1/tasks?kind=payments.attempt")).json, "data.0.id")
	n.refused("task_not_replayable", n.post("/v1/tasks/"+own+"/replay", ""))
}

func TestManyTasksAreCancelledAtOnce(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	began := make(chan struct{}, 1)
	n.thirdParty(func(_ int, _ http.ResponseWriter, r *http.Request, _ string) {
		began <- struct{}{}
		<-r.Context().Done()
	})
	n.must(http.StatusCreated, n.post("/v1/queues", `{"name":"later"}`))
	const asked = `{"queue":%q,"destination":"api","tags":["nightly"],"http_request":{"method":"POST","url":"/x"},"schedule_time":"2100-01-01T00:00:00Z"}`
	for range 3 {
		n.must(http.StatusCreated, n.post("/v1/tasks", fmt.Sprintf(asked, "later")))
	}
	kept := text(n.must(http.StatusCreated, n.post("/v1/tasks", fmt.Sprintf(asked, "default"))).json, "id")
	running := text(n.must(http.StatusCreated, n.post("/v1/tasks", `{"queue":"later","destination":"api","http_request":{"method":"POST","url":"/x"}}`)).json, "id")
	<-began
	payment := text(n.must(http.StatusAccepted, n.post("/v1/payments", payment("tok_slow", ""), "Prefer", "respond-async")).json, "id")

	n.refused("invalid_request", n.post("/v1/tasks/cancel", `{"filter":{}}`))
	const ofQueue = `{"filter":{"queue":"later"}`
	for _, dry := range []string{`,"dry_run":true}`, `,"dry_run":true}`, `}`} {
		a := n.must(http.StatusOK, n.post("/v1/tasks/cancel", ofQueue+dry))
		if text(a.json, "cancelled") != "3" || text(a.json, "cancelling") != "1" || text(a.json, "next_cursor") != "<nil>" {
			t.Fatal(a)
		}
	}
	n.until("/v1/tasks/"+running, state("cancelled"))
	if a := n.must(http.StatusOK, n.get("/v1/tasks/"+kept)); text(a.json, "state") != "scheduled" {
		t.Error(a)
	}
	a := n.must(http.StatusOK, n.post("/v1/tasks/cancel", `{"filter":{"created_from":"2020-01-01T00:00:00Z"}}`, "Authorization", "Bearer "+n.otherKey))
	if text(a.json, "cancelled") != "0" {
		t.Errorf("another's: %s", a)
	}
	n.must(http.StatusOK, n.post("/v1/tasks/cancel", `{"filter":{"created_from":"2020-01-01T00:00:00Z"}}`))
	n.until("/v1/tasks/"+kept, state("cancelled"))
	n.until("/v1/payments/"+payment, func(a answer) bool { return text(a.json, "status") == "captured" })
}

func TestMoreTasksThanOneStepLooksThroughAreCancelled(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.thirdParty(func(int, http.ResponseWriter, *http.Request, string) {})
	const asked = `{"destination":"api","http_request":{"method":"POST","url":"/x"},"schedule_time":"2100-01-01T00:00:00Z"%s}`
	queue := func(tasks int, more string) {
		one := fmt.Sprintf(asked, more)
		n.must(http.StatusOK, n.post("/v1/tasks/batch", `{"tasks":[`+strings.Repeat(one+",", tasks-1)+one+`]}`))
	}
	queue(7, `,"tags":["import"]`)
	queue(10_000, "")
	first := n.must(http.StatusOK, n.post("/v1/tasks/cancel", `{"filter":{"tag":"import"}}`))
	if text(first.json, "cancelled") != "0" || text(first.json, "next_cursor") == "<nil>" {
		t.Fatal(first)
	}
	rest := n.must(http.StatusOK, n.post("/v1/tasks/cancel", fmt.Sprintf(`{"filter":{"tag":"import"},"cursor":%q}`, text(first.json, "next_cursor"))))
	if text(rest.json, "cancelled") != "7" || text(rest.json, "next_cursor") != "<nil>" {
		t.Fatal(rest)
	}
	a := n.post("/v1/tasks", fmt.Sprintf(asked, `,"expires_at":"2099-01-01T00:00:00Z"`))
	if n.refused("task_invalid", a); text(a.json, "errors.0.param") != "/expires_at" {
		t.Error(a)
	}
}
