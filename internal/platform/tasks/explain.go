package tasks

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/limits"
)

// positionMax is how far the tasks before one are counted.
const positionMax = 10_000

// The place in a line goes by priority and then by time, as claims do.
// hot
const placeSQL = `
	select count(*) from (
		select 1 from task_live l
		where l.line = $1 and l.state = 'available' and (l.priority, l.due_at, l.task_id) < ($2, $3, $5)
		limit $4
	) before`

// hot
const turnSQL = `
	select
		(select a.task_id from task_live a where a.org_id = $1 and a.turn = $2 and a.state <> 'blocked' limit 1),
		(select count(*) from (
			select 1 from task_live b where b.turn = $2 and b.state = 'blocked' and b.task_id < $3 limit $4
		) before)`

const nowSQL = `select statement_timestamp()`

// Explain reads a task and tells what it waits for; waits is false for one that is at work or has ended. It reads the database, so
// every node tells the same, whether or not it works on tasks.
func (t *Tasks) Explain(ctx context.Context, org, id ids.ID) (task Shown, w Waiting, waits bool, err error) {
	pool := t.db.Pool()
	f := facts{}
	if f.task, err = t.Get(ctx, pool, org, id); err != nil {
		return f.task, w, false, err
	}
	if !alive(f.task.State) || f.task.State == StateRunning {
		return f.task, w, false, nil
	}
	if err := t.gather(ctx, &f); err != nil {
		return f.task, w, false, fmt.Errorf("find what a task waits for: %w", err)
	}
	w, waits = f.why()
	return f.task, w, waits, nil
}

// gather reads what the rule goes by.
func (t *Tasks) gather(ctx context.Context, f *facts) error {
	pool, s := t.db.Pool(), &f.task
	if err := pool.QueryRow(ctx, nowSQL).Scan(&f.now); err != nil {
		return err
	}
	q, err := t.Queue(ctx, pool, s.OrgID, s.Queue)
	switch {
	case err == nil:
		f.queue = &q
	case !errors.Is(err, ErrQueueNotFound):
		return err
	}
	if s.Destination != "" {
		d, err := t.destinations.Get(ctx, pool, s.OrgID, s.Destination)
		switch {
		case err == nil:
			f.destination = &d
			if err := t.gatherKeyHold(ctx, f); err != nil {
				return err
			}
		case !errors.Is(err, destinations.ErrNotFound):
			return err
		}
	}
	if err := t.gatherLimits(ctx, f); err != nil {
		return err
	}
	switch s.State {
	case StateAvailable:
		return pool.QueryRow(ctx, placeSQL, s.line, s.Priority, s.DueAt, positionMax, s.ID).Scan(&f.before)
	case StateBlocked:
		var first *ids.ID
		err := pool.QueryRow(ctx, turnSQL, s.OrgID, s.turn, s.ID, positionMax).Scan(&first, &f.before)
		if first != nil {
			f.first = *first
		}
		return err
	}
	return nil
}

// gatherKeyHold reads whether the destination wants nothing of the task's limit key.
func (t *Tasks) gatherKeyHold(ctx context.Context, f *facts) error {
	if f.task.LimitKey == "" {
		return nil
	}
	hold, is, err := t.destinations.KeyHold(ctx, t.db.Pool(), f.task.OrgID, f.destination.ID, f.task.LimitKey)
	if is {
		f.keyHold = &hold
	}
	return err
}

// gatherLimits reads the limits of the task's line. Of one that nobody uses there is nothing to wait for.
func (t *Tasks) gatherLimits(ctx context.Context, f *facts) error {
	var keys []limits.Key
	s := &f.task
	if f.queue != nil {
		keys = append(keys, limitKey(queueKey{s.OrgID, s.Queue}))
	}
	if s.Destination != "" {
		entries, err := t.destinations.Use(ctx, []destinations.Ref{{OrgID: s.OrgID, Name: s.Destination}})
		if err != nil {
			return err
		}
		if entries[0] != nil {
			for _, l := range entries[0].Limits(s.LimitKey) {
				keys = append(keys, l.Key)
			}
		}
	}
	for _, key := range keys {
		state, err := t.limits.State(ctx, key)
		switch {
		case err == nil:
			f.limits = append(f.limits, limitFact{key, state})
		case !errors.Is(err, limits.ErrUndefined) && !errors.Is(err, pgx.ErrNoRows):
			return err
		}
	}
	return nil
}
