package postgres_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

func one(sql string, args ...any) *pgx.Batch {
	batch := &pgx.Batch{}
	batch.Queue(sql, args...)
	return batch
}

func same(err error) error { return err }

const addSQL = `update counter set n = 10 * n + $2 where name = $1`

// Whatever is sent in whichever way is carried out in the order of the calls.
func TestWhatIsSentKeepsItsOrder(t *testing.T) {
	b := setup(t)
	type way func(ctx context.Context, tx postgres.Tx, digit int) error
	now := func(ctx context.Context, tx postgres.Tx, digit int) error {
		return postgres.SendNow(ctx, tx, one(addSQL, "a", digit), same)
	}
	later := func(ctx context.Context, tx postgres.Tx, digit int) error {
		return postgres.SendLater(ctx, tx, one(addSQL, "a", digit), same)
	}
	exec := func(ctx context.Context, tx postgres.Tx, digit int) error {
		_, err := tx.Exec(ctx, addSQL, "a", digit)
		return err
	}
	asked := func(ctx context.Context, tx postgres.Tx, digit int) error {
		return tx.QueryRow(ctx, addSQL+` returning n`, "a", digit).Scan(new(int))
	}
	for _, ways := range [][]way{
		{asked, now, now, now},
		{asked, now, later, now, now},
		{asked, now, exec, now, later},
		{now, asked, now, now, asked, now},
		{later, now, now, asked},
		{asked, later, now, exec, now},
	} {
		b.exec(`update counter set n = 0`)
		want := 0
		err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
			want = 0
			for i, send := range ways {
				want = 10*want + i + 1
				if err := send(ctx, tx, i+1); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		b.counts("a", want)
	}
}

// An error of what was sent shows in the call that waits for it, as what its sender makes of it, and nothing takes effect.
func TestWhatWasSentFailsWithItsTransaction(t *testing.T) {
	b := setup(t)
	refused := errors.New("refused")
	explain := func(err error) error {
		if postgres.Constraint(err) == "counter_positive" {
			return refused
		}
		return err
	}
	send := func(ctx context.Context, tx postgres.Tx) error {
		if err := postgres.SendNow(ctx, tx, one(addSQL, "b", 1), same); err != nil {
			return err
		}
		if err := postgres.SendNow(ctx, tx, one(addSQL, "a", -1), explain); err != nil {
			return err
		}
		return postgres.SendNow(ctx, tx, one(addSQL, "b", 1), same)
	}
	for name, after := range map[string]func(ctx context.Context, tx postgres.Tx) error{
		"commit": func(context.Context, postgres.Tx) error { return nil },
		"exec": func(ctx context.Context, tx postgres.Tx) error {
			_, err := tx.Exec(ctx, addSQL, "b", 1)
			return err
		},
		"row": func(ctx context.Context, tx postgres.Tx) error {
			return tx.QueryRow(ctx, `select 1`).Scan(new(int))
		},
		"batch": func(ctx context.Context, tx postgres.Tx) error { return tx.SendBatch(ctx, one(`select 1`)).Close() },
		"own":   func(context.Context, postgres.Tx) error { return refused }, // leaves what was sent
	} {
		for range 3 { // with statements that are new to the connection, and with such as are not
			told := []bool{}
			err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
				postgres.AtEnd(tx, func(committed bool) { told = append(told, committed) })
				if err := send(ctx, tx); err != nil {
					return err
				}
				return after(ctx, tx)
			})
			if !errors.Is(err, refused) {
				t.Errorf("%s: %v, want what the sender makes of it", name, err)
			}
			if !slices.Equal(told, []bool{false}) {
				t.Errorf("%s: told %v, want that it is not committed", name, told)
			}
			b.counts("a", 0)
			b.counts("b", 0)
		}
	}
}

func TestTheEndOfATransactionIsTold(t *testing.T) {
	b := setup(t)
	var told []bool
	tell := func(ctx context.Context, tx postgres.Tx) error {
		if !postgres.AtEnd(tx, func(committed bool) { told = append(told, committed) }) {
			t.Error("it will not be told")
		}
		return count(ctx, tx, "a")
	}
	if err := b.db.InTx(t.Context(), tell); err != nil {
		t.Fatal(err)
	}
	if err := b.db.DryRun(t.Context(), tell); err != nil {
		t.Fatal(err)
	}
	again := true
	err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		err := tell(ctx, tx)
		if again {
			again, err = false, postgres.ErrAgain
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []bool{true, false, false, true}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

// The time that comes along with a question is the database's, and is asked for once.
func TestNowIsTheDatabasesClock(t *testing.T) {
	b := setup(t)
	err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		var before, after time.Time
		if err := tx.QueryRow(ctx, `select clock_timestamp()`).Scan(&before); err != nil {
			return err
		}
		postgres.AskNow(tx)
		if err := tx.QueryRow(ctx, `select clock_timestamp()`).Scan(&after); err != nil {
			return err
		}
		first, err := postgres.Now(ctx, tx)
		if err != nil {
			return err
		}
		second, err := postgres.Now(ctx, tx)
		if err != nil {
			return err
		}
		if first.Before(before) || first.After(after) || !second.Equal(first) || first.Location() != time.UTC {
			t.Errorf("%s and %s, between %s and %s", first, second, before, after)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		now, err := postgres.Now(ctx, tx) // nobody has asked
		if now.IsZero() {
			t.Error("no time")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever happens while statements are under way: nothing takes effect, or the transaction runs again and all does, and the next
// one finds a connection in order.
func TestAStreamThatEndsEarlyLeavesNothing(t *testing.T) {
	b := setup(t)
	db := b.open(postgres.Options{ConnectionsMax: 1})
	var server int32
	add := func(ctx context.Context, tx postgres.Tx, digit any) error {
		return postgres.SendNow(ctx, tx, one(addSQL, "a", digit), same)
	}
	begin := func(ctx context.Context, tx postgres.Tx) error {
		if err := tx.QueryRow(ctx, `select pg_backend_pid()`).Scan(&server); err != nil {
			return err
		}
		return add(ctx, tx, 1)
	}
	for name, c := range map[string]struct {
		between  func(ctx context.Context, tx postgres.Tx, cancel func(), run int) error
		succeeds bool
	}{
		"cannot be written": {between: func(ctx context.Context, tx postgres.Tx, _ func(), _ int) error { return add(ctx, tx, "no digit") }},
		"is the first and cannot be written": {between: func(ctx context.Context, tx postgres.Tx, _ func(), _ int) error {
			if err := tx.QueryRow(ctx, `select 1`).Scan(new(int)); err != nil {
				return err
			}
			return add(ctx, tx, "no digit")
		}},
		"is given up": {between: func(ctx context.Context, tx postgres.Tx, cancel func(), _ int) error {
			err := postgres.SendNow(ctx, tx, one(`select pg_sleep(20)`), same)
			cancel()
			return err
		}},
		"is given up and goes on": {between: func(ctx context.Context, tx postgres.Tx, cancel func(), _ int) error {
			cancel()
			_ = add(ctx, tx, 2)
			return add(ctx, tx, 3)
		}},
		"loses its server": {succeeds: true, between: func(ctx context.Context, tx postgres.Tx, _ func(), run int) error {
			if run == 1 {
				if _, err := b.db.Pool().Exec(t.Context(), `select pg_terminate_backend($1, 5000)`, server); err != nil {
					t.Error(err)
				}
			}
			return add(ctx, tx, 2)
		}},
	} {
		b.exec(`update counter set n = 0`)
		ctx, cancel := context.WithCancel(t.Context())
		run := 0
		err := db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
			run++
			if err := begin(ctx, tx); err != nil {
				return err
			}
			return c.between(ctx, tx, cancel, run)
		})
		cancel()
		want := 0
		if c.succeeds {
			want = 12
		}
		if (err == nil) != c.succeeds {
			t.Errorf("a stream that %s: %v", name, err)
		}
		b.counts("a", want)
		for range 3 {
			if err := db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
				if err := begin(ctx, tx); err != nil {
					return err
				}
				return add(ctx, tx, 2)
			}); err != nil {
				t.Errorf("after a stream that %s: %v", name, err)
			}
		}
	}
}
