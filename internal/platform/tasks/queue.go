package tasks

import (
	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// The lease of a task that is queued and taken at once begins with the statement, not with the transaction, so that it
// cannot be older than the node thinks.

// hot
const queueSQL = `
	with spec as (
		select s.org_id, s.id, s.queue, s.kind, s.args, s.subject_type, s.subject_id,
			s.after_us * interval '1 microsecond' as after, $9::uuid is not null and s.after_us = 0 as taken
		from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::json[], $6::text[], $7::uuid[], $8::bigint[])
			as s (org_id, id, queue, kind, args, subject_type, subject_id, after_us)
	), stored as (
		insert into task (org_id, id, queue, kind, args, subject_type, subject_id, created_at)
		select org_id, id, queue, kind, args, subject_type, subject_id, now() from spec
	)
	insert into task_live (org_id, task_id, queue, due_at, attempt, lease_token, leased_by, leased_at)
	select org_id, id, queue,
		statement_timestamp() + case when taken then $11::bigint * interval '1 microsecond' else after end,
		taken::integer,
		case when taken then $9::uuid end, case when taken then $10::text end, case when taken then statement_timestamp() end
	from spec`

// Queue adds one statement to a batch of the transaction that wants the work done, and returns the tasks in the order of
// the specs. Those wanted at once come leased to this node: after the commit, and only then, hand all of them to
// Dispatch. If they never get there they are taken up when the lease runs out. It does nothing for an empty list.
func (t *Tasks) Queue(b *pgx.Batch, specs []Spec) []Task {
	if len(specs) == 0 {
		return nil
	}
	token := t.leaseForNew()
	n := len(specs)
	list := make([]Task, n)
	orgs, taskIDs, subjects := make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n)
	queues, kinds, subjectTypes := make([]string, n), make([]string, n), make([]string, n)
	args, afters := make([][]byte, n), make([]int64, n)
	since, startedAt := monotonic(), t.clock()
	for i, s := range specs {
		task := Task{
			OrgID: s.OrgID, ID: s.ID, Queue: s.Queue, Kind: s.Kind, Args: s.Args,
			SubjectType: s.SubjectType, SubjectID: s.SubjectID,
		}
		if task.ID.IsZero() {
			task.ID = t.source.New()
		}
		if task.Queue == "" {
			task.Queue = "default"
		}
		if len(task.Args) == 0 {
			task.Args = []byte("{}")
		}
		afters[i] = max(0, s.After.Microseconds())
		if token != nil && afters[i] == 0 {
			task.Lease, task.Attempt, task.StartedAt, task.since = *token, 1, startedAt, since
		}
		orgs[i], taskIDs[i], queues[i], kinds[i], args[i] = task.OrgID, task.ID, task.Queue, task.Kind, task.Args
		subjectTypes[i], subjects[i] = task.SubjectType, task.SubjectID
		list[i] = task
	}
	b.Queue(queueSQL, orgs, taskIDs, queues, kinds, args, subjectTypes, subjects, afters,
		token, t.cfg.Node, t.cfg.Lease.Microseconds())
	return list
}

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

// A task that is at work is not disturbed, but when its attempt ends with another one to come, that one comes at once.

// hot
const nudgeSQL = `
	update task_live l
	set due_at = case when l.lease_token is null then least(l.due_at, statement_timestamp()) else l.due_at end,
		nudged = l.lease_token is not null
	from (
		select l.org_id, l.task_id
		from unnest($1::uuid[], $2::uuid[]) as n (org_id, task_id)
		join task_live l on l.org_id = n.org_id and l.task_id = n.task_id
		order by l.org_id, l.task_id
		for update of l
	) n
	where l.org_id = n.org_id and l.task_id = n.task_id`

// Nudge adds one statement to a batch: waiting tasks become due now, because something happened that they wait for. An
// attempt that is under way is followed by the next without a pause. Tasks that are finished are passed over. The
// two lists go together.
func (t *Tasks) Nudge(b *pgx.Batch, orgIDs, taskIDs []ids.ID) {
	if len(taskIDs) == 0 {
		return
	}
	b.Queue(nudgeSQL, orgIDs, taskIDs)
	signal(t.hurry)
}

// signal sets a flag that somebody waits for.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
