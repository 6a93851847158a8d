package tasks

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// columns are the arrays of enqueueSQL. Those that most tasks do without are made when the first task has one.
type columns struct {
	n                                          int
	orgs, ids, lines                           []ids.ID
	queues, kinds                              []string
	args                                       [][]byte
	taken                                      []bool
	afters                                     []int64
	ats, expiries                              []*time.Time
	subjectTypes, subjectIDs, destinations     []*string
	limitKeys, orderingKeys, fairnessKeys      []*string
	names, keys, idempotencyKeys, traceParents []*string
	units, priorities, timeouts, lifetimes     []*int64
	weights                                    []*float64
	retries, tags                              [][]byte
	replays, turns                             []*ids.ID
}

func (c *columns) grow(n int) {
	c.n = n
	c.orgs, c.ids, c.lines = make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n)
	c.queues, c.kinds, c.args = make([]string, n), make([]string, n), make([][]byte, n)
	c.taken, c.afters = make([]bool, n), make([]int64, n)
}

// put sets an element of a column that need not be there.
func put[T any](column *[]T, n, i int, value T) {
	if *column == nil {
		*column = make([]T, n)
	}
	(*column)[i] = value
}

func (c *columns) add(i int, s *Spec, task *Task, taken bool) {
	c.orgs[i], c.ids[i], c.lines[i], c.queues[i], c.kinds[i], c.args[i] = task.OrgID, task.ID, task.line, task.Queue, task.Kind, task.Args
	c.taken[i], c.afters[i] = taken, max(0, s.After.Microseconds())
	for _, text := range []struct {
		column *[]*string
		value  string
	}{
		{&c.subjectTypes, s.SubjectType},
		{&c.subjectIDs, s.SubjectID},
		{&c.destinations, s.Destination},
		{&c.limitKeys, s.LimitKey},
		{&c.orderingKeys, s.OrderingKey},
		{&c.fairnessKeys, s.FairnessKey},
		{&c.names, s.Name},
		{&c.keys, keyOfSpec(s)},
		{&c.idempotencyKeys, s.IdempotencyKey},
		{&c.traceParents, s.TraceParent},
	} {
		if text.value != "" {
			value := text.value // on the heap only where there is one
			put(text.column, c.n, i, &value)
		}
	}
	lifetime := int64(0)
	if s.ExpiresAt.IsZero() {
		lifetime = s.ExpiresAfter.Microseconds()
	}
	for _, number := range []struct {
		column *[]*int64
		value  int64
		usual  int64
	}{
		{&c.units, int64(task.Units), 1},
		{&c.priorities, int64(s.Priority), 0},
		{&c.timeouts, int64(s.Timeout.Seconds()), 0},
		{&c.lifetimes, lifetime, 0},
	} {
		if number.value != number.usual {
			value := number.value
			put(number.column, c.n, i, &value)
		}
	}
	if !s.At.IsZero() {
		put(&c.ats, c.n, i, &s.At)
	}
	if !s.ExpiresAt.IsZero() {
		put(&c.expiries, c.n, i, &s.ExpiresAt)
	}
	if s.FairnessWeight > 0 {
		weight := float64(s.FairnessWeight)
		put(&c.weights, c.n, i, &weight)
	}
	if len(s.Retry) > 0 {
		put(&c.retries, c.n, i, s.Retry)
	}
	if len(s.Tags) > 0 {
		text, _ := json.Marshal(s.Tags) // a list of strings always can be
		put(&c.tags, c.n, i, text)
	}
	if !task.turn.IsZero() {
		put(&c.turns, c.n, i, &task.turn)
	}
	if !s.ReplayOf.IsZero() {
		put(&c.replays, c.n, i, &s.ReplayOf)
	}
}

// insertion is the statement that queues tasks.
type insertion struct {
	bare bool
	args []any
}

func (c *columns) insertion(token *ids.ID, node string, leaseUS int64) insertion {
	if c.bare() {
		return insertion{true, []any{c.orgs, c.ids, c.queues, c.kinds, c.args, c.lines, c.taken, token, node, leaseUS}}
	}
	return insertion{false, []any{
		c.orgs, c.ids, c.queues, c.kinds, c.args, c.lines, c.taken, c.afters, c.ats,
		c.subjectTypes, c.subjectIDs, c.destinations, c.limitKeys, c.units, c.orderingKeys, c.fairnessKeys, c.weights, c.priorities,
		c.names, c.keys, c.expiries, c.timeouts, c.retries, c.idempotencyKeys, c.traceParents, c.tags, c.replays, c.turns, c.lifetimes,
		token, node, leaseUS,
	}}
}

// in adds it to a batch.
func (s insertion) in(b *pgx.Batch) {
	if s.bare {
		b.Queue(enqueueBareSQL, s.args...)
		return
	}
	b.Queue(enqueueSQL, s.args...)
}

func (s insertion) exec(ctx context.Context, tx postgres.Tx) (err error) {
	if s.bare {
		_, err = tx.Exec(ctx, enqueueBareSQL, s.args...)
	} else {
		_, err = tx.Exec(ctx, enqueueSQL, s.args...)
	}
	return err
}

// bare tells whether no task has anything beyond what each has.
func (c *columns) bare() bool {
	return !slices.ContainsFunc(c.afters, func(after int64) bool { return after != 0 }) &&
		none(c.subjectTypes, c.subjectIDs, c.destinations, c.limitKeys, c.orderingKeys, c.fairnessKeys, c.names, c.keys, c.idempotencyKeys, c.traceParents) &&
		none(c.units, c.priorities, c.timeouts, c.lifetimes) && none(c.ats, c.expiries) && none(c.weights) && none(c.retries, c.tags) &&
		none(c.replays, c.turns)
}

// none tells whether none of the columns was made.
func none[T any](columns ...[]T) bool {
	return !slices.ContainsFunc(columns, func(column []T) bool { return column != nil })
}
