package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Filter narrows a list of tasks; an empty field does not. CreatedFrom is inclusive, CreatedTo exclusive, both by the time in the
// task's id.
type Filter struct {
	State       string
	Queue       string
	Destination string
	Kind        string
	SubjectType string
	SubjectID   string
	Tag         string
	CreatedFrom time.Time
	CreatedTo   time.Time
}

// listWindow is how many tasks one page looks through.
const listWindow = 2000

// A list looks through a window of the newest tasks below the cursor, by the index that fits best: of those that have not ended, of
// one subject's, of one destination's, or of all. The first statement of each pair finds where the window ends, in the index
// alone; the second takes the window in the same order, and only then looks up what else there is to each task. The pairs
// (subject_id, id) are compared as such because `subject_id = $10` would tell the planner that any index on the id gives the order as
// well, and it might walk that one. So it might, whatever it knows of the tables, if there were not a limit within the window:
// that tells it that the order is worth having.
const (
	// hot
	edgeSQL = `select k.id from task k where k.org_id = $1 and k.id < $2 order by k.id desc offset $3 - 1 limit 1`

	// hot
	listSQL = `
	with k as materialized (
		select ` + taskColumns + ` from task k
		where k.org_id = $1 and k.id < $2 and k.id >= $3` + taskFilter + `
		order by k.id desc
		limit $12
	)
	select ` + shownColumns + listWindowed

	// hot
	subjectEdgeSQL = `
	select k.id from task k
	where k.org_id = $1 and k.subject_id >= $4 and (k.subject_id, k.id) < ($4, $2)
	order by k.subject_id desc, k.id desc
	offset $3 - 1 limit 1`

	// hot
	listSubjectSQL = `
	with k as materialized (
		select ` + taskColumns + ` from task k
		where k.org_id = $1 and k.subject_id >= $10 and (k.subject_id, k.id) < ($10, $2) and (k.subject_id, k.id) >= ($10, $3)` + taskFilter + `
		order by k.subject_id desc, k.id desc
		limit $12
	)
	select ` + shownColumns + listWindowed

	// hot
	destinationEdgeSQL = `
	select k.id from task k
	where k.org_id = $1 and k.destination >= $4 and (k.destination, k.id) < ($4, $2)
	order by k.destination desc, k.id desc
	offset $3 - 1 limit 1`

	// hot
	listDestinationSQL = `
	with k as materialized (
		select ` + taskColumns + ` from task k
		where k.org_id = $1 and k.destination >= $7 and (k.destination, k.id) < ($7, $2) and (k.destination, k.id) >= ($7, $3)` + taskFilter + `
		order by k.destination desc, k.id desc
		limit $12
	)
	select ` + shownColumns + listWindowed

	listWindowed = ` from k` + liveRow + lastAttempt + `
	where $5::text = '' or ` + shownState + ` = $5
	order by k.id desc
	limit $4`

	// hot
	liveEdgeSQL = `select l.task_id from task_live l where l.org_id = $1 and l.task_id < $2 order by l.task_id desc offset $3 - 1 limit 1`

	// hot
	listLiveSQL = `
	with l as materialized (
		select l.org_id, l.task_id, ` + liveColumns + ` from task_live l
		where l.org_id = $1 and l.task_id < $2 and l.task_id >= $3 and l.state = $5
		order by l.task_id desc
		limit $12
	)
	select ` + shownColumns + ` from l
	cross join lateral (select ` + taskColumns + ` from task k where k.org_id = l.org_id and k.id = l.task_id limit 1) k` + lastAttempt + `
	where true` + taskFilter + `
	order by k.id desc
	limit $4`

	taskFilter = `
		and ($6::text = '' or k.queue = $6)
		and ($7::text = '' or k.destination = $7)
		and ($8::text = '' or k.kind = $8)
		and ($9::text = '' or k.subject_type = $9)
		and ($10::text = '' or k.subject_id = $10)
		and ($11::text = '' or $11 = any(k.tags))`
)

// alive are the states of tasks that have not ended.
func alive(state string) bool {
	return slices.Contains([]string{StateScheduled, StateAvailable, StateBlocked, StateRunning, StateRetryable}, state)
}

// span is what a filter's times and the place of the last page leave to look at: ids from from on, below before.
func (f *Filter) span(after paging.Cursor) (before, from ids.ID) {
	before = after.ID
	if before.IsZero() {
		before = ids.Before(farFuture())
	}
	if !f.CreatedTo.IsZero() {
		if to := ids.Before(f.CreatedTo); ids.Compare(to, before) < 0 {
			before = to
		}
	}
	if !f.CreatedFrom.IsZero() {
		from = ids.Before(f.CreatedFrom)
	}
	return before, from
}

// List lists tasks, newest first. A page looks through a few thousand tasks and no more, so it may be short, or even empty, and
// still have a next one.
func (t *Tasks) List(ctx context.Context, tx postgres.Tx, org ids.ID, f Filter, after paging.Cursor, limit int) ([]Shown, paging.Cursor, error) {
	before, from := f.span(after)
	edge, list, within := edgeSQL, listSQL, listWindow
	if f.State == "" {
		within = limit + 1 // all of them are wanted
	}
	args := []any{org, before, listWindow}
	switch {
	case f.SubjectID != "":
		edge, list, args = subjectEdgeSQL, listSubjectSQL, append(args, f.SubjectID)
	case alive(f.State):
		edge, list, within = liveEdgeSQL, listLiveSQL, listWindow
	case f.Destination != "":
		edge, list, args = destinationEdgeSQL, listDestinationSQL, append(args, f.Destination)
	}
	var end, last ids.ID
	err := tx.QueryRow(ctx, edge, args...).Scan(&end)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // the window has all that there is
	case err != nil:
		return nil, paging.Cursor{}, fmt.Errorf("list tasks: %w", err)
	case ids.Compare(end, from) > 0:
		from, last = end, end
	}
	rows, err := tx.Query(ctx, list, org, before, from, limit+1, f.State, f.Queue, f.Destination, f.Kind, f.SubjectType, f.SubjectID, f.Tag, within)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list tasks: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanShown)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list tasks: %w", err)
	}
	if len(found) > limit {
		found = found[:limit]
		last = found[limit-1].ID
	}
	return found, paging.Cursor{ID: last}, nil
}

// farFuture is after every time that is stored.
func farFuture() time.Time { return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }
