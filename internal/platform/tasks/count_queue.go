package tasks

import (
	"context"
	"fmt"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Counts are how many tasks of a queue are in each state, of those that have not ended.
type Counts struct {
	ByState map[string]int
	// More says that there are more such tasks in the organisation than were looked at: the counts are of the newest ones.
	More bool
}

// Drain is how long the tasks that could be begun take at the queue's own rate. It is not known of a queue that is paused, or that has too
// many tasks to count.
func (c Counts) Drain(q *Queue) (took time.Duration, known bool) {
	if q.EffectiveRate() == 0 || c.More {
		return 0, false
	}
	n := c.ByState[StateAvailable] + c.ByState[StateBlocked] + c.ByState[StateRetryable]
	return q.EffectiveRate().within(n), true
}

// countMax is how many tasks that have not ended are counted.
const countMax = 10_000

// All tasks of a line are of one queue, so one of them tells.
const countsSQL = `
	with waiting as materialized (
		select l.line, l.state, l.task_id from task_live l where l.org_id = $1 order by l.task_id desc limit $3
	), counted as materialized (
		select w.line, w.state, count(*) as n, min(w.task_id::text)::uuid as task_id from waiting w group by w.line, w.state
	)
	select c.state, coalesce(sum(c.n) filter (where k.queue = $2), 0)::bigint, sum(c.n)::bigint
	from counted c
	cross join lateral (select k.queue from task k where k.org_id = $1 and k.id = c.task_id limit 1) k
	group by c.state`

// CountQueue counts a queue's tasks by their state.
func (t *Tasks) CountQueue(ctx context.Context, tx postgres.Tx, org ids.ID, name string) (Counts, error) {
	counts := Counts{ByState: map[string]int{}}
	rows, err := tx.Query(ctx, countsSQL, org, name, countMax)
	if err != nil {
		return counts, fmt.Errorf("count tasks: %w", err)
	}
	defer rows.Close()
	looked := 0
	for rows.Next() {
		var state string
		var n, all int
		if err := rows.Scan(&state, &n, &all); err != nil {
			return counts, fmt.Errorf("count tasks: %w", err)
		}
		if looked += all; n > 0 {
			counts.ByState[state] = n
		}
	}
	counts.More = looked == countMax
	return counts, rows.Err()
}
