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
	Number int64 // the transaction's number: with the id, the event's place
}

// List reads an organisation's events after a place in the log, oldest first, without gaps. The cursor it returns is the
// place it read up to: keep it, and ask again from there, also after an empty page. It moves on over events
// that the filter leaves out; the end is reached when it comes back unchanged.
func (e *Events) List(ctx context.Context, orgID ids.ID, after paging.Cursor, filter Filter, limit int) ([]Stored, paging.Cursor, error) {
	sql, args := listSQL, []any{orgID, uint64(after.Number), after.ID, paging.Limit(limit)}
	if !filter.AggregateID.IsZero() {
		sql, args = listOfAggregateSQL, append(args, filter.AggregateID)
	}
	if len(filter.Types) > 0 || filter.AggregateType != "" {
		args[3] = scanMax
	}
	rows, err := e.db.Pool().Query(ctx, sql, args...)
	if err != nil {
		return nil, after, fmt.Errorf("list the events: %w", err)
	}
	next := after
	list, err := collect(rows, filter, paging.Limit(limit), &next)
	if err != nil {
		return nil, after, fmt.Errorf("list the events: %w", err)
	}
	return list, next, nil
}

// scanMax bounds how many events one List with a filter on types walks over.
const scanMax = 2000

const listSQL = ``
const listOfAggregateSQL = ``

func collect(rows pgx.Rows, filter Filter, limit int, next *paging.Cursor) ([]Stored, error) {
	return nil, nil
}
