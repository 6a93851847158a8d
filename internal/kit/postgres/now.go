package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// The clock of the database, not the beginning of the transaction: that may be long ago.
const nowSQL = `select clock_timestamp()`

// AskNow has the time by the database's clock come with the transaction's next question, for whoever wants it of Now.
func AskNow(tx Tx) {
	if own, ok := tx.(*transaction); ok && own.now == nil {
		own.now = &time.Time{}
		own.ahead = append(own.ahead, part{own.askNow(own.now), asItIs})
	}
}

// Now is the time by the database's clock: what AskNow brought, else what it asks for.
func Now(ctx context.Context, tx Tx) (time.Time, error) {
	var now time.Time
	own, ok := tx.(*transaction)
	if !ok {
		batch := &pgx.Batch{}
		QueueNow(batch, &now)
		return now, tx.SendBatch(ctx, batch).Close()
	}
	if own.now != nil && !own.now.IsZero() {
		return *own.now, nil
	}
	err := tx.SendBatch(ctx, own.askNow(&now)).Close()
	return now, err
}

// QueueNow reads the database's clock where the batch has got to: after the statements that lock what the time is written to.
func QueueNow(batch *pgx.Batch, now *time.Time) { queueNow(batch, now, func(time.Time) {}) }

func (t *transaction) askNow(now *time.Time) *pgx.Batch {
	batch := &pgx.Batch{}
	queueNow(batch, now, t.clock.told)
	return batch
}

func queueNow(batch *pgx.Batch, now *time.Time, told func(time.Time)) {
	batch.Queue(nowSQL).QueryRow(func(row pgx.Row) error {
		err := row.Scan(now)
		*now = now.UTC()
		if err == nil {
			told(*now)
		}
		return err
	})
}

// Reckon is the time by the database's clock without asking for it: what the database said within the last second, and what has passed on
// this node since. That the answer was under way is not counted, so it is a little early, never late. It is a guess nonetheless, as
// clocks are set and nodes stand still: whoever goes by it has the database compare it, and runs the transaction again where it
// is wrong. It is false where nothing was said, and in a transaction that is run again.
func Reckon(tx Tx) (time.Time, bool) {
	own, ok := tx.(*transaction)
	if !ok || own.again {
		return time.Time{}, false
	}
	return own.clock.reckon()
}

// reckonedMax is for how long the database's word is good.
const reckonedMax = time.Second

// clock is what the database said of the time last. Safe for concurrent use.
type clock struct {
	mu   sync.Mutex
	said time.Time // by the database's clock
	at   time.Time // when that was heard, by the node's
}

func (c *clock) told(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said, c.at = now, time.Now() //nolint:forbidigo // the monotonic clock, which kit/clock's has not
}

func (c *clock) reckon() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	passed := time.Since(c.at)
	if c.said.IsZero() || passed > reckonedMax {
		return time.Time{}, false
	}
	return c.said.Add(passed.Truncate(time.Microsecond)), true
}
