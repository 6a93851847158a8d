package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Tx is an open transaction. It cannot begin or commit: whoever opened it does.
//
// It spares round trips. BEGIN travels with the first statement, what is sent by SendLater with the next one, and what is
// left of that at the end with COMMIT. The server carries all of it out in the order of the calls, and nothing that
// follows a statement that failed.
type Tx interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// SendLater sends a batch of writes whose results nobody waits for with the transaction's next statement, or with COMMIT: whatever
// must be true of them, the statements themselves have to check. An error of theirs ends the transaction in the call in which
// it shows, as what explain makes of it. A Tx that is not of this package's making has them sent now.
func SendLater(ctx context.Context, tx Tx, b *pgx.Batch, explain func(error) error) error {
	if own, ok := tx.(*transaction); ok {
		return own.later(ctx, b, explain)
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return explain(err)
	}
	return nil
}

// The ways to begin.
const (
	beginSQL         = `begin`
	beginNothingSQL  = `` // what is sent in one batch is a transaction of its own
	beginSnapshotSQL = `begin isolation level repeatable read read only`
	commitSQL        = `commit`
	rollbackSQL      = `rollback`
)

// transaction implements Tx on one connection.
type transaction struct {
	conn  *pgx.Conn
	ahead []part // what goes before the next statement, in this order

	streams bool    // statements stay prepared, so that they can be sent one by one
	sent    *stream // what was sent and is to be waited for; nil: nothing

	again     bool // another run of the body came before
	clock     *clock
	now       *time.Time // nil: nobody has asked for it
	committed bool
	atEnd     []func(committed bool)
}

// part is a batch that has its place before others.
type part struct {
	batch   *pgx.Batch
	explain func(error) error
}

// open has a transaction begin with body's first statement; without a statement to begin with, what body sends is a
// transaction of its own. What body leaves open is rolled back; where that fails, the pool drops the connection.
func open(ctx context.Context, pool *Pool, begin string, again bool, body func(ctx context.Context, tx *transaction) error) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	tx := &transaction{conn: conn.Conn(), streams: begin != beginNothingSQL && pool.local == nil, again: again, clock: &pool.clock}
	first := &pgx.Batch{}
	if begin != beginNothingSQL {
		first.Queue(begin)
	}
	if pool.local != nil {
		first.Queue(setSessionSQL, pool.local...)
	}
	if first.Len() > 0 {
		tx.ahead = append(tx.ahead, part{first, asItIs})
	}
	defer func() {
		for _, told := range tx.atEnd {
			told(tx.committed)
		}
	}()
	defer func() {
		_, _ = tx.settle() // when body failed: what it says is not news
		if tx.conn.PgConn().TxStatus() != idle {
			_, _ = tx.conn.Exec(ctx, rollbackSQL)
		}
	}()
	return body(ctx, tx)
}

// idle is the status of a connection without a transaction.
const idle = 'I'

func asItIs(err error) error { return err }

// commit sends what is left, and COMMIT.
func (t *transaction) commit(ctx context.Context) error {
	done, err := t.Exec(ctx, commitSQL)
	if err == nil && done.String() == "ROLLBACK" { // after an error that nobody returned
		err = pgx.ErrTxCommitRollback
	}
	t.committed = err == nil
	return err
}

// flush sends what is left.
func (t *transaction) flush(ctx context.Context) error { return t.SendBatch(ctx, &pgx.Batch{}).Close() }

func (t *transaction) later(ctx context.Context, b *pgx.Batch, explain func(error) error) error {
	switch {
	case b.Len() == 0:
		return nil
	case t.sent != nil && len(t.ahead) == 0 && unread(b):
		return t.stream(ctx, b, explain)
	}
	t.ahead = append(t.ahead, part{b, explain})
	return nil
}

// SendBatch implements Tx.
func (t *transaction) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if _, err := t.settle(); err != nil {
		nothing := t.conn.SendBatch(ctx, &pgx.Batch{})
		_ = nothing.Close()
		return failed{nothing, err}
	}
	if len(t.ahead) == 0 {
		return t.conn.SendBatch(ctx, b)
	}
	ahead := t.ahead
	t.ahead = nil
	whole := &pgx.Batch{}
	for _, p := range ahead {
		whole.QueuedQueries = append(whole.QueuedQueries, p.batch.QueuedQueries...)
	}
	whole.QueuedQueries = append(whole.QueuedQueries, b.QueuedQueries...)
	results := t.conn.SendBatch(ctx, whole)
	for _, p := range ahead {
		for _, query := range p.batch.QueuedQueries {
			if err := taken(results, query); err != nil {
				_ = results.Close()
				return failed{results, p.explain(err)}
			}
		}
	}
	return results
}

// taken reads the result of a query that went ahead.
func taken(results pgx.BatchResults, query *pgx.QueuedQuery) error {
	if query.Fn != nil {
		return query.Fn(results)
	}
	_, err := results.Exec()
	return err
}

// failed are the results of a batch that did not get as far as its caller's statements.
type failed struct {
	pgx.BatchResults
	err error
}

// Exec implements pgx.BatchResults.
func (f failed) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, f.err }

// Query implements pgx.BatchResults.
func (f failed) Query() (pgx.Rows, error) {
	rows, _ := f.BatchResults.Query()
	return rows, f.err
}

// Close implements pgx.BatchResults.
func (f failed) Close() error { return f.err }

// Query implements Tx.
func (t *transaction) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if len(t.ahead) == 0 && t.sent == nil {
		return t.conn.Query(ctx, sql, args...)
	}
	batch := &pgx.Batch{}
	batch.Queue(sql, args...)
	return lastOf(t.SendBatch(ctx, batch))
}

// QueryRow implements Tx.
func (t *transaction) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if len(t.ahead) == 0 && t.sent == nil {
		return t.conn.QueryRow(ctx, sql, args...)
	}
	rows, err := t.Query(ctx, sql, args...)
	return &answerRow{rows: rows, err: err}
}

// Exec implements Tx.
func (t *transaction) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	batch := &pgx.Batch{}
	batch.Queue(sql, args...)
	switch {
	case len(t.ahead) > 0:
	case t.sent == nil:
		return t.conn.Exec(ctx, sql, args...)
	default: // with what was sent
		if err := t.stream(ctx, batch, asItIs); err != nil {
			return pgconn.CommandTag{}, err
		}
		return t.settle()
	}
	results := t.SendBatch(ctx, batch)
	tag, _ := results.Exec()
	return tag, results.Close()
}
