// stands in internal/commerce/fixture

// Package fixture calls what it must not.
package fixture

import (
	"context"
	"fmt"
	"os"
	clock "time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

func forbidden(ctx context.Context, pool *pgxpool.Pool, tx pgx.Tx) {
	_ = clock.Now()                                                              // want: kit/clock
	now := clock.Now                                                             // want: kit/clock
	_ = clock.Since(now())                                                       // want: kit/clock
	clock.Sleep(1)                                                               // want: wait for a signal
	_ = os.Getenv("KONTOR_X")                                                    // want: internal/app
	_, _ = pool.Begin(ctx)                                                       // want: kit/postgres
	_ = pgx.BeginFunc(ctx, pool, func(pgx.Tx) error { return nil })              // want: kit/postgres
	_ = tx.Commit(ctx)                                                           // want: kit/postgres
	fmt.Println("done")                                                          // want: a writer
	_, _ = fmt.Sprint("done"), clock.Date(2026, 1, 1, 0, 0, 0, 0, clock.UTC).Sub // allowed
}
