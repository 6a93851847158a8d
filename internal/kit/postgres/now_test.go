package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// What a node reckons is a time that the database's clock has had: not long ago, and never one to come.
func TestTheTimeIsReckoned(t *testing.T) {
	b := setup(t)
	db := b.open(postgres.Options{ConnectionsMax: 1})
	run := 0
	body := func(ctx context.Context, tx postgres.Tx) error {
		run++
		if at, ok := postgres.Reckon(tx); ok {
			t.Errorf("reckoned %v, and nobody has asked the database", at)
		}
		asked, err := postgres.Now(ctx, tx)
		if err != nil {
			return err
		}
		reckoned, ok := postgres.Reckon(tx)
		if run > 1 {
			if ok {
				t.Error("reckoned in a transaction that is run again")
			}
			return nil
		}
		var now time.Time
		if err := tx.QueryRow(ctx, `select clock_timestamp()`).Scan(&now); err != nil {
			return err
		}
		if !ok || reckoned.Before(asked) || reckoned.After(now) {
			t.Errorf("%v, %v; want it between %v and %v", reckoned, ok, asked, now)
		}
		return postgres.ErrAgain
	}
	if err := db.InTx(t.Context(), body); err != nil {
		t.Fatal(err)
	}
	if run != 2 {
		t.Errorf("%d runs", run)
	}
	if _, ok := postgres.Reckon(foreign{}); ok {
		t.Error("reckoned for a transaction that is not of this package's making")
	}
}

// foreign is a Tx of somebody else's.
type foreign struct{ pgx.Tx }
