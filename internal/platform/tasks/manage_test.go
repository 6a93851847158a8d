package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/destinations"
)

// try runs body in a transaction and returns its error.
func (b *bench) try(body func(ctx context.Context, tx postgres.Tx) error) error {
	b.Helper()
	return b.db.InTx(b.Context(), body)
}

// do carries out a use case and returns what it made.
func do[T any](b *bench, body func(ctx context.Context, tx postgres.Tx) (T, error)) T {
	b.Helper()
	var made T
	b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		var err error
		made, err = body(ctx, tx)
		return err
	})
	return made
}

func (b *bench) makeQueue(node *Tasks, name string, s QueueSettings) Queue {
	b.Helper()
	return do(b, func(ctx context.Context, tx postgres.Tx) (Queue, error) {
		return node.CreateQueue(ctx, tx, b.org, name, s)
	})
}

func (b *bench) shown(node *Tasks, id ids.ID) Shown {
	b.Helper()
	s, err := node.Get(b.Context(), b.db.Pool(), b.org, id)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// refused wants a use case to be refused.
func (b *bench) refused(want error, body func(ctx context.Context, tx postgres.Tx) error) {
	b.Helper()
	if err := b.try(body); !errors.Is(err, want) {
		b.Errorf("got %v, want %v", err, want)
	}
}

func at[T any](v T) *T { return &v }

func TestAQueueIsMadeChangedAndDeleted(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	node.Handle("test", Policy{}, func(context.Context, Task) Verdict { return Succeeded() })
	q := b.makeQueue(node, "emails", QueueSettings{MaxDispatchesPerSecond: at(12 * onePerSecond)})
	if q.State != QueueRunning || q.MaxBurstSize != 3 || q.MaxConcurrentDispatches != 100 || q.TaskTTLSeconds != 31*86400 || q.TombstoneTTLSeconds != 3600 ||
		!strings.Contains(string(q.RetryConfig), `"max_attempts": 20`) || q.Version == 0 {
		t.Fatalf("%+v", q)
	}
	b.refused(ErrQueueExists, func(ctx context.Context, tx postgres.Tx) error {
		_, err := node.CreateQueue(ctx, tx, b.org, "emails", QueueSettings{})
		return err
	})
	b.refused(ErrQueueInvalid, func(ctx context.Context, tx postgres.Tx) error {
		_, err := node.CreateQueue(ctx, tx, b.org, "a b", QueueSettings{MaxDispatchesPerSecond: at(Rate(0)), RetryConfig: []byte(`{"jitter": 2}`)})
		return err
	})
	changed := do(b, func(ctx context.Context, tx postgres.Tx) (Queue, error) {
		return node.UpdateQueue(ctx, tx, b.org, "emails", q.Version, QueueSettings{MaxDispatchesPerSecond: at(RateOf(0.5)), RetryConfig: []byte(`{"max_attempts":3}`)})
	})
	if changed.MaxDispatchesPerSecond != 500 || changed.MaxBurstSize != 3 || changed.Version != q.Version+1 || !strings.Contains(string(changed.RetryConfig), `"max_attempts": 3`) {
		t.Fatalf("%+v", changed)
	}
	b.refused(ErrQueueChanged, func(ctx context.Context, tx postgres.Tx) error {
		_, err := node.UpdateQueue(ctx, tx, b.org, "emails", q.Version, QueueSettings{})
		return err
	})
	b.makeQueue(node, "calls", QueueSettings{})
	list, next, err := node.Queues(t.Context(), b.db.Pool(), b.org, paging.Cursor{}, 1)
	if err != nil || len(list) != 1 || list[0].Name != "calls" || next.Name != "calls" {
		t.Fatalf("%+v %+v %v", list, next, err)
	}
	if list, next, err = node.Queues(t.Context(), b.db.Pool(), b.org, next, 1); err != nil || len(list) != 1 || list[0].Name != "emails" || !next.IsZero() {
		t.Fatalf("%+v %+v %v", list, next, err)
	}
	spec := b.spec(time.Hour)
	spec.Queue = "emails"
	task := b.queueOnly(node, spec)[0]
	remove := func(ctx context.Context, tx postgres.Tx) error {
		return node.DeleteQueue(ctx, tx, b.org, "emails", nobody)
	}
	b.refused(ErrQueueNotEmpty, remove)
	do(b, func(ctx context.Context, tx postgres.Tx) (Shown, error) {
		return node.CancelOne(ctx, tx, b.org, task.ID)
	})
	if err := b.try(remove); err != nil {
		t.Fatal(err)
	}
	b.refused(ErrQueueNotFound, remove)
}

func TestAPausedQueueDispatchesNothingOnAnyNode(t *testing.T) {
	b := setup(t)
	api, worker := b.node("api", Config{}), b.node("worker", Config{})
	got := make(chan Task, 10)
	worker.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict { got <- task; return Succeeded() })
	b.makeQueue(api, "emails", QueueSettings{})
	paused := do(b, func(ctx context.Context, tx postgres.Tx) (Queue, error) {
		return api.PauseQueue(ctx, tx, b.org, "emails", time.Time{}, "the printer is on fire")
	})
	if paused.State != QueuePaused || paused.PauseReason == "" {
		t.Fatalf("%+v", paused)
	}
	b.refused(ErrQueueInvalid, func(ctx context.Context, tx postgres.Tx) error {
		_, err := api.PauseQueue(ctx, tx, b.org, "emails", time.Now().Add(-time.Hour), "")
		return err
	})
	b.run(worker)
	spec := b.spec(0)
	spec.Queue = "emails"
	task := b.queue(api, spec)[0]
	other := b.queue(api, b.spec(0))[0]
	b.untilFinished(other)
	_, w, waits, err := api.Explain(t.Context(), b.org, task.ID)
	if err != nil || !waits || w.For != WaitsForQueue || !w.Estimate.IsZero() || w.Sentence != "The queue emails is paused, until it is resumed: the printer is on fire" {
		t.Fatalf("%+v %v", w, err)
	}
	if counts, err := api.CountQueue(t.Context(), b.db.Pool(), b.org, "emails"); err != nil || counts.ByState[StateAvailable] != 1 || counts.More {
		t.Fatalf("%+v %v", counts, err)
	}
	<-got
	do(b, func(ctx context.Context, tx postgres.Tx) (Queue, error) {
		return api.ResumeQueue(ctx, tx, b.org, "emails")
	})
	if found := receive(b, got, "it is resumed"); found.ID != task.ID {
		t.Fatalf("%+v", found)
	}
}

func TestWhatIsAskedForFromOutsideWantsAQueueAndADestination(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	b.makeQueue(node, "open", QueueSettings{TaskTTLSeconds: at(int64(60)), TombstoneTTLSeconds: at(int64(5))})
	b.makeQueue(node, "closed", QueueSettings{})
	do(b, func(ctx context.Context, tx postgres.Tx) (Queue, error) {
		return node.DrainQueue(ctx, tx, b.org, "closed")
	})
	spec := func(change func(*Spec)) Spec {
		s := b.spec(0)
		change(&s)
		return s
	}
	made := do(b, func(ctx context.Context, tx postgres.Tx) ([]Created, error) {
		return node.Create(ctx, tx, []Spec{
			b.spec(0),
			spec(func(s *Spec) { s.Queue = "open"; s.Name = "first" }),
			spec(func(s *Spec) { s.Queue = "closed" }),
			spec(func(s *Spec) { s.Queue = "missing" }),
			spec(func(s *Spec) { s.Destination = "missing" }),
			spec(func(s *Spec) { s.Priority, s.Units = 5, -1 }),
			spec(func(s *Spec) { s.Queue = "open"; s.Name = "first" }),
		})
	})
	for i, want := range []error{nil, nil, ErrQueueDraining, ErrQueueNotFound, destinations.ErrNotFound, ErrInvalid, nil} {
		if !errors.Is(made[i].Err, want) || (want == nil) != (made[i].Err == nil) {
			t.Errorf("%d: got %v, want %v", i, made[i].Err, want)
		}
	}
	if !made[6].Deduplicated || made[6].ID != made[1].ID {
		t.Errorf("%+v", made[6])
	}
	s := b.shown(node, made[1].ID)
	if life := s.ExpiresAt.Sub(s.CreatedAt).Round(time.Second); life != time.Minute || s.Name != "first" || s.State != StateAvailable {
		t.Errorf("%v %+v", life, s)
	}
	if n := b.count(`select count(*) from task_key where keep_us = 5000000`); n != 1 {
		t.Error("the name's time is not the queue's")
	}
}

// What has no time of its own lives as long as its queue says, from when it is wanted on.
func TestTheDatabaseTellsWhenATaskExpires(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	b.makeQueue(node, "short", QueueSettings{TaskTTLSeconds: at(int64(60))})
	specs := make([]Spec, 5)
	for i := range specs {
		specs[i] = b.spec(0)
		specs[i].Queue = "short"
	}
	var now time.Time
	if err := b.db.Pool().QueryRow(t.Context(), nowSQL).Scan(&now); err != nil {
		t.Fatal(err)
	}
	specs[1].After = time.Hour
	specs[2].At = now.Add(2 * time.Hour)
	specs[3].At = now.Add(-2 * time.Hour)
	specs[4].ExpiresAt = now.Add(3 * time.Hour)
	made := do(b, func(ctx context.Context, tx postgres.Tx) ([]Created, error) { return node.Create(ctx, tx, specs) })
	for i, want := range []time.Duration{time.Minute, time.Hour + time.Minute, 2*time.Hour + time.Minute, time.Minute, 3 * time.Hour} {
		s := b.shown(node, made[i].ID)
		if life := s.ExpiresAt.Sub(now); life < want || life > want+time.Minute || i >= 2 && i != 3 && life != want {
			t.Errorf("%d: it lives for %v, not %v", i, life, want)
		}
	}
	forever := b.queueOnly(node, b.spec(0))[0]
	if s := b.shown(node, forever.ID); !s.ExpiresAt.IsZero() {
		t.Errorf("%+v", s)
	}
}

func TestAWaitingTaskIsCancelledAndItsTurnAndNamePassOn(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	node.Handle("test", Policy{}, func(context.Context, Task) Verdict { return Succeeded() })
	first, second := b.spec(time.Hour), b.spec(0)
	first.OrderingKey, second.OrderingKey = "order-1", "order-1"
	first.Name = "nightly"
	list := do(b, func(ctx context.Context, tx postgres.Tx) ([]Enqueued, error) {
		return node.EnqueueTx(ctx, tx, []Spec{first, second})
	})
	b.run(node)
	node.DispatchEnqueued(list)
	b.until("the first has its turn", func() bool { return b.shown(node, list[0].ID).State == StateScheduled })
	_, w, _, err := node.Explain(t.Context(), b.org, list[1].ID)
	if err != nil || w.For != WaitsForTurn || w.Behind != list[0].ID {
		t.Fatalf("%+v %v", w, err)
	}
	b.refused(ErrBlocked, func(ctx context.Context, tx postgres.Tx) error {
		_, err := node.RunNow(ctx, tx, b.org, list[1].ID)
		return err
	})
	s := do(b, func(ctx context.Context, tx postgres.Tx) (Shown, error) {
		return node.CancelOne(ctx, tx, b.org, list[0].ID)
	})
	if s.State != StateCancelled || s.EndedAt.IsZero() || s.Last.ErrorCode != "cancelled_on_request" || s.Last.Number != 1 {
		t.Fatalf("%+v", s)
	}
	b.untilFinished(list[1].Task)
	if n := b.count(`select count(*) from task_key where expires_at is not null`); n != 1 {
		t.Fatal("the name is still taken for good")
	}
	b.refused(ErrEnded, func(ctx context.Context, tx postgres.Tx) error {
		_, err := node.CancelOne(ctx, tx, b.org, list[0].ID)
		return err
	})
	b.refused(ErrNotFound, func(ctx context.Context, tx postgres.Tx) error {
		_, err := node.CancelOne(ctx, tx, b.org, b.source.New())
		return err
	})
}

func TestARunningTaskIsCancelledByWhoeverIsAsked(t *testing.T) {
	b := setup(t)
	api, worker := b.node("api", Config{}), b.node("worker", Config{Lease: 3 * time.Second, Heartbeat: 20 * time.Millisecond})
	began := make(chan Task, 1)
	work := func(ctx context.Context, task Task) Verdict {
		began <- task
		<-ctx.Done()
		return Retry("gave_up", context.Cause(ctx))
	}
	api.Handle("test", Policy{}, work)
	worker.Handle("test", Policy{}, work)
	b.run(worker)
	task := b.queue(worker, b.spec(0))[0]
	receive(b, began, "it runs")
	s := do(b, func(ctx context.Context, tx postgres.Tx) (Shown, error) {
		return api.CancelOne(ctx, tx, b.org, task.ID)
	})
	if s.State != StateRunning || !s.Cancelling {
		t.Fatalf("%+v", s)
	}
	b.untilFinished(task)
	if s := b.shown(api, task.ID); s.State != StateCancelled || s.Last.Outcome != OutcomeCancelled {
		t.Fatalf("%+v", s)
	}
}

func TestAScheduledTaskRunsNow(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	node.Handle("test", Policy{}, func(context.Context, Task) Verdict { return Succeeded() })
	b.run(node)
	task := b.queue(node, b.spec(time.Hour))[0]
	_, w, waits, err := node.Explain(t.Context(), b.org, task.ID)
	if s := b.shown(node, task.ID); err != nil || !waits || w.For != WaitsForTime || !w.Estimate.Equal(s.DueAt) || s.State != StateScheduled {
		t.Fatalf("%+v %+v %v", w, s, err)
	}
	do(b, func(ctx context.Context, tx postgres.Tx) (Shown, error) { return node.RunNow(ctx, tx, b.org, task.ID) })
	b.untilFinished(task)
	if s := b.shown(node, task.ID); s.State != StateCompleted {
		t.Fatalf("%+v", s)
	}
	b.refused(ErrEnded, func(ctx context.Context, tx postgres.Tx) error {
		_, err := node.RunNow(ctx, tx, b.org, task.ID)
		return err
	})
}

func TestAListGoesThroughAllTasksByWindows(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	n := 2*listWindow + 300
	specs := b.specs(n)
	for i := range specs {
		specs[i].After, specs[i].SubjectID = time.Hour, "one"
		if i == 7 {
			specs[i].Kind, specs[i].SubjectID, specs[i].Tags = "rare", "other", []string{"odd"}
		}
	}
	list := b.queueOnly(node, specs...)
	for name, c := range map[string]struct {
		filter Filter
		want   []ids.ID
		pages  int
	}{
		"a kind that is rare": {Filter{Kind: "rare"}, []ids.ID{list[7].ID}, 3},
		"a tag":               {Filter{Tag: "odd", State: StateScheduled}, []ids.ID{list[7].ID}, 3},
		"a subject":           {Filter{SubjectID: "other", SubjectType: "payment"}, []ids.ID{list[7].ID}, 1},
		"a state":             {Filter{State: StateCompleted}, nil, 3},
		"a time":              {Filter{CreatedTo: list[0].ID.Time().Add(-time.Minute)}, nil, 1},
	} {
		var got []ids.ID
		var after paging.Cursor
		pages := 0
		for {
			found, next, err := node.List(t.Context(), b.db.Pool(), b.org, c.filter, after, 50)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range found {
				got = append(got, s.ID)
			}
			if pages++; next.IsZero() {
				break
			}
			after = next
		}
		if !slices.Equal(got, c.want) || pages != c.pages {
			t.Errorf("%s: %d tasks on %d pages", name, len(got), pages)
		}
	}
	found, next, err := node.List(t.Context(), b.db.Pool(), b.org, Filter{SubjectID: "one", CreatedFrom: list[0].ID.Time()}, paging.Cursor{}, 50)
	if err != nil || len(found) != 50 || found[0].ID != list[n-1].ID || next.ID != found[49].ID {
		t.Errorf("%d, %v", len(found), err)
	}
}

func TestAttemptsAreListedLatestFirst(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	node.Handle("test", Policy{MaxAttempts: 3, MinBackoff: time.Millisecond}, func(_ context.Context, task Task) Verdict {
		return Retry("broken", fmt.Errorf("attempt %d", task.Attempt))
	})
	b.run(node)
	task := b.queue(node, b.spec(0))[0]
	b.untilFinished(task)
	list, next, err := node.Attempts(t.Context(), b.db.Pool(), b.org, task.ID, paging.Cursor{}, 2)
	if err != nil || len(list) != 2 || list[0].Number != 3 || list[1].NextDueAt.IsZero() || next.Number != 2 {
		t.Fatalf("%+v %+v %v", list, next, err)
	}
	if list, next, err = node.Attempts(t.Context(), b.db.Pool(), b.org, task.ID, next, 2); err != nil || len(list) != 1 || list[0].Number != 1 || !next.IsZero() {
		t.Fatalf("%+v %+v %v", list, next, err)
	}
	if s := b.shown(node, task.ID); s.State != StateDiscarded || s.Attempts != 3 || s.IdempotencyKey != ids.Format(Prefix, task.ID) {
		t.Fatalf("%+v", s)
	}
}
