package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

// settingsSQL reads settings and the session that has them.
const settingsSQL = `select pg_backend_pid(), current_setting('statement_timeout'), current_setting('plan_cache_mode'), current_setting('enable_seqscan'),
	current_setting('TimeZone')`

// settings scans a row of settingsSQL and says what is not as it should be.
func settings(row pgx.Row) (pid int, wrong []string, err error) {
	got := make([]string, 4)
	err = row.Scan(&pid, &got[0], &got[1], &got[2], &got[3])
	for i, want := range []string{"1234ms", "force_generic_plan", "off", "UTC"} {
		if got[i] != want {
			wrong = append(wrong, got[i]+", not "+want)
		}
	}
	return pid, wrong, err
}

func TestSettingsGoAlongBehindAPooler(t *testing.T) {
	t.Parallel()
	db := postgrestest.Pooled(t, postgres.Options{StatementTimeout: 1234 * time.Millisecond, ConnectionsMax: 3})
	pool, sessions := db.Pool(), map[int]bool{}
	see := func(way string, row pgx.Row) {
		t.Helper()
		pid, wrong, err := settings(row)
		if len(wrong) > 0 || err != nil {
			t.Errorf("%s: %v, %v", way, wrong, err)
		}
		sessions[pid] = true
	}
	begun := map[string]func(context.Context, func(context.Context, postgres.Tx) error) error{
		"transaction": db.InTx, "dry run": db.DryRun, "snapshot": db.Snapshot,
	}
	for range 5 {
		see("row", pool.QueryRow(t.Context(), settingsSQL))
		batch := &pgx.Batch{}
		batch.Queue(`select $1::int`, 1)
		batch.Queue(settingsSQL).QueryRow(func(row pgx.Row) error {
			see("batch", row)
			return nil
		})
		if err := pool.SendBatch(t.Context(), batch).Close(); err != nil {
			t.Error(err)
		}
		for way, begin := range begun {
			err := begin(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
				see(way, tx.QueryRow(ctx, settingsSQL))
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", way, err)
			}
		}
		// Another client holds a session, so that there is more than one.
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
		see("begun", tx.QueryRow(t.Context(), settingsSQL))
		if len(sessions) > 1 {
			break
		}
	}
	if len(sessions) < 2 {
		t.Error("one session served all: this shows nothing about a pooler")
	}
}

// A pooled statement's rows and errors are those of any other.
func TestAPooledStatementAnswersAsAnyOther(t *testing.T) {
	t.Parallel()
	db := postgrestest.Pooled(t, postgres.Options{ConnectionsMax: 1})
	pool := db.Pool()
	if _, err := pool.Exec(t.Context(), `create table thing (n int constraint thing_pkey primary key)`); err != nil {
		t.Fatal(err)
	}
	tag, err := pool.Exec(t.Context(), `insert into thing select * from generate_series(1, $1::int)`, 5)
	if err != nil || tag.RowsAffected() != 5 {
		t.Errorf("%d rows, %v", tag.RowsAffected(), err)
	}
	if _, err := pool.Exec(t.Context(), `insert into thing values ($1)`, 5); postgres.Constraint(err) != "thing_pkey" {
		t.Errorf("the constraint is lost: %v", err)
	}
	var n int
	if err := pool.QueryRow(t.Context(), `select n from thing where n > $1 order by n`, 5).Scan(&n); !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("no rows: %v", err)
	}
	if err := pool.QueryRow(t.Context(), `select n from thing order by n`).Scan(&n); err != nil || n != 1 {
		t.Errorf("the first row: %d, %v", n, err)
	}
	rows, err := pool.Query(t.Context(), `select n from thing order by n`)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := pgx.CollectRows(rows, pgx.RowTo[int]); err != nil || len(all) != 5 || all[4] != 5 {
		t.Errorf("all rows: %v, %v", all, err)
	}
	rows, err = pool.Query(t.Context(), `select 1 / (3 - n) from thing order by n`)
	if err == nil {
		_, err = pgx.CollectRows(rows, pgx.RowTo[int])
	}
	if err == nil || !strings.Contains(err.Error(), "division by zero") {
		t.Errorf("an error among the rows: %v", err)
	}
	if _, err := pool.Query(t.Context(), `select nonsense`); err == nil {
		t.Error("no error of a statement that has one")
	}
	if n := pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections were not given back", n)
	}
}

func TestAPoolerThatNobodyToldOfIsRefused(t *testing.T) {
	t.Parallel()
	through := postgrestest.PooledURL(t)
	untold := strings.Replace(through, "pooler=transaction", "pooler=none", 1)
	db, err := postgres.Open(t.Context(), untold, postgres.Options{ConnectionsMax: 2})
	if err == nil {
		db.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "KONTOR_DATABASE_POOLER") {
		t.Errorf("opened: %v", err)
	}
	for name, err := range map[string]error{"up": postgres.Migrate(t.Context(), through), "down": postgres.MigrateDown(t.Context(), untold)} {
		if err == nil || !strings.Contains(err.Error(), "PostgreSQL itself") {
			t.Errorf("migrated %s: %v", name, err)
		}
	}
	if steps, err := postgres.MigrationStatuses(t.Context(), through); err != nil || len(steps) == 0 || steps[0].AppliedAt.IsZero() {
		t.Errorf("the steps cannot be listed: %v, %v", steps, err)
	}
	unknown := strings.Replace(through, "pooler=transaction", "pooler=statement", 1)
	if _, err := postgres.Open(t.Context(), unknown, postgres.Options{}); err == nil || !strings.Contains(err.Error(), "there is no pooler") {
		t.Errorf("an unknown pooler: %v", err)
	}
}
