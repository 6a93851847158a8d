package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

// bench is a database with a table of counters.
type bench struct {
	*testing.T
	url string
	db  *postgres.DB
}

func setup(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	b := &bench{T: t, url: postgrestest.DB(t).Direct}
	b.db = b.open(postgres.Options{}, "deadlock_timeout", "10ms")
	b.exec(`create table counter (name text constraint counter_pkey primary key, n int not null constraint counter_positive check (n >= 0))`)
	b.exec(`insert into counter values ('a', 0), ('b', 0)`)
	return b
}

func (b *bench) open(o postgres.Options, settings ...string) *postgres.DB {
	b.Helper()
	u, err := url.Parse(b.url)
	if err != nil {
		b.Fatal(err)
	}
	q := u.Query()
	for i := 0; i < len(settings); i += 2 {
		q.Set(settings[i], settings[i+1])
	}
	u.RawQuery = q.Encode()
	db, err := postgres.Open(b.Context(), u.String(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	return db
}

func (b *bench) exec(sql string) {
	b.Helper()
	if _, err := b.db.Pool().Exec(b.Context(), sql); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) counts(name string, want int) {
	b.Helper()
	var n int
	if err := b.db.Pool().QueryRow(b.Context(), `select n from counter where name = $1`, name).Scan(&n); err != nil || n != want {
		b.Errorf("%s counts %d, %v; want %d", name, n, err, want)
	}
}

func count(ctx context.Context, tx postgres.Tx, name string) error {
	_, err := tx.Exec(ctx, `update counter set n = n + 1 where name = $1`, name)
	return err
}

// retried tells whether transactions were run again so many times for a reason, and for no other.
func (b *bench) retried(cause string, want int) {
	b.Helper()
	registry := prometheus.NewPedanticRegistry()
	b.db.Register(registry)
	families, err := registry.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "kontor_db_tx_retries_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			expected := 0
			if m.GetLabel()[0].GetValue() == cause {
				expected = want
			}
			if got := m.GetCounter().GetValue(); got != float64(expected) {
				b.Errorf("%v runs for %s; want %d", got, m.GetLabel()[0].GetValue(), expected)
			}
		}
	}
}

func TestATransactionIsWholeOrNothing(t *testing.T) {
	b := setup(t)
	sorry := errors.New("on purpose")
	both := func(end error) func(ctx context.Context, tx postgres.Tx) error {
		return func(ctx context.Context, tx postgres.Tx) error {
			return errors.Join(count(ctx, tx, "a"), count(ctx, tx, "b"), end)
		}
	}
	if err := b.db.InTx(t.Context(), both(nil)); err != nil {
		t.Error(err)
	}
	if err := b.db.InTx(t.Context(), both(sorry)); !errors.Is(err, sorry) {
		t.Error(err)
	}
	func() {
		defer func() {
			if r := recover(); r != "on purpose" {
				t.Errorf("recovered %v", r)
			}
		}()
		_ = b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
			_ = both(nil)(ctx, tx)
			panic("on purpose")
		})
	}()
	ctx, cancel := context.WithCancel(t.Context())
	err := b.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		err := both(nil)(ctx, tx)
		cancel()
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	b.counts("a", 1)
	b.counts("b", 1)
	if n := b.db.Pool().Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are not given back", n)
	}
}

// Two transactions lock the same rows in opposite order: PostgreSQL ends one of them, which then runs again.
func TestADeadlockIsRunAgain(t *testing.T) {
	b := setup(t)
	var runs atomic.Int32
	met := make(chan struct{}, 2)
	both := make(chan struct{})
	lock := func(names ...string) error {
		first := true
		return b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
			runs.Add(1)
			if err := count(ctx, tx, names[0]); err != nil {
				return err
			}
			if first { // both have their first row before either goes on
				first = false
				met <- struct{}{}
				<-both
			}
			return count(ctx, tx, names[1])
		})
	}
	errs := make(chan error, 2)
	go func() { errs <- lock("a", "b") }()
	go func() { errs <- lock("b", "a") }()
	<-met
	<-met
	close(both)
	if err := errors.Join(<-errs, <-errs); err != nil {
		t.Error(err)
	}
	if n := runs.Load(); n < 3 {
		t.Errorf("%d runs, want one more than there are transactions", n)
	}
	b.counts("a", 2)
	b.counts("b", 2)
	b.retried("40P01", int(runs.Load())-2)
}

// What may go better the next time is run again, and its effect is there once.
func TestWhatPassesIsRunAgain(t *testing.T) {
	raise := func(code string) func(ctx context.Context, tx postgres.Tx) error {
		return func(ctx context.Context, tx postgres.Tx) error {
			_, err := tx.Exec(ctx, fmt.Sprintf(`do $$ begin raise exception 'on purpose' using errcode = '%s'; end $$`, code))
			return err
		}
	}
	for cause, fail := range map[string]func(ctx context.Context, tx postgres.Tx) error{
		"40001": raise("40001"),
		"40P01": raise("40P01"),
		"55P03": raise("55P03"),
		"again": func(context.Context, postgres.Tx) error { return fmt.Errorf("meet another: %w", postgres.ErrAgain) },
		"connection": func(ctx context.Context, tx postgres.Tx) error {
			_, err := tx.Exec(ctx, `select pg_terminate_backend(pg_backend_pid())`)
			return err
		},
	} {
		t.Run(cause, func(t *testing.T) {
			b := setup(t)
			runs := 0
			err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
				if err := count(ctx, tx, "a"); err != nil {
					return err
				}
				if runs++; runs <= 3 {
					return fail(ctx, tx)
				}
				return nil
			})
			if err != nil || runs != 4 {
				t.Errorf("%d runs, %v", runs, err)
			}
			b.counts("a", 1)
			b.retried(cause, 3)
		})
	}
}

// The number of runs is bounded; then the caller is told to come back.
func TestWhatDoesNotPassIsUnavailable(t *testing.T) {
	b := setup(t)
	runs := 0
	err := b.db.InTx(t.Context(), func(context.Context, postgres.Tx) error {
		runs++
		return fmt.Errorf("meet another: %w", postgres.ErrAgain)
	})
	f := fault.From(err)
	if runs != 6 || f.Kind != fault.Unavailable || f.Code != "database_unavailable" || f.RetryAfter != time.Second || !errors.Is(err, postgres.ErrAgain) {
		t.Errorf("%d runs, %+v", runs, f)
	}
	runs = 0
	ctx, cancel := context.WithCancel(t.Context())
	err = b.db.InTx(ctx, func(context.Context, postgres.Tx) error {
		runs++
		cancel()
		return postgres.ErrAgain
	})
	if runs != 1 || err == nil {
		t.Errorf("%d runs for a caller who has gone, %v", runs, err)
	}
}

func TestWhatIsWrongIsNotRunAgain(t *testing.T) {
	b := setup(t)
	refusal := fault.New(fault.Conflict, "no_luck", "Not today.")
	for name, c := range map[string]struct {
		sql        string
		constraint string
	}{
		"a fault":   {"", ""},
		"unique":    {`insert into counter values ('a', 1)`, "counter_pkey"},
		"check":     {`update counter set n = -1`, "counter_positive"},
		"syntax":    {`selec`, ""},
		"undefined": {`select * from nothing`, ""},
		"division":  {`select 1 / 0`, ""},
	} {
		runs := 0
		err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
			runs++
			if c.sql == "" {
				return fmt.Errorf("try: %w", refusal)
			}
			_, err := tx.Exec(ctx, c.sql)
			return err
		})
		if err == nil || runs != 1 || postgres.Constraint(err) != c.constraint {
			t.Errorf("%s: %d runs, %v, constraint %q", name, runs, err, postgres.Constraint(err))
		}
		if want := c.sql == ""; errors.Is(err, refusal) != want || want != (fault.KindOf(err) == fault.Conflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if postgres.Constraint(nil) != "" || postgres.Constraint(errors.New("other")) != "" {
		t.Error("a constraint where there is none")
	}
	b.retried("anything", 0)
}

// A row that somebody keeps locked for too long is given up, and tried again.
func TestALockIsNotWaitedForForEver(t *testing.T) {
	b := setup(t)
	runs := 0
	err := b.db.InTx(t.Context(), func(ctx context.Context, holder postgres.Tx) error {
		if err := count(ctx, holder, "a"); err != nil {
			return err
		}
		other := b.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
			if runs++; runs == 3 {
				return nil
			}
			if _, err := tx.Exec(ctx, `set local lock_timeout = '5ms'`); err != nil {
				return err
			}
			return count(ctx, tx, "a")
		})
		return other
	})
	if err != nil || runs != 3 {
		t.Errorf("%d runs, %v", runs, err)
	}
	b.retried("55P03", 2)
}

func TestADryRunLeavesNothing(t *testing.T) {
	b := setup(t)
	var seen, runs int
	dry := func(end error) error {
		return b.db.DryRun(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
			if runs++; runs == 2 {
				return postgres.ErrAgain
			}
			if err := count(ctx, tx, "a"); err != nil {
				return err
			}
			return errors.Join(tx.QueryRow(ctx, `select n from counter where name = 'a'`).Scan(&seen), end)
		})
	}
	sorry := errors.New("on purpose")
	for _, end := range []error{nil, nil, sorry} {
		if err := dry(end); !errors.Is(err, end) || seen != 1 {
			t.Errorf("%v, saw %d", err, seen)
		}
	}
	if runs != 4 {
		t.Errorf("%d runs, want 4", runs)
	}
	b.counts("a", 0)
	if n := b.db.Pool().Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are not given back", n)
	}
}

func TestASnapshotIsOfOneMoment(t *testing.T) {
	b := setup(t)
	var seen []int
	err := b.db.Snapshot(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		for range 3 {
			var n int
			if err := tx.QueryRow(ctx, `select n from counter where name = 'a'`).Scan(&n); err != nil {
				return err
			}
			seen = append(seen, n)
			b.exec(`update counter set n = n + 1 where name = 'a'`) // by another connection
		}
		return nil
	})
	if err != nil || !slices.Equal(seen, []int{0, 0, 0}) {
		t.Errorf("saw %v, %v", seen, err)
	}
	b.counts("a", 3)
	err = b.db.Snapshot(t.Context(), func(ctx context.Context, tx postgres.Tx) error { return count(ctx, tx, "a") })
	if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != "25006" {
		t.Errorf("a snapshot may write: %v", err)
	}
}

// A batch that fails in its middle leaves nothing, and the error is that of the statement which failed.
func TestABatchIsPartOfItsTransaction(t *testing.T) {
	b := setup(t)
	err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`update counter set n = n + 1 where name = 'a'`)
		batch.Queue(`insert into counter values ('b', 1)`)
		batch.Queue(`update counter set n = n + 1 where name = 'b'`)
		return tx.SendBatch(ctx, batch).Close()
	})
	if postgres.Constraint(err) != "counter_pkey" {
		t.Error(err)
	}
	b.counts("a", 0)
	b.counts("b", 0)
}
