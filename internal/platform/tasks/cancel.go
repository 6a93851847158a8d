package tasks

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// A task that waits ends at once, with an attempt in its history that says so; its name or unique key is released. One that runs is
// marked: its node is told when it prolongs the lease, and ends it.
// hot
const cancelSQL = `
	with held as (
		select l.org_id, l.task_id, l.state, l.attempt, l.turn, l.key
		from unnest($1::uuid[], $2::uuid[]) as c (org_id, task_id)
		join task_live l on l.org_id = any(array[c.org_id]) and l.task_id = any(array[c.task_id])
		order by c.org_id, c.task_id
		for update of l
	), gone as (
		delete from task_live l using held h
		where l.org_id = any(array[h.org_id]) and l.task_id = any(array[h.task_id]) and h.state <> 'running'
	), marked as (
		update task_live l set cancelled = true
		from held h
		where l.org_id = any(array[h.org_id]) and l.task_id = any(array[h.task_id]) and h.state = 'running'
	), history as (
		insert into task_attempt (org_id, task_id, number, node, started_at, finished_at, outcome, error_code)
		select org_id, task_id, attempt + 1, $3, statement_timestamp(), statement_timestamp(), 'cancelled', $4
		from held
		where state <> 'running'
	), released as (
		update task_key k
		set expires_at = coalesce(k.expires_at, statement_timestamp() + k.keep_us * interval '1 microsecond')
		from held h
		where h.state <> 'running' and h.key is not null and k.org_id = any(array[h.org_id]) and k.key = any(array[h.key]) and k.task_id = h.task_id
	)
	select task_id, state = 'running', turn from held`

// CancelledTask says how a task was cancelled.
type CancelledTask struct {
	ID      ids.ID
	Running bool // it ends when its node hears of it, unless its attempt ends well before
}

// Cancel ends tasks because somebody wants them no more; code says why, in the history. Those that have ended are not in the result.
func (t *Tasks) Cancel(ctx context.Context, tx postgres.Tx, org ids.ID, taskIDs []ids.ID, code string) ([]CancelledTask, error) {
	orgs := make([]ids.ID, len(taskIDs))
	for i := range orgs {
		orgs[i] = org
	}
	rows, err := tx.Query(ctx, cancelSQL, orgs, taskIDs, t.cfg.Node, code)
	if err != nil {
		return nil, fmt.Errorf("cancel tasks: %w", err)
	}
	var list []CancelledTask
	var turns []ids.ID
	var c CancelledTask
	var turn *ids.ID
	_, err = pgx.ForEachRow(rows, []any{&c.ID, &c.Running, &turn}, func() error {
		list = append(list, c)
		if turn != nil && !c.Running {
			turns = append(turns, *turn)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cancel tasks: %w", err)
	}
	if len(turns) > 0 { // should this come before the commit, the next look at all turns finds them
		t.owe(turns)
		signal(t.hurry)
	}
	return list, nil
}

// CancelOne is Cancel for a task that people name: it tells when there is none, when it has ended, or when it is work that is seen
// through, such as a payment's, whose money would be held for ever; and what it is afterwards.
func (t *Tasks) CancelOne(ctx context.Context, tx postgres.Tx, org, id ids.ID) (Shown, error) {
	s, err := t.Get(ctx, tx, org, id)
	switch {
	case err != nil:
		return Shown{}, err
	case !t.mayEnd(s.Kind):
		return s, ErrNotCancellable
	}
	list, err := t.Cancel(ctx, tx, org, []ids.ID{id}, "cancelled_on_request")
	switch {
	case err != nil:
		return Shown{}, err
	case len(list) == 0:
		return s, ErrEnded
	}
	return t.Get(ctx, tx, org, id)
}

// mayEnd tells whether a task of this kind may end without having been seen through. What has to be is Kontor's own work, and every node
// knows its kinds, whatever its roles: a kind that is not known here is of somebody's own program.
func (t *Tasks) mayEnd(kind string) bool {
	h, known := t.kinds[kind]
	return !known || h.policy.LostMax > 0
}
