// stands in internal/commerce/fixture

// Package fixture sends statements to the database in every way that is not allowed, and in every way that is.
package fixture

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

const (
	goodSQL  = `select $1::int`
	otherSQL = `select 2`
	badName  = `select 3`
)

type check struct{ SQL string }

func allowed(ctx context.Context, pool *pgxpool.Pool, tx postgres.Tx, c check, other bool) {
	_, _ = pool.Exec(ctx, goodSQL, 1)
	_, _ = tx.Query(ctx, c.SQL)
	batch := &pgx.Batch{}
	batch.Queue(goodSQL, 1).Query(func(pgx.Rows) error { return nil })
	statement := goodSQL
	if other {
		statement = otherSQL
	}
	_ = tx.QueryRow(ctx, statement)
	through(ctx, tx, statement)
	through(ctx, tx, otherSQL)
	_ = check{SQL: otherSQL}
}

func through(ctx context.Context, tx postgres.Tx, statement string) { _ = tx.QueryRow(ctx, statement) }

func forbidden(ctx context.Context, pool *pgxpool.Pool, conn *pgx.Conn, tx postgres.Tx, table string) {
	_, _ = pool.Exec(ctx, `select 1`)              // want: not a constant
	_, _ = conn.Query(ctx, "select 1 from "+table) // want: not a constant
	_ = tx.QueryRow(ctx, badName)                  // want: not a constant
	(&pgx.Batch{}).Queue(goodSQL+" for update", 1) // want: not a constant
	const localSQL = `select 4`
	_ = tx.QueryRow(ctx, localSQL) // want: not a constant
	statement := goodSQL
	statement += table // want: put together
	_ = tx.QueryRow(ctx, statement)
	behind(ctx, tx, table)     // want: not a constant
	_ = check{SQL: "select 5"} // want: not a constant
}

func behind(ctx context.Context, tx postgres.Tx, statement string) { _ = tx.QueryRow(ctx, statement) }

// Exported takes a statement from anyone.
func Exported(ctx context.Context, tx postgres.Tx, statement string) {
	_ = tx.QueryRow(ctx, statement) // want: not a constant
}
