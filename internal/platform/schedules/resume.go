package schedules

import (
	"context"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Resume has a paused schedule tick again: next at the first time after now that its rule names. @every keeps its
// pace, as if there had been no pause. Resuming what is active changes nothing. A version of 0 takes any.
func (s *Schedules) Resume(ctx context.Context, tx postgres.Tx, orgID, id ids.ID, version int64) (Schedule, error) {
	c, now, err := lock(ctx, tx, orgID, id, version)
	if err != nil || c.State == Active {
		return c, err
	}
	c.State, c.PauseReason, c.ticksAfter = Active, "", later(c.ticksAfter, now)
	if err := c.aim(); err != nil {
		return Schedule{}, err
	}
	return c, s.change(ctx, tx, &c, now, eventResumed)
}
