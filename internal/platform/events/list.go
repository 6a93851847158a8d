package events

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
)

// Filter chooses events; its zero value chooses all.
type Filter struct {
	Types         []string // any of them
	AggregateType string
	AggregateID   ids.ID
}

// Stored is an event with its place in the log.
type Stored struct {
	Event
	Number int64 // of the transaction that wrote it: with the id, the event's place
}

// walkMax bounds how many events one List walks over to find those that a filter on types chooses.
const walkMax = 2000

// The first statement walks a bounded stretch of an index in its order and marks what is wanted in it; the second reads the few events
// of one aggregate. What is not wanted comes back
// without its payload, for the sake of the place it ends at.
const (
	listSQL = `
	with walk as (
		select xid, id, aggregatetype, aggregateid, type, payload, recorded_at,
			(cardinality($6::text[]) = 0 or type = any($6)) and ($7::text = '' or aggregatetype = $7) as wanted
		from event
		where org_id = $1 and (xid, id) > ($2::xid8, $3::uuid) and xid < pg_snapshot_xmin(pg_current_snapshot())
		order by xid, id
		limit $4
	), page as (
		select *, count(*) filter (where wanted) over (order by xid, id) as number from walk
	)
	select xid, id, aggregatetype, aggregateid, type, case when wanted then payload end, recorded_at, wanted
	from page
	where number <= $5
	order by xid, id`

	listOfAggregateSQL = `
	with own as materialized (
		select org_id, xid, id, aggregatetype, aggregateid, type, payload, recorded_at
		from event
		where aggregateid = $8
	), walk as (
		select xid, id, aggregatetype, aggregateid, type, payload, recorded_at,
			(cardinality($6::text[]) = 0 or type = any($6)) and ($7::text = '' or aggregatetype = $7) as wanted
		from own
		where org_id = $1
			and (xid, id) > ($2::xid8, $3::uuid) and xid < pg_snapshot_xmin(pg_current_snapshot())
		order by xid, id
		limit $4
	), page as (
		select *, count(*) filter (where wanted) over (order by xid, id) as number from walk
	)
	select xid, id, aggregatetype, aggregateid, type, case when wanted then payload end, recorded_at, wanted
	from page
	where number <= $5
	order by xid, id`
)

// List reads an organisation's events after a place in the log, oldest first, without gaps. The cursor it returns is the
// place it read up to: keep it, and ask again from there, also after an empty page. It moves on over events
// that the filter leaves out; the end is reached when it comes back unchanged.
func (e *Events) List(ctx context.Context, orgID ids.ID, after paging.Cursor, filter Filter, limit int) ([]Stored, paging.Cursor, error) {
	limit = paging.Limit(limit)
	walk, types := limit, filter.Types
	if len(types) > 0 || filter.AggregateType != "" {
		walk = walkMax
	}
	if types == nil {
		types = []string{}
	}
	sql, args := listSQL, []any{orgID, uint64(after.Number), after.ID, walk, limit, types, filter.AggregateType}
	if !filter.AggregateID.IsZero() {
		sql, args = listOfAggregateSQL, append(args, filter.AggregateID)
	}
	rows, err := e.db.Pool().Query(ctx, sql, args...)
	if err != nil {
		return nil, after, fmt.Errorf("list the events: %w", err)
	}
	list, next := make([]Stored, 0, limit), after
	var one Stored
	var number uint64
	var wanted bool
	_, err = pgx.ForEachRow(rows, []any{
		&number, &one.ID, &one.AggregateType, &one.AggregateID, &one.Type, &one.Payload, &one.RecordedAt, &wanted,
	}, func() error {
		one.OrgID, one.Number = orgID, int64(number)
		next = paging.Cursor{Number: one.Number, ID: one.ID}
		if wanted {
			list = append(list, one)
		}
		one.Payload = nil // the next row's must not be read into the same bytes
		return nil
	})
	if err != nil {
		return nil, after, fmt.Errorf("list the events: %w", err)
	}
	return list, next, nil
}
