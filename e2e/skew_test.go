package e2e

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// One node's clock is minutes ahead, the other's minutes behind: by the database's, nothing begins early, nothing waits for minutes,
// and no lease is taken for lost.
func TestNodesWhoseClocksAreWrong(t *testing.T) {
	third := careless(20 * time.Millisecond)
	third.Faults.Shares = map[string]float64{"error_500": 0.1, "rate_limited": 0.02}
	third.Faults.RetryAfter = time.Second
	w := newWitness(t, third)
	w.reachedAt(w.mock.URL(), 10)
	const calls, off = 300, 7 * time.Minute
	specs := make([]tasks.Spec, calls)
	for i := range specs {
		specs[i] = w.call(w.program, nil)
		specs[i].After = time.Duration(i%3) * time.Second
		if i%2 == 0 {
			specs[i].ExpiresAt = clock.System().Add(off / 2)
		} else {
			specs[i].Queue = "short-lived"
		}
	}
	for i, node := range []*program{w.skewed("ahead", off), w.skewed("behind", -off)} {
		w.shortLived(node, i == 0, off/2)
		w.create(node, specs[i*calls/2:(i+1)*calls/2])
	}
	w.settled()
	if unclear := w.agree(calls); unclear != 0 {
		t.Errorf("%d attempts in doubt", unclear)
	}
	for what, sql := range map[string]string{
		"attempts began before they were due": `
			select count(*)
			from task_attempt a
			join task_attempt n on n.org_id = a.org_id and n.task_id = a.task_id and n.number = a.number + 1
			where n.started_at < a.next_due_at`,
		"tasks began before their time": `
			select count(*)
			from task k
			join task_attempt a on a.org_id = k.org_id and a.task_id = k.id
			where a.started_at < k.scheduled_at`,
		"pauses are longer than anybody said": `select count(*) from task_attempt where next_due_at - finished_at > interval '2 minutes'`,
		"attempts are not of this time":       `select count(*) from task_attempt where abs(extract(epoch from now() - started_at)) > 120`,
	} {
		if n := w.count(sql); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
	if n := w.count(`select count(distinct node) from task_attempt`); n != 2 {
		t.Errorf("%d nodes worked", n)
	}
	if n := w.count(`select count(*) from task where scheduled_at is not null`); n != calls*2/3 {
		t.Errorf("%d tasks were scheduled", n)
	}
	if n := w.count(`select count(*) from task_attempt where next_due_at is not null`); n == 0 {
		t.Error("nothing was tried again")
	}
}

// shortLived has a node make or change a queue whose tasks live for a time, and pause it: until what is in the future by the database's
// clock, and not until what is in its past.
func (w *witness) shortLived(node *program, first bool, life time.Duration) {
	w.Helper()
	const name = "short-lived"
	seconds, rate, burst, atOnce := int64(life/time.Second), tasks.RateOf(10_000), 10_000, 1000
	s := tasks.QueueSettings{TaskTTLSeconds: &seconds, MaxDispatchesPerSecond: &rate, MaxBurstSize: &burst, MaxConcurrentDispatches: &atOnce}
	pause := func(until time.Time) error {
		return node.db.InTx(w.Context(), func(ctx context.Context, tx postgres.Tx) error {
			if first {
				if _, err := node.tasks.CreateQueue(ctx, tx, node.org, name, s); err != nil {
					return err
				}
			}
			if _, err := node.tasks.PauseQueue(ctx, tx, node.org, name, until, ""); err != nil {
				return err
			}
			_, err := node.tasks.ResumeQueue(ctx, tx, node.org, name)
			return err
		})
	}
	if err := pause(clock.System().Add(-life)); !errors.Is(err, tasks.ErrQueueInvalid) {
		w.Errorf("a pause until what is past: %v", err)
	}
	if err := pause(clock.System().Add(life)); err != nil {
		w.Errorf("a pause until what is to come: %v", err)
	}
}

// create queues tasks as the API does.
func (w *witness) create(node *program, specs []tasks.Spec) {
	w.Helper()
	err := node.db.InTx(w.Context(), func(ctx context.Context, tx postgres.Tx) error {
		made, err := node.tasks.Create(ctx, tx, specs)
		for i := range made {
			err = errors.Join(err, made[i].Err)
		}
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
}

// skewed starts a node whose clock is wrong.
func (w *witness) skewed(name string, off time.Duration) *program {
	w.Helper()
	wrong := func() time.Time { return clock.System().Add(off) }
	node, err := newProgram(w.Context(), w.cfg.DatabaseURL, wrong, slog.New(slog.DiscardHandler),
		tasks.Config{Node: name, Workers: 8, Lease: 3 * time.Second})
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	var running sync.WaitGroup
	running.Go(func() { node.run(ctx) })
	w.Cleanup(func() {
		cancel()
		running.Wait()
		node.db.Close()
	})
	return node
}
