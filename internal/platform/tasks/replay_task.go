package tasks

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// taskSpec is a task as it was queued, as a dead letter keeps it.
const taskSpec = `json_build_object('queue', k.queue, 'destination', k.destination, 'kind', k.kind, 'args', k.args,
				'subject_type', k.subject_type, 'subject_id', k.subject_id, 'limit_key', k.limit_key, 'units', k.units,
				'ordering_key', k.ordering_key, 'fairness_key', k.fairness_key, 'fairness_weight', k.fairness_weight, 'priority', k.priority,
				'timeout_seconds', k.timeout_seconds, 'retry_config', k.retry_config, 'idempotency_key', k.idempotency_key, 'tags', k.tags)`

// hot
const replayableSQL = `
	select k.kind, exists (select from task_live l where l.org_id = k.org_id and l.task_id = k.id), ` + taskSpec + `
	from task k
	where k.org_id = $1 and k.id = $2`

// ReplayTask queues a task that has ended again, as a new task; of one that has failed for good it resolves the dead letter. After the
// commit, and only then, hand the result to DispatchEnqueued.
func (t *Tasks) ReplayTask(ctx context.Context, tx postgres.Tx, org, id ids.ID, again Again, by string) (Enqueued, error) {
	queued, err := t.ReplayDeadLetter(ctx, tx, org, id, again, by)
	if !errors.Is(err, ErrLetterNotFound) && !errors.Is(err, ErrLetterResolved) {
		return queued, err
	}
	was := DeadLetter{OrgID: org, TaskID: id}
	var kind string
	var lives bool
	err = tx.QueryRow(ctx, replayableSQL, org, id).Scan(&kind, &lives, &was.spec)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Enqueued{}, ErrNotFound
	case err != nil:
		return Enqueued{}, fmt.Errorf("read a task: %w", err)
	case kind != KindHTTP:
		return Enqueued{}, ErrNotReplayable
	case lives:
		return Enqueued{}, ErrNotEnded
	}
	specs, refusals, err := t.readmit(ctx, tx, []DeadLetter{was}, again)
	if err == nil {
		err = refusals[0]
	}
	if err != nil {
		return Enqueued{}, err
	}
	list, err := t.EnqueueTx(ctx, tx, specs)
	if err != nil {
		return Enqueued{}, err
	}
	return list[0], nil
}
