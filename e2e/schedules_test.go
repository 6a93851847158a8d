package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/app/mockapi"
)

// A schedule ticks every second while nodes come and go: every second is sent once, and none is left out.
func TestEveryTickIsSentOnce(t *testing.T) {
	w := newWitness(t, careless(20*time.Millisecond))
	w.reachedAt(w.mock.URL(), 10)
	a, b := w.start("a"), w.start("b")
	r, err := a.api.CreateScheduleWithResponse(t.Context(), &client.CreateScheduleParams{IdempotencyKey: client.NewKey()}, client.ScheduleRequest{
		Name: "seconds", Cron: "* * * * * *", MisfirePolicy: ptr(client.MisfirePolicyAll),
		Task: client.ScheduleTask{Destination: api, HTTPRequest: client.HTTPRequest{Method: http.MethodPost, URL: "/ticks/{{tick_at}}"}},
	})
	if err != nil || r.JSON201 == nil {
		t.Fatalf("%v, %s", err, r.Body)
	}
	first, id := *r.JSON201.NextTickAt, r.JSON201.ID
	w.amid(2)
	a.stop()
	w.amid(4)
	c := w.start("c")
	w.amid(6)
	b.stop()
	w.amid(8)
	if _, err := c.api.PauseScheduleWithResponse(t.Context(), id, &client.PauseScheduleParams{IdempotencyKey: client.NewKey()}, client.SchedulePauseRequest{}); err != nil {
		t.Fatal(err)
	}
	w.settled()
	made := w.count(`select count(*) from schedule_tick`)
	w.agree(made)
	sent := map[string]int{}
	for _, arrival := range w.mock.Record(0, 1000, mockapi.Filter{}).Arrivals {
		sent[arrival.Path]++
	}
	for i := range made {
		path := fmt.Sprintf("/ticks/%s", first.Add(time.Duration(i)*time.Second).UTC().Format(time.RFC3339))
		if sent[path] != 1 {
			t.Errorf("%s was sent %d times", path, sent[path])
		}
	}
	if made < 8 || len(sent) != made {
		t.Errorf("%d ticks were made, and %d different ones sent", made, len(sent))
	}
	t.Logf("%d ticks", made)
}
