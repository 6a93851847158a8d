package tasks

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// RunNow makes a waiting task due now, and tells what it is afterwards. Pauses, holds and limits still count.
func (t *Tasks) RunNow(ctx context.Context, tx postgres.Tx, org, id ids.ID) (Shown, error) {
	var batch pgx.Batch
	t.Nudge(&batch, []ids.ID{org}, []ids.ID{id})
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return Shown{}, fmt.Errorf("have a task run now: %w", err)
	}
	s, err := t.Get(ctx, tx, org, id)
	switch {
	case err != nil:
		return s, err
	case !alive(s.State):
		return s, ErrEnded
	case s.State == StateBlocked:
		return s, ErrBlocked
	}
	return s, nil
}
