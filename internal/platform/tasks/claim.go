package tasks

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// Of each line as many as it may begin, the most urgent and oldest first. One token for all that is taken at once: a fence need
// only differ from the earlier ones of the same task. The look goes back only so far (after1 to after4, by priority; see
// reach). What is taken is found again by its place, where the lock found it.

// hot
const claimSQL = `
	with taken as (
		update task_live l
		set state = 'running', due_at = statement_timestamp() + $9::bigint * interval '1 microsecond', attempt = l.attempt + 1,
			nudged = false, lease_token = $7, leased_by = $8, leased_at = statement_timestamp(), claimed_from = l.due_at
		where l.ctid = any (array(
			select p.place
			from unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
				as w (line, n, after1, after2, after3, after4)
			cross join lateral (
				select c.place
				from (values (1::smallint, w.after1), (2::smallint, w.after2), (3::smallint, w.after3), (4::smallint, w.after4)) as p (priority, after)
				cross join lateral (
					select l.ctid as place
					from task_live l
					where l.line = w.line and l.state = 'available' and l.priority = p.priority and l.due_at >= coalesce(p.after, '-infinity')
					order by l.due_at
					limit w.n
					for update skip locked
				) c
				limit w.n
			) p
		))
		returning l.org_id, l.task_id, l.line, l.priority, l.claimed_from, l.turn, l.attempt, l.excused, l.rate_limited, l.lost,
			l.interrupted, extract(epoch from statement_timestamp() - l.first_failed_at) as failing
	)
	select k.org_id, k.id, k.queue, coalesce(k.destination, ''), coalesce(k.limit_key, ''), coalesce(k.fairness_key, ''), k.units, k.kind, k.args,
		coalesce(k.subject_type, ''), coalesce(k.subject_id, ''), coalesce(k.idempotency_key, ''), coalesce(k.traceparent, ''),
		coalesce(k.timeout_seconds, 0), k.retry_config, k.expires_at <= statement_timestamp(),
		l.line, l.priority, l.claimed_from, l.turn, l.attempt, l.excused, l.rate_limited, l.lost, l.interrupted,
		coalesce(l.failing, 0)::float8, extract(epoch from statement_timestamp() - l.claimed_from)::float8
	from taken l
	join task k on k.org_id = l.org_id and k.id = l.task_id`

// claimMax bounds one claim.
const claimMax = 1000

// patience bounds a statement that nobody waits for.
const patience = 10 * time.Second

// share is what may be begun of a line.
type share struct {
	q      *queueing
	n      int
	grants []*grant
	stride stride // of its claim
}

// claim leases tasks of lines and has them worked on. It tells how many, and whether some line may have more.
func (t *Tasks) claim(ctx context.Context, shares []share) (claimed int, more bool, err error) {
	if len(shares) == 0 {
		t.noteBacklog()
		return 0, false, nil
	}
	token, since := t.source.New(), monotonic()
	list, places, err := t.lease(ctx, shares, token, since)
	long := monotonic().Sub(since)
	if err != nil {
		for i := range shares {
			unused(shares[i].grants)
		}
		return 0, false, err
	}
	found := map[ids.ID][]int{}
	for i := range list {
		found[list[i].line] = append(found[list[i].line], i)
	}
	for i := range shares {
		s := &shares[i]
		taken := found[s.q.id]
		var last [4]time.Time
		for n, at := range taken {
			if n < len(s.grants) {
				list[at].grant = s.grants[n]
			}
			list[at].weight, list[at].figures = s.q.weight, s.q.counts
			p := &places[at]
			last[p.priority-1] = later(last[p.priority-1], p.dueAt)
		}
		unused(s.grants[min(len(taken), len(s.grants)):])
		s.q.full = len(taken) == s.n
		s.q.reach.took(s.stride, since, long, last, s.q.full)
		s.q.hungry = s.q.full
		more = more || s.q.hungry
		if len(taken) > 0 {
			s.q.found = since
		}
	}
	t.noteBacklog()
	t.takeUp(t.isolate(ctx, list))
	return len(list), more, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// place is where in its line a task was.
type place struct {
	priority int
	dueAt    time.Time
}

func (t *Tasks) lease(ctx context.Context, shares []share, token ids.ID, since time.Time) ([]Task, []place, error) {
	n := len(shares)
	lines, counts := make([]ids.ID, n), make([]int64, n)
	var after [4][]*time.Time
	for p := range after {
		after[p] = make([]*time.Time, n)
	}
	for i := range shares {
		q := shares[i].q
		lines[i], counts[i] = q.id, int64(shares[i].n)
		shares[i].stride = q.reach.next(since)
		for p := range after {
			after[p][i] = q.reach.from(shares[i].stride, p, q.full)
		}
	}
	// A claim that is cut off may have been made: its tasks would be nobody's until the lease ran out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	rows, err := t.db.Pool().Query(ctx, claimSQL, lines, counts, after[0], after[1], after[2], after[3],
		token, t.cfg.Node, t.cfg.Lease.Microseconds())
	if err != nil {
		return nil, nil, fmt.Errorf("claim tasks: %w", err)
	}
	var places []place
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Task, error) {
		task := Task{Lease: token, since: since}
		var p place
		var timeout int64
		var failing, waited float64
		var expired *bool
		var turn *ids.ID
		err := row.Scan(&task.OrgID, &task.ID, &task.Queue, &task.Destination, &task.LimitKey, &task.FairnessKey, &task.Units, &task.Kind, &task.Args,
			&task.SubjectType, &task.SubjectID, &task.IdempotencyKey, &task.TraceParent, &timeout, &task.retry, &expired,
			&task.line, &p.priority, &p.dueAt, &turn, &task.Attempt, &task.excused, &task.rateLimited, &task.lost,
			&task.Interrupted, &failing, &waited)
		task.timeout, task.wantedAt = time.Duration(timeout)*time.Second, p.dueAt
		task.sinceFailure = time.Duration(failing * float64(time.Second))
		task.waited = time.Duration(max(waited, 0) * float64(time.Second))
		task.expired = expired != nil && *expired
		if turn != nil {
			task.turn = *turn
		}
		places = append(places, p)
		return task, err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("claim tasks: %w", err)
	}
	return list, places, nil
}

// noteBacklog says for which lines tasks wait: what is queued for those must not overtake them.
func (t *Tasks) noteBacklog() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.backlog)
	for id, q := range t.lines {
		if q.hungry {
			t.backlog[id] = struct{}{}
		}
	}
}

// free is how many workers have nothing to do.
func (t *Tasks) free() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cfg.Workers - t.running - t.waiting
}
