package destinations

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

const deleteSQL = `delete from destination where org_id = $1 and id = $2`

// Delete removes a destination and what was learned of it. Who owns the tasks says whether any still needs it, and is
// asked with the destination locked: who queues a task for it, and locks its row for key share, comes before or after.
func (d *Destinations) Delete(ctx context.Context, tx postgres.Tx, orgID ids.ID, name string,
	needed func(ctx context.Context, tx postgres.Tx, destination Destination) (bool, error),
) error {
	found, _, err := d.lock(ctx, tx, orgID, name)
	if err != nil {
		return err
	}
	inUse, err := needed(ctx, tx, found)
	switch {
	case err != nil:
		return fmt.Errorf("ask whether a destination is needed: %w", err)
	case inUse:
		return ErrInUse
	}
	var b pgx.Batch
	b.Queue(deleteSQL, orgID, found.ID)
	if err := d.tell(&b, eventDeleted, &found); err != nil {
		return err
	}
	return write(ctx, tx, &b, "delete a destination")
}
