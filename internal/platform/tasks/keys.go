package tasks

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// keyOfSpec is what a spec holds in task_key; empty: nothing.
func keyOfSpec(s *Spec) string {
	switch {
	case s.Name != "":
		return "name/" + s.Name
	case s.UniqueKey != "":
		return "unique/" + s.UniqueKey
	default:
		return ""
	}
}

// A key whose time is over goes to whoever wants it next.

const takeKeysSQL = `
	insert into task_key (org_id, key, task_id, keep_us, expires_at)
	select k.org_id, k.key, k.task_id, k.keep_us, case when k.unique_us > 0 then now() + k.unique_us * interval '1 microsecond' end
	from unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::bigint[]) as k (org_id, key, task_id, keep_us, unique_us)
	on conflict on constraint task_key_pkey do update
	set task_id = excluded.task_id, keep_us = excluded.keep_us, expires_at = excluded.expires_at
	where task_key.expires_at <= now()`

const readKeysSQL = `
	select k.n, t.task_id
	from unnest($1::uuid[], $2::text[]) with ordinality as k (org_id, key, n)
	join task_key t on t.org_id = k.org_id and t.key = k.key`

// takeKeys takes the names and unique keys of specs, gives those that are taken the task that has them, and returns the
// positions of those that are to be queued. A list without keys costs nothing here. Otherwise it sets the ids of all specs.
func (t *Tasks) takeKeys(ctx context.Context, tx postgres.Tx, specs []Spec, out []Enqueued) ([]int, error) {
	chosen := make([]int, 0, len(specs))
	var keyed []int
	for i := range specs {
		if keyOfSpec(&specs[i]) != "" {
			keyed = append(keyed, i)
		} else {
			chosen = append(chosen, i)
		}
	}
	if len(keyed) == 0 {
		return chosen, nil
	}
	for i := range specs { // all of them, before they are sorted: tasks with an ordering key are done in the order of their ids
		if specs[i].ID.IsZero() {
			specs[i].ID = t.source.New()
		}
	}
	// In the order of keys, so that two batches wait for each other in one direction only.
	slices.SortStableFunc(keyed, func(a, b int) int {
		return cmp.Or(ids.Compare(specs[a].OrgID, specs[b].OrgID), cmp.Compare(keyOfSpec(&specs[a]), keyOfSpec(&specs[b])))
	})
	holders, err := t.holders(ctx, tx, specs, keyed)
	if err != nil {
		return nil, err
	}
	for n, i := range keyed {
		if holders[n] == specs[i].ID {
			chosen = append(chosen, i)
			continue
		}
		out[i].Task, out[i].Deduplicated = taskOf(&specs[i]), true
		out[i].ID = holders[n]
	}
	slices.Sort(chosen)
	return chosen, nil
}

// holders takes the keys that are free and returns who has each.
func (t *Tasks) holders(ctx context.Context, tx postgres.Tx, specs []Spec, keyed []int) ([]ids.ID, error) {
	n := len(keyed)
	orgs, keys, taskIDs := make([]ids.ID, 0, n), make([]string, 0, n), make([]ids.ID, 0, n)
	keeps, uniques := make([]int64, 0, n), make([]int64, 0, n)
	place := make([]int, n) // of each key in those arrays: a repeat within the list shares the first one's
	for k, i := range keyed {
		s := &specs[i]
		key, last := keyOfSpec(s), len(keys)-1
		if last < 0 || keys[last] != key || orgs[last] != s.OrgID {
			orgs, keys, taskIDs = append(orgs, s.OrgID), append(keys, key), append(taskIDs, s.ID)
			keeps, uniques = append(keeps, max(0, s.Tombstone.Microseconds())), append(uniques, max(0, s.UniqueFor.Microseconds()))
		}
		place[k] = len(keys) - 1
	}
	batch := &pgx.Batch{}
	batch.Queue(takeKeysSQL, orgs, keys, taskIDs, keeps, uniques)
	holder := make([]ids.ID, len(keys))
	batch.Queue(readKeysSQL, orgs, keys).Query(func(rows pgx.Rows) error {
		var at int64
		var id ids.ID
		_, err := pgx.ForEachRow(rows, []any{&at, &id}, func() error { holder[at-1] = id; return nil })
		return err
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("take the keys of tasks: %w", err)
	}
	all := make([]ids.ID, n)
	for k := range all {
		all[k] = holder[place[k]]
	}
	return all, nil
}

const forgetKeysSQL = `
	delete from task_key
	where (org_id, key) in (
		select k.org_id, k.key from task_key k where k.expires_at <= now() - interval '1 minute' order by k.expires_at limit 5000 for update skip locked
	)`

// forgetKeys is a sweep: it removes the keys that nobody holds any more.
func (t *Tasks) forgetKeys(ctx context.Context) error {
	for range 20 {
		tag, err := t.db.Pool().Exec(ctx, forgetKeysSQL)
		if err != nil {
			return fmt.Errorf("forget keys of tasks: %w", err)
		}
		if tag.RowsAffected() < 5000 {
			return nil
		}
	}
	return nil
}
