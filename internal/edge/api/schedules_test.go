package api

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

const nightly = `{"name":"nightly","cron":"0 2 * * *","time_zone":"Europe/Berlin","misfire_policy":"all","misfire_max":3,
	"task":{"destination":"api","http_request":{"method":"POST","url":"/reports?at={{tick_at}}","body":"{\"of\":\"{{schedule_id}}\"}"},"on_unknown":"dead_letter",
	"ordering_key":"reports","priority":2,"timeout_seconds":20,"expire_after_seconds":3600,"tags":["report"],"retry_config":{"max_attempts":3,"jitter_percent":10}}}`

func TestAScheduleOverTheAPI(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.thirdParty(func(_ int, w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusOK) })
	made := n.must(http.StatusCreated, n.post("/v1/schedules", nightly, "Idempotency-Key", "one"))
	path := "/v1/schedules/" + text(made.json, "id")
	if made.header.Get("Location") != path || text(made.json, "misfire_grace_seconds") != "60" || text(made.json, "last_tick_at") != "<nil>" {
		t.Fatal(made)
	}
	if again := n.must(http.StatusCreated, n.post("/v1/schedules", nightly, "Idempotency-Key", "one")); again.header.Get("Location") != path {
		t.Error(again)
	}
	for place, want := range map[string]string{
		"task.queue": "default", "task.http_request.body": `{"of":"{{schedule_id}}"}`, "task.http_request.url": "/reports?at={{tick_at}}",
		"task.on_unknown": "dead_letter", "task.priority": "2", "task.timeout_seconds": "20", "task.retry_config.jitter": "0.1", "task.tags.0": "report",
	} {
		if got := text(made.json, place); got != want {
			t.Errorf("%s is %s, want %s", place, got, want)
		}
	}
	changed := n.must(http.StatusOK, n.send(http.MethodPatch, path, `{"version":1,"cron":"@every 90m","misfire_policy":"skip"}`))
	if text(changed.json, "version") != "2" || text(changed.json, "name") != "nightly" || text(changed.json, "task.priority") != "2" || text(changed.json, "misfire_max") != "3" {
		t.Error(changed)
	}
	n.refused("schedule_version_conflict", n.send(http.MethodPatch, path, `{"version":1,"cron":"@daily"}`))
	next := text(changed.json, "next_tick_at")
	if a := n.must(http.StatusOK, n.get(path+"/ticks?limit=2")); text(a.json, "ticks.0") != next || text(a.json, "ticks.2") != "<none>" {
		t.Errorf("%s, and next is %s", a, next)
	}
	paused := n.must(http.StatusOK, n.post(path+"/pause", `{"reason":"holidays"}`))
	if text(paused.json, "state") != "paused" || text(paused.json, "pause_reason") != "holidays" || text(paused.json, "next_tick_at") != "<nil>" {
		t.Error(paused)
	}
	n.must(http.StatusOK, n.post(path+"/resume", ""))
	if list := n.must(http.StatusOK, n.get("/v1/schedules?name=nightly&state=active")); text(list.json, "data.0.version") != "4" || text(list.json, "has_more") != "false" {
		t.Error(list)
	}
	told := n.until("/v1/events?subject="+text(made.json, "id"), func(a answer) bool { return text(a.json, "data.3.type") == "schedule.resumed" })
	if text(told.json, "data.0.data.task.http_request.method") != "POST" {
		t.Error(told)
	}
	n.refused("schedule_not_found", n.get(path, "Authorization", "Bearer "+n.otherKey))
	n.refused("schedule_not_found", n.post(path+"/run", "", "Authorization", "Bearer "+n.otherKey))
	if a := n.must(http.StatusOK, n.send(http.MethodDelete, path, "")); text(a.json, "name") != "nightly" {
		t.Error(a)
	}
	n.refused("schedule_not_found", n.get(path))
}

func TestASchedulesRefusals(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.refused("destination_not_found", n.post("/v1/schedules", nightly))
	n.thirdParty(func(_ int, w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusOK) })
	n.must(http.StatusCreated, n.post("/v1/schedules", nightly))
	n.refused("schedule_name_taken", n.post("/v1/schedules", nightly))
	a := n.refused("schedule_invalid", n.post("/v1/schedules", strings.ReplaceAll(strings.ReplaceAll(nightly, "0 2 *", "0 25 *"), "Europe/Berlin", "Mars/Olympus")))
	if text(a.json, "errors.0.param") != "/cron" || text(a.json, "errors.1.param") != "/time_zone" {
		t.Error(a)
	}
	a = n.refused("queue_not_found", n.post("/v1/schedules", strings.ReplaceAll(nightly, `"priority"`, `"queue":"none","priority"`)))
	if text(a.json, "param") != "/task/queue" {
		t.Error(a)
	}
	a = n.refused("task_invalid", n.post("/v1/schedules", strings.ReplaceAll(nightly, `"jitter_percent":10`, `"min_backoff_seconds":9,"max_backoff_seconds":1`)))
	if !strings.HasPrefix(text(a.json, "param"), "/task/retry_config") {
		t.Error(a)
	}
	a = n.refused("invalid_request", n.post("/v1/schedules", strings.ReplaceAll(nightly, `"dead_letter"`, `"verify"`)))
	if text(a.json, "param") != "/task/verify" {
		t.Error(a)
	}
	n.refused("schedule_invalid", n.get("/v1/schedules/preview?cron=nonsense"))
	a = n.must(http.StatusOK, n.get("/v1/schedules/preview?cron=30+2+29+2+*&time_zone=Europe%2FBerlin&limit=3"))
	if first, err := time.Parse(time.RFC3339, text(a.json, "ticks.0")); err != nil || first.Month() != time.February || first.Hour() != 1 || text(a.json, "ticks.3") != "<none>" {
		t.Error(a, err)
	}
}

// Who deleted the queue or the destination of a schedule would have its tasks run without limits, or fail each time.
func TestWhatAScheduleUsesIsNotDeleted(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.thirdParty(func(_ int, w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusOK) })
	n.must(http.StatusCreated, n.post("/v1/queues", `{"name":"reports"}`))
	made := n.must(http.StatusCreated, n.post("/v1/schedules", strings.ReplaceAll(nightly, `"priority"`, `"queue":"reports","priority"`)))
	path := "/v1/schedules/" + text(made.json, "id")
	n.must(http.StatusOK, n.post(path+"/pause", ""))
	a := n.refused("queue_in_use", n.send(http.MethodDelete, "/v1/queues/reports", ""))
	if !strings.Contains(text(a.json, "detail"), "nightly") {
		t.Error(a)
	}
	a = n.refused("destination_in_use", n.send(http.MethodDelete, "/v1/destinations/api", ""))
	if !strings.Contains(text(a.json, "detail"), "nightly") {
		t.Error(a)
	}
	n.must(http.StatusOK, n.send(http.MethodDelete, path, ""))
	n.must(http.StatusOK, n.send(http.MethodDelete, "/v1/queues/reports", ""))
	n.must(http.StatusOK, n.send(http.MethodDelete, "/v1/destinations/api", ""))
}

func TestASchedulesTicksAreSent(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	got := make(chan string, 100)
	n.thirdParty(func(_ int, _ http.ResponseWriter, r *http.Request, body string) {
		got <- r.Method + " " + r.URL.String() + " " + body
	})
	made := n.must(http.StatusCreated, n.post("/v1/schedules", strings.ReplaceAll(nightly, "0 2 * * *", "* * * * * *")))
	id := text(made.json, "id")
	tick, err := time.Parse(time.RFC3339, text(made.json, "next_tick_at"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		want := "POST /reports?at=" + tick.Add(time.Duration(i)*time.Second).Format(time.RFC3339) + ` {"of":"` + id + `"}`
		if sent := <-got; sent != want {
			t.Errorf("sent %s, want %s", sent, want)
		}
	}
	n.must(http.StatusOK, n.post("/v1/schedules/"+id+"/pause", ""))
	run := n.must(http.StatusCreated, n.post("/v1/schedules/"+id+"/run", "", "Idempotency-Key", "run"))
	if again := n.must(http.StatusCreated, n.post("/v1/schedules/"+id+"/run", "", "Idempotency-Key", "run")); string(again.body) != string(run.body) {
		t.Error(again)
	}
	task := n.until(run.header.Get("Location"), state("completed"))
	if text(task.json, "subject_id") != id || text(task.json, "subject_type") != "schedule" || text(task.json, "priority") != "2" ||
		text(task.json, "ordering_key") != "reports" || text(task.json, "timeout_seconds") != "20" || text(task.json, "retry_config.max_attempts") != "3" {
		t.Error(task)
	}
}
