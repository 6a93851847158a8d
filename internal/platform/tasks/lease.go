package tasks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// Why an attempt's context ended; context.Cause gives it to the handler.
var (
	errLeaseLost = errors.New("the task's lease is lost")
	errTimedOut  = errors.New("the attempt took longer than its policy allows")
	errStopping  = errors.New("the node is stopping")
	errCancelled = errors.New("the task was cancelled")
)

type leaseKey struct{ org, task, lease ids.ID }

func keyOf(t Task) leaseKey { return leaseKey{t.OrgID, t.ID, t.Lease} }

// held is a lease that this node keeps alive. All but task is guarded by Tasks.mu.
type held struct {
	task      Task
	load      *load     // of its line
	confirmed time.Time // when the statement that gave or last prolonged the lease was sent: it lasts at least from then
	waiting   bool      // for a worker
	lost      bool
	cancel    context.CancelCauseFunc // of the attempt, once it has begun
	span      trace.SpanContext       // of the attempt
	ended     ended                   // what Finish has written for it
	reporting bool                    // its handler has returned, and its end is to be recorded
}

// Dispatch has this node work on tasks that it holds the leases of; it never blocks. Call it after the commit of the
// transaction that queued them; tasks without a lease are passed over. What waits for a worker is kept alive; what
// this node cannot take goes back to be taken by any.
func (t *Tasks) Dispatch(list []Task) {
	t.metrics.noteCreated(list)
	t.takeUp(list)
}

// takeUp is Dispatch for tasks that were there before.
func (t *Tasks) takeUp(list []Task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	hurry := false
	for i := range list {
		task := list[i]
		if task.Lease.IsZero() {
			if t.phase == phaseRunning {
				hurry = true
				t.await(&task)
			}
			continue
		}
		if t.held[keyOf(task)] != nil {
			continue
		}
		switch {
		case !t.redeem(task.Lease):
			t.giveBack(task, 0)
		case time.Since(task.since) >= t.trusted():
			// Too late to be sure of the lease. Whoever finds it run out takes the task.
		case t.phase != phaseRunning || t.running+t.waiting >= (1+waitingPerWorker)*t.cfg.Workers:
			t.giveBack(task, 0)
		default:
			t.dispatch(task)
		}
	}
	if hurry {
		signal(t.hurry)
	}
}

// await has the poller find a task that this node has queued and did not take. The caller holds mu.
func (t *Tasks) await(task *Task) {
	if !task.turn.IsZero() {
		t.turns[task.turn] = struct{}{}
	} else if len(t.hints) < linesMax {
		t.hints[task.line] = hint{task.lineOf(), task.weight}
	}
}

// waitingPerWorker bounds how many leases a node holds without working on them.
const waitingPerWorker = 1

func (t *Tasks) dispatch(task Task) {
	h := &held{task: task, load: t.loads.take(task.line, task.weight, task.since), confirmed: task.since, waiting: true}
	t.held[keyOf(task)] = h
	t.ready = append(t.ready, h)
	t.waiting++
	t.wake()
}

// trusted is how long after its last confirmation a lease is acted on: less than it lasts, by what a look at the
// leases and a handler's reaction may take.
func (t *Tasks) trusted() time.Duration { return t.cfg.Lease * 9 / 10 }

// lose ends what runs under a lease that is lost, or may be. The caller holds mu.
func (t *Tasks) lose(h *held) {
	switch {
	case h.lost:
	case h.waiting:
		t.waiting--
		t.loads.release(h.load)
		delete(t.held, keyOf(h.task))
		h.task.unused()
	case h.cancel != nil:
		h.cancel(errLeaseLost)
	}
	h.lost = true
}

// watch loses the leases that were not confirmed in time, whatever the reason.
func (t *Tasks) watch(ctx context.Context) {
	every(ctx, t.cfg.Lease/30, func() {
		now := monotonic()
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, h := range t.held {
			// The monotonic clock stands still while a machine sleeps, the wall clock may be set: the larger age counts.
			age := max(now.Sub(h.confirmed), now.Round(0).Sub(h.confirmed.Round(0)))
			if age >= t.trusted() {
				t.lose(h)
			}
		}
	})
}

// monotonic reads the clock that measures leases. kit/clock's is cut to what PostgreSQL stores and tells no durations.
func monotonic() time.Time {
	return time.Now() //nolint:forbidigo // for the reason above
}

// every calls fn at an interval until ctx ends.
func every(ctx context.Context, interval time.Duration, fn func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			fn()
		}
	}
}

// A row that somebody has locked is passed over: its holder is finishing or nudging it, and everyone else's lease must not
// wait for that. A lease that is held comes back, once more if it was prolonged; one that is lost does not.

// hot
const heartbeatSQL = `
	with lease as (
		select h.n, h.org_id, h.task_id, h.token
		from unnest($1::uuid[], $2::uuid[], $3::uuid[]) with ordinality as h (org_id, task_id, token, n)
	), free as (
		select h.n, l.org_id, l.task_id
		from lease h
		join task_live l on l.org_id = any(array[h.org_id]) and l.task_id = any(array[h.task_id]) and l.lease_token = h.token
		order by h.org_id, h.task_id
		for update of l skip locked
	), kept as (
		update task_live l
		set due_at = statement_timestamp() + $4::bigint * interval '1 microsecond'
		from free f
		where l.org_id = any(array[f.org_id]) and l.task_id = any(array[f.task_id])
		returning f.n, l.cancelled
	)
	select n, true as kept, cancelled from kept
	union all
	select h.n, false, false
	from lease h
	join task_live l on l.org_id = any(array[h.org_id]) and l.task_id = any(array[h.task_id]) and l.lease_token = h.token`

// heartbeat prolongs the leases that were not confirmed lately, all in one statement.
func (t *Tasks) heartbeat(ctx context.Context) {
	every(ctx, t.cfg.Heartbeat/2, func() {
		if err := t.beat(ctx); err != nil && ctx.Err() == nil {
			t.log.Warn("leases could not be prolonged", "error", err)
		}
	})
}

func (t *Tasks) beat(ctx context.Context) error {
	sent := monotonic()
	list := t.aging(sent)
	if len(list) == 0 {
		return nil
	}
	n := len(list)
	orgs, taskIDs, leases := make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n)
	for i, h := range list {
		orgs[i], taskIDs[i], leases[i] = h.task.OrgID, h.task.ID, h.task.Lease
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Lease/3) // so that there is time for another try
	defer cancel()
	rows, err := t.db.Pool().Query(ctx, heartbeatSQL, orgs, taskIDs, leases, t.cfg.Lease.Microseconds())
	if err != nil {
		return fmt.Errorf("prolong leases: %w", err)
	}
	type answer struct {
		N         int64
		Kept      bool
		Cancelled bool
	}
	answers, err := pgx.CollectRows(rows, pgx.RowToStructByPos[answer])
	if err != nil {
		return fmt.Errorf("prolong leases: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	known := make([]bool, n)
	for _, a := range answers {
		known[a.N-1] = true
		if a.Kept {
			list[a.N-1].confirmed = sent
		}
		if h := list[a.N-1]; a.Cancelled && h.cancel != nil {
			h.cancel(errCancelled)
		}
	}
	for i, h := range list {
		// What is not found was taken over, or finished by its own handler a moment ago.
		if !known[i] && h.ended.outcome == "" && t.held[keyOf(h.task)] == h {
			t.lose(h)
		}
	}
	return nil
}

// aging lists the leases whose confirmation is no longer fresh. Most tasks end before that and are never prolonged.
func (t *Tasks) aging(now time.Time) []*held {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*held
	for _, h := range t.held {
		if now.Sub(h.confirmed) >= t.cfg.Heartbeat/2 {
			list = append(list, h)
		}
	}
	return list
}

type giveBack struct {
	task  Task
	pause time.Duration
}

// giveBack lets go of a lease whose task was not begun. The caller holds mu.
func (t *Tasks) giveBack(task Task, pause time.Duration) {
	task.unused()
	t.returned = append(t.returned, giveBack{task, pause})
	signal(t.giving)
}

func (t *Tasks) letGo(task Task, pause time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.giveBack(task, pause)
}

// As if the task had never been leased; no attempt was made, so its number is free again. What was cancelled meanwhile is staged once
// more, which ends it.
const giveBackSQL = `
	update task_live l
	set state = case when g.pause_us > 0 or l.cancelled then 'scheduled' else 'available' end,
		due_at = statement_timestamp() + g.pause_us * interval '1 microsecond', attempt = l.attempt - 1,
		lease_token = null, leased_by = null, leased_at = null
	from (
		select l.org_id, l.task_id, g.pause_us
		from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) as g (org_id, task_id, token, pause_us)
		join task_live l on l.org_id = any(array[g.org_id]) and l.task_id = any(array[g.task_id]) and l.lease_token = g.token
		order by g.org_id, g.task_id
		for update of l
	) g
	where l.org_id = any(array[g.org_id]) and l.task_id = any(array[g.task_id])`

// give hands leases back as they come in, until ctx ends.
func (t *Tasks) give(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.giving:
			t.giveReturned(ctx)
		}
	}
}

// giveReturned hands back what has gathered. When that fails the leases run out by themselves. The end of ctx does not cut it off: a node
// that stops would leave leased what nobody works on.
func (t *Tasks) giveReturned(ctx context.Context) {
	t.mu.Lock()
	list := t.returned
	t.returned = nil
	t.mu.Unlock()
	t.handBack(ctx, list)
}

func (t *Tasks) handBack(ctx context.Context, list []giveBack) {
	if len(list) == 0 {
		return
	}
	n := len(list)
	orgs, taskIDs, leases, pauses := make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n), make([]int64, n)
	for i, g := range list {
		orgs[i], taskIDs[i], leases[i], pauses[i] = g.task.OrgID, g.task.ID, g.task.Lease, g.pause.Microseconds()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if _, err := t.db.Pool().Exec(ctx, giveBackSQL, orgs, taskIDs, leases, pauses); err != nil {
		t.log.Warn("leases could not be handed back; they run out", "tasks", n, "error", err)
	}
}
