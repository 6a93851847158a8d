package postgres_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

func TestSessionsAreSetUp(t *testing.T) {
	b := setup(t)
	for name, c := range map[string]struct {
		options postgres.Options
		want    map[string]string
	}{
		"by default": {postgres.Options{}, map[string]string{
			"statement_timeout": "30s", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "15s", "plan_cache_mode": "force_generic_plan",
			"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off", "TimeZone": "UTC",
			"default_transaction_isolation": "read committed",
		}},
		"by options": {postgres.Options{Name: "kontor-test", StatementTimeout: 1500 * time.Millisecond, Traced: true}, map[string]string{
			"statement_timeout": "1500ms", "application_name": "kontor-test",
		}},
	} {
		db := b.open(c.options)
		for setting, want := range c.want {
			var got string
			if err := db.Pool().QueryRow(t.Context(), `select current_setting($1)`, setting).Scan(&got); err != nil || got != want {
				t.Errorf("%s, %s is %q, %v; want %q", name, setting, got, err, want)
			}
		}
	}
}

func TestAStatementIsBounded(t *testing.T) {
	b := setup(t)
	db := b.open(postgres.Options{StatementTimeout: 20 * time.Millisecond, ConnectionsMax: 1})
	err := db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		_, err := tx.Exec(ctx, `select pg_sleep(60)`)
		return err
	})
	if err == nil || fault.KindOf(err) != fault.Internal {
		t.Error(err)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("the connection is lost: %v", err)
	}
}

// A pool that has no connection to give keeps its caller no longer than the caller wants.
func TestAPoolInUseKeepsNobodyForLong(t *testing.T) {
	b := setup(t)
	db := b.open(postgres.Options{ConnectionsMax: 1})
	err := db.InTx(t.Context(), func(ctx context.Context, _ postgres.Tx) error {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if err := db.InTx(short, func(context.Context, postgres.Tx) error { return nil }); err == nil {
			t.Error("two transactions on one connection")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// What is wrong with a URL is said without showing it: it has the password in it.
func TestAPasswordIsNotTold(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3tpassword"
	server := postgrestest.DB(t).URL
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("nobody", secret)
	noDatabase := *u
	noDatabase.Path = "/there_is_no_such_database"
	for name, bad := range map[string]string{
		"port":       "postgres://kontor:" + secret + "@localhost:port/db",
		"host":       "postgres://kontor:" + secret + "@[::1/db",
		"escape":     "postgres://kontor:" + secret + "%zz@localhost/db",
		"sslmode":    "postgres://kontor:" + secret + "@localhost/db?sslmode=perhaps",
		"key value":  "host=localhost password=" + secret + " port=port",
		"setting":    "postgres://kontor:" + secret + "@localhost/db?pool_max_conns=many",
		"not there":  "postgres://kontor:" + secret + "@127.0.0.1:1/db?connect_timeout=1",
		"no socket":  "postgres://kontor:" + secret + "@/db?host=/nowhere",
		"nobody":     u.String(),
		"no such db": noDatabase.String(),
		"not a url":  secret,
	} {
		db, err := postgres.Open(t.Context(), bad, postgres.Options{})
		if err == nil {
			db.Close()
			t.Errorf("%s: no error", name)
			continue
		}
		_, migrating := postgres.MigrationStatuses(t.Context(), bad)
		for _, told := range []error{err, postgres.Migrate(t.Context(), bad), postgres.MigrateDown(t.Context(), bad), migrating} {
			if told == nil || strings.Contains(fmt.Sprintf("%v %+v", told, told), secret) {
				t.Errorf("%s: %v", name, told)
			}
		}
	}
}

// A server that stops and starts again costs a transaction its turn, not the pool its life.
func TestAPoolSurvivesItsServer(t *testing.T) {
	t.Parallel()
	server := postgrestest.Server(t, nil)
	db, err := postgres.Open(t.Context(), server.URL("postgres"), postgres.Options{ConnectionsMax: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	runs := 0
	err = db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		if runs++; runs == 1 {
			if err := server.Restart(ctx); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `select 1`)
		return err
	})
	if err != nil || runs < 2 {
		t.Errorf("%d runs, %v", runs, err)
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = db.InTx(t.Context(), func(context.Context, postgres.Tx) error { return nil })
	if f := fault.From(err); f.Code != "database_unavailable" || f.Kind != fault.Unavailable || strings.Contains(f.Detail, "postgres") {
		t.Errorf("%v, shown as %q", err, f.Detail)
	}
}
