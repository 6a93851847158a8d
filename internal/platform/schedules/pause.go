package schedules

import (
	"context"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// reasonLengthMax bounds why a schedule was paused, in bytes.
const reasonLengthMax = 500

// Pause stops a schedule: from now on its ticks pass unmade, and so do those that are due and not made yet. Pausing what is
// paused changes nothing. A version of 0 takes any.
func (s *Schedules) Pause(ctx context.Context, tx postgres.Tx, orgID, id ids.ID, version int64, reason string) (Schedule, error) {
	var p problems
	p.require(isText(reason, reasonLengthMax), "reason", "A reason is a text of at most 500 bytes.")
	if err := p.fault(); err != nil {
		return Schedule{}, err
	}
	c, now, err := lock(ctx, tx, orgID, id, version)
	if err != nil || c.State == Paused {
		return c, err
	}
	return s.pause(ctx, tx, c, reason, now)
}

func (s *Schedules) pause(ctx context.Context, tx postgres.Tx, c Schedule, reason string, now time.Time) (Schedule, error) {
	c.State, c.PauseReason, c.NextTickAt = Paused, reason, time.Time{}
	return c, s.change(ctx, tx, &c, now, eventPaused)
}
