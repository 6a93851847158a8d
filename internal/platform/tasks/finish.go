package tasks

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// next_us null ends the task. Rows are locked in key order, by everyone who locks several. What has failed for good leaves a dead
// letter with all that a replay needs.
//
// Here and wherever a list is looked up in task_live, a key is asked for by `= any(array[…])`: that cannot be joined but by a probe for
// each element. By `=` the planner may walk the whole index beside the list. It does after an analysis that found few tasks alive, and
// under a long transaction the index has all the dead ones too (seen: 43,000 entries read for each slice of three tasks).

// hot
const finishSQL = `
	with held as (
		select r.n, l.org_id, l.task_id, l.attempt, l.leased_by, l.leased_at, l.key, l.first_failed_at,
			case when l.cancelled and r.next_us is not null then 'cancelled' else r.outcome end as outcome, r.error_code, r.detail, r.excused, r.unclear, r.status, r.exchange, r.dead, r.fingerprint,
			case when l.cancelled then null
				else statement_timestamp() + case when l.nudged then r.next_us * 0 else r.next_us end * interval '1 microsecond' end as next_due_at
		from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::json[], $7::bigint[], $8::boolean[], $9::boolean[],
			$10::bigint[], $11::json[], $12::text[], $13::text[])
			with ordinality as r (org_id, task_id, lease_token, outcome, error_code, detail, next_us, excused, unclear, status, exchange, dead, fingerprint, n)
		join task_live l on l.org_id = any(array[r.org_id]) and l.task_id = any(array[r.task_id]) and l.lease_token = r.lease_token
		order by r.org_id, r.task_id
		for update of l
	), gone as (
		delete from task_live l using held h
		where l.org_id = any(array[h.org_id]) and l.task_id = any(array[h.task_id]) and h.next_due_at is null
	), again as (
		update task_live l
		set state = case when h.next_due_at > statement_timestamp() then 'retryable' else 'available' end, due_at = h.next_due_at,
			excused = l.excused + h.excused::integer, interrupted = h.unclear, nudged = false, lost = 0,
			rate_limited = l.rate_limited + (h.outcome = 'rate_limited')::integer,
			first_failed_at = case when h.excused or h.outcome = 'succeeded' then l.first_failed_at else coalesce(l.first_failed_at, statement_timestamp()) end,
			lease_token = null, leased_by = null, leased_at = null
		from held h
		where l.org_id = any(array[h.org_id]) and l.task_id = any(array[h.task_id]) and h.next_due_at is not null
	), history as (
		insert into task_attempt
			(org_id, task_id, number, node, started_at, finished_at, outcome, error_code, detail, next_due_at, status, exchange)
		select org_id, task_id, attempt, leased_by, leased_at, statement_timestamp(), outcome, error_code, detail, next_due_at, status, exchange
		from held
	), released as (
		update task_key k
		set expires_at = coalesce(k.expires_at, statement_timestamp() + k.keep_us * interval '1 microsecond')
		from held h
		where h.key is not null and h.next_due_at is null and k.org_id = any(array[h.org_id]) and k.key = any(array[h.key]) and k.task_id = h.task_id
	), dead as (
		insert into task_dead_letter (org_id, task_id, queue, destination, kind, subject_type, subject_id, reason, error_code, error, status,
			fingerprint, attempts, first_failed_at, dead_at, spec)
		select k.org_id, k.id, k.queue, k.destination, k.kind, k.subject_type, k.subject_id, h.dead, h.error_code, h.detail ->> 'error', h.status,
			h.fingerprint, h.attempt, coalesce(h.first_failed_at, statement_timestamp()), statement_timestamp(),
			` + taskSpec + `
		from held h
		join task k on k.org_id = h.org_id and k.id = h.task_id
		where h.dead is not null and h.next_due_at is null
	)
	select n from held`

// What has succeeded, as nearly everything does, needs no look before it goes.

// hot
const succeedSQL = `
	with gone as (
		delete from task_live l
		using unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::json[], $5::bigint[], $6::json[])
			with ordinality as r (org_id, task_id, lease_token, detail, status, exchange, n)
		where l.org_id = any(array[r.org_id]) and l.task_id = any(array[r.task_id]) and l.lease_token = r.lease_token
		returning r.n, l.org_id, l.task_id, l.attempt, l.leased_by, l.leased_at, l.key, r.detail, r.status, r.exchange
	), history as (
		insert into task_attempt (org_id, task_id, number, node, started_at, finished_at, outcome, detail, status, exchange)
		select org_id, task_id, attempt, leased_by, leased_at, statement_timestamp(), 'succeeded', detail, status, exchange
		from gone
	), released as (
		update task_key k
		set expires_at = coalesce(k.expires_at, statement_timestamp() + k.keep_us * interval '1 microsecond')
		from gone g
		where g.key is not null and k.org_id = any(array[g.org_id]) and k.key = any(array[g.key]) and k.task_id = g.task_id
	)
	select n from gone`

// Finish ends attempts in the transaction of their effects. For each it tells whether the lease was still held: if not,
// another node has the task, and the caller must apply no effect for it. A handler that calls it and commits
// returns Finished. A task must not be in the list twice.
func (t *Tasks) Finish(ctx context.Context, tx postgres.Tx, list []Completion) ([]bool, error) {
	out := make([]bool, len(list))
	if len(list) == 0 {
		return out, nil
	}
	var done, others []int
	for i := range list {
		if c := &list[i]; c.Done && c.Outcome == OutcomeSucceeded && c.ErrorCode == "" {
			done = append(done, i)
		} else {
			others = append(others, i)
		}
	}
	batch := &pgx.Batch{}
	queueFinish(batch, list, done, out, succeedSQL, succeedArguments)
	queueFinish(batch, list, others, out, finishSQL, finishArguments)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("finish tasks: %w", err)
	}
	t.noteOutcomes(list, out)
	return out, nil
}

// queueFinish adds the statement that ends those at the given positions. Rows are met in key order, by everyone who locks several.
func queueFinish(batch *pgx.Batch, list []Completion, at []int, out []bool, sql string, arguments func([]Completion, []int) []any) {
	if len(at) == 0 {
		return
	}
	slices.SortFunc(at, func(a, b int) int {
		return cmp.Or(ids.Compare(list[a].Task.OrgID, list[b].Task.OrgID), ids.Compare(list[a].Task.ID, list[b].Task.ID))
	})
	batch.Queue(sql, arguments(list, at)...).Query(func(rows pgx.Rows) error {
		var number int64
		_, err := pgx.ForEachRow(rows, []any{&number}, func() error { out[at[number-1]] = true; return nil })
		return err
	})
}

// succeedArguments are the arrays of succeedSQL.
func succeedArguments(list []Completion, at []int) []any {
	n := len(at)
	orgs, taskIDs, leases := make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n)
	var details, exchanges [][]byte
	var statuses []*int64
	for i, position := range at {
		c := &list[position]
		orgs[i], taskIDs[i], leases[i] = c.Task.OrgID, c.Task.ID, c.Task.Lease
		if len(c.Detail) > 0 {
			put(&details, n, i, c.Detail)
		}
		if c.Status != 0 {
			status := int64(c.Status)
			put(&statuses, n, i, &status)
		}
		if len(c.Exchange) > 0 {
			put(&exchanges, n, i, c.Exchange)
		}
	}
	return []any{orgs, taskIDs, leases, details, statuses, exchanges}
}

// finishArguments are the arrays of finishSQL; those that no attempt has anything for are no arrays at all.
func finishArguments(list []Completion, at []int) []any {
	n := len(at)
	orgs, taskIDs, leases := make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n)
	outcomes, excused, unclear := make([]string, n), make([]bool, n), make([]bool, n)
	var codes, deads, fingerprints []*string
	var details, exchanges [][]byte
	var nexts, statuses []*int64
	for i, position := range at {
		c := &list[position]
		orgs[i], taskIDs[i], leases[i], outcomes[i] = c.Task.OrgID, c.Task.ID, c.Task.Lease, c.Outcome
		excused[i], unclear[i] = excuses(c.Outcome), c.unclear || c.Outcome == OutcomeInterrupted
		if c.ErrorCode != "" {
			put(&codes, n, i, &c.ErrorCode)
		}
		if len(c.Detail) > 0 {
			put(&details, n, i, c.Detail)
		}
		if c.Status != 0 {
			status := int64(c.Status)
			put(&statuses, n, i, &status)
		}
		if len(c.Exchange) > 0 {
			put(&exchanges, n, i, c.Exchange)
		}
		if !c.Done {
			next := max(0, c.Next.Microseconds())
			put(&nexts, n, i, &next)
		} else if c.Dead != "" {
			fingerprint := c.fingerprint()
			put(&deads, n, i, &c.Dead)
			put(&fingerprints, n, i, &fingerprint)
		}
	}
	return []any{orgs, taskIDs, leases, outcomes, codes, details, nexts, excused, unclear, statuses, exchanges, deads, fingerprints}
}

// finishBatch is the lane's: attempts whose handlers left the writing to us.
func (t *Tasks) finishBatch(ctx context.Context, list []Completion) ([]lane.Result[bool], error) {
	held, err := t.finishAlone(ctx, list)
	if err != nil && len(list) == 1 && len(list[0].Exchange) > 0 && unkeepable(err) {
		t.log.Warn("request and answer of an attempt could not be kept; its end is recorded without them",
			"task", ids.Format(Prefix, list[0].Task.ID), "bytes", len(list[0].Exchange), "error", err)
		held, err = t.finishAlone(ctx, []Completion{list[0].withoutExchange(err)})
	}
	if err != nil {
		return nil, err
	}
	results := make([]lane.Result[bool], len(held))
	for i := range held {
		results[i].Value = held[i]
	}
	return results, nil
}

func (t *Tasks) finishAlone(ctx context.Context, list []Completion) (held []bool, err error) {
	err = t.db.Alone(ctx, func(ctx context.Context, tx postgres.Tx) error {
		held, err = t.Finish(ctx, tx, list)
		return err
	})
	return held, err
}
