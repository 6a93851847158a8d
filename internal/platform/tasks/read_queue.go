package tasks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// A pause that is over is none, whether or not somebody has resumed the queue.
const queueColumns = `q.org_id, q.id, q.name,
		case when q.state = 'paused' and q.paused_until <= statement_timestamp() then 'running' else q.state end,
		case when q.paused_until > statement_timestamp() then q.paused_until end, coalesce(q.pause_reason, ''),
		(q.max_dispatches_per_second * 1000)::bigint, q.max_burst_size, q.max_concurrent_dispatches, q.retry_config, q.task_ttl_seconds,
		q.tombstone_ttl_seconds, q.version, q.created_at, q.updated_at`

const (
	queueSQL = `select ` + queueColumns + ` from task_queue q where q.org_id = $1 and q.name = $2`

	lockQueueSQL = queueSQL + ` for no key update`

	listQueuesSQL = `select ` + queueColumns + ` from task_queue q where q.org_id = $1 and q.name > $2 order by q.name limit $3`
)

// Queue reads a queue. Like every read here that takes a tx, it takes the pool as well.
func (t *Tasks) Queue(ctx context.Context, tx postgres.Tx, org ids.ID, name string) (Queue, error) {
	return foundQueue(ctx, tx, queueSQL, org, name)
}

// Queues lists an organisation's queues by name.
func (t *Tasks) Queues(ctx context.Context, tx postgres.Tx, org ids.ID, after paging.Cursor, limit int) ([]Queue, paging.Cursor, error) {
	rows, err := tx.Query(ctx, listQueuesSQL, org, after.Name, limit+1)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list queues: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanQueue)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list queues: %w", err)
	}
	list, next := paging.Cut(list, limit, func(last *Queue) paging.Cursor { return paging.Cursor{Name: last.Name} })
	return list, next, nil
}

func foundQueue(ctx context.Context, tx postgres.Tx, sql string, org ids.ID, name string) (Queue, error) {
	q, err := oneQueue(ctx, tx, sql, org, name)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Queue{}, ErrQueueNotFound
	case err != nil:
		return Queue{}, fmt.Errorf("read a queue: %w", err)
	}
	return q, nil
}

func oneQueue(ctx context.Context, tx postgres.Tx, sql string, args ...any) (Queue, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return Queue{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanQueue)
}

func scanQueue(row pgx.CollectableRow) (Queue, error) {
	var q Queue
	var until *time.Time
	err := row.Scan(&q.OrgID, &q.ID, &q.Name, &q.State, &until, &q.PauseReason, &q.MaxDispatchesPerSecond, &q.MaxBurstSize, &q.MaxConcurrentDispatches,
		&q.RetryConfig, &q.TaskTTLSeconds, &q.TombstoneTTLSeconds, &q.Version, &q.CreatedAt, &q.UpdatedAt)
	q.PausedUntil = momentOf(until)
	q.CreatedAt, q.UpdatedAt = q.CreatedAt.UTC(), q.UpdatedAt.UTC()
	if q.State != QueuePaused {
		q.PauseReason = ""
	}
	return q, err
}

func momentOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
