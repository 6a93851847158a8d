package schedules

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// hot
const untilNextSQL = `
	select (extract(epoch from s.next_tick_at - clock_timestamp()) * 1000000)::bigint
	from schedule s where s.next_tick_at < 'infinity' order by s.next_tick_at limit 1`

// untilNext is how long from now, by the database's clock, a tick is due; LookMax if there is none.
func (s *Schedules) untilNext(ctx context.Context) (time.Duration, error) {
	rows, err := s.db.Pool().Query(ctx, untilNextSQL)
	if err != nil {
		return 0, fmt.Errorf("ask for the next tick: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, fmt.Errorf("ask for the next tick: %w", err)
	}
	s.metrics.noteNext(found)
	if len(found) == 0 {
		return s.cfg.LookMax, nil
	}
	return min(time.Duration(min(found[0], s.cfg.LookMax.Microseconds()))*time.Microsecond, s.cfg.LookMax), nil
}

// Who finds a row locked leaves it to who holds it.

// hot
const lockDueSQL = `
	select s.org_id, s.id, s.name, s.state, s.pause_reason, s.cron, s.time_zone, s.misfire_policy, s.misfire_max, s.misfire_grace_seconds,
		s.queue, s.destination, s.kind, s.args, s.http_request, s.terms, s.anchor_at, s.ticks_after, s.last_tick_at, s.next_tick_at, s.version,
		s.created_at, s.updated_at
	from schedule s
	where s.next_tick_at <= statement_timestamp()
	order by s.next_tick_at
	limit $1
	for update skip locked`

// fireDue makes the ticks that are due of schedules that no other node holds, as many as fit one transaction, and tells
// how many schedules that were.
func (s *Schedules) fireDue(ctx context.Context) (int, error) {
	var f *firing
	fired := 0
	err := s.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		list, now, err := readLocked(ctx, tx, lockDueSQL, s.cfg.SchedulesMax)
		if err != nil {
			return err
		}
		f, fired = &firing{Schedules: s, now: now}, len(list)
		return f.fire(ctx, tx, list)
	})
	if err != nil {
		return 0, fmt.Errorf("make the ticks that are due: %w", err)
	}
	s.tasks.Dispatch(f.made)
	f.count()
	return fired, nil
}

// readLocked reads the schedules that a statement locks, and the database's clock, asked with all locks held.
func readLocked(ctx context.Context, tx postgres.Tx, sql string, args ...any) (list []Schedule, now time.Time, err error) {
	var batch pgx.Batch
	batch.Queue(sql, args...).Query(func(rows pgx.Rows) error {
		list, err = pgx.CollectRows(rows, scan)
		return err
	})
	postgres.QueueNow(&batch, &now)
	err = tx.SendBatch(ctx, &batch).Close()
	return list, now, err
}

// firing is one transaction's ticks.
type firing struct {
	*Schedules
	now   time.Time
	after time.Duration // of the tasks; see Schedule.spec
	moves moves
	ticks ticks
	specs []tasks.Spec
	told  []events.Event
	halts []halt
	made  []tasks.Task

	misfires int
}

// halt is a schedule whose rule has no next tick for this node.
type halt struct {
	schedule Schedule
	reason   string
}

// moves are what becomes of schedules, as the statement takes it.
type moves struct {
	orgs, schedules            []ids.ID
	ticksAfter, lastTick, next []*time.Time
}

// ticks are those to be made, as the statement takes them.
type ticks struct {
	orgs, schedules, tasks []ids.ID
	at                     []*time.Time
	missed                 []bool
}

// A tick that is there already has its task.

// hot
const insertTicksSQL = `
	insert into schedule_tick (org_id, schedule_id, tick_at, period, task_id, missed, created_at)
	select t.org_id, t.schedule_id, t.tick_at, date_trunc('month', t.tick_at at time zone 'UTC')::date, t.task_id, t.missed,
		clock_timestamp()
	from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::uuid[], $5::boolean[]) as t (org_id, schedule_id, tick_at, task_id, missed)
	on conflict (org_id, schedule_id, tick_at, period) do nothing
	returning task_id`

// hot
const moveSQL = `
	update schedule s
	set ticks_after = m.ticks_after, last_tick_at = coalesce(m.last_tick_at, s.last_tick_at), next_tick_at = m.next_tick_at
	from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[])
		as m (org_id, id, ticks_after, last_tick_at, next_tick_at)
	where s.org_id = m.org_id and s.id = m.id`

// fire makes the ticks of schedules that the transaction holds.
func (f *firing) fire(ctx context.Context, tx postgres.Tx, list []Schedule) error {
	for i := range list {
		if len(f.ticks.at) >= f.cfg.TicksMax {
			break // the rest stays due
		}
		if err := f.settle(&list[i]); err != nil {
			return err
		}
	}
	made, err := f.write(ctx, tx)
	if err != nil {
		return err
	}
	var batch pgx.Batch
	specs := f.specs[:0:0]
	for _, spec := range f.specs {
		if made[spec.ID] {
			specs = append(specs, spec)
		}
	}
	f.made = f.Schedules.tasks.EnqueueIn(&batch, specs)
	f.events.Queue(&batch, f.told)
	if batch.Len() > 0 {
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return err
		}
	}
	for _, h := range f.halts {
		if _, err := f.pause(ctx, tx, h.schedule, h.reason, f.now); err != nil {
			return err
		}
	}
	return nil
}

// settle decides what becomes of one schedule's due ticks.
func (f *firing) settle(s *Schedule) error {
	rule, err := s.rule()
	if err != nil {
		// It was valid when it was written: this node's zone database lacks the zone.
		f.halts = append(f.halts, halt{*s, "The rule can no longer be read: " + err.Error() + "."})
		return nil
	}
	r := s.Misfire.settle(rule, s.ticksAfter, f.now, f.cfg.TicksMax-len(f.ticks.at))
	specs := make([]tasks.Spec, len(r.ticks))
	for i, t := range r.ticks {
		if specs[i], err = s.spec(f.source.New(), t.at, f.after); err != nil {
			f.halts = append(f.halts, halt{*s, "The HTTP request can no longer be read: " + err.Error() + "."})
			return nil
		}
	}
	for i := range r.ticks {
		t := &r.ticks[i]
		f.ticks.orgs, f.ticks.schedules = append(f.ticks.orgs, s.OrgID), append(f.ticks.schedules, s.ID)
		f.ticks.at, f.ticks.tasks = append(f.ticks.at, &t.at), append(f.ticks.tasks, specs[i].ID)
		f.ticks.missed = append(f.ticks.missed, t.missed)
		s.LastTickAt = t.at
	}
	f.specs = append(f.specs, specs...)
	s.ticksAfter, s.NextTickAt = r.after, r.next
	if !r.missedFrom.IsZero() {
		f.misfires++
		event, err := missed(s, r)
		if err != nil {
			return err
		}
		f.told = append(f.told, event)
	}
	if r.next.IsZero() {
		f.halts = append(f.halts, halt{*s, "The rule names no further time."})
		return nil
	}
	f.moves.orgs, f.moves.schedules = append(f.moves.orgs, s.OrgID), append(f.moves.schedules, s.ID)
	f.moves.ticksAfter, f.moves.next = append(f.moves.ticksAfter, &r.after), append(f.moves.next, &r.next)
	f.moves.lastTick = append(f.moves.lastTick, optional(s.LastTickAt))
	return nil
}

// write stores the ticks and moves the schedules on, and tells which tasks are to be queued.
func (f *firing) write(ctx context.Context, tx postgres.Tx) (map[ids.ID]bool, error) {
	if len(f.moves.orgs)+len(f.ticks.at) == 0 {
		return nil, nil
	}
	var batch pgx.Batch
	t, m := &f.ticks, &f.moves
	batch.Queue(insertTicksSQL, t.orgs, t.schedules, t.at, t.tasks, t.missed)
	batch.Queue(moveSQL, m.orgs, m.schedules, m.ticksAfter, m.lastTick, m.next)
	results := tx.SendBatch(ctx, &batch)
	defer func() { _ = results.Close() }()
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	made := make(map[ids.ID]bool, len(t.at))
	var id ids.ID
	if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { made[id] = true; return nil }); err != nil {
		return nil, err
	}
	return made, results.Close()
}

// count tells the metrics of a firing that was committed.
func (f *firing) count() {
	f.metrics.misfires.Add(float64(f.misfires))
	for i, at := range f.ticks.at {
		if f.ticks.missed[i] {
			f.metrics.madeUp.Inc()
			continue
		}
		f.metrics.inTime.Inc()
		f.metrics.late.Observe(f.now.Sub(*at).Seconds())
	}
}
