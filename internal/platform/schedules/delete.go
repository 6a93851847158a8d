package schedules

import (
	"context"
	"fmt"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

const deleteSQL = `delete from schedule where org_id = $1 and id = $2`

// Delete removes a schedule. Tasks that its ticks have made stay, and so do the records of the ticks, until their month
// is dropped. It returns what the schedule was. A version of 0 takes any.
func (s *Schedules) Delete(ctx context.Context, tx postgres.Tx, orgID, id ids.ID, version int64) (Schedule, error) {
	c, _, err := lock(ctx, tx, orgID, id, version)
	if err != nil {
		return Schedule{}, err
	}
	if _, err := tx.Exec(ctx, deleteSQL, orgID, id); err != nil {
		return Schedule{}, fmt.Errorf("delete a schedule: %w", err)
	}
	return c, s.tell(ctx, tx, eventDeleted, &c)
}
