package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pool runs statements, each in a transaction of its own. That the database cannot be reached is a fault, as it is for
// transactions, but nothing is run again.
//
// Behind a pooler that gives each transaction another backend the settings go along with every transaction, in the same
// round trip; else they were made once. Methods of pgxpool's that are not here run without settings behind a pooler.
type Pool struct {
	*pgxpool.Pool
	// local are the arguments of setSessionSQL for one transaction; nil when a session keeps what it was told.
	local []any
	clock clock
}

// Exec runs a statement that returns no rows.
func (p *Pool) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if p.local == nil {
		tag, err := p.Pool.Exec(ctx, sql, args...)
		return tag, translated(err)
	}
	rows, err := p.Query(ctx, sql, args...)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	rows.Close()
	return rows.CommandTag(), rows.Err()
}

// Query runs a statement and gives its rows. Close them.
func (p *Pool) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if p.local == nil {
		rows, err := p.Pool.Query(ctx, sql, args...)
		return &answer{Rows: rows}, translated(err)
	}
	batch := &pgx.Batch{}
	batch.Queue(sql, args...)
	results := p.SendBatch(ctx, batch)
	rows, err := results.Query()
	if err != nil {
		_ = results.Close() // the same error
		return rows, err
	}
	return &answer{Rows: rows, results: results}, nil
}

// QueryRow runs a statement and gives its first row.
func (p *Pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, err := p.Query(ctx, sql, args...)
	return &answerRow{rows: rows, err: err}
}

// SendBatch runs statements in one transaction and one round trip. Statements up to the batch's end are one transaction
// by PostgreSQL's protocol, so what is set for the transaction holds for all of them.
func (p *Pool) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if p.local == nil {
		return answers{p.Pool.SendBatch(ctx, b)}
	}
	set := &pgx.QueuedQuery{SQL: setSessionSQL, Arguments: p.local}
	b.QueuedQueries = append([]*pgx.QueuedQuery{set}, b.QueuedQueries...)
	results := p.Pool.SendBatch(ctx, b)
	_, _ = results.Exec() // an error is what every later result says too
	return answers{results}
}

// Begin begins a transaction.
func (p *Pool) Begin(ctx context.Context) (pgx.Tx, error) { return p.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx begins a transaction.
func (p *Pool) BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error) {
	if p.local == nil {
		return p.Pool.BeginTx(ctx, options)
	}
	batch := &pgx.Batch{}
	batch.BeginTx(options)
	batch.Queue(setSessionSQL, p.local...)
	results := p.Pool.SendBatch(ctx, batch)
	tx := results.Tx()
	if err := results.Close(); err != nil {
		_ = tx.Rollback(context.WithoutCancel(ctx))
		return nil, err
	}
	return tx, nil
}

func translated(err error) error {
	if err == nil {
		return nil
	}
	return translate(err)
}

// answer is the rows of one statement. When it was sent in a batch of its own, the rows' end is the batch's.
type answer struct {
	pgx.Rows
	results pgx.BatchResults // nil when there is no batch
	err     error            // of the batch's end
}

// Next implements pgx.Rows.
func (a *answer) Next() bool {
	if a.Rows.Next() {
		return true
	}
	a.Close()
	return false
}

// Close implements pgx.Rows.
func (a *answer) Close() {
	a.Rows.Close()
	if a.results != nil {
		a.err = a.results.Close()
		a.results = nil
	}
}

// Err implements pgx.Rows.
func (a *answer) Err() error {
	if err := a.Rows.Err(); err != nil {
		return translate(err)
	}
	return a.err
}

// answerRow is the first row of an answer.
type answerRow struct {
	rows pgx.Rows
	err  error
}

// Scan implements pgx.Row.
func (r *answerRow) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}

// answers are those of a batch.
type answers struct{ pgx.BatchResults }

// Exec implements pgx.BatchResults.
func (a answers) Exec() (pgconn.CommandTag, error) {
	tag, err := a.BatchResults.Exec()
	return tag, translated(err)
}

// Query implements pgx.BatchResults.
func (a answers) Query() (pgx.Rows, error) {
	rows, err := a.BatchResults.Query()
	return &answer{Rows: rows}, translated(err)
}

// QueryRow implements pgx.BatchResults.
func (a answers) QueryRow() pgx.Row {
	rows, err := a.Query()
	return &answerRow{rows: rows, err: err}
}

// Close implements pgx.BatchResults.
func (a answers) Close() error { return translated(a.BatchResults.Close()) }
