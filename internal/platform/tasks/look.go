package tasks

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/destinations"
)

// The lines that have available tasks, one index probe each, and one task of each line that is new to this node: it says what the
// line is.

// hot
const lookSQL = `
	with recursive lines as (
		(select l.line from task_live l where l.state = 'available' and l.line > $1 order by l.line limit 1)
		union all
		select (select l.line from task_live l where l.state = 'available' and l.line > p.line order by l.line limit 1)
		from lines p
		where p.line is not null
	)
	select line from lines where line is not null limit $2`

// hot
const describeSQL = `
	select n.line, k.org_id, k.queue, coalesce(k.destination, ''), coalesce(k.limit_key, ''), coalesce(k.fairness_key, ''), k.units,
		coalesce(k.fairness_weight, 1)::float8
	from unnest($1::uuid[]) as n (line)
	cross join lateral (
		select l.org_id, l.task_id from task_live l where l.line = n.line and l.state = 'available' limit 1
	) l
	join task k on k.org_id = l.org_id and k.id = l.task_id`

const (
	looksMax   = 512         // lines of one look; the next goes on where it ended
	lineActive = time.Second // how long a line in which nothing is found is asked at every round; later, when a look finds it
	lineKept   = time.Minute // how long it is remembered
	linesMax   = 8192        // lines that a node asks at all
)

// queueing is a line as this node's poller knows it.
type queueing struct {
	line
	id     ids.ID
	weight float64
	counts *queueFigures
	found  time.Time // when tasks were last found in it, or hinted at
	hungry bool      // there may be more than was asked for
	full   bool      // the last claim found as many as it asked for
	asked  bool      // at the last round: nothing holds it
	reach  reach
	entry  *destinations.Entry // its destination; nil: it has none, or there is none of that name
}

// hint is a line in which this node has queued.
type hint struct {
	line
	weight float64
}

// look finds the lines that have available tasks. They are hungry, also those that this node has never taken from: else a backlog that
// takes every worker would leave nothing to find that out with.
func (t *Tasks) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	rows, err := t.db.Pool().Query(ctx, lookSQL, t.lookedUpTo, looksMax)
	if err != nil {
		return fmt.Errorf("look for tasks: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[ids.ID])
	if err != nil {
		return fmt.Errorf("look for tasks: %w", err)
	}
	t.lookedUpTo = ids.ID{}
	if len(found) == looksMax {
		t.lookedUpTo = found[looksMax-1]
	}
	now := monotonic()
	var strange []ids.ID
	for _, id := range found {
		if q := t.lines[id]; q != nil {
			q.found, q.hungry = now, true
		} else {
			strange = append(strange, id)
		}
	}
	t.makeRoom(len(strange))
	return t.describe(ctx, strange, now)
}

// makeRoom forgets lines where there are too many, for some that are new; those first of which nothing may be begun. Else the keys of one
// destination that is held would keep all other lines from being asked. Later looks find again what is forgotten here.
func (t *Tasks) makeRoom(n int) {
	excess := len(t.lines) + n - linesMax
	for _, sparing := range []bool{true, false} {
		for id, q := range t.lines {
			if excess <= 0 {
				return
			}
			if !sparing || !q.asked {
				delete(t.lines, id)
				excess--
			}
		}
	}
}

func (t *Tasks) describe(ctx context.Context, strange []ids.ID, now time.Time) error {
	if len(strange) == 0 {
		return nil
	}
	rows, err := t.db.Pool().Query(ctx, describeSQL, strange)
	if err != nil {
		return fmt.Errorf("describe lines of tasks: %w", err)
	}
	q := queueing{}
	_, err = pgx.ForEachRow(rows, []any{&q.id, &q.org, &q.queue, &q.destination, &q.limitKey, &q.fairnessKey, &q.units, &q.weight}, func() error {
		known := q
		known.found, known.hungry, known.counts = now, true, t.metrics.ofQueue(q.queue)
		t.lines[q.id] = &known
		return nil
	})
	if err != nil {
		return fmt.Errorf("describe lines of tasks: %w", err)
	}
	return nil
}

// takeHints adds the lines that were hinted at, and drops those in which nothing is found any more.
func (t *Tasks) takeHints(now time.Time) {
	t.mu.Lock()
	hints := t.hints
	t.hints = map[ids.ID]hint{}
	t.loads.turn(now)
	t.mu.Unlock()
	strange := 0
	for id := range hints {
		if t.lines[id] == nil {
			strange++
		}
	}
	t.makeRoom(min(strange, looksMax))
	for id, h := range hints {
		q := t.lines[id]
		if q == nil {
			if len(t.lines) >= linesMax {
				continue
			}
			q = &queueing{line: h.line, id: id, counts: t.metrics.ofQueue(h.line.queue)}
			t.lines[id] = q
		}
		q.weight = h.weight
		q.found, q.hungry = now, true
	}
	for id, q := range t.lines {
		if now.Sub(q.found) > lineKept {
			delete(t.lines, id)
		}
	}
}
