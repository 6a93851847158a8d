package tasks

import (
	"context"
	"fmt"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Counts are how many tasks of a queue are in each state, of those that have not ended.
type Counts struct {
	ByState map[string]int
	// More says that there are more such tasks in the organisation than were looked at: the counts are of the newest ones.
	More bool
}

// countMax is how many tasks that have not ended are counted.
const countMax = 10_000

const countsSQL = `
	with waiting as (
		select l.org_id, l.task_id, l.state from task_live l where l.org_id = $1 order by l.task_id desc limit $3
	)
	select w.state, count(*) filter (where k.queue = $2), count(*)
	from waiting w
	join task k on k.org_id = w.org_id and k.id = w.task_id
	group by w.state`

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
