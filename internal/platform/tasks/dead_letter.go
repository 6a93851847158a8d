package tasks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// DeadLetter is a task that has failed for good, until somebody resolves it. It has all that a replay needs.
type DeadLetter struct {
	OrgID         ids.ID
	TaskID        ids.ID
	Queue         string
	Destination   string
	Kind          string
	SubjectType   string
	SubjectID     string
	Reason        string // one of the Dead constants
	ErrorCode     string
	Error         string
	Status        int // of HTTP; 0: none
	Fingerprint   string
	Attempts      int
	FirstFailedAt time.Time
	DeadAt        time.Time
	Resolution    string // one of the Letter constants
	ResolvedAt    time.Time
	ResolvedBy    string
	Note          string
	ReplayedAs    ids.ID

	spec []byte
}

// How a dead letter is resolved.
const (
	LetterOpen      = "open"
	LetterReplayed  = "replayed"
	LetterDiscarded = "discarded"
)

// LetterFilter narrows a list of dead letters; an empty field does not.
type LetterFilter struct {
	Resolution  string    `json:"-"` // LetterOpen
	Reason      string    `json:"reason,omitempty"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	Queue       string    `json:"queue,omitempty"`
	Destination string    `json:"destination,omitempty"`
	Kind        string    `json:"kind,omitempty"`
	SubjectType string    `json:"subject_type,omitempty"`
	SubjectID   string    `json:"subject_id,omitempty"`
	DeadFrom    time.Time `json:"dead_from,omitzero"` // inclusive
	DeadTo      time.Time `json:"dead_to,omitzero"`   // exclusive
}

func (f LetterFilter) arguments() []any {
	return []any{f.Reason, f.Fingerprint, f.Queue, f.Destination, f.Kind, f.SubjectType, f.SubjectID}
}

const (
	letterColumns = `d.org_id, d.task_id, d.queue, coalesce(d.destination, ''), d.kind, coalesce(d.subject_type, ''), coalesce(d.subject_id, ''),
		d.reason, coalesce(d.error_code, ''), coalesce(d.error, ''), coalesce(d.status, 0), d.fingerprint, d.attempts, d.first_failed_at,
		d.dead_at, d.resolution, d.resolved_at, coalesce(d.resolved_by, ''), coalesce(d.note, ''), d.replayed_as, d.spec`

	letterFilter = `
		and ($1::text = '' or d.reason = $1)
		and ($2::text = '' or d.fingerprint = $2)
		and ($3::text = '' or d.queue = $3)
		and ($4::text = '' or d.destination = $4)
		and ($5::text = '' or d.kind = $5)
		and ($6::text = '' or d.subject_type = $6)
		and ($7::text = '' or d.subject_id = $7)`
)

const letterSQL = `select ` + letterColumns + ` from task_dead_letter d where d.org_id = $1 and d.task_id = $2`

const lockLetterSQL = letterSQL + ` for update`

// DeadLetter reads the dead letter of a task.
func (t *Tasks) DeadLetter(ctx context.Context, tx postgres.Tx, org, taskID ids.ID) (DeadLetter, error) {
	return oneLetter(ctx, tx, letterSQL, org, taskID)
}

func oneLetter(ctx context.Context, tx postgres.Tx, sql string, org, taskID ids.ID) (DeadLetter, error) {
	return readOne(ctx, tx, scanLetter, "a dead letter", ErrLetterNotFound, sql, org, taskID)
}

func scanLetter(row pgx.CollectableRow) (DeadLetter, error) {
	var d DeadLetter
	var failed, resolved *time.Time
	var as *ids.ID
	err := row.Scan(&d.OrgID, &d.TaskID, &d.Queue, &d.Destination, &d.Kind, &d.SubjectType, &d.SubjectID, &d.Reason, &d.ErrorCode, &d.Error,
		&d.Status, &d.Fingerprint, &d.Attempts, &failed, &d.DeadAt, &d.Resolution, &resolved, &d.ResolvedBy, &d.Note, &as, &d.spec)
	d.FirstFailedAt, d.ResolvedAt, d.DeadAt = momentOf(failed), momentOf(resolved), d.DeadAt.UTC()
	if as != nil {
		d.ReplayedAs = *as
	}
	return d, err
}

// letterWindow is how many dead letters one page looks through; windowSlack, how many may come into a window between the statement
// that finds its end and the one that reads it.
const (
	letterWindow = 2000
	windowSlack  = 500
)

// A page looks through a window of the newest dead letters before the cursor: of the open ones by the time of their death, of one
// fingerprint's by the same, of the resolved ones by their tasks. The window of all open ones is read first, because with the filters
// beside it the planner takes another index for shorter, and walks all of that. An open letter is one that has no resolved_at: said
// that way, it does not tempt the planner to the indexes of the open ones.
const (
	// hot
	openEdgeSQL = `
	select d.dead_at, d.task_id from task_dead_letter d
	where d.org_id = $1 and d.resolution = 'open' and (d.dead_at, d.task_id) < ($2, $3)
	order by d.dead_at desc, d.task_id desc
	offset $4 - 1 limit 1`

	// hot
	listOpenSQL = `select ` + letterColumns + ` from (
		select o.org_id, o.task_id, o.dead_at from task_dead_letter o
		where o.org_id = $8 and o.resolution = 'open' and (o.dead_at, o.task_id) < ($9, $10) and (o.dead_at, o.task_id) >= ($11, $12)
		order by o.dead_at desc, o.task_id desc
		limit $14
	) w
	join task_dead_letter d on d.org_id = w.org_id and d.task_id = w.task_id
	where d.resolved_at is null` + letterFilter + `
	order by w.dead_at desc, w.task_id desc
	limit $13`

	// hot
	printEdgeSQL = `
	select d.dead_at, d.task_id from task_dead_letter d
	where d.org_id = $1 and d.resolution = 'open' and d.fingerprint >= $5 and (d.fingerprint, d.dead_at, d.task_id) < ($5, $2, $3)
	order by d.fingerprint desc, d.dead_at desc, d.task_id desc
	offset $4 - 1 limit 1`

	// hot
	listPrintSQL = `select ` + letterColumns + ` from task_dead_letter d
	where d.org_id = $8 and d.resolution = 'open' and (d.fingerprint, d.dead_at, d.task_id) < ($2, $9, $10)
		and (d.fingerprint, d.dead_at, d.task_id) >= ($2, $11, $12)` + letterFilter + `
	order by d.fingerprint desc, d.dead_at desc, d.task_id desc
	limit $13`

	resolvedEdgeSQL = `select d.task_id from task_dead_letter d where d.org_id = $1 and d.task_id < $2 order by d.task_id desc offset $3 - 1 limit 1`

	listResolvedSQL = `select ` + letterColumns + ` from task_dead_letter d
	where d.org_id = $8 and d.task_id < $9 and d.task_id >= $10 and d.dead_at >= $11 and d.dead_at < $12 and d.resolution = $13` + letterFilter + `
	order by d.task_id desc
	limit $14`
)

// DeadLetters lists dead letters, the latest first. Like List, a page may be short and still have a next one.
func (t *Tasks) DeadLetters(ctx context.Context, tx postgres.Tx, org ids.ID, f LetterFilter, after paging.Cursor, limit int) ([]DeadLetter, paging.Cursor, error) {
	list, next, err := listLetters(ctx, tx, org, f, after, limit)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list dead letters: %w", err)
	}
	return list, next, nil
}

func listLetters(ctx context.Context, tx postgres.Tx, org ids.ID, f LetterFilter, after paging.Cursor, limit int) ([]DeadLetter, paging.Cursor, error) {
	if f.DeadTo.IsZero() {
		f.DeadTo = farFuture()
	}
	if f.Resolution != "" && f.Resolution != LetterOpen {
		return listResolved(ctx, tx, org, f, after, limit)
	}
	before, beforeID := f.DeadTo, ids.ID{}
	if !after.IsZero() && time.UnixMicro(after.Number).Before(before) {
		before, beforeID = time.UnixMicro(after.Number).UTC(), after.ID
	}
	from, fromID, next := f.DeadFrom, ids.ID{}, paging.Cursor{}
	var end time.Time
	var endID ids.ID
	edge, statement, args := openEdgeSQL, listOpenSQL, []any{org, before, beforeID, letterWindow}
	if f.Fingerprint != "" {
		edge, statement, args = printEdgeSQL, listPrintSQL, append(args, f.Fingerprint)
	}
	arguments := func() []any {
		all := append(f.arguments(), org, before, beforeID, from, fromID, limit+1)
		if f.Fingerprint == "" {
			all = append(all, letterWindow+windowSlack)
		}
		return all
	}
	err := tx.QueryRow(ctx, edge, args...).Scan(&end, &endID)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // the window has all that there is
	case err != nil:
		return nil, next, err
	case end.After(from):
		from, fromID, next = end, endID, paging.Cursor{Number: end.UnixMicro(), ID: endID}
	}
	rows, err := tx.Query(ctx, statement, arguments()...)
	if err != nil {
		return nil, next, err
	}
	list, err := pgx.CollectRows(rows, scanLetter)
	if len(list) > limit {
		list = list[:limit]
		next = paging.Cursor{Number: list[limit-1].DeadAt.UnixMicro(), ID: list[limit-1].TaskID}
	}
	return list, next, err
}

func listResolved(ctx context.Context, tx postgres.Tx, org ids.ID, f LetterFilter, after paging.Cursor, limit int) ([]DeadLetter, paging.Cursor, error) {
	before, from := after.ID, ids.ID{}
	if before.IsZero() {
		before = ids.Before(farFuture())
	}
	err := tx.QueryRow(ctx, resolvedEdgeSQL, org, before, letterWindow).Scan(&from)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, paging.Cursor{}, err
	}
	next := paging.Cursor{ID: from}
	rows, err := tx.Query(ctx, listResolvedSQL, append(f.arguments(), org, before, from, f.DeadFrom, f.DeadTo, f.Resolution, limit+1)...)
	if err != nil {
		return nil, next, err
	}
	list, err := pgx.CollectRows(rows, scanLetter)
	if len(list) > limit {
		list = list[:limit]
		next = paging.Cursor{ID: list[limit-1].TaskID}
	}
	return list, next, err
}
