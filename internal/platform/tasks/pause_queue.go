package tasks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

const setQueueStateSQL = `
	update task_queue q
	set state = $3, paused_until = $4, pause_reason = nullif($5, ''), version = q.version + 1, updated_at = now()
	where q.org_id = $1 and q.name = $2
	returning ` + queueColumns

// PauseQueue has nothing more dispatched from a queue until it is resumed, or until a time. Attempts under way end as they would
// have, and tasks are taken in. Pausing again replaces the pause.
func (t *Tasks) PauseQueue(ctx context.Context, tx postgres.Tx, org ids.ID, name string, until time.Time, reason string) (Queue, error) {
	var now time.Time // by the database's clock
	if err := tx.QueryRow(ctx, nowSQL).Scan(&now); err != nil {
		return Queue{}, fmt.Errorf("read the clock: %w", err)
	}
	var p problems
	if !until.IsZero() && !until.After(now) {
		p.add("paused_until", "It must be in the future.")
	}
	p.short("reason", reason, pauseReasonBytesMax)
	if err := p.as(ErrQueueInvalid); err != nil {
		return Queue{}, err
	}
	return t.setQueueState(ctx, tx, org, name, QueuePaused, until, reason, eventQueuePaused)
}

// ResumeQueue ends a pause, or a drain.
func (t *Tasks) ResumeQueue(ctx context.Context, tx postgres.Tx, org ids.ID, name string) (Queue, error) {
	return t.setQueueState(ctx, tx, org, name, QueueRunning, time.Time{}, "", eventQueueResumed)
}

// DrainQueue has a queue take in nothing more; the tasks it has are done.
func (t *Tasks) DrainQueue(ctx context.Context, tx postgres.Tx, org ids.ID, name string) (Queue, error) {
	return t.setQueueState(ctx, tx, org, name, QueueDraining, time.Time{}, "", eventQueueDraining)
}

func (t *Tasks) setQueueState(ctx context.Context, tx postgres.Tx, org ids.ID, name, state string, until time.Time, reason, event string) (Queue, error) {
	q, err := oneQueue(ctx, tx, setQueueStateSQL, org, name, state, orNull(until), reason)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Queue{}, ErrQueueNotFound
	case err != nil:
		return Queue{}, fmt.Errorf("change the state of a queue: %w", err)
	}
	return q, t.tellQueue(ctx, tx, event, &q)
}
