package tasks

import (
	"context"
	"fmt"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// needMax is how many tasks that have not ended are looked through for one of a queue or a destination.
const needMax = 100_000

// There is no index of those by queue: they are too hot for one that only this needs.
const needSQL = `
	with waiting as (
		select l.org_id, l.task_id from task_live l where l.org_id = $1 order by l.task_id desc limit $4
	)
	select count(*) filter (where k.queue = $2 or k.destination = $3), count(*)
	from waiting w
	join task k on k.org_id = w.org_id and k.id = w.task_id`

const takeQueueSQL = queueSQL + ` for update`

const deleteQueueSQL = `delete from task_queue where org_id = $1 and name = $2`

// DeleteQueue removes a queue that has no task which has not ended. Who queues a task at the same time comes before, and is found,
// or after, and finds no queue. spare refuses it for those who will queue tasks there yet, and is asked with the queue locked.
func (t *Tasks) DeleteQueue(ctx context.Context, tx postgres.Tx, org ids.ID, name string, spare func(ctx context.Context, tx postgres.Tx) error) error {
	q, err := foundQueue(ctx, tx, takeQueueSQL, org, name)
	if err != nil {
		return err
	}
	switch found, all, err := t.need(ctx, tx, org, &name, nil); {
	case err != nil:
		return err
	case found > 0:
		return ErrQueueNotEmpty
	case all == needMax:
		return ErrQueueCrowded
	}
	if err := spare(ctx, tx); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, deleteQueueSQL, org, name); err != nil {
		return fmt.Errorf("delete a queue: %w", err)
	}
	return t.tellQueue(ctx, tx, eventQueueDeleted, &q)
}

// NeedsDestination tells whether a task that has not ended may be for a destination. It says so too when there are more such tasks
// than it looks through.
func (t *Tasks) NeedsDestination(ctx context.Context, tx postgres.Tx, org ids.ID, name string) (bool, error) {
	found, all, err := t.need(ctx, tx, org, nil, &name)
	return found > 0 || all == needMax, err
}

func (t *Tasks) need(ctx context.Context, tx postgres.Tx, org ids.ID, queue, destination *string) (found, all int, err error) {
	if err := tx.QueryRow(ctx, needSQL, org, queue, destination, needMax).Scan(&found, &all); err != nil {
		return 0, 0, fmt.Errorf("look for tasks that have not ended: %w", err)
	}
	return found, all, nil
}
