package tasks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// One token for all that is taken at once: a fence need only differ from the earlier ones of the same task. What is due goes
// through arrays because the planner takes those for short: of `limit $1` it expects a tenth of the table, and
// would walk all of it to join. The look goes back only so far ($5): under a long transaction the index keeps every task
// that was finished since, and a look at all of them costs ever more.

// hot
const claimSQL = `
	with due as (
		select org_id, task_id, attempt, lease_token, leased_by, leased_at
		from task_live
		where due_at <= statement_timestamp() and due_at > statement_timestamp() - $5::bigint * interval '1 microsecond'
		order by due_at
		limit $1
		for update skip locked
	), taken as (
		update task_live l
		set due_at = statement_timestamp() + $4::bigint * interval '1 microsecond', attempt = l.attempt + 1,
			interrupted = l.interrupted or d.lost, nudged = false,
			lease_token = $2, leased_by = $3, leased_at = statement_timestamp()
		from unnest(
			(select array_agg(org_id order by org_id, task_id) from due),
			(select array_agg(task_id order by org_id, task_id) from due),
			(select array_agg(lease_token is not null order by org_id, task_id) from due)
		) as d (org_id, task_id, lost)
		where l.org_id = d.org_id and l.task_id = d.task_id
		returning l.org_id, l.task_id, l.attempt, l.excused, l.interrupted, l.leased_at, d.lost
	), history as (
		insert into task_attempt (org_id, task_id, number, node, started_at, finished_at, outcome, next_due_at)
		select org_id, task_id, attempt, leased_by, leased_at, statement_timestamp(), 'lease_lost', statement_timestamp()
		from due
		where lease_token is not null
	)
	select k.org_id, k.id, k.queue, k.kind, k.args, k.subject_type, k.subject_id,
		l.attempt, l.excused, l.interrupted, l.leased_at, l.lost
	from taken l
	join task k on k.org_id = l.org_id and k.id = l.task_id`

// claimMax bounds one claim.
const claimMax = 256

// patience bounds a statement that nobody waits for.
const patience = 10 * time.Second

// looks is how far back the poller looks for due tasks, in terms of PollMax. Mostly a little way: what was due before has
// been seen by an earlier look. Now and then, and for as long as there is a backlog, all the way: a task may come from
// a transaction that took long.
type looks struct {
	last    time.Time // that found the database
	deep    time.Time // the last that went all the way
	backlog bool
}

const (
	looksBack   = 5  // times PollMax
	looksDeeply = 10 // times PollMax between two that go all the way
	allTheWay   = 100 * 365 * 24 * time.Hour
)

func (l *looks) back(now time.Time, pollMax time.Duration) time.Duration {
	if l.backlog || now.Sub(l.deep) >= looksDeeply*pollMax || now.Sub(l.last) >= looksBack*pollMax/2 {
		return allTheWay
	}
	return looksBack * pollMax
}

func (l *looks) done(at time.Time, back time.Duration, full bool) {
	l.last = at
	if back == allTheWay {
		l.deep, l.backlog = at, full
	}
}

// claim leases due tasks for the workers that are free and has them worked on. It tells whether there may be more.
func (t *Tasks) claim(ctx context.Context, l *looks) (bool, error) {
	limit := min(t.free(), claimMax)
	if limit <= 0 {
		return true, nil
	}
	token, since := t.source.New(), monotonic()
	// A claim that is cut off may have been made: its tasks would be nobody's until the lease ran out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	back := l.back(since, t.cfg.PollMax)
	rows, err := t.db.Pool().Query(ctx, claimSQL, limit, token, t.cfg.Node, t.cfg.Lease.Microseconds(), back.Microseconds())
	if err != nil {
		return false, fmt.Errorf("claim tasks: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Task, error) {
		task := Task{Lease: token, since: since}
		var lost bool
		err := row.Scan(&task.OrgID, &task.ID, &task.Queue, &task.Kind, &task.Args, &task.SubjectType, &task.SubjectID,
			&task.Attempt, &task.excused, &task.Interrupted, &task.StartedAt, &lost)
		if lost {
			t.metrics.attempts.WithLabelValues(task.Kind, OutcomeLeaseLost).Inc()
			t.log.Warn("a task's lease had run out; this node takes it over", "task", ids.Format("tsk", task.ID), "kind", task.Kind, "attempt", task.Attempt)
		}
		return task, err
	})
	if err != nil {
		return false, fmt.Errorf("claim tasks: %w", err)
	}
	l.done(since, back, len(list) == limit)
	t.Dispatch(list)
	return len(list) > 0, nil
}

// free is how many workers have nothing to do.
func (t *Tasks) free() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cfg.Workers - t.running - t.waiting
}

// poll looks for due tasks until ctx ends: often while there are some, rarely while there are none.
func (t *Tasks) poll(ctx context.Context) {
	pause, measured := t.cfg.PollMin, time.Time{}
	var looked looks
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.hurry:
			if pause > t.cfg.PollMin {
				pause = t.cfg.PollMin
				timer.Reset(pause)
			}
			continue
		case <-timer.C:
		}
		more, err := t.claim(ctx, &looked)
		switch {
		case err != nil:
			pause = t.cfg.PollMax
			t.log.Warn("due tasks could not be taken", "error", err)
		case more:
			pause = t.cfg.PollMin
		default:
			pause = min(2*pause, t.cfg.PollMax)
		}
		if time.Since(measured) >= measureEvery {
			measured = monotonic()
			t.measure(ctx)
		}
		timer.Reset(pause)
	}
}

const measureEvery = 10 * time.Second

const oldestDueSQL = `
	select extract(epoch from statement_timestamp() - due_at)::float8
	from task_live
	where due_at <= statement_timestamp()
	order by due_at
	limit 1`

// measure finds how long the oldest due task has waited for a node.
func (t *Tasks) measure(ctx context.Context) {
	var seconds float64
	err := t.db.Pool().QueryRow(ctx, oldestDueSQL).Scan(&seconds)
	if err == nil || errors.Is(err, pgx.ErrNoRows) {
		t.metrics.oldestDue.Set(seconds)
	}
}
