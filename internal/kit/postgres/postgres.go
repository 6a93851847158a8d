// Package postgres is the one door to PostgreSQL: the pool, the transaction and its retries, and the translation
// of driver errors. Only this package begins and commits.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// Options tune the pool.
type Options struct {
	ConnectionsMax int32  // 0 means 16
	Name           string // application_name
	Traced         bool   // spans for every statement
	// StatementTimeout bounds one statement on the server; 0 means 30 s.
	StatementTimeout time.Duration
	// Pooler is what the URL leads to; empty means what the URL says by pooler=…, else none.
	Pooler Pooler
}

// DB is a pool of connections. Safe for concurrent use.
type DB struct {
	pool    *Pool
	metrics *metrics
}

// attemptsMax bounds how often a transaction is run again after a deadlock, a serialisation failure or a lost
// connection.
const attemptsMax = 6

// Open makes the pool and checks that the server answers.
func Open(ctx context.Context, url string, o Options) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", withoutURL(err))
	}
	if o.ConnectionsMax == 0 {
		o.ConnectionsMax = 16
	}
	if o.StatementTimeout == 0 {
		o.StatementTimeout = 30 * time.Second
	}
	cfg.MaxConns = o.ConnectionsMax
	cfg.MinConns = min(2, o.ConnectionsMax)
	cfg.MaxConnIdleTime = 5 * time.Minute
	cfg.ConnConfig.DialFunc = dial()
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	if o.Name != "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = o.Name
	}
	pooler, err := takePooler(cfg.ConnConfig, o.Pooler)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	pool := &Pool{}
	cfg.ShouldPing = pool.alive
	var elsewhere atomic.Bool // who answered is not who was connected to
	timeout := fmt.Sprint(o.StatementTimeout.Milliseconds())
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		registerArrays(c)
		var pid uint32
		err := c.QueryRow(ctx, setSessionSQL, pgx.QueryExecModeExec, timeout, false).Scan(&pid, nil)
		if pid != c.PgConn().PID() {
			elsewhere.Store(true)
		}
		return err
	}
	if pooler == PoolerTransaction {
		pool.local = []any{timeout, true}
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		cfg.AfterConnect = func(_ context.Context, c *pgx.Conn) error {
			registerArrays(c)
			return nil
		}
	}
	if o.Traced {
		cfg.ConnConfig.Tracer = otelpgx.NewTracer(otelpgx.WithDisableSQLStatementInAttributes())
	}
	if pool.Pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, fmt.Errorf("open the pool: %w", err)
	}
	err = pool.Ping(ctx)
	if err != nil {
		err = fmt.Errorf("reach the database: %w", withoutURL(err))
	} else if elsewhere.Load() {
		err = refusePooler(ctx, cfg.ConnConfig)
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	return &DB{pool: pool, metrics: newMetrics(pool.Pool)}, nil
}

// Every statement of a session is a look-up by keys, for one row or for a batch from unnest, and wants an index probe for each element: the
// right plan at every size. Left to its statistics, which lag behind a table that grows from nothing to a million rows within the hour,
// the planner hashes or merges whole tables instead (seen: 30 ms for a batch of 39 keys). So the plan is generic, made once, and the
// other ways are switched off. Work over whole tables (verify) switches them on again for its transaction. $2 sets
// them for a transaction only, where a pooler gives each transaction another backend. The answer says which session it is.
const setSessionSQL = `select pg_backend_pid(), array[
	set_config('statement_timeout', $1, $2), set_config('lock_timeout', '10s', $2),
	set_config('idle_in_transaction_session_timeout', '15s', $2), set_config('plan_cache_mode', 'force_generic_plan', $2),
	set_config('enable_seqscan', 'off', $2), set_config('enable_bitmapscan', 'off', $2),
	set_config('enable_hashjoin', 'off', $2), set_config('enable_mergejoin', 'off', $2),
	set_config('jit', 'off', $2), set_config('timezone', 'UTC', $2)]`

// Close waits for the connections in use and closes the pool.
func (db *DB) Close() { db.pool.Close() }

// Pool gives reads that need no transaction.
func (db *DB) Pool() *Pool { return db.pool }

// Ping tells whether the server answers.
func (db *DB) Ping(ctx context.Context) error { return db.pool.Ping(ctx) }

// InTx runs body in a READ COMMITTED transaction and commits. After a deadlock, a serialisation failure or a lost
// connection it runs body again, a bounded number of times with jitter, so body must have no effect outside tx. A
// connection lost during COMMIT leaves the outcome open: body must then find, by an idempotency record or a guarded
// state, that it was done. Errors are faults, or internal.
func (db *DB) InTx(ctx context.Context, body func(ctx context.Context, tx Tx) error) error {
	return db.run(ctx, beginSQL, body, (*transaction).commit)
}

// Alone runs a body that sends one statement or one batch: a transaction of its own without anything to begin or to commit, in one
// round trip. It is run again as InTx runs its body again, so a lost connection leaves the outcome open here too.
func (db *DB) Alone(ctx context.Context, body func(ctx context.Context, tx Tx) error) error {
	return db.run(ctx, beginNothingSQL, body, (*transaction).flush)
}

// DryRun runs body in a transaction that is always rolled back.
func (db *DB) DryRun(ctx context.Context, body func(ctx context.Context, tx Tx) error) error {
	return db.run(ctx, beginSQL, body, (*transaction).flush)
}

// Snapshot runs body in a read-only REPEATABLE READ transaction: everything it reads is of one moment.
func (db *DB) Snapshot(ctx context.Context, body func(ctx context.Context, tx Tx) error) error {
	return db.run(ctx, beginSnapshotSQL, body, (*transaction).commit)
}

// run opens a transaction for body and for what ends it, as often as it takes.
func (db *DB) run(ctx context.Context, begin string, body func(ctx context.Context, tx Tx) error,
	end func(tx *transaction, ctx context.Context) error,
) error {
	return db.retry(ctx, func(again bool) error {
		return open(ctx, db.pool, begin, again, func(ctx context.Context, tx *transaction) error {
			if err := body(ctx, tx); err != nil {
				return err
			}
			return end(tx, ctx)
		})
	})
}

func (db *DB) retry(ctx context.Context, once func(again bool) error) error {
	for attempt := 1; ; attempt++ {
		err := once(attempt > 1)
		if err == nil {
			return nil
		}
		cause := retryable(err)
		if cause == "" || attempt == attemptsMax || ctx.Err() != nil {
			return translate(err)
		}
		db.metrics.retries.WithLabelValues(cause).Inc()
		if cause == causeConnection {
			db.pool.Reset() // what lies idle is likely to be dead as well: BEGIN would not show it, it goes with the first statement
		}
		if cause == causeAgain && attempt == 1 {
			continue // the other transaction has ended: there is nobody to make way for
		}
		pause := time.Duration(rand.Int64N(int64(5*time.Millisecond) << (2 * (attempt - 1))))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return translate(err)
		}
	}
}

// ErrAgain asks for the transaction to be run again: another one came in between.
var ErrAgain = errors.New("another transaction came in between")

// causeConnection says that the connection, or the server, went away; causeAgain, that the body asked for it.
const (
	causeConnection = "connection"
	causeAgain      = "again"
)

// retryable names why a transaction may be run again, or returns the empty string.
func retryable(err error) string {
	if errors.Is(err, ErrAgain) {
		return causeAgain
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "40001", "40P01", "55P03": // serialisation failure, deadlock, lock timeout
			return pg.Code
		}
	}
	if lost(err) {
		return causeConnection
	}
	return ""
}

// lost tells whether the server or the connection went away.
func lost(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		// 08 connection, 57P0x shutdown or crash, 53300 too many connections, 25P03 idle transaction ended by the server.
		return strings.HasPrefix(pg.Code, "08") || pg.Code == "57P01" || pg.Code == "57P02" || pg.Code == "57P03" || pg.Code == "53300" || pg.Code == "25P03"
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return pgconn.SafeToRetry(err) || isClosed(err)
}

// translate turns what a caller can act on into a fault; the rest stays internal.
func translate(err error) error {
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if retryable(err) != "" {
		return fault.New(fault.Unavailable, "database_unavailable",
			"The database did not take the request. Repeat it under the same idempotency key.").After(time.Second).Because(err)
	}
	return err
}

// Constraint is the name of the constraint that err says was violated, or the empty string.
func Constraint(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(pg.Code, "23") {
		return pg.ConstraintName
	}
	return ""
}

// Code is the SQLSTATE with which the server refused a statement, or the empty string.
func Code(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}
