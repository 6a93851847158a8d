package schedules

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Filter chooses schedules; an empty field does not.
type Filter struct {
	State State
	Name  string
}

const listSQL = `
	select s.org_id, s.id, s.name, s.state, s.pause_reason, s.cron, s.time_zone, s.misfire_policy, s.misfire_max, s.misfire_grace_seconds,
		s.queue, s.destination, s.kind, s.args, s.http_request, s.terms, s.anchor_at, s.ticks_after, s.last_tick_at, s.next_tick_at, s.version,
		s.created_at, s.updated_at
	from schedule s
	where s.org_id = $1 and s.id > $2 and ($3 = '' or s.state = $3) and ($4 = '' or s.name = $4)
	order by s.id
	limit $5`

// List reads an organisation's schedules, the oldest first, after a place in the list. The cursor it returns is where the
// next page begins; zero at the end.
func (s *Schedules) List(ctx context.Context, tx postgres.Tx, orgID ids.ID, filter Filter, after paging.Cursor, limit int) (
	[]Schedule, paging.Cursor, error,
) {
	limit = paging.Limit(limit)
	rows, err := tx.Query(ctx, listSQL, orgID, after.ID, string(filter.State), filter.Name, limit+1)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list the schedules: %w", err)
	}
	list, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list the schedules: %w", err)
	}
	list, next := paging.Cut(list, limit, func(last *Schedule) paging.Cursor { return paging.Cursor{ID: last.ID} })
	return list, next, nil
}
