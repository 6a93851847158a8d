package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

const (
	replayStepMax   = 500              // letters of one step
	replayAhead     = 5 * time.Second  // how far ahead tasks are queued: so much is to be taken back at most
	replayLook      = time.Second      // between two steps
	replayLookLong  = 15 * time.Second // when nothing but retries is waited for
	judgedMin       = 20               // results from which on a share of failures tells something
	replayItemsMax  = 10_000           // of a replay that are open at a time
	replayPatience  = 20 * time.Second // for one step
	replayRetryWait = 2 * time.Second
	replayTimeout   = time.Minute
)

// carryOutReplay is the handler of kindReplay: one step an attempt. A step is a transaction that begins with the replay's lock
// and ends with the place to which it has come, so a step that two nodes take at once, or that is taken twice, is no harm.
func (t *Tasks) carryOutReplay(ctx context.Context, task Task) Verdict {
	var args struct {
		Replay string `json:"replay"`
	}
	if err := json.Unmarshal(task.Args, &args); err != nil {
		return Failed("arguments_invalid", err)
	}
	id, err := ids.Parse(ReplayPrefix, args.Replay)
	if err != nil {
		return Failed("arguments_invalid", err)
	}
	ctx, cancel := context.WithTimeout(ctx, replayPatience)
	defer cancel()
	var queued []Enqueued
	var pause time.Duration
	var done bool
	err = t.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		queued, pause, done = nil, 0, false
		r, err := oneReplay(ctx, tx, lockReplaySQL, task.OrgID, id)
		if err != nil {
			return err
		}
		if r.State != ReplayRunning {
			done = true
			return nil
		}
		queued, pause, done, err = t.stepReplay(ctx, tx, &r)
		return err
	})
	switch {
	case errors.Is(err, ErrReplayNotFound):
		return Failed("replay_not_found", err)
	case err != nil:
		return RetryAfter(replayRetryWait, "step_failed", err)
	case done:
		return Succeeded()
	}
	t.DispatchEnqueued(queued)
	return Snooze(pause, "in_progress")
}

// stepReplay learns what became of what was queued, and queues more, or ends the replay. pause is until the next step.
func (t *Tasks) stepReplay(ctx context.Context, tx postgres.Tx, r *Replay) (queued []Enqueued, pause time.Duration, done bool, err error) {
	known, err := t.judge(ctx, tx, r)
	if err != nil {
		return nil, 0, false, err
	}
	n, state := r.next(known)
	if state != "" {
		return nil, 0, true, t.endReplay(ctx, tx, r, state)
	}
	if n > 0 {
		if queued, err = t.replaySome(ctx, tx, r, n, known.now); err != nil {
			return nil, 0, false, err
		}
	}
	pause = replayLook
	if r.exhausted && len(queued) == 0 && known.open == known.failing {
		pause = replayLookLong
	}
	return queued, pause, false, saveReplay(ctx, tx, r)
}

// standing is what is known of a replay's tasks.
type standing struct {
	now  time.Time // by the database's clock
	open int       // whose end is not known
	// failing are those of the open ones of which an attempt has failed: they count as failures until they succeed.
	failing int
}

// next is the rule of a replay: how many letters are to be taken now, or how it has ended.
func (r *Replay) next(s standing) (n int, state string) {
	known, failed := r.Succeeded+r.Failed+s.failing, r.Failed+s.failing
	tooMany := failed*100 > r.StopAtFailurePercent*known
	waiting := s.open - s.failing
	canary := r.Canary > 0 && r.Replayed <= r.Canary
	switch {
	case r.exhausted && s.open == 0:
		return 0, ReplayCompleted
	case tooMany && r.StopAtFailurePercent < 100 && (known >= judgedMin || canary && waiting == 0 && r.Replayed == r.Canary || r.exhausted && waiting == 0):
		return 0, ReplayStopped
	case r.exhausted || s.open >= replayItemsMax:
		return 0, ""
	case canary && r.Replayed < r.Canary:
		n = r.Canary - r.Replayed
	case canary && waiting > 0:
		return 0, "" // for what becomes of the first
	default:
		n = replayStepMax
	}
	ahead := max(0, s.now.Add(replayAhead).Sub(later(r.nextAt, s.now)))
	return min(n, replayStepMax, replayItemsMax-s.open, int(ahead.Seconds()*float64(r.MaxDispatchesPerSecond))), ""
}

// What became of a task is in its last attempt once it has ended. Before that, a failed attempt is known by the time of the first.
// hot
const judgeSQL = `
	with open as (
		select i.number, i.task_id from task_replay_item i where i.replay_id = $2 and i.outcome is null order by i.number limit $3
	), state as (
		select o.number, l.task_id is not null as lives, l.first_failed_at is not null as failing, a.outcome
		from open o
		left join lateral (
			select w.task_id, w.first_failed_at from task_live w where w.org_id = $1 and w.task_id = o.task_id limit 1
		) l on true
		left join lateral (
			select h.outcome from task_attempt h where h.org_id = $1 and h.task_id = o.task_id order by h.number desc limit 1
		) a on l.task_id is null
	), settled as (
		update task_replay_item i
		set outcome = case when s.outcome = 'succeeded' then 'succeeded' else 'failed' end
		from state s
		where not s.lives and i.org_id = $1 and i.replay_id = $2 and i.number = s.number
		returning i.outcome
	)
	select statement_timestamp(), (select count(*) from state where lives), (select count(*) from state where lives and failing),
		(select count(*) from settled where outcome = 'succeeded'), (select count(*) from settled where outcome = 'failed')`

// judge settles what has ended.
func (t *Tasks) judge(ctx context.Context, tx postgres.Tx, r *Replay) (standing, error) {
	var s standing
	var succeeded, failed int
	if err := tx.QueryRow(ctx, judgeSQL, r.OrgID, r.ID, replayItemsMax).Scan(&s.now, &s.open, &s.failing, &succeeded, &failed); err != nil {
		return s, fmt.Errorf("see what became of a replay's tasks: %w", err)
	}
	r.Succeeded, r.Failed = r.Succeeded+succeeded, r.Failed+failed
	return s, nil
}

// hot
const takeLettersSQL = `select ` + letterColumns + ` from (
		select o.org_id, o.task_id, o.dead_at from task_dead_letter o
		where o.org_id = $8 and o.resolution = 'open' and (o.dead_at, o.task_id) > ($9, $10) and o.dead_at < $11
		order by o.dead_at, o.task_id
		limit $13
	) w
	join task_dead_letter d on d.org_id = w.org_id and d.task_id = w.task_id
	where d.resolved_at is null` + letterFilter + `
	order by w.dead_at, w.task_id
	limit $12
	for update of d`

// A step looks through a window as well: it ends at the letter with this number.
// hot
const stepEdgeSQL = `
	select d.dead_at, d.task_id from task_dead_letter d
	where d.org_id = $1 and d.resolution = 'open' and (d.dead_at, d.task_id) > ($2, $3) and d.dead_at < $4
	order by d.dead_at, d.task_id
	offset $5 - 1 limit 1`

const insertItemsSQL = `
	insert into task_replay_item (org_id, replay_id, number, letter_id, task_id)
	select $1, $2, $3 + w.n, w.letter_id, w.task_id
	from unnest($4::uuid[], $5::uuid[]) with ordinality as w (letter_id, task_id, n)`

// replaySome takes the next letters and queues their tasks, spread as the rate has it.
func (t *Tasks) replaySome(ctx context.Context, tx postgres.Tx, r *Replay, n int, now time.Time) ([]Enqueued, error) {
	afterAt, until := time.UnixMicro(r.after.Number), r.until
	var edge paging.Cursor
	var edgeAt time.Time
	err := tx.QueryRow(ctx, stepEdgeSQL, r.OrgID, afterAt, r.after.ID, r.until, letterWindow).Scan(&edgeAt, &edge.ID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return nil, fmt.Errorf("find the letters of a replay: %w", err)
	default:
		edge.Number, until = edgeAt.UnixMicro(), edgeAt.Add(time.Microsecond)
	}
	rows, err := tx.Query(ctx, takeLettersSQL, append(r.Filter.arguments(), r.OrgID, afterAt, r.after.ID, until, n, letterWindow+windowSlack)...)
	if err != nil {
		return nil, fmt.Errorf("take the letters of a replay: %w", err)
	}
	letters, err := pgx.CollectRows(rows, scanLetter)
	if err != nil {
		return nil, fmt.Errorf("take the letters of a replay: %w", err)
	}
	switch {
	case len(letters) == n:
		r.after = paging.Cursor{Number: letters[n-1].DeadAt.UnixMicro(), ID: letters[n-1].TaskID}
	case edge.IsZero():
		r.exhausted = true
	default:
		r.after = edge
	}
	specs, refusals, err := t.readmit(ctx, tx, letters, Again{NewKey: r.NewKey})
	if err != nil {
		return nil, err
	}
	if letters, specs = r.admit(letters, specs, refusals); len(letters) == 0 {
		return nil, nil
	}
	r.spread(specs, now)
	queued, err := t.replay(ctx, tx, r.OrgID, letters, specs, r.RequestedBy)
	if err != nil {
		return nil, err
	}
	letterIDs, taskIDs := make([]ids.ID, len(letters)), make([]ids.ID, len(letters))
	for i := range letters {
		letterIDs[i], taskIDs[i] = letters[i].TaskID, queued[i].ID
	}
	if _, err := tx.Exec(ctx, insertItemsSQL, r.OrgID, r.ID, r.Replayed, letterIDs, taskIDs); err != nil {
		return nil, fmt.Errorf("write the tasks of a replay: %w", err)
	}
	r.Replayed += len(letters)
	return queued, nil
}

// admit leaves out the letters whose tasks are refused, which stay open, and says why.
func (r *Replay) admit(letters []DeadLetter, specs []Spec, refusals []error) ([]DeadLetter, []Spec) {
	n := 0
	for i, refusal := range refusals {
		if refusal != nil {
			r.Refused, r.Refusal = r.Refused+1, fault.From(refusal).Detail
			continue
		}
		letters[n], specs[n] = letters[i], specs[i]
		n++
	}
	return letters[:n], specs[:n]
}

// spread gives the next tasks the times at which they are wanted.
func (r *Replay) spread(specs []Spec, now time.Time) {
	at, pace := later(r.nextAt, now), time.Second/time.Duration(r.MaxDispatchesPerSecond)
	for i := range specs {
		specs[i].At = at
		at = at.Add(pace)
	}
	r.nextAt = at
}

const saveReplaySQL = `
	update task_replay r
	set after_dead_at = $3, after_task_id = $4, exhausted = $5, next_at = $6, replayed = $7, succeeded = $8, failed = $9, taken_back = $10,
		state = $11, ended_at = case when $11 <> 'running' then statement_timestamp() end, updated_at = statement_timestamp(),
		refused = $12, refusal = nullif($13, '')
	where r.org_id = $1 and r.id = $2`

func saveReplay(ctx context.Context, tx postgres.Tx, r *Replay) error {
	_, err := tx.Exec(ctx, saveReplaySQL, r.OrgID, r.ID, time.UnixMicro(r.after.Number), r.after.ID, r.exhausted, r.nextAt, r.Replayed, r.Succeeded,
		r.Failed, r.TakenBack, r.State, r.Refused, r.Refusal)
	if err != nil {
		return fmt.Errorf("write the progress of a replay: %w", err)
	}
	return nil
}

// Tasks of which an attempt was begun are left alone: they are under way.
const untouchedSQL = `
	select l.task_id, i.letter_id, i.number
	from task_replay_item i
	join task_live l on l.org_id = $1 and l.task_id = i.task_id
	where i.replay_id = $2 and i.outcome is null and l.attempt = 0
	order by l.task_id
	limit $3
	for update of l`

const reopenLettersSQL = `
	update task_dead_letter d
	set resolution = 'open', resolved_at = null, resolved_by = null, replayed_as = null
	from unnest($2::uuid[]) as w (task_id)
	where d.org_id = $1 and d.task_id = w.task_id`

const takeBackSQL = `
	update task_replay_item i set outcome = 'taken_back'
	from unnest($3::integer[]) as w (number)
	where i.org_id = $1 and i.replay_id = $2 and i.number = w.number`

// endReplay ends a replay. Unless it is complete, what was not begun is taken back.
func (t *Tasks) endReplay(ctx context.Context, tx postgres.Tx, r *Replay, state string) error {
	r.State = state
	if state == ReplayCompleted {
		return saveReplay(ctx, tx, r)
	}
	rows, err := tx.Query(ctx, untouchedSQL, r.OrgID, r.ID, replayItemsMax)
	if err != nil {
		return fmt.Errorf("find what a replay can take back: %w", err)
	}
	var taskIDs, letterIDs []ids.ID
	var numbers []int32
	var taskID, letterID ids.ID
	var number int32
	_, err = pgx.ForEachRow(rows, []any{&taskID, &letterID, &number}, func() error {
		taskIDs, letterIDs, numbers = append(taskIDs, taskID), append(letterIDs, letterID), append(numbers, number)
		return nil
	})
	if err != nil {
		return fmt.Errorf("find what a replay can take back: %w", err)
	}
	if _, err := t.Cancel(ctx, tx, r.OrgID, taskIDs, "replay_"+state); err != nil {
		return err
	}
	var batch pgx.Batch
	batch.Queue(reopenLettersSQL, r.OrgID, letterIDs)
	batch.Queue(takeBackSQL, r.OrgID, r.ID, numbers)
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("take back what a replay has queued: %w", err)
	}
	r.TakenBack += len(numbers)
	return saveReplay(ctx, tx, r)
}
