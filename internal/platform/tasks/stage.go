package tasks

import (
	"context"
	"fmt"
	"time"
)

// What is due becomes available: what was scheduled or is to be tried again, and what a dead node has left behind. The look
// goes back only so far ($2): under a long transaction the index keeps every task that was staged since, and a look at all of
// them costs ever more. For the same reason it looks ahead only to the next look ($3), not past every lease that was given and has
// come back since. What is due goes through arrays because the planner takes those for short. What was cancelled while it ran ends
// here, when the node that should have ended it has died or has handed it back.

// hot
const stageSQL = `
	with due as (
		select org_id, task_id, attempt, lease_token, leased_by, leased_at, cancelled, key
		from task_live
		where state in ('scheduled', 'running', 'retryable')
			and due_at <= statement_timestamp() and due_at > statement_timestamp() - $2::bigint * interval '1 microsecond'
		order by due_at
		limit $1
		for update skip locked
	), staged as (
		update task_live l
		set state = 'available', due_at = statement_timestamp(), interrupted = l.interrupted or d.lost, nudged = false,
			lost = least(l.lost + d.lost::integer, 30000), lease_token = null, leased_by = null, leased_at = null
		from unnest(
			(select array_agg(org_id order by org_id, task_id) from due where not cancelled),
			(select array_agg(task_id order by org_id, task_id) from due where not cancelled),
			(select array_agg(lease_token is not null order by org_id, task_id) from due where not cancelled)
		) as d (org_id, task_id, lost)
		where l.org_id = any(array[d.org_id]) and l.task_id = any(array[d.task_id])
	), gone as (
		delete from task_live l
		using unnest(
			(select array_agg(org_id order by org_id, task_id) from due where cancelled),
			(select array_agg(task_id order by org_id, task_id) from due where cancelled)
		) as d (org_id, task_id)
		where l.org_id = any(array[d.org_id]) and l.task_id = any(array[d.task_id])
	), released as (
		update task_key k
		set expires_at = coalesce(k.expires_at, statement_timestamp() + k.keep_us * interval '1 microsecond')
		from unnest(
			(select array_agg(org_id order by org_id, key) from due where cancelled and key is not null),
			(select array_agg(key order by org_id, key) from due where cancelled and key is not null),
			(select array_agg(task_id order by org_id, key) from due where cancelled and key is not null)
		) as d (org_id, key, task_id)
		where k.org_id = any(array[d.org_id]) and k.key = any(array[d.key]) and k.task_id = d.task_id
	), history as (
		insert into task_attempt (org_id, task_id, number, node, started_at, finished_at, outcome, error_code, next_due_at)
		select org_id, task_id, attempt, leased_by, leased_at, statement_timestamp(), 'lease_lost', null, statement_timestamp()
		from due
		where lease_token is not null
		union all
		select org_id, task_id, attempt + 1, $4, statement_timestamp(), statement_timestamp(), 'cancelled', 'cancelled_on_request', null
		from due
		where cancelled
	)
	select count(*), count(lease_token),
		(select extract(epoch from n.due_at - statement_timestamp())::float8
		from task_live n
		where n.state in ('scheduled', 'running', 'retryable') and n.due_at > statement_timestamp()
			and n.due_at <= statement_timestamp() + $3::bigint * interval '1 microsecond'
		order by n.due_at limit 1)
	from due`

// stageMax bounds one staging.
const stageMax = 1000

// stage makes available what is due, and tells how long there is nothing more to stage.
func (t *Tasks) stage(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	began := monotonic()
	back := t.staged.back(began, t.cfg.PollMax)
	var staged, lost int
	var next *float64
	if err := t.db.Pool().QueryRow(ctx, stageSQL, stageMax, back.Microseconds(), t.cfg.PollMax.Microseconds(), t.cfg.Node).Scan(&staged, &lost, &next); err != nil {
		return 0, fmt.Errorf("stage due tasks: %w", err)
	}
	t.staged.done(began, back, monotonic().Sub(began), t.cfg.PollMax, staged == stageMax)
	if lost > 0 {
		t.metrics.leasesLost.Add(float64(lost))
		t.log.Warn("leases had run out; their tasks will be taken over", "tasks", lost)
	}
	if staged > 0 {
		t.lookDue = true
	}
	switch {
	case staged == stageMax:
		return 0, nil
	case next == nil:
		return t.cfg.PollMax, nil
	default:
		return min(t.cfg.PollMax, time.Duration(*next*float64(time.Second))), nil
	}
}

// looks is how far back a look for tasks goes. Mostly a little way: what was there before has been seen by an earlier look. Now
// and then, and for as long as there is a backlog, all the way: a task may come from a transaction that took long.
type looks struct {
	last    time.Time // that found the database
	deepAt  time.Time // when one is to go all the way
	backlog bool
}

const (
	looksBack   = 5  // times PollMax
	looksDeeply = 10 // times PollMax between two that go all the way
	allTheWay   = 100 * 365 * 24 * time.Hour
)

func (l *looks) back(now time.Time, pollMax time.Duration) time.Duration {
	if l.backlog || !now.Before(l.deepAt) || now.Sub(l.last) >= looksBack*pollMax/2 {
		return allTheWay
	}
	return looksBack * pollMax
}

// done notes a look that took so long. One that went all the way and was dear, since a long transaction keeps what was staged in the
// index, is rare.
func (l *looks) done(at time.Time, back, long, pollMax time.Duration, full bool) {
	l.last = at
	if back == allTheWay {
		l.deepAt, l.backlog = at.Add(max(looksDeeply*pollMax, dearTimes*long)), full
	}
}
