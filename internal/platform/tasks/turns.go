package tasks

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Of the tasks with one ordering key, all but one are blocked. When the one is done, the next gets its turn: here, after the
// commit, because two transactions that end and queue at the same time do not see each other. Should two nodes give the turn to
// two tasks, the unique index lets one of them through. The first task is never passed over: whoever has locked it may yet leave it as
// it was. Nor is it waited for: a program may keep its transaction open for long, and all turns would wait with this one. The next look
// at blocked tasks finds it again.

// hot
const giveTurnsSQL = `
	with next as (
		select n.org_id, n.task_id
		from unnest($1::uuid[]) as k (turn)
		cross join lateral (
			select b.org_id, b.task_id
			from task_live b
			where b.turn = k.turn and b.state = 'blocked'
			order by b.task_id
			limit 1
		) f
		cross join lateral (
			select b.org_id, b.task_id
			from task_live b
			where b.turn = k.turn and b.org_id = f.org_id and b.task_id = f.task_id and b.state = 'blocked'
			limit 1
			for update skip locked
		) n
		where not exists (select from task_live a where a.org_id = n.org_id and a.turn = k.turn and a.state <> 'blocked' offset 0)
	)
	update task_live l
	set state = case when l.due_at > statement_timestamp() then 'scheduled' else 'available' end,
		due_at = greatest(l.due_at, statement_timestamp())
	from unnest((select array_agg(org_id order by org_id, task_id) from next), (select array_agg(task_id order by org_id, task_id) from next))
		as n (org_id, task_id)
	where l.org_id = any(array[n.org_id]) and l.task_id = any(array[n.task_id])`

// The turns for which tasks are blocked, from a place on, one index probe each, and whether nobody has them.

// hot
const blockedTurnsSQL = `
	with recursive turns as (
		(select b.turn, b.org_id from task_live b where b.state = 'blocked' and b.turn > $1 order by b.turn limit 1)
		union all
		select n.turn, n.org_id
		from turns t
		cross join lateral (
			select b.turn, b.org_id from task_live b where b.state = 'blocked' and b.turn > t.turn order by b.turn limit 1
		) n
	), some_turns as materialized (
		select turn, org_id from turns limit $2
	)
	select s.turn, not exists (select from task_live a where a.org_id = s.org_id and a.turn = s.turn and a.state <> 'blocked')
	from some_turns s
	order by s.turn`

const (
	turnsMax   = 500  // turns of one round
	blockedMax = 1000 // turns of one look; the next goes on where it ended
)

// giveTurns gives their turn to the next tasks that this node knows of, and now and then to all: the node that should have done it
// may have died.
func (t *Tasks) giveTurns(ctx context.Context, now time.Time) error {
	turns := t.owed()
	if !now.Before(t.turnsAt) {
		blocked, err := t.blockedTurns(ctx, now)
		if err != nil {
			return err
		}
		turns = append(turns, blocked...)
	}
	if len(turns) == 0 {
		return nil
	}
	slices.SortFunc(turns, ids.Compare) // all nodes wait for each other in one direction
	tag, err := t.db.Pool().Exec(ctx, giveTurnsSQL, turns)
	if err != nil {
		t.owe(turns)
		if postgres.Constraint(err) == "task_live_turn_key" {
			return nil // another node was faster with one of them
		}
		return fmt.Errorf("give tasks their turn: %w", err)
	}
	t.lookDue = t.lookDue || tag.RowsAffected() > 0
	return nil
}

// owe has turns given at the next round.
func (t *Tasks) owe(turns []ids.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, turn := range turns {
		t.turns[turn] = struct{}{}
	}
}

func (t *Tasks) owed() []ids.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var turns []ids.ID
	for turn := range t.turns {
		if len(turns) == turnsMax {
			break
		}
		turns = append(turns, turn)
		delete(t.turns, turn)
	}
	return turns
}

// blockedTurns goes through the turns with blocked tasks, some each time, and finds those that nobody has.
func (t *Tasks) blockedTurns(ctx context.Context, now time.Time) ([]ids.ID, error) {
	began := monotonic()
	rows, err := t.db.Pool().Query(ctx, blockedTurnsSQL, t.turnsFrom, blockedMax)
	if err != nil {
		return nil, fmt.Errorf("look for blocked tasks: %w", err)
	}
	var owed []ids.ID
	var turn ids.ID
	var free bool
	seen := 0
	_, err = pgx.ForEachRow(rows, []any{&turn, &free}, func() error {
		if seen++; free {
			owed = append(owed, turn)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for blocked tasks: %w", err)
	}
	pause := t.cfg.PollMax
	if t.turnsFrom = (ids.ID{}); seen == blockedMax { // of very many, the last must not wait for long
		t.turnsFrom, pause = turn, min(pause, max(lookRarely, dearTimes*monotonic().Sub(began)))
	}
	t.turnsAt = now.Add(pause)
	return owed, nil
}
