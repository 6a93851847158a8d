package app_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnOperatorLooksAfterSchedules(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	got := make(chan string, 10)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.URL.Path }))
	t.Cleanup(other.Close)
	o.does("destinations create api --allow-private-networks --base-url " + other.URL)
	ticks := strings.Fields(o.does("schedules preview", "0 12 1 1 *", "--time-zone", "Europe/Berlin", "--limit", "2"))
	if len(ticks) != 2 || !strings.HasSuffix(ticks[0], "-01-01T11:00:00.000000Z") {
		t.Errorf("ticks %v", ticks)
	}
	made := o.does("schedules create yearly --misfire-policy skip --time-zone Europe/Berlin", "--cron", "0 12 1 1 *", "--file",
		o.file(`{"task":{"destination":"api","http_request":{"method":"POST","url":"/report"}}}`))
	id, _, _ := strings.Cut(made, " ")
	inOrder(t, made, id, "is active; its next tick is at", ticks[0])
	inOrder(t, o.does("schedules ticks "+id+" --limit 2"), ticks[0], ticks[1])
	inOrder(t, o.does("schedules run "+id), "queued as tsk_")
	if path := <-got; path != "/report" {
		t.Errorf("sent to %s", path)
	}
	inOrder(t, o.does("schedules pause "+id+" --reason holidays"), id, "is paused")
	inOrder(t, o.does("schedules list --state paused"), "ID", "NAME", id, "yearly", "paused", "Europe/Berlin", "api", "holidays")
	inOrder(t, o.does("schedules resume "+id), "is active")
	inOrder(t, o.does("schedules update "+id+" --misfire-max 7", "--cron", "@yearly"), "is active", "-12-31T23:00:00")
	inOrder(t, o.does("schedules get "+id), "misfire_max", "7", "misfire_policy", "skip", "task", "/report")
	o.fails(1, "Another schedule has that name", "schedules create yearly --cron @daily --file "+
		o.file(`{"task":{"destination":"api","http_request":{"method":"POST","url":"/report"}}}`))
	inOrder(t, o.does("schedules delete "+id), "deleted", "true", "yearly")
	o.fails(1, "There is no such schedule", "schedules get "+id)
}
