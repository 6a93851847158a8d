package tasks

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// The months are dropped whole, and none from the first on in which a task was queued that is still to be done.

const oldestLiveSQL = `select min(l.task_id::text)::uuid from task_live l`

const retireLettersSQL = `
	delete from task_dead_letter
	where (org_id, task_id) in (
		select d.org_id, d.task_id from task_dead_letter d
		where d.resolution <> 'open' and d.resolved_at < $1
			and not exists (select from task t where t.org_id = d.org_id and t.id = d.task_id)
		order by d.resolved_at limit 5000 for update skip locked
	)`

// What became of each task of a replay goes first, some at a time: there may be a million.

const retireItemsSQL = `
	delete from task_replay_item
	where (org_id, replay_id, number) in (
		select i.org_id, i.replay_id, i.number
		from task_replay r
		join task_replay_item i on i.org_id = r.org_id and i.replay_id = r.id
		where r.ended_at < $1 and not exists (select from task t where t.org_id = r.org_id and t.id = r.task_id)
		order by r.ended_at limit 5000 for update of i skip locked
	)`

const retireReplaysSQL = `
	delete from task_replay
	where (org_id, id) in (
		select r.org_id, r.id
		from task_replay r
		where r.ended_at < $1 and not exists (select from task t where t.org_id = r.org_id and t.id = r.task_id)
			and not exists (select from task_replay_item i where i.org_id = r.org_id and i.replay_id = r.id)
		order by r.ended_at limit 5000 for update skip locked
	)`

const (
	retireSize = 5000 // rows a statement
	retiresMax = 20   // statements of one kind
)

// Retire drops the months of tasks and attempts that ended before the given time, and the dead letters of theirs that were resolved
// before it, and the replays that ended before it. It returns what it has dropped. Open dead letters stay: they have in them what a
// replay needs.
func (t *Tasks) Retire(ctx context.Context, before time.Time) ([]string, error) {
	var oldest *ids.ID
	if err := t.db.Pool().QueryRow(ctx, oldestLiveSQL).Scan(&oldest); err != nil {
		return nil, fmt.Errorf("find the oldest task that is to be done: %w", err)
	}
	if oldest != nil && oldest.Time().Before(before) {
		before = oldest.Time()
	}
	var dropped []string
	for _, table := range []string{"task_attempt", "task"} {
		names, err := postgres.RetirePartitions(ctx, t.db.Pool(), table, before)
		dropped = append(dropped, names...)
		if err != nil {
			return dropped, err
		}
	}
	pool := t.db.Pool()
	for _, forget := range []func() (pgconn.CommandTag, error){
		func() (pgconn.CommandTag, error) { return pool.Exec(ctx, retireLettersSQL, before) },
		func() (pgconn.CommandTag, error) { return pool.Exec(ctx, retireItemsSQL, before) },
		func() (pgconn.CommandTag, error) { return pool.Exec(ctx, retireReplaysSQL, before) },
	} {
		if err := repeatedly(forget); err != nil {
			return dropped, fmt.Errorf("forget resolved dead letters and replays: %w", err)
		}
	}
	return dropped, nil
}

// repeatedly deletes some at a time. What is left is for the next sweep.
func repeatedly(forget func() (pgconn.CommandTag, error)) error {
	for range retiresMax {
		tag, err := forget()
		if err != nil || tag.RowsAffected() < retireSize {
			return err
		}
	}
	return nil
}
