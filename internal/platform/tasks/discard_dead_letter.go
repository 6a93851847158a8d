package tasks

import (
	"context"
	"fmt"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// noteBytesMax bounds what a person may say about a dead letter.
const noteBytesMax = 2000

const resolveLettersSQL = `
	update task_dead_letter d
	set resolution = $2, resolved_at = statement_timestamp(), resolved_by = nullif($3, ''), note = nullif($4, ''), replayed_as = w.replayed_as
	from unnest($5::uuid[], $6::uuid[]) as w (task_id, replayed_as)
	where d.org_id = $1 and d.task_id = w.task_id`

// DiscardDeadLetter resolves a dead letter: nothing more will be done about it.
func (t *Tasks) DiscardDeadLetter(ctx context.Context, tx postgres.Tx, org, taskID ids.ID, by, note string) (DeadLetter, error) {
	d, err := openLetter(ctx, tx, org, taskID)
	if err != nil {
		return DeadLetter{}, err
	}
	var p problems
	p.short("note", note, noteBytesMax)
	if err := p.as(ErrInvalid); err != nil {
		return DeadLetter{}, err
	}
	if _, err := tx.Exec(ctx, resolveLettersSQL, org, LetterDiscarded, by, note, []ids.ID{d.TaskID}, []*ids.ID{nil}); err != nil {
		return DeadLetter{}, fmt.Errorf("discard a dead letter: %w", err)
	}
	return t.DeadLetter(ctx, tx, org, taskID)
}

// openLetter locks a dead letter that nobody has resolved yet.
func openLetter(ctx context.Context, tx postgres.Tx, org, taskID ids.ID) (DeadLetter, error) {
	d, err := oneLetter(ctx, tx, lockLetterSQL, org, taskID)
	if err == nil && d.Resolution != LetterOpen {
		return d, ErrLetterResolved
	}
	return d, err
}
