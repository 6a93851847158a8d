package tasks

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/limits"
)

func TestWhyATaskWaits(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 1, 5, 12, 0, 0, 0, time.UTC)
	soon, late := now.Add(time.Minute), now.Add(time.Hour)
	held := func(s destinations.State) *destinations.Destination {
		d := &destinations.Destination{Name: "stripe", State: s}
		d.State.Breaker.Position = destinations.BreakerClosed
		if s.Breaker.Position != "" {
			d.State.Breaker.Position = s.Breaker.Position
		}
		return d
	}
	free := held(destinations.State{})
	limit := func(w ...limits.WindowState) []limitFact {
		return []limitFact{{limits.Key{Name: "destination/stripe"}, limits.State{Windows: w}}}
	}
	window := func(limit int64, period time.Duration, busy int64, freeAt time.Time) limits.WindowState {
		return limits.WindowState{Window: limits.Window{Limit: limit, Period: period}, Busy: busy, FreeAt: freeAt}
	}
	available := Shown{State: StateAvailable, Destination: "stripe", Units: 1, DueAt: now}
	first := ids.NewSource(func() time.Time { return now }).New()
	for _, c := range []struct {
		name     string
		f        facts
		want     string
		says     string
		estimate time.Time
	}{
		{"a paused queue", facts{task: available, queue: &Queue{Name: "q", State: QueuePaused, PausedUntil: late}, destination: free}, WaitsForQueue, "paused until 2027-01-05 13:00:00 UTC.", late},
		{"a pause that ends before its time", facts{task: Shown{State: StateScheduled, DueAt: late}, queue: &Queue{State: QueuePaused, PausedUntil: soon}}, WaitsForTime, "wanted at 2027-01-05 13:00:00 UTC.", late},
		{"a destination that asked for it", facts{task: available, destination: held(destinations.State{LimitedUntil: soon, LastError: "429"})}, WaitsForDestination, "left alone until 2027-01-05 12:01:00 UTC: 429", soon},
		{"credentials", facts{task: available, destination: held(destinations.State{Auth: destinations.AuthHold{HeldAt: now}})}, WaitsForDestination, "until they are changed, or it is resumed.", time.Time{}},
		{
			"a breaker",
			facts{task: available, destination: held(destinations.State{Breaker: destinations.Breaker{Position: destinations.BreakerOpen, OpenUntil: soon}})},
			WaitsForDestination, "circuit breaker is open until", soon,
		},
		{"an operator", facts{task: available, destination: held(destinations.State{Pause: destinations.Pause{Active: true, Reason: "audit"}})}, WaitsForDestination, "is paused, until it is resumed: audit", time.Time{}},
		{"no destination", facts{task: available}, WaitsForMissing, "no destination stripe", time.Time{}},
		{"its turn", facts{task: Shown{State: StateBlocked}, first: first, before: 3}, WaitsForTurn, ids.Format(Prefix, first) + " with the same ordering key comes first, and 3 others", time.Time{}},
		{
			"another attempt",
			facts{task: Shown{State: StateRetryable, DueAt: soon, Last: Attempt{Number: 2, Outcome: OutcomeTimedOut}}},
			WaitsForRetry,
			"Attempt 2 ended as timed_out; the next is at 2027-01-05 12:01:00 UTC.", soon,
		},
		{
			"a rate",
			facts{task: available, destination: free, before: 20, limits: limit(window(10, time.Second, 10, now.Add(time.Second)))},
			WaitsForLimit,
			"destination/stripe allows 10 in 1s, and that is used up; the next slot is free at", now.Add(3 * time.Second),
		},
		{
			"a rate that was learned",
			facts{
				task: available, destination: held(destinations.State{Learned: destinations.Learned{Permille: 700, At: now}}),
				limits: limit(window(7, time.Second, 7, now.Add(time.Second))),
			},
			WaitsForLimit,
			"allows 7 in 1s (70.0 % of what is configured, for it has turned requests away), and that is used up", now.Add(time.Second),
		},
		{
			"concurrency",
			facts{task: available, destination: free, limits: limit(window(2, 0, 2, time.Time{}), window(10, time.Second, 3, time.Time{}))},
			WaitsForConcurrency, "allows 2 at a time, and so many are at work. no task before it",
			time.Time{},
		},
		{
			"a worker",
			facts{task: available, destination: free, before: 50, limits: limit(window(10, time.Second, 3, time.Time{}))},
			WaitsForWorker,
			"50 tasks before it in its line", now.Add(5 * time.Second),
		},
		{
			"a worker, with room for the day",
			facts{task: available, destination: free, before: 50, limits: limit(window(10, time.Second, 3, time.Time{}), window(5000, 24*time.Hour, 100, time.Time{}))},
			WaitsForWorker,
			"50 tasks before it in its line", now.Add(5 * time.Second),
		},
		{"a worker, and nothing is known", facts{task: available, destination: free, before: 50}, WaitsForWorker, "50 tasks", time.Time{}},
	} {
		c.f.now = now
		w, waits := c.f.why()
		if !waits || w.For != c.want || !strings.Contains(w.Sentence, c.says) || !w.Estimate.Equal(c.estimate) {
			t.Errorf("%s: %+v", c.name, w)
		}
	}
	for _, state := range []string{StateRunning, StateCompleted, StateDiscarded} {
		if w, waits := (&facts{now: now, task: Shown{State: state}}).why(); waits {
			t.Errorf("%s: %+v", state, w)
		}
	}
}

func TestAnyNodeTellsWhatATaskOfABusyDestinationWaitsFor(t *testing.T) {
	b := setup(t)
	api, worker := b.node("api", Config{}), b.node("worker", Config{})
	release := make(chan struct{})
	var once sync.Once
	b.other(worker, destinations.Settings{MaxConcurrentDispatches: 1}, func(_ int, w http.ResponseWriter, _ *http.Request) {
		<-release
		w.WriteHeader(http.StatusOK)
	})
	t.Cleanup(func() { once.Do(func() { close(release) }) })
	b.run(worker)
	list := b.queue(worker, b.request(post("/x")), b.request(post("/x")), b.request(post("/x")))
	var w Waiting
	b.until("one is at work and the last knows what it waits for", func() bool {
		states := 0
		for _, task := range list {
			s, found, waits, err := api.Explain(t.Context(), b.org, task.ID)
			if err != nil {
				t.Fatal(err)
			}
			if s.State == StateRunning {
				states++
			}
			if waits && found.For == WaitsForConcurrency && found.Position == 1 {
				w = found
			}
		}
		return states == 1 && w.For != ""
	})
	if w.Limit != "destination/api" {
		t.Errorf("%+v", w)
	}
	do(b, func(ctx context.Context, tx postgres.Tx) (destinations.Destination, error) {
		return api.destinations.Pause(ctx, tx, b.org, "api", time.Time{}, "audit")
	})
	held := 0
	for _, task := range list {
		if _, w, waits, err := api.Explain(t.Context(), b.org, task.ID); err == nil && waits && w.For == WaitsForDestination && w.HeldBy == "operator" {
			held++
		}
	}
	if held != 2 {
		t.Errorf("%d say that the destination is paused", held)
	}
	do(b, func(ctx context.Context, tx postgres.Tx) (destinations.Destination, error) {
		return api.destinations.Resume(ctx, tx, b.org, "api", false)
	})
	once.Do(func() { close(release) })
	b.untilFinished(list...)
}
