package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pooler is what stands between Kontor and PostgreSQL.
type Pooler string

// The poolers. One that gives each client a session of its own (session mode) counts as none.
const (
	PoolerNone        Pooler = "none"
	PoolerTransaction Pooler = "transaction" // each transaction may have another backend: PgBouncer's pool_mode = transaction
)

// poolerParam says in a database URL what Options.Pooler says, for whoever has nothing but the URL.
const poolerParam = "pooler"

// takePooler reads the parameter and takes it away: PostgreSQL does not know it.
func takePooler(cfg *pgx.ConnConfig, told Pooler) (Pooler, error) {
	if value, ok := cfg.RuntimeParams[poolerParam]; ok {
		delete(cfg.RuntimeParams, poolerParam)
		told = Pooler(value)
	}
	switch told {
	case "", PoolerNone:
		return PoolerNone, nil
	case PoolerTransaction:
		return PoolerTransaction, nil
	default:
		return "", fmt.Errorf("there is no pooler %q; want %s or %s", told, PoolerNone, PoolerTransaction)
	}
}

// Pool runs statements, each in a transaction of its own. Behind a pooler that gives each transaction another backend
// the settings go along with every transaction, in the same round trip; else they were made once and these are the
// methods of pgxpool. Other methods of pgxpool's run without settings behind a pooler.
type Pool struct {
	*pgxpool.Pool
	// local are the arguments of setSessionSQL for one transaction; nil when a session keeps what it was told.
	local []any
}

// Exec runs a statement that returns no rows.
func (p *Pool) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if p.local == nil {
		return p.Pool.Exec(ctx, sql, args...)
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
		return p.Pool.Query(ctx, sql, args...)
	}
	batch := &pgx.Batch{}
	batch.Queue(sql, args...)
	results := p.SendBatch(ctx, batch)
	rows, err := results.Query()
	if err != nil {
		_ = results.Close() // the same error
		return rows, err
	}
	return &pooledRows{Rows: rows, results: results}, nil
}

// QueryRow runs a statement and gives its first row.
func (p *Pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if p.local == nil {
		return p.Pool.QueryRow(ctx, sql, args...)
	}
	rows, err := p.Query(ctx, sql, args...)
	return &pooledRow{rows: rows, err: err}
}

// SendBatch runs statements in one transaction and one round trip. Statements up to the batch's end are one transaction
// by PostgreSQL's protocol, so what is set for the transaction holds for all of them.
func (p *Pool) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if p.local == nil {
		return p.Pool.SendBatch(ctx, b)
	}
	set := &pgx.QueuedQuery{SQL: setSessionSQL, Arguments: p.local}
	b.QueuedQueries = append([]*pgx.QueuedQuery{set}, b.QueuedQueries...)
	results := p.Pool.SendBatch(ctx, b)
	_, _ = results.Exec() // an error is what every later result says too
	return results
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

// pooledRows are the rows of a batch's only statement: their end is the batch's.
type pooledRows struct {
	pgx.Rows
	results pgx.BatchResults
	ended   bool
	err     error
}

// Next implements pgx.Rows.
func (r *pooledRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

// Close implements pgx.Rows.
func (r *pooledRows) Close() {
	r.Rows.Close()
	if !r.ended {
		r.ended, r.err = true, r.results.Close()
	}
}

// Err implements pgx.Rows.
func (r *pooledRows) Err() error {
	if err := r.Rows.Err(); err != nil {
		return err
	}
	return r.err
}

type pooledRow struct {
	rows pgx.Rows
	err  error
}

// Scan implements pgx.Row.
func (r *pooledRow) Scan(dest ...any) error {
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

var errPooled = errors.New("a pooler gives each transaction another backend of the database")

// refusePooler says what to do about a pooler that nobody has told of.
func refusePooler(ctx context.Context, cfg *pgx.ConnConfig) error {
	err := probePooler(ctx, cfg)
	if errors.Is(err, errPooled) {
		return fmt.Errorf("%w: say so with --database-pooler transaction (KONTOR_DATABASE_POOLER), or connect to PostgreSQL itself", err)
	}
	return err
}

// probePooler gives errPooled when each transaction of a connection may have another backend. Two connections tell: a
// session that answers both of them belongs to neither, and a connection whose session changes has none. Asking the first
// twice in a row shows a pooler that hands out its sessions in turns.
func probePooler(ctx context.Context, cfg *pgx.ConnConfig) error {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	first, err := connectPlainly(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = first.Close(context.WithoutCancel(ctx)) }()
	second, err := connectPlainly(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = second.Close(context.WithoutCancel(ctx)) }()
	pids, err := sessionsOf(ctx, first, second, first, first)
	if err != nil {
		return err
	}
	if pids[0] != pids[2] || pids[0] != pids[3] || pids[0] == pids[1] {
		return errPooled
	}
	return nil
}

func connectPlainly(ctx context.Context, cfg *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, cfg.Copy())
	if err != nil {
		return nil, fmt.Errorf("reach the database: %w", withoutURL(err))
	}
	return conn, nil
}

const sessionSQL = `select pg_backend_pid()`

// sessionsOf asks each connection, in this order, which session answers it.
func sessionsOf(ctx context.Context, conns ...*pgx.Conn) ([]uint32, error) {
	pids := make([]uint32, len(conns))
	for i, conn := range conns {
		err := conn.QueryRow(ctx, sessionSQL, pgx.QueryExecModeSimpleProtocol).Scan(&pids[i])
		if err != nil {
			return nil, fmt.Errorf("ask which session answers: %w", err)
		}
	}
	return pids, nil
}
