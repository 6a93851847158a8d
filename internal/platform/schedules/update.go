package schedules

import (
	"context"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Update changes what callers say about a schedule; a version of 0 takes any. edit gets what they said so far, and may run twice. With the rule unchanged
// its ticks go on as they were. A new rule holds from now on, by the database's clock; what was due under the old one, and
// was not made yet, is made first, as it was.
func (s *Schedules) Update(ctx context.Context, tx postgres.Tx, orgID, id ids.ID, version int64, edit func(*Input)) (Schedule, error) {
	c, now, err := lock(ctx, tx, orgID, id, version)
	if err != nil {
		return Schedule{}, err
	}
	in := c.said()
	edit(&in)
	in = in.withDefaults()
	if err := in.validate(); err != nil {
		return Schedule{}, err
	}
	ruled := c.Cron != in.Cron || c.TimeZone != in.TimeZone
	if ruled && c.State == Active && !c.NextTickAt.After(now) {
		// Nobody hands these tasks to this node after the commit, so they are not leased to it.
		f := firing{Schedules: s, now: now, after: time.Microsecond}
		list := []Schedule{c}
		if err := f.fire(ctx, tx, list); err != nil {
			return Schedule{}, err
		}
		c = list[0]
		if len(f.halts) > 0 {
			c.Version++ // the halt was a version of its own; the new rule takes it up again
		}
	}
	c.take(in)
	if err := s.acceptable(ctx, tx, &c, now); err != nil {
		return Schedule{}, err
	}
	if ruled && c.State == Active {
		if err := c.begin(now); err != nil {
			return Schedule{}, err
		}
	} else if ruled {
		c.anchor = now.Truncate(time.Second)
	}
	return c, s.change(ctx, tx, &c, now, eventUpdated)
}
