package tasks

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// next_us null ends the task. Rows are locked in key order, by everyone who locks several.

// hot
const finishSQL = `
	with held as (
		select r.n, l.org_id, l.task_id, l.attempt, l.leased_by, l.leased_at,
			r.outcome, r.error_code, r.detail, r.excused, r.unclear,
			statement_timestamp() + case when l.nudged then r.next_us * 0 else r.next_us end * interval '1 microsecond' as next_due_at
		from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::json[], $7::bigint[], $8::boolean[], $9::boolean[])
			with ordinality as r (org_id, task_id, lease_token, outcome, error_code, detail, next_us, excused, unclear, n)
		join task_live l on l.org_id = r.org_id and l.task_id = r.task_id and l.lease_token = r.lease_token
		order by l.org_id, l.task_id
		for update of l
	), gone as (
		delete from task_live l using held h
		where l.org_id = h.org_id and l.task_id = h.task_id and h.next_due_at is null
	), again as (
		update task_live l
		set due_at = h.next_due_at, excused = l.excused + h.excused::integer, interrupted = h.unclear, nudged = false,
			lease_token = null, leased_by = null, leased_at = null
		from held h
		where l.org_id = h.org_id and l.task_id = h.task_id and h.next_due_at is not null
	), history as (
		insert into task_attempt
			(org_id, task_id, number, node, started_at, finished_at, outcome, error_code, detail, next_due_at)
		select org_id, task_id, attempt, leased_by, leased_at, statement_timestamp(), outcome, error_code, detail, next_due_at
		from held
	)
	select n from held`

// Finish ends attempts in the transaction of their effects. For each it tells whether the lease was still held: if not,
// another node has the task, and the caller must apply no effect for it. A handler that calls it and commits
// returns Finished. A task must not be in the list twice.
func (t *Tasks) Finish(ctx context.Context, tx postgres.Tx, list []Completion) ([]bool, error) {
	out := make([]bool, len(list))
	if len(list) == 0 {
		return out, nil
	}
	n := len(list)
	orgs, taskIDs, leases := make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n)
	outcomes, codes, details := make([]string, n), make([]*string, n), make([][]byte, n)
	nexts, excused, unclear := make([]*int64, n), make([]bool, n), make([]bool, n)
	for i := range list {
		c := &list[i]
		orgs[i], taskIDs[i], leases[i], outcomes[i] = c.Task.OrgID, c.Task.ID, c.Task.Lease, c.Outcome
		if c.ErrorCode != "" {
			codes[i] = &c.ErrorCode
		}
		if len(c.Detail) > 0 {
			details[i] = c.Detail
		}
		if !c.Done {
			next := max(0, c.Next.Microseconds())
			nexts[i] = &next
		}
		excused[i], unclear[i] = excuses(c.Outcome), c.unclear || c.Outcome == OutcomeInterrupted
	}
	rows, err := tx.Query(ctx, finishSQL, orgs, taskIDs, leases, outcomes, codes, details, nexts, excused, unclear)
	if err != nil {
		return nil, fmt.Errorf("finish tasks: %w", err)
	}
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("finish tasks: %w", err)
	}
	for _, number := range numbers {
		out[number-1] = true
	}
	t.noteOutcomes(list, out)
	return out, nil
}

// finishBatch is the lane's: attempts whose handlers left the writing to us.
func (t *Tasks) finishBatch(ctx context.Context, list []Completion) ([]lane.Result[bool], error) {
	var held []bool
	err := t.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		var err error
		held, err = t.Finish(ctx, tx, list)
		return err
	})
	if err != nil {
		return nil, err
	}
	results := make([]lane.Result[bool], len(held))
	for i := range held {
		results[i].Value = held[i]
	}
	return results, nil
}
