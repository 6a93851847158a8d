package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

// PostgreSQL crashes while two nodes work, and recovers.
func TestTheDatabaseCrashesWhileTasksRun(t *testing.T) {
	t.Parallel()
	server := postgrestest.Server(t, nil)
	url := server.URL("postgres")
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	w := newWitnessOn(t, url, careless(100*time.Millisecond))
	w.reachedAt(w.mock.URL(), 10)
	const calls = 500
	w.start("a")
	w.start("b")
	w.calls(w.program, calls)
	w.amid(calls / 5)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.settled()
	t.Logf("%d attempts in doubt", w.agree(calls))
}

// Sessions of the nodes, not of who asks. A pooler's are all alike.
const cutSQL = `
	select count(pg_terminate_backend(pid))
	from pg_stat_activity
	where datname = current_database() and pid <> pg_backend_pid() and application_name like 'kontor%'`

// The nodes' sessions are ended again and again while they work, in the middle of whatever they do.
func TestSessionsAreCutWhileTasksRun(t *testing.T) {
	t.Parallel()
	database := postgrestest.DB(t)
	w := newWitnessOn(t, database.Direct, careless(100*time.Millisecond))
	w.reachedAt(w.mock.URL(), 10)
	w.start("a")
	w.start("b")
	const calls, cuts = 500, 20
	w.calls(w.program, calls)
	own, err := pgx.Connect(t.Context(), database.Direct)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = own.Close(context.WithoutCancel(t.Context())) }()
	ended := 0
	for i := range int64(cuts) {
		w.amid(calls / (2 * cuts) * (i + 1)) // all of them in the first half
		var n int
		if err := own.QueryRow(t.Context(), cutSQL).Scan(&n); err != nil {
			t.Fatal(err)
		}
		ended += n
	}
	if ended < cuts {
		t.Errorf("only %d sessions were cut", ended)
	}
	w.settled()
	t.Logf("%d sessions were cut; %d attempts in doubt", ended, w.agree(calls))
}

// The nodes have many workers and as few sessions as they may, others take all that the server has left, and then the nodes
// lose those they had.
func TestSessionsAreScarceWhileTasksRun(t *testing.T) {
	t.Parallel()
	server := postgrestest.Server(t, map[string]string{"max_connections": "14", "superuser_reserved_connections": "0"})
	url := server.URL("postgres")
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	w := newWitnessOn(t, url, careless(50*time.Millisecond))
	w.reachedAt(w.mock.URL(), 10)
	w.cfg.DatabaseConnectionsMax, w.cfg.TaskWorkers = 4, 64
	const calls = 500
	w.start("a")
	w.start("b")
	w.calls(w.program, calls)
	w.amid(calls / 10)
	others := w.takeSessions(url)
	w.amid(calls / 5)
	var cut int
	if err := others[0].QueryRow(t.Context(), cutSQL).Scan(&cut); err != nil || cut == 0 {
		t.Errorf("%d sessions were cut: %v", cut, err)
	}
	others = append(others, w.takeSessions(url)...)
	for _, c := range others {
		_ = c.Close(t.Context())
	}
	w.settled()
	t.Logf("others had %d sessions, %d were cut; %d attempts in doubt", len(others), cut, w.agree(calls))
}

// takeSessions opens sessions until the server takes no more.
func (w *witness) takeSessions(url string) []*pgx.Conn {
	w.Helper()
	const most = 50
	var taken []*pgx.Conn
	for range most {
		c, err := pgx.Connect(w.Context(), url)
		if err != nil {
			if refused, is := errors.AsType[*pgconn.PgError](err); !is || refused.Code != "53300" {
				w.Fatal(err)
			}
			return taken
		}
		taken = append(taken, c)
	}
	w.Fatal("the server takes any number of sessions")
	return nil
}
