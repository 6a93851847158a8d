package tasks

import (
	"context"
	"fmt"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

const updateQueueSQL = `
	update task_queue q
	set max_dispatches_per_second = $3::bigint / 1000.0, max_burst_size = $4, max_concurrent_dispatches = $5, retry_config = $6, task_ttl_seconds = $7,
		tombstone_ttl_seconds = $8, version = q.version + 1, updated_at = now()
	where q.org_id = $1 and q.name = $2
	returning ` + queueColumns

// UpdateQueue changes some settings of a queue; ifVersion is the version they were read at, 0 whatever it is. All nodes act on it
// within a second. Tasks keep the times to live that were set when they were queued.
func (t *Tasks) UpdateQueue(ctx context.Context, tx postgres.Tx, org ids.ID, name string, ifVersion int64, s QueueSettings) (Queue, error) {
	q, err := foundQueue(ctx, tx, lockQueueSQL, org, name)
	if err != nil {
		return Queue{}, err
	}
	if ifVersion != 0 && ifVersion != q.Version {
		return Queue{}, ErrQueueChanged
	}
	q = s.onto(q)
	if err := q.validate(); err != nil {
		return Queue{}, err
	}
	changed, err := oneQueue(ctx, tx, updateQueueSQL, org, name, q.MaxDispatchesPerSecond, q.MaxBurstSize, q.MaxConcurrentDispatches, q.RetryConfig,
		q.TaskTTLSeconds, q.TombstoneTTLSeconds)
	if err != nil {
		return Queue{}, fmt.Errorf("change a queue: %w", err)
	}
	return changed, t.tellQueue(ctx, tx, eventQueueUpdated, &changed)
}
