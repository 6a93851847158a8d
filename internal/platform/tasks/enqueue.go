package tasks

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// The lease of a task that is queued and taken at once begins with the statement, not with the transaction, so that it
// cannot be older than the node thinks. Columns that no task of the batch has come as no array at all. What has an ordering key
// waits for its turn, which is given after the commit.

// hot
const enqueueSQL = `
	with spec as (
		select s.*, coalesce(s.at, statement_timestamp() + s.after_us * interval '1 microsecond') as due
		from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::json[], $6::uuid[], $7::boolean[], $8::bigint[], $9::timestamptz[],
			$10::text[], $11::text[], $12::text[], $13::text[], $14::bigint[], $15::text[], $16::text[], $17::float8[], $18::bigint[],
			$19::text[], $20::text[], $21::timestamptz[], $22::bigint[], $23::json[], $24::text[], $25::text[], $26::json[], $27::uuid[], $28::uuid[], $29::bigint[])
			as s (org_id, id, queue, kind, args, line, taken, after_us, at,
				subject_type, subject_id, destination, limit_key, units, ordering_key, fairness_key, fairness_weight, priority,
				name, key, expires_at, timeout_seconds, retry_config, idempotency_key, traceparent, tags, replay_of, turn, lifetime_us)
	), stored as (
		insert into task (org_id, id, queue, kind, args, created_at, scheduled_at, subject_type, subject_id, destination, limit_key, units,
			ordering_key, fairness_key, fairness_weight, priority, name, expires_at, timeout_seconds, retry_config, idempotency_key,
			traceparent, tags, replay_of)
		select org_id, id, queue, kind, args, now(), case when after_us > 0 or at is not null then due end, subject_type, subject_id,
			destination, limit_key, coalesce(units, 1), ordering_key, fairness_key, fairness_weight, coalesce(priority, 1), name,
			coalesce(expires_at, greatest(due, statement_timestamp()) + lifetime_us * interval '1 microsecond'),
			timeout_seconds, retry_config, idempotency_key, traceparent,
			case when tags is not null then array(select json_array_elements_text(tags)) end, replay_of
		from spec
	)
	insert into task_live (org_id, task_id, line, priority, turn, key, state, due_at, attempt, lease_token, leased_by, leased_at)
	select org_id, id, line, coalesce(priority, 1), turn, key,
		case when taken then 'running' when turn is not null then 'blocked' when due > statement_timestamp() then 'scheduled' else 'available' end,
		case when taken then statement_timestamp() + $32::bigint * interval '1 microsecond' else greatest(due, statement_timestamp()) end,
		taken::integer,
		case when taken then $30::uuid end, case when taken then $31::text end, case when taken then statement_timestamp() end
	from spec`

// Tasks with nothing but what each has, as work of one's own often is, are queued with a fifth less of PostgreSQL's time.

// hot
const enqueueBareSQL = `
	with spec as (
		select s.*
		from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::json[], $6::uuid[], $7::boolean[])
			as s (org_id, id, queue, kind, args, line, taken)
	), stored as (
		insert into task (org_id, id, queue, kind, args, created_at)
		select org_id, id, queue, kind, args, now()
		from spec
	)
	insert into task_live (org_id, task_id, line, state, due_at, attempt, lease_token, leased_by, leased_at)
	select org_id, id, line,
		case when taken then 'running' else 'available' end,
		case when taken then statement_timestamp() + $10::bigint * interval '1 microsecond' else statement_timestamp() end,
		taken::integer,
		case when taken then $8::uuid end, case when taken then $9::text end, case when taken then statement_timestamp() end
	from spec`

// EnqueueIn adds one statement to a batch of the transaction that wants the work done, and returns the tasks in the order of
// the specs. Those that nothing stands in the way of come leased to this node: after the commit, and only then, hand all of
// them to Dispatch. If they never get there they are handed back within seconds, or, should the node die, taken up when the lease runs
// out. Specs with a Name or a UniqueKey go to EnqueueTx. It does nothing for an empty list.
func (t *Tasks) EnqueueIn(b *pgx.Batch, specs []Spec) []Task {
	if len(specs) == 0 {
		return nil
	}
	list, insertion := t.prepare(specs)
	insertion.in(b)
	return list
}

// Enqueued is what became of a spec.
type Enqueued struct {
	Task
	// Deduplicated says that nothing was queued: ID is of the task that has the name or the unique key.
	Deduplicated bool
	Conflict     error // why that is not as the spec's OnConflict wants it; nil: it is
}

// EnqueueTx queues work in the transaction that wants it done, one Enqueued each, in order. After the commit, and only then, hand
// the result to DispatchEnqueued.
func (t *Tasks) EnqueueTx(ctx context.Context, tx postgres.Tx, specs []Spec) ([]Enqueued, error) {
	out := make([]Enqueued, len(specs))
	chosen, err := t.takeKeys(ctx, tx, specs, out)
	if err != nil || len(chosen) == 0 {
		return out, err
	}
	fresh := specs
	if len(chosen) < len(specs) {
		fresh = make([]Spec, len(chosen))
		for n, i := range chosen {
			fresh[n] = specs[i]
		}
	}
	list, insertion := t.prepare(fresh)
	if err := insertion.exec(ctx, tx); err != nil {
		return nil, fmt.Errorf("queue tasks: %w", err)
	}
	for n, i := range chosen {
		out[i].Task = list[n]
	}
	return out, nil
}

// Enqueue queues work in a transaction of its own and has it dispatched; what several callers ask for at the same time is
// committed together.
func (t *Tasks) Enqueue(ctx context.Context, specs []Spec) ([]Enqueued, error) {
	if len(specs) > enqueueTogetherMax {
		return t.enqueueList(ctx, specs)
	}
	return t.enqueue.Do(ctx, specs)
}

// enqueueTogetherMax is from which size on a list is committed by itself.
const enqueueTogetherMax = 32

// enqueueList commits one caller's list.
func (t *Tasks) enqueueList(ctx context.Context, specs []Spec) ([]Enqueued, error) {
	if slices.ContainsFunc(specs, func(s Spec) bool { return s.Name != "" || s.UniqueKey != "" }) {
		return t.enqueueKeyed(ctx, specs)
	}
	if len(specs) == 0 {
		return nil, nil
	}
	list, insertion := t.prepare(specs)
	// A single statement is a transaction of its own: there is nothing to begin or to commit.
	err := t.once(ctx, t.db.Alone, list[0].OrgID, list[0].ID, insertion.exec)
	if err != nil {
		return nil, err
	}
	t.Dispatch(list)
	out := make([]Enqueued, len(list))
	for i := range list {
		out[i].Task = list[i]
	}
	return out, nil
}

// enqueueKeyed is enqueueList where some take keys.
func (t *Tasks) enqueueKeyed(ctx context.Context, specs []Spec) ([]Enqueued, error) {
	specs = t.withIDs(specs)
	var out []Enqueued
	err := t.once(ctx, t.db.InTx, specs[0].OrgID, specs[0].ID, func(ctx context.Context, tx postgres.Tx) error {
		var err error
		out, err = t.EnqueueTx(ctx, tx, specs)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.DispatchEnqueued(out)
	return out, nil
}

// once has a transaction made that queues the given task among others, and not made again when only its commit's answer was lost.
func (t *Tasks) once(ctx context.Context, transact func(context.Context, func(context.Context, postgres.Tx) error) error, org, first ids.ID,
	body func(context.Context, postgres.Tx) error,
) error {
	runs := 0
	return transact(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if runs++; runs > 1 {
			var done bool
			if err := tx.QueryRow(ctx, isQueuedSQL, org, first).Scan(&done); err != nil || done {
				return err
			}
		}
		return body(ctx, tx)
	})
}

const isQueuedSQL = `select exists (select from task where org_id = $1 and id = $2)`

// withIDs gives the specs their ids before the transaction, which may run twice.
func (t *Tasks) withIDs(specs []Spec) []Spec {
	out := make([]Spec, len(specs))
	copy(out, specs)
	for i := range out {
		if out[i].ID.IsZero() {
			out[i].ID = t.source.New()
		}
	}
	return out
}

// enqueueBatch is the lane's.
func (t *Tasks) enqueueBatch(ctx context.Context, batch [][]Spec) ([]lane.Result[[]Enqueued], error) {
	var specs []Spec
	for _, list := range batch {
		specs = append(specs, list...)
	}
	all, err := t.enqueueList(ctx, specs)
	if err != nil {
		return nil, err
	}
	results := make([]lane.Result[[]Enqueued], len(batch))
	for i, list := range batch {
		results[i].Value, all = all[:len(list):len(list)], all[len(list):]
	}
	return results, nil
}

// DispatchEnqueued is Dispatch for what EnqueueTx has queued.
func (t *Tasks) DispatchEnqueued(list []Enqueued) {
	own := make([]Task, 0, len(list))
	for i := range list {
		if !list[i].Deduplicated {
			own = append(own, list[i].Task)
		}
	}
	t.Dispatch(own)
}

// prepare makes the tasks of specs, and the statement that queues them with its arguments.
func (t *Tasks) prepare(specs []Spec) ([]Task, insertion) {
	token := t.leaseForNew()
	since := monotonic()
	list := make([]Task, len(specs))
	var c columns
	c.grow(len(specs))
	lines := map[line]ids.ID{}
	var last line // mostly they are all of one
	var lastID ids.ID
	var figures *queueFigures
	room, leased := t.newcomers(), false
	for i := range specs {
		task := &list[i]
		*task = taskOf(&specs[i])
		if task.ID.IsZero() {
			task.ID = t.source.New()
		}
		if l := task.lineOf(); i == 0 || l != last {
			id, known := lines[l]
			if !known {
				id = l.id()
				lines[l] = id
			}
			if figures == nil || l.queue != last.queue {
				figures = t.metrics.ofQueue(l.queue)
			}
			last, lastID = l, id
		}
		task.line, task.since, task.figures = lastID, since, figures
		taken := token != nil && t.atOnce(&specs[i], task, &room)
		if taken {
			task.Lease, task.Attempt, leased = *token, 1, true
		}
		c.add(i, &specs[i], task, taken)
	}
	if leased {
		t.promised(*token, list)
	}
	return list, c.insertion(token, t.cfg.Node, t.cfg.Lease.Microseconds())
}

func taskOf(s *Spec) Task {
	task := Task{
		OrgID: s.OrgID, ID: s.ID, Queue: s.Queue, Destination: s.Destination, LimitKey: s.LimitKey, FairnessKey: s.FairnessKey,
		Kind: s.Kind, Args: s.Args, SubjectType: s.SubjectType, SubjectID: s.SubjectID, Units: max(s.Units, 1), weight: 1,
		IdempotencyKey: s.IdempotencyKey, TraceParent: s.TraceParent, timeout: s.Timeout, retry: s.Retry,
	}
	if task.Queue == "" {
		task.Queue = DefaultQueue
	}
	if len(task.Args) == 0 {
		task.Args = []byte("{}")
	}
	if s.FairnessWeight > 0 {
		task.weight = float64(s.FairnessWeight)
	}
	if s.OrderingKey != "" {
		task.turn = turnOf(task.OrgID, task.Queue, s.OrderingKey)
	}
	return task
}

// DefaultQueue is where work goes that names no queue.
const DefaultQueue = "default"

// leaseForNew makes the token for tasks taken as they are queued, or none when this node takes no tasks.
func (t *Tasks) leaseForNew() *ids.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.phase != phaseRunning {
		return nil
	}
	token := t.source.New()
	return &token
}

// RunEnqueue commits what Enqueue is asked for until ctx ends; a node that only queues needs it too. Call it once.
func (t *Tasks) RunEnqueue(ctx context.Context) error { return t.enqueue.Run(ctx) }
