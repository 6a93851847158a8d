package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// AtEnd has f told, once the transaction has ended, whether it is known to be committed: of one whose COMMIT was not
// answered, as of one that was rolled back, f hears that it is not. It is false, and f is never called, for a Tx that is not
// of this package's making.
func AtEnd(tx Tx, f func(committed bool)) bool {
	own, ok := tx.(*transaction)
	if ok {
		own.atEnd = append(own.atEnd, f)
	}
	return ok
}

// The clock of the database, not the beginning of the transaction: that may be long ago.
const nowSQL = `select clock_timestamp()`

// AskNow has the time by the database's clock come with the transaction's next question, for whoever wants it of Now.
func AskNow(tx Tx) {
	if own, ok := tx.(*transaction); ok && own.now == nil {
		own.now = &time.Time{}
		own.later(askNow(own.now), asItIs)
	}
}

// Now is the time by the database's clock: what AskNow brought, else what it asks for.
func Now(ctx context.Context, tx Tx) (time.Time, error) {
	var now time.Time
	if own, ok := tx.(*transaction); ok && own.now != nil && !own.now.IsZero() {
		return *own.now, nil
	}
	err := tx.SendBatch(ctx, askNow(&now)).Close()
	return now, err
}

func askNow(now *time.Time) *pgx.Batch {
	batch := &pgx.Batch{}
	QueueNow(batch, now)
	return batch
}

// QueueNow reads the database's clock where the batch has got to: after the statements that lock what the time is written to.
func QueueNow(batch *pgx.Batch, now *time.Time) {
	batch.Queue(nowSQL).QueryRow(func(row pgx.Row) error {
		err := row.Scan(now)
		*now = now.UTC()
		return err
	})
}
