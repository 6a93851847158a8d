package tasks

import (
	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// A task that is at work is not disturbed, but when its attempt ends with another one to come, that one comes at once. One that
// waits for its turn goes on waiting.

// hot
const nudgeSQL = `
	update task_live l
	set state = case when l.state in ('scheduled', 'retryable') then 'available' else l.state end,
		due_at = case when l.state in ('scheduled', 'retryable') then statement_timestamp() else l.due_at end,
		nudged = l.state = 'running'
	from (
		select l.org_id, l.task_id
		from unnest($1::uuid[], $2::uuid[]) as n (org_id, task_id)
		join task_live l on l.org_id = any(array[n.org_id]) and l.task_id = any(array[n.task_id])
		order by n.org_id, n.task_id
		for update of l
	) n
	where l.org_id = any(array[n.org_id]) and l.task_id = any(array[n.task_id])`

// Nudge adds one statement to a batch: waiting tasks become due now, because something happened that they wait for. An
// attempt that is under way is followed by the next without a pause. Tasks that are finished are passed over. The
// two lists go together.
func (t *Tasks) Nudge(b *pgx.Batch, orgIDs, taskIDs []ids.ID) {
	if len(taskIDs) == 0 {
		return
	}
	b.Queue(nudgeSQL, orgIDs, taskIDs)
	t.lookSoon.Store(true)
	signal(t.hurry)
}

// signal sets a flag that somebody waits for.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
