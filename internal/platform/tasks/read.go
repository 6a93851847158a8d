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

// hot
const shownSQL = `select ` + shownColumns + shownTables + ` where k.org_id = $1 and k.id = $2`

// Get reads a task. Like every read here that takes a tx, it takes the pool as well.
func (t *Tasks) Get(ctx context.Context, tx postgres.Tx, org, id ids.ID) (Shown, error) {
	return readOne(ctx, tx, scanShown, "a task", ErrNotFound, shownSQL, org, id)
}

// readOne reads the row that a statement finds; missing, if it finds none.
func readOne[T any](ctx context.Context, tx postgres.Tx, scan pgx.RowToFunc[T], what string, missing error, sql string, args ...any) (T, error) {
	var one T
	rows, err := tx.Query(ctx, sql, args...)
	if err == nil {
		one, err = pgx.CollectExactlyOneRow(rows, scan)
	}
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return one, missing
	case err != nil:
		return one, fmt.Errorf("read %s: %w", what, err)
	}
	return one, nil
}

// hot
const attemptsSQL = `
	select h.number, h.node, h.started_at, h.finished_at, h.outcome, coalesce(h.error_code, ''), h.detail, coalesce(h.status, 0), h.exchange, h.next_due_at
	from task_attempt h
	where h.org_id = $1 and h.task_id = $2 and h.number < $3
	order by h.number desc
	limit $4`

// Attempts lists the attempts of a task that have ended, the latest first.
func (t *Tasks) Attempts(ctx context.Context, tx postgres.Tx, org, id ids.ID, after paging.Cursor, limit int) ([]Attempt, paging.Cursor, error) {
	before := after.Number
	if before == 0 {
		before = 1 << 31
	}
	rows, err := tx.Query(ctx, attemptsSQL, org, id, min(before, 1<<31-1), limit+1)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list attempts: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Attempt, error) {
		var a Attempt
		var next *time.Time
		err := row.Scan(&a.Number, &a.Node, &a.StartedAt, &a.FinishedAt, &a.Outcome, &a.ErrorCode, &a.Detail, &a.Status, &a.Exchange, &next)
		a.StartedAt, a.FinishedAt, a.NextDueAt = a.StartedAt.UTC(), a.FinishedAt.UTC(), momentOf(next)
		return a, err
	})
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list attempts: %w", err)
	}
	list, nextPage := paging.Cut(list, limit, func(last *Attempt) paging.Cursor { return paging.Cursor{Number: int64(last.Number)} })
	return list, nextPage, nil
}
