package ledger

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

const expireMax = 500

const findExpiredSQL = `
	select org_id, id from ledger_entry
	where state = 'pending' and expires_at <= now()
	order by expires_at limit $1
	for no key update skip locked`

// Expire releases the pending entries whose time has come, and tells how many. It is a sweep: any number of nodes may
// run it at once, each takes what no other holds.
func (l *Ledger) Expire(ctx context.Context) (int, error) {
	total := 0
	for {
		n := 0
		err := l.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
			rows, err := tx.Query(ctx, findExpiredSQL, expireMax)
			if err != nil {
				return fmt.Errorf("find expired entries: %w", err)
			}
			due, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ OrgID, ID ids.ID }])
			if err != nil {
				return fmt.Errorf("find expired entries: %w", err)
			}
			entries := make([]Entry, len(due))
			for i, d := range due {
				entries[i] = Entry{OrgID: d.OrgID, Action: actionExpire, Target: d.ID}
			}
			n = len(due)
			_, err = l.Post(ctx, tx, entries)
			return err
		})
		total += n
		if err != nil || n < expireMax {
			return total, err
		}
	}
}

// Sweep is Expire as a node's sweeps are called.
func (l *Ledger) Sweep(ctx context.Context) error {
	_, err := l.Expire(ctx)
	return err
}
