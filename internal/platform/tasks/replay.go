package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// ReplayPrefix is that of replay ids as people see them.
const ReplayPrefix = "rpl"

// Replay is many dead letters that are replayed one after the other.
type Replay struct {
	OrgID  ids.ID
	ID     ids.ID
	Filter LetterFilter // of the open letters
	NewKey bool
	// MaxDispatchesPerSecond is how many tasks become due each second, so that what else there is to do is not held up.
	MaxDispatchesPerSecond int
	// Canary is how many come first: the others follow when it is known what became of those, and few enough failed. 0: none.
	Canary int
	// StopAtFailurePercent is the share of failures above which it stops, and takes back what was not begun. 100: it does not.
	StopAtFailurePercent int
	RequestedBy          string

	State     string // one of the Replay constants
	Replayed  int    // queued
	Succeeded int
	Failed    int    // an attempt has failed, or the task for good
	TakenBack int    // cancelled before they were begun: their letters are open again
	Refused   int    // could not be queued, as things were then: their letters stay open
	Refusal   string // why the last of them was; empty: none
	CreatedAt time.Time
	UpdatedAt time.Time
	EndedAt   time.Time

	after     paging.Cursor // the last letter that was taken
	until     time.Time
	nextAt    time.Time
	exhausted bool
}

// States of a replay.
const (
	ReplayRunning   = "running"
	ReplayCompleted = "completed"
	ReplayStopped   = "stopped"   // too many failed
	ReplayCancelled = "cancelled" // somebody wanted it no more
)

// kindReplay is the kind of tasks that carry out replays.
const kindReplay = "tasks.replay"

// The defaults and bounds of a replay.
const (
	replayRateDefault = 10
	replayRateMost    = 10_000
	canaryMost        = 1000
	sampleSize        = 10
	previewMax        = 10_000
)

// Preview is what a replay would do.
type Preview struct {
	Count  int
	More   bool // there are more than Count
	Sample []DeadLetter
}

// PreviewReplay tells which letters a replay would take, and writes nothing.
func (t *Tasks) PreviewReplay(ctx context.Context, tx postgres.Tx, org ids.ID, f LetterFilter) (Preview, error) {
	var p Preview
	var after paging.Cursor
	f.Resolution = LetterOpen
	for {
		list, next, err := listLetters(ctx, tx, org, f, after, letterWindow)
		if err != nil {
			return p, fmt.Errorf("preview a replay: %w", err)
		}
		p.Count += len(list)
		p.Sample = append(p.Sample, list[:min(len(list), sampleSize-len(p.Sample))]...)
		switch after = next; {
		case next.IsZero():
			return p, nil
		case p.Count >= previewMax:
			p.Count, p.More = previewMax, true
			return p, nil
		}
	}
}

const insertReplaySQL = `
	insert into task_replay (org_id, id, task_id, filter, new_key, max_dispatches_per_second, canary, stop_at_failure_percent, requested_by,
		after_dead_at, after_task_id, until_dead_at, next_at, created_at, updated_at)
	values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '00000000-0000-0000-0000-000000000000', least($11, statement_timestamp()),
		statement_timestamp(), statement_timestamp(), statement_timestamp())`

// BeginReplay begins a replay of the letters that there are now. After the commit, and only then, hand the result to Dispatch.
func (t *Tasks) BeginReplay(ctx context.Context, tx postgres.Tx, r Replay) (Replay, []Task, error) {
	if r.MaxDispatchesPerSecond == 0 {
		r.MaxDispatchesPerSecond = replayRateDefault
	}
	var p problems
	p.between("max_dispatches_per_second", int64(r.MaxDispatchesPerSecond), 1, replayRateMost)
	p.between("canary", int64(r.Canary), 0, canaryMost)
	p.between("stop_at_failure_percent", int64(r.StopAtFailurePercent), 0, 100)
	if err := p.as(ErrReplayInvalid); err != nil {
		return Replay{}, nil, err
	}
	filter, err := json.Marshal(r.Filter)
	if err != nil {
		return Replay{}, nil, fmt.Errorf("begin a replay: %w", err)
	}
	deadTo := r.Filter.DeadTo
	if deadTo.IsZero() {
		deadTo = farFuture()
	}
	r.ID = t.source.New()
	args, _ := json.Marshal(map[string]string{"replay": ids.Format(ReplayPrefix, r.ID)}) // a map of strings always can be
	work := Spec{OrgID: r.OrgID, ID: t.source.New(), Queue: "replays", Kind: kindReplay, Args: args, SubjectType: "task_replay", SubjectID: ids.Format(ReplayPrefix, r.ID)}
	var batch pgx.Batch
	batch.Queue(insertReplaySQL, r.OrgID, r.ID, work.ID, filter, r.NewKey, r.MaxDispatchesPerSecond, r.Canary, r.StopAtFailurePercent,
		r.RequestedBy, r.Filter.DeadFrom, deadTo)
	list := t.EnqueueIn(&batch, []Spec{work})
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return Replay{}, nil, fmt.Errorf("begin a replay: %w", err)
	}
	made, err := t.Replay(ctx, tx, r.OrgID, r.ID)
	return made, list, err
}

const (
	replayColumns = `r.org_id, r.id, r.filter, r.new_key, r.max_dispatches_per_second, r.canary, r.stop_at_failure_percent, r.requested_by, r.state,
		r.replayed, r.succeeded, r.failed, r.taken_back, r.created_at, r.updated_at, r.ended_at, r.after_dead_at, r.after_task_id,
		r.until_dead_at, r.next_at, r.exhausted, r.refused, coalesce(r.refusal, '')`

	replaySQL = `select ` + replayColumns + ` from task_replay r where r.org_id = $1 and r.id = $2`

	lockReplaySQL = replaySQL + ` for update`

	// hot
	listReplaysSQL = `select ` + replayColumns + ` from task_replay r where r.org_id = $1 and r.id < $2 order by r.id desc limit $3`
)

// Replay reads a replay with its progress.
func (t *Tasks) Replay(ctx context.Context, tx postgres.Tx, org, id ids.ID) (Replay, error) {
	return oneReplay(ctx, tx, replaySQL, org, id)
}

func oneReplay(ctx context.Context, tx postgres.Tx, sql string, org, id ids.ID) (Replay, error) {
	return readOne(ctx, tx, scanReplay, "a replay", ErrReplayNotFound, sql, org, id)
}

// Replays lists replays, the latest first.
func (t *Tasks) Replays(ctx context.Context, tx postgres.Tx, org ids.ID, after paging.Cursor, limit int) ([]Replay, paging.Cursor, error) {
	before := after.ID
	if before.IsZero() {
		before = ids.Before(farFuture())
	}
	rows, err := tx.Query(ctx, listReplaysSQL, org, before, limit+1)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list replays: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanReplay)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list replays: %w", err)
	}
	list, next := paging.Cut(list, limit, func(last *Replay) paging.Cursor { return paging.Cursor{ID: last.ID} })
	return list, next, nil
}

func scanReplay(row pgx.CollectableRow) (Replay, error) {
	var r Replay
	var filter []byte
	var ended *time.Time
	var afterAt time.Time
	err := row.Scan(&r.OrgID, &r.ID, &filter, &r.NewKey, &r.MaxDispatchesPerSecond, &r.Canary, &r.StopAtFailurePercent,
		&r.RequestedBy, &r.State, &r.Replayed, &r.Succeeded, &r.Failed, &r.TakenBack, &r.CreatedAt, &r.UpdatedAt, &ended, &afterAt, &r.after.ID,
		&r.until, &r.nextAt, &r.exhausted, &r.Refused, &r.Refusal)
	if err != nil {
		return r, err
	}
	r.after.Number = afterAt.UnixMicro()
	r.CreatedAt, r.UpdatedAt, r.EndedAt = r.CreatedAt.UTC(), r.UpdatedAt.UTC(), momentOf(ended)
	if err := json.Unmarshal(filter, &r.Filter); err != nil {
		return r, fmt.Errorf("read the filter of a replay: %w", err)
	}
	return r, nil
}

// CancelReplay ends a replay: what it has queued and was not begun is taken back, and its letters are open again.
func (t *Tasks) CancelReplay(ctx context.Context, tx postgres.Tx, org, id ids.ID) (Replay, error) {
	r, err := oneReplay(ctx, tx, lockReplaySQL, org, id)
	switch {
	case err != nil:
		return Replay{}, err
	case r.State != ReplayRunning:
		return r, ErrReplayEnded
	}
	if err := t.endReplay(ctx, tx, &r, ReplayCancelled); err != nil {
		return Replay{}, err
	}
	return t.Replay(ctx, tx, org, id)
}
