package tasks

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/fault"
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

// A key whose time is over goes to whoever wants it next. Its time may end with that of a task which ends meanwhile: the clock is read
// once its row is locked.

const takeKeysSQL = `
	insert into task_key (org_id, key, task_id, keep_us, expires_at)
	select k.org_id, k.key, k.task_id, k.keep_us, case when k.unique_us > 0 then statement_timestamp() + k.unique_us * interval '1 microsecond' end
	from unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::bigint[]) as k (org_id, key, task_id, keep_us, unique_us)
	on conflict on constraint task_key_pkey do update
	set task_id = excluded.task_id, keep_us = excluded.keep_us, expires_at = excluded.expires_at
	where task_key.expires_at <= clock_timestamp()`

const readKeysSQL = `
	select k.n, t.task_id
	from unnest($1::uuid[], $2::text[]) with ordinality as k (org_id, key, n)
	join task_key t on t.org_id = any(array[k.org_id]) and t.key = any(array[k.key])`

// What to do where another task has the name or the unique key.
const (
	OnConflictReturn  = "return"  // nothing is queued, and the other one's id is told
	OnConflictReplace = "replace" // the other one is cancelled, if it waits
	OnConflictError   = "error"   // it is refused
)

// holder is the task that has a key.
type holder struct {
	id    ids.ID
	lives bool
}

// refusal tells why a spec whose key another task has is not queued; nil: that is what it wants.
func (h holder) refusal(onConflict string) error {
	told := func(f fault.Fault) error {
		f.Detail += " It is " + ids.Format(Prefix, h.id) + "."
		return &f
	}
	switch {
	case onConflict == OnConflictError:
		return told(*ErrKeyTaken)
	case onConflict == OnConflictReplace && h.lives:
		return told(*ErrKeyBusy)
	}
	return nil
}

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
		if holders[n].id == specs[i].ID {
			chosen = append(chosen, i)
			continue
		}
		out[i].Task, out[i].Deduplicated, out[i].Conflict = taskOf(&specs[i]), true, holders[n].refusal(specs[i].OnConflict)
		out[i].ID = holders[n].id
	}
	slices.Sort(chosen)
	return chosen, nil
}

// claims are the arrays of the statements that take keys, one element a key.
type claims struct {
	orgs, taskIDs  []ids.ID
	keys           []string
	keeps, uniques []int64
	replace        []bool
}

// claim adds the key of a spec, and returns its place. A repeat within the list shares the first one's, and so the task that
// has it, unless it is to replace that.
func (c *claims) claim(s *Spec) int {
	key, replaces, last := keyOfSpec(s), s.OnConflict == OnConflictReplace, len(c.keys)-1
	if last < 0 || c.keys[last] != key || c.orgs[last] != s.OrgID {
		last++
		c.orgs, c.keys, c.taskIDs = append(c.orgs, s.OrgID), append(c.keys, key), append(c.taskIDs, ids.ID{})
		c.keeps, c.uniques, c.replace = append(c.keeps, 0), append(c.uniques, 0), append(c.replace, false)
	} else if !replaces {
		return last
	}
	c.taskIDs[last], c.replace[last] = s.ID, replaces
	c.keeps[last], c.uniques[last] = max(0, s.Tombstone.Microseconds()), max(0, s.UniqueFor.Microseconds())
	return last
}

// holders takes the keys that are free, and those that may be had by replacing a task, and returns who has each.
func (t *Tasks) holders(ctx context.Context, tx postgres.Tx, specs []Spec, keyed []int) ([]holder, error) {
	var c claims
	place := make([]int, len(keyed)) // of each spec in those arrays
	for n, i := range keyed {
		place[n] = c.claim(&specs[i])
	}
	batch := &pgx.Batch{}
	batch.Queue(takeKeysSQL, c.orgs, c.keys, c.taskIDs, c.keeps, c.uniques)
	replaces := slices.Contains(c.replace, true)
	if replaces {
		t.queueReplace(batch, &c)
	}
	found := make([]holder, len(c.keys))
	batch.Queue(readKeysSQL, c.orgs, c.keys).Query(func(rows pgx.Rows) error {
		var at int64
		var id ids.ID
		_, err := pgx.ForEachRow(rows, []any{&at, &id}, func() error { found[at-1].id = id; return nil })
		return err
	})
	if replaces {
		queueLiving(batch, &c, found)
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("take the keys of tasks: %w", err)
	}
	all := make([]holder, len(keyed))
	for n := range all {
		all[n] = found[place[n]]
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
