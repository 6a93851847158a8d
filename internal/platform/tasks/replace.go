package tasks

import (
	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// A task that has a wanted key and waits ends as a cancelled one does, and the key passes to the one that replaces it, all in one
// statement. The rows of the keys are locked by then: whoever wants the same key comes before or after. A task that is at work is left
// alone, and so is one whose last attempt ended without a word: what that has done has to be found out.
const replaceSQL = `
	with wanted as (
		select w.org_id, w.key, w.task_id as heir, w.keep_us, w.unique_us, k.task_id
		from unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::bigint[], $6::boolean[]) as w (org_id, key, task_id, keep_us, unique_us, replace)
		join task_key k on k.org_id = any(array[w.org_id]) and k.key = any(array[w.key])
		where w.replace and k.task_id <> w.task_id
	), held as (
		select l.org_id, l.task_id, l.attempt, l.turn, w.key, w.heir, w.keep_us, w.unique_us
		from wanted w
		join task_live l on l.org_id = any(array[w.org_id]) and l.task_id = any(array[w.task_id])
		where l.state <> 'running' and not l.interrupted
		order by w.org_id, w.task_id
		for update of l
	), gone as (
		delete from task_live l using held h
		where l.org_id = any(array[h.org_id]) and l.task_id = any(array[h.task_id])
	), history as (
		insert into task_attempt (org_id, task_id, number, node, started_at, finished_at, outcome, error_code)
		select org_id, task_id, attempt + 1, $7, statement_timestamp(), statement_timestamp(), 'cancelled', 'replaced'
		from held
	), passed as (
		update task_key k
		set task_id = h.heir, keep_us = h.keep_us,
			expires_at = case when h.unique_us > 0 then statement_timestamp() + h.unique_us * interval '1 microsecond' end
		from held h
		where k.org_id = any(array[h.org_id]) and k.key = any(array[h.key])
	)
	select turn from held where turn is not null`

// queueReplace has the tasks replaced that have wanted keys.
func (t *Tasks) queueReplace(batch *pgx.Batch, c *claims) {
	batch.Queue(replaceSQL, c.orgs, c.keys, c.taskIDs, c.keeps, c.uniques, c.replace, t.cfg.Node).Query(func(rows pgx.Rows) error {
		turns, err := pgx.CollectRows(rows, pgx.RowTo[ids.ID])
		if len(turns) > 0 && t.turns != nil { // a program that is no node leaves them to those that are
			t.owe(turns)
			signal(t.hurry)
		}
		return err
	})
}

const livingSQL = `
	select k.n
	from unnest($1::uuid[], $2::text[]) with ordinality as k (org_id, key, n)
	join task_key t on t.org_id = any(array[k.org_id]) and t.key = any(array[k.key])
	join task_live l on l.org_id = any(array[t.org_id]) and l.task_id = any(array[t.task_id])`

// queueLiving finds which of the tasks that have the keys have not ended.
func queueLiving(batch *pgx.Batch, c *claims, found []holder) {
	batch.Queue(livingSQL, c.orgs, c.keys).Query(func(rows pgx.Rows) error {
		var at int64
		_, err := pgx.ForEachRow(rows, []any{&at}, func() error { found[at-1].lives = true; return nil })
		return err
	})
}
