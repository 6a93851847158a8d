package tasks

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// LetterGroup is the open dead letters that are alike.
type LetterGroup struct {
	Fingerprint string
	Count       int
	More        bool       // there are more than Count
	First       DeadLetter // the earliest of them
	Latest      DeadLetter
}

// groupCountMax is how many dead letters of a group are counted.
const groupCountMax = 1000

// One probe of the index a group, and its letters as far as they are counted.
const groupsSQL = `
	with recursive prints as (
		(select d.fingerprint from task_dead_letter d
		where d.org_id = $1 and d.resolution = 'open' and d.fingerprint > $2 order by d.fingerprint limit 1)
		union all
		select (select d.fingerprint from task_dead_letter d
			where d.org_id = $1 and d.resolution = 'open' and d.fingerprint > p.fingerprint order by d.fingerprint limit 1)
		from prints p
		where p.fingerprint is not null
	)
	select p.fingerprint, c.n, f.task_id, l.task_id
	from (select fingerprint from prints where fingerprint is not null limit $3) p
	cross join lateral (
		select count(*) as n from (
			select 1 from task_dead_letter d
			where d.org_id = $1 and d.resolution = 'open' and d.fingerprint = p.fingerprint limit $4
		) counted
	) c
	cross join lateral (
		select d.task_id from task_dead_letter d
		where d.org_id = $1 and d.resolution = 'open' and d.fingerprint = p.fingerprint order by d.dead_at limit 1
	) f
	cross join lateral (
		select d.task_id from task_dead_letter d
		where d.org_id = $1 and d.resolution = 'open' and d.fingerprint = p.fingerprint order by d.dead_at desc limit 1
	) l
	order by p.fingerprint`

const lettersSQL = `
	select ` + letterColumns + `
	from unnest($2::uuid[]) with ordinality as w (task_id, n)
	join task_dead_letter d on d.org_id = $1 and d.task_id = w.task_id
	order by w.n`

// DeadLetterGroups lists the groups of open dead letters, in the order of their fingerprints.
func (t *Tasks) DeadLetterGroups(ctx context.Context, tx postgres.Tx, org ids.ID, after paging.Cursor, limit int) ([]LetterGroup, paging.Cursor, error) {
	groups, next, err := listGroups(ctx, tx, org, after, limit)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("group dead letters: %w", err)
	}
	return groups, next, nil
}

func listGroups(ctx context.Context, tx postgres.Tx, org ids.ID, after paging.Cursor, limit int) ([]LetterGroup, paging.Cursor, error) {
	rows, err := tx.Query(ctx, groupsSQL, org, after.Name, limit+1, groupCountMax+1)
	if err != nil {
		return nil, paging.Cursor{}, err
	}
	var groups []LetterGroup
	var wanted []ids.ID // the first and the latest of each
	var g LetterGroup
	var first, latest ids.ID
	_, err = pgx.ForEachRow(rows, []any{&g.Fingerprint, &g.Count, &first, &latest}, func() error {
		group := g
		if group.Count > groupCountMax {
			group.Count, group.More = groupCountMax, true
		}
		groups, wanted = append(groups, group), append(wanted, first, latest)
		return nil
	})
	if err != nil {
		return nil, paging.Cursor{}, err
	}
	var next paging.Cursor
	if len(groups) > limit {
		groups, wanted = groups[:limit], wanted[:2*limit]
		next.Name = groups[limit-1].Fingerprint
	}
	if rows, err = tx.Query(ctx, lettersSQL, org, wanted); err != nil {
		return nil, next, err
	}
	letters, err := pgx.CollectRows(rows, scanLetter)
	if err != nil {
		return nil, next, err
	}
	byTask := make(map[ids.ID]DeadLetter, len(letters))
	for _, d := range letters {
		byTask[d.TaskID] = d
	}
	for i := range groups {
		groups[i].First, groups[i].Latest = byTask[wanted[2*i]], byTask[wanted[2*i+1]]
	}
	return groups, next, nil
}
