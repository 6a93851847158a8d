package schedules

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

const getSQL = `
	select s.org_id, s.id, s.name, s.state, s.pause_reason, s.cron, s.time_zone, s.misfire_policy, s.misfire_max, s.misfire_grace_seconds,
		s.queue, s.destination, s.kind, s.args, s.http_request, s.terms, s.anchor_at, s.ticks_after, s.last_tick_at, s.next_tick_at, s.version,
		s.created_at, s.updated_at
	from schedule s
	where s.org_id = $1 and s.id = $2`

// Get reads a schedule.
func (s *Schedules) Get(ctx context.Context, tx postgres.Tx, orgID, id ids.ID) (Schedule, error) {
	rows, err := tx.Query(ctx, getSQL, orgID, id)
	if err != nil {
		return Schedule{}, fmt.Errorf("read a schedule: %w", err)
	}
	list, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return Schedule{}, fmt.Errorf("read a schedule: %w", err)
	}
	if len(list) == 0 {
		return Schedule{}, ErrNotFound
	}
	return list[0], nil
}
