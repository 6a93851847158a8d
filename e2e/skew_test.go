package e2e

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/clock"
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
		specs[i].ExpiresAt = clock.System().Add(off / 2)
	}
	for i, node := range []*program{w.skewed("ahead", off), w.skewed("behind", -off)} {
		w.enqueue(node, specs[i*calls/2:(i+1)*calls/2])
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
