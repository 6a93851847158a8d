package schedules

import (
	"context"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// PreviewMax is the most ticks that a preview shows.
const PreviewMax = 100

// Preview shows the next ticks of a rule that need not be anybody's yet, as they would be if it began now, by the database's
// clock.
func (s *Schedules) Preview(ctx context.Context, tx postgres.Tx, expression, zone string, n int) ([]time.Time, error) {
	if zone == "" {
		zone = "UTC"
	}
	var p problems
	p.rule(expression, zone)
	if err := p.fault(); err != nil {
		return nil, err
	}
	now, err := postgres.Now(ctx, tx)
	if err != nil {
		return nil, err
	}
	rule, err := ParseRule(expression, zone, now)
	if err != nil {
		return nil, ErrInvalid.Because(err)
	}
	return rule.preview(now, n), nil
}

// PreviewOf shows the next ticks of a schedule; of a paused one those that it would have if it were resumed now.
func (s *Schedules) PreviewOf(ctx context.Context, tx postgres.Tx, orgID, id ids.ID, n int) ([]time.Time, error) {
	c, err := s.Get(ctx, tx, orgID, id)
	if err != nil {
		return nil, err
	}
	now, err := postgres.Now(ctx, tx)
	if err != nil {
		return nil, err
	}
	rule, err := c.rule()
	if err != nil {
		return nil, ErrInvalid.Because(err)
	}
	return rule.preview(later(now, c.ticksAfter), n), nil
}

func (r *Rule) preview(after time.Time, n int) []time.Time {
	n = min(max(n, 1), PreviewMax)
	list := make([]time.Time, 0, n)
	for at := r.Next(after); !at.IsZero() && len(list) < n; at = r.Next(at) {
		list = append(list, at)
	}
	return list
}
