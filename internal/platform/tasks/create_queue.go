package tasks

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// A version begins with the time, so that a queue which is made again under the same name does not begin below the one before.
const insertQueueSQL = `
	insert into task_queue as q (org_id, id, name, max_dispatches_per_second, max_burst_size, max_concurrent_dispatches,
		retry_config, task_ttl_seconds, tombstone_ttl_seconds, version, created_at, updated_at)
	values ($1, $2, $3, $4::bigint / 1000.0, $5, $6, $7, $8, $9, (extract(epoch from clock_timestamp()) * 1000)::bigint, now(), now())
	on conflict on constraint task_queue_pkey do nothing
	returning ` + queueColumns

// CreateQueue makes a queue, or returns ErrQueueInvalid with all that is wrong, or ErrQueueExists.
func (t *Tasks) CreateQueue(ctx context.Context, tx postgres.Tx, org ids.ID, name string, s QueueSettings) (Queue, error) {
	q := s.onto(Queue{
		OrgID: org, Name: name, MaxDispatchesPerSecond: dispatchesPerSecondDefault, MaxConcurrentDispatches: concurrentDispatchesDefault,
		RetryConfig: []byte("{}"), TaskTTLSeconds: taskTTLDefault, TombstoneTTLSeconds: tombstoneTTLDefault,
	})
	if s.MaxBurstSize == nil {
		q.MaxBurstSize = max(1, q.MaxDispatchesPerSecond.part(burstShare))
	}
	if err := q.validate(); err != nil {
		return Queue{}, err
	}
	made, err := oneQueue(ctx, tx, insertQueueSQL, org, t.source.New(), q.Name, q.MaxDispatchesPerSecond, q.MaxBurstSize, q.MaxConcurrentDispatches, q.RetryConfig,
		q.TaskTTLSeconds, q.TombstoneTTLSeconds)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Queue{}, ErrQueueExists
	case err != nil:
		return Queue{}, fmt.Errorf("make a queue: %w", err)
	}
	return made, t.tellQueue(ctx, tx, eventQueueCreated, &made)
}
