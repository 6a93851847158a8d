package postgrestest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

func TestEachTestHasItsOwnMigratedDatabase(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"one", "another", "ünï/çode and a very long name that PostgreSQL would cut off somewhere"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := postgrestest.Pool(t)
			if _, err := pool.Exec(t.Context(), "create table mine (n int)"); err != nil {
				t.Fatal(err)
			}
			var tables int
			err := pool.QueryRow(t.Context(), "select count(*) from pg_tables where schemaname = 'public'").Scan(&tables)
			if err != nil || tables < 2 {
				t.Errorf("%d tables, %v: not migrated", tables, err)
			}
		})
	}
}

func TestADatabaseGoesWithItsTest(t *testing.T) {
	t.Parallel()
	watch := postgrestest.Pool(t)
	var name string
	t.Run("short life", func(t *testing.T) {
		db := postgrestest.DB(t)
		name = db.Name
		conn, err := pgx.Connect(t.Context(), db.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn // left open: it is cut
	})
	var there bool
	err := watch.QueryRow(t.Context(), "select exists (select from pg_database where datname = $1)", name).Scan(&there)
	if err != nil || there || name == "" {
		t.Errorf("database %q is there: %t, %v", name, there, err)
	}
}

func TestServerCanBeCrashed(t *testing.T) {
	t.Parallel()
	s := postgrestest.Server(t, map[string]string{"work_mem": "5MB"})
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var workMem string
	if err := conn.QueryRow(t.Context(), "show work_mem").Scan(&workMem); err != nil || !strings.HasPrefix(workMem, "5") {
		t.Errorf("work_mem %s, %v", workMem, err)
	}
}

// BenchmarkDB is the price of one clone; the drops come after the clock has stopped.
func BenchmarkDB(b *testing.B) {
	for b.Loop() {
		postgrestest.DB(b)
	}
}
