package tasks

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// The events about a queue. Every version has one of the first five. A pause that ends by its time alone has none: its beginning
// said when.
const (
	eventQueueCreated  = "queue.created"
	eventQueueUpdated  = "queue.updated"
	eventQueuePaused   = "queue.paused"
	eventQueueResumed  = "queue.resumed"
	eventQueueDraining = "queue.draining"
	eventQueueDeleted  = "queue.deleted"
)

// tellQueue publishes a change of a queue: its payload is the queue as it then was.
func (t *Tasks) tellQueue(ctx context.Context, tx postgres.Tx, name string, q *Queue) error {
	payload, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("describe a queue: %w", err)
	}
	var batch pgx.Batch
	t.events.Queue(&batch, []events.Event{{OrgID: q.OrgID, AggregateType: "queue", AggregateID: q.ID, Type: name, Payload: payload}})
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("tell of a queue: %w", err)
	}
	return nil
}
