package tasks

import (
	"maps"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/destinations"
)

func TestTheHeadersOfATask(t *testing.T) {
	t.Parallel()
	task := Task{ID: ids.ID{1}, Queue: "emails", Attempt: 1}
	id := ids.Format(Prefix, task.ID)
	expect := func(w told, cloudTasks bool, want map[string]string) {
		t.Helper()
		got := map[string]string{}
		for name, values := range task.headers(w, cloudTasks) {
			if len(values) != 1 || http.CanonicalHeaderKey(name) != name {
				t.Errorf("%s: %q", name, values)
			}
			got[name] = values[0]
		}
		canonical := map[string]string{}
		for name, value := range want {
			canonical[http.CanonicalHeaderKey(name)] = value
		}
		if !maps.Equal(got, canonical) {
			t.Errorf("got  %v\nwant %v", got, canonical)
		}
	}
	expect(told{}, false, map[string]string{
		"X-Kontor-QueueName": "emails", "X-Kontor-TaskName": id, "X-Kontor-TaskRetryCount": "0", "X-Kontor-TaskExecutionCount": "0",
	})
	task.Attempt, task.excused, task.wantedAt = 4, 1, time.Date(2027, 1, 5, 12, 0, 0, 1500, time.UTC)
	own := map[string]string{
		"X-Kontor-QueueName": "emails", "X-Kontor-TaskName": id, "X-Kontor-TaskRetryCount": "3", "X-Kontor-TaskExecutionCount": "2",
		"X-Kontor-TaskETA": "1799150400.000001", "X-Kontor-TaskPreviousResponse": "503", "X-Kontor-TaskRetryReason": "http_503",
	}
	before := told{name: "invoice-42", status: 503, reason: "http_503", another: true}
	expect(before, false, own)
	maps.Copy(own, map[string]string{
		"X-CloudTasks-QueueName": "emails", "X-CloudTasks-TaskName": "invoice-42", "X-CloudTasks-TaskRetryCount": "3", "X-CloudTasks-TaskExecutionCount": "2",
		"X-CloudTasks-TaskETA": "1799150400.000001", "X-CloudTasks-TaskPreviousResponse": "503", "X-CloudTasks-TaskRetryReason": "http_503",
	})
	expect(before, true, own)
}

func TestAHandlerOfCloudTasksIsToldWhatItKnows(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	o := b.other(node, destinations.Settings{CloudTasksHeaders: true}, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	b.run(node)
	spec := b.request(post("/x"))
	spec.Name = "invoice-42"
	task := b.queue(node, spec)[0]
	b.untilFinished(task)
	seen := o.seen()
	if len(seen) != 2 {
		t.Fatal(seen)
	}
	for i, want := range []map[string]string{
		{"X-Cloudtasks-Taskname": "invoice-42", "X-Cloudtasks-Taskretrycount": "0", "X-Cloudtasks-Taskpreviousresponse": "", "X-Cloudtasks-Taskretryreason": ""},
		{"X-Cloudtasks-Taskname": "invoice-42", "X-Cloudtasks-Taskretrycount": "1", "X-Cloudtasks-Taskpreviousresponse": "503", "X-Cloudtasks-Taskretryreason": "http_503"},
	} {
		for name, value := range want {
			if got := seen[i].Get(name); got != value {
				t.Errorf("request %d: %s is %q, want %q", i+1, name, got, value)
			}
		}
		eta, err := strconv.ParseFloat(seen[i].Get("X-Cloudtasks-Tasketa"), 64)
		if off := time.Since(time.UnixMicro(int64(eta * 1e6))); err != nil || off < -time.Minute || off > time.Minute {
			t.Errorf("request %d: it was wanted at %s", i+1, seen[i].Get("X-Cloudtasks-Tasketa"))
		}
		if seen[i].Get("X-Kontor-Taskname") != ids.Format(Prefix, task.ID) {
			t.Errorf("request %d: %v", i+1, seen[i])
		}
	}
	if n := b.count(`select count(*) from task_attempt where exchange -> 'request' -> 'headers' ->> 'X-Cloudtasks-Taskname' = 'invoice-42'`); n != 2 {
		t.Errorf("the history has them %d times", n)
	}
}
