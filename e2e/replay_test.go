package e2e

import (
	"context"
	"testing"

	"github.com/kontorhq/kontor/internal/app/mockapi"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// stepUnderWaySQL tells whose step of a replay waits for a lock.
const stepUnderWaySQL = `
	select coalesce(min(l.leased_by), '')
	from task_live l
	join task k on k.org_id = l.org_id and k.id = l.task_id
	where k.kind = 'tasks.replay' and l.state = 'running'
		and exists (select from pg_stat_activity a where a.datname = current_database() and a.wait_event_type = 'Lock')`

// A node is killed in the middle of a step of a replay. The other goes on where the last step that was committed has ended: each dead
// letter is replayed, and none twice.
func TestAReplayGoesOnWhenItsNodeIsKilled(t *testing.T) {
	third := careless(0)
	third.Faults.Shares = map[string]float64{"error_422": 1}
	w := newWitness(t, third)
	w.reachedAt(w.mock.URL(), 10)
	const letters, perSecond, amid = 150, 20, 120
	nodes := map[string]*process{"a": w.serve("a"), "b": w.serve("b")}
	w.calls(w.program, letters)
	w.eventually("all have failed for good", func() bool { return w.count(`select count(*) from task_dead_letter`) == letters })
	if err := w.mock.SetFaults(mockapi.Faults{}); err != nil {
		t.Fatal(err)
	}
	failed := w.mock.Summary().Arrivals

	// The second step waits for this letter, with what it has queued not committed.
	locked, err := w.db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = locked.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := locked.Exec(t.Context(), `
		select from task_dead_letter
		where task_id = (select task_id from task_dead_letter order by dead_at, task_id offset $1 limit 1)
		for update`, amid-1); err != nil {
		t.Fatal(err)
	}
	var replay tasks.Replay
	err = w.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) (err error) {
		replay, _, err = w.tasks.BeginReplay(ctx, tx, tasks.Replay{OrgID: w.org, MaxDispatchesPerSecond: perSecond, StopAtFailurePercent: 100})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	holder := ""
	w.eventually("a step is under way", func() bool {
		err := w.db.Pool().QueryRow(t.Context(), stepUnderWaySQL).Scan(&holder)
		return err == nil && holder != "" && w.count(`select count(*) from task_replay_item`) > 0
	})
	nodes[holder].kill()
	before := w.count(`select count(*) from task_replay_item`)
	if err := locked.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually("the replay has ended", func() bool {
		replay, err = w.tasks.Replay(t.Context(), w.db.Pool(), w.org, replay.ID)
		return err == nil && replay.State != tasks.ReplayRunning
	})
	if replay.State != tasks.ReplayCompleted || replay.Replayed != letters || replay.Succeeded+replay.Failed != letters || before >= letters {
		t.Errorf("%+v; %d were queued before the kill", replay, before)
	}
	w.settled()
	for what, sql := range map[string]string{
		"letters that are open":            `select count(*) from task_dead_letter where resolution = 'open'`,
		"letters that were replayed twice": `select count(*) from (select replay_of from task where replay_of is not null group by replay_of having count(*) > 1) twice`,
		"letters whose task is not theirs": `select count(*) from task_dead_letter d where not exists (select from task k where k.id = d.replayed_as and k.replay_of = d.task_id)`,
		"tasks that are not in the replay": `select count(*) from task k where k.replay_of is not null and not exists (select from task_replay_item i where i.task_id = k.id)`,
	} {
		if n := w.count(sql); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
	unclear := w.count(`select count(*) from task_attempt a join task k on k.org_id = a.org_id and k.id = a.task_id where k.kind = 'http' and a.outcome = 'lease_lost'`)
	if s := w.mock.Summary(); s.Arrivals < failed+letters || s.Arrivals > failed+letters+int64(unclear) {
		t.Errorf("%d requests for %d letters, with %d in doubt", s.Arrivals-failed, letters, unclear)
	}
}
