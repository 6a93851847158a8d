package tasks

import (
	"context"
	"fmt"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// The months are dropped whole, and none from the first on in which a task was queued that is still to be done.

const oldestLiveSQL = `select min(l.task_id::text)::uuid from task_live l`

const retireLettersSQL = `
	delete from task_dead_letter
	where (org_id, task_id) in (
		select d.org_id, d.task_id from task_dead_letter d
		where d.resolution <> 'open' and d.resolved_at < $1
			and not exists (select from task t where t.org_id = d.org_id and t.id = d.task_id)
		order by d.resolved_at limit 5000 for update skip locked
	)`

// Retire drops the months of tasks and attempts that ended before the given time, and the dead letters of theirs that were resolved
// before it. It returns what it has dropped. Open dead letters stay: they have in them what a replay needs.
func (t *Tasks) Retire(ctx context.Context, before time.Time) ([]string, error) {
	var oldest *ids.ID
	if err := t.db.Pool().QueryRow(ctx, oldestLiveSQL).Scan(&oldest); err != nil {
		return nil, fmt.Errorf("find the oldest task that is to be done: %w", err)
	}
	if oldest != nil && oldest.Time().Before(before) {
		before = oldest.Time()
	}
	var dropped []string
	for _, table := range []string{"task_attempt", "task"} {
		names, err := postgres.RetirePartitions(ctx, t.db.Pool(), table, before)
		dropped = append(dropped, names...)
		if err != nil {
			return dropped, err
		}
	}
	for range 20 {
		tag, err := t.db.Pool().Exec(ctx, retireLettersSQL, before)
		if err != nil {
			return dropped, fmt.Errorf("forget resolved dead letters: %w", err)
		}
		if tag.RowsAffected() < 5000 {
			break
		}
	}
	return dropped, nil
}
