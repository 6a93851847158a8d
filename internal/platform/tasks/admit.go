package tasks

import (
	"context"
	"slices"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/limits"
)

// grant is what a task may use of the limits it counts against.
type grant = limits.Grant

func unused(grants []*grant) {
	for _, g := range grants {
		g.Unused()
	}
}

// probe is how many tasks are asked for in a line that seemed empty the last time.
const probe = 16

// admit decides how many tasks of each line may be begun: at most budget in all, divided by weight among the lines in which tasks
// wait, and no more than pauses, holds and limits let through. It tells for how long all that was refused stays so.
func (t *Tasks) admit(now time.Time, budget int) ([]share, time.Duration) {
	wait := t.cfg.PollMax
	open := make([]*queueing, 0, len(t.lines))
	for _, q := range t.lines {
		if !q.hungry && now.Sub(q.found) > lineActive {
			continue
		}
		if until := t.heldUntil(now, q); until.After(now) {
			wait = min(wait, until.Sub(now))
			continue
		}
		open = append(open, q)
	}
	slices.SortFunc(open, func(a, b *queueing) int { return ids.Compare(a.id, b.id) })
	open = t.turn(open, budget)
	var shares []share
	for _, portion := range divide(open, budget) {
		s, retry := t.take(portion)
		if s.n > 0 {
			shares = append(shares, s)
		}
		if s.n < portion.n {
			wait = min(wait, retry)
		}
	}
	return shares, wait
}

// turn chooses which lines are asked when there are more than the budget can serve: the next ones, each time.
func (t *Tasks) turn(open []*queueing, budget int) []*queueing {
	if len(open) <= budget {
		return open
	}
	from, _ := slices.BinarySearchFunc(open, t.turnFrom, func(q *queueing, id ids.ID) int { return ids.Compare(q.id, id) })
	chosen := make([]*queueing, 0, budget)
	for i := range budget {
		chosen = append(chosen, open[(from+i)%len(open)])
	}
	t.turnFrom = open[(from+budget)%len(open)].id
	return chosen
}

// portion is how much of the budget a line gets.
type portion struct {
	q *queueing
	n int
}

// divide gives each line its part of the budget: those in which tasks are known to wait by their weights, the others a few to
// find out. Every line gets one at least, as far as the budget goes.
func divide(open []*queueing, budget int) []portion {
	var weights float64
	idle := 0
	for _, q := range open {
		if q.hungry {
			weights += q.weight
		} else {
			idle++
		}
	}
	few := 0
	if idle > 0 {
		few = min(probe, max(1, budget/(2*idle)))
		if weights == 0 {
			few = max(1, budget/idle)
		}
	}
	rest := max(0, budget-few*idle)
	out := make([]portion, 0, len(open))
	for _, q := range open {
		n := few
		if q.hungry {
			n = max(1, int(float64(rest)*q.weight/weights))
		}
		if n = min(n, budget); n > 0 {
			budget -= n
			out = append(out, portion{q, n})
		}
	}
	return out
}

// heldUntil is until when nothing of a line may be begun, whatever the limits say; the past: now.
func (t *Tasks) heldUntil(now time.Time, q *queueing) time.Time {
	until := t.queues.heldUntil(now, q.org, q.queue)
	if q.destination == "" {
		return until
	}
	if q.entry == nil {
		return later(until, now.Add(time.Second))
	}
	if hold, is := q.entry.Gate(q.limitKey); is {
		pause := forever
		if !hold.Until.IsZero() {
			pause = hold.Until.Sub(t.destinations.Now())
		}
		until = later(until, now.Add(pause))
	}
	return until
}

// meet finds the destinations of lines.
func (t *Tasks) meet(ctx context.Context) error {
	var refs []destinations.Ref
	var of []*queueing
	for _, q := range t.lines {
		if q.destination != "" && (q.entry == nil || q.entry.Gone()) {
			refs, of = append(refs, destinations.Ref{OrgID: q.org, Name: q.destination}), append(of, q)
		}
	}
	if len(refs) == 0 {
		return nil
	}
	entries, err := t.destinations.Use(ctx, refs)
	if err != nil {
		return err
	}
	for i, q := range of {
		q.entry = entries[i]
	}
	return nil
}

// take asks the limits of a line for as much as its portion.
func (t *Tasks) take(p portion) (share, time.Duration) {
	keys := t.limitKeys(p.q)
	if len(keys) == 0 {
		return share{q: p.q, n: p.n}, 0
	}
	grants, _, retry := t.limits.Take(keys, int64(p.q.units), p.n)
	return share{q: p.q, n: len(grants), grants: grants}, retry
}

// limitKeys are the limits that a line's tasks count against.
func (t *Tasks) limitKeys(q *queueing) []limits.Key {
	keys := t.queues.limitKeys(q.org, q.queue)
	if q.entry != nil {
		for _, l := range q.entry.Limits(q.limitKey) {
			t.limits.Define(l.Key, l.Version, l.Windows)
			keys = append(keys, l.Key)
		}
	}
	return keys
}

// atOnce tells whether a task may be taken as it is queued: nothing stands in its way, it overtakes nobody, and nothing has to be
// counted.
func (t *Tasks) atOnce(s *Spec, task *Task) bool {
	if s.After > 0 || !s.At.IsZero() || s.OrderingKey != "" || task.Destination != "" || s.Priority > 1 {
		return false
	}
	if _, known := t.kinds[task.Kind]; !known || !t.queues.free(task.since, task.OrgID, task.Queue) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, waits := t.backlog[task.line]
	return !waits
}
