package tasks

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// cancelWindow is how many tasks that have not ended one step of a cancellation looks through.
const cancelWindow = 10_000

// Cancelling is what a step of a cancellation did, or would do.
type Cancelling struct {
	Cancelled int           // ended
	Running   int           // told to end; they end with their attempt
	Next      paging.Cursor // where the next step begins; zero: there is none
}

// A step goes through a window of those that have not ended, from the newest on. Work that is not a request is Kontor's own.
// hot
const cancellableSQL = `
	with l as materialized (
		select l.org_id, l.task_id, l.state from task_live l
		where l.org_id = $1 and l.task_id < $2
		order by l.task_id desc
		limit $3
	)
	select l.task_id, l.state = 'running',
		k.kind = 'http' and coalesce(($4::text = '' or l.state = $4)
			and k.id >= $5
			and ($6::text = '' or k.queue = $6)
			and ($7::text = '' or k.destination = $7)
			and ($8::text = '' or k.subject_type = $8)
			and ($9::text = '' or k.subject_id = $9)
			and ($10::text = '' or $10 = any(k.tags)), false)
	from l
	cross join lateral (
		select k.id, k.kind, k.queue, k.destination, k.subject_type, k.subject_id, k.tags
		from task k where k.org_id = l.org_id and k.id = l.task_id limit 1
	) k
	order by l.task_id desc`

// CancelMany cancels the tasks that a filter names, a window of them at a time, from the newest on; those that are queued meanwhile are
// not among them. With preview it only counts.
func (t *Tasks) CancelMany(ctx context.Context, tx postgres.Tx, org ids.ID, f Filter, after paging.Cursor, preview bool) (Cancelling, error) {
	var c Cancelling
	before, from := f.span(after)
	rows, err := tx.Query(ctx, cancellableSQL, org, before, cancelWindow, f.State, from, f.Queue, f.Destination, f.SubjectType, f.SubjectID, f.Tag)
	if err != nil {
		return c, fmt.Errorf("choose tasks to cancel: %w", err)
	}
	var chosen []ids.ID
	var id ids.ID
	var running, wanted bool
	seen := 0
	_, err = pgx.ForEachRow(rows, []any{&id, &running, &wanted}, func() error {
		if seen++; seen == cancelWindow && ids.Compare(id, from) > 0 {
			c.Next = paging.Cursor{ID: id}
		}
		switch {
		case !wanted:
			return nil
		case running:
			c.Running++
		default:
			c.Cancelled++
		}
		chosen = append(chosen, id)
		return nil
	})
	if err != nil {
		return c, fmt.Errorf("choose tasks to cancel: %w", err)
	}
	if preview || len(chosen) == 0 {
		return c, nil
	}
	list, err := t.Cancel(ctx, tx, org, chosen, "cancelled_on_request")
	if err != nil {
		return c, err
	}
	c.Cancelled, c.Running = 0, 0
	for i := range list {
		if list[i].Running {
			c.Running++
		} else {
			c.Cancelled++
		}
	}
	return c, nil
}
