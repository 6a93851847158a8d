// Package postgrestest gives each test a PostgreSQL database of its own, cloned from a migrated template within some
// 15 ms. A missing server fails the test; nothing is ever skipped.
//
// The cluster behind it is shared by all packages when KONTOR_TEST_DATABASE_URL names one, as make test arranges
// (see the command cluster). Otherwise the test process starts its own at the first call, in memory where there is
// some, and the cluster ends with the process. Its directory stays, so that the next process finds it initialised and
// migrated; make clean removes it.
//
// With KONTOR_TEST_POOLER=pgbouncer the tests reach their databases through a PgBouncer in transaction mode, which each
// test process starts for itself.
//
// With KONTOR_KEEP_DB=1 the database of a failed test is kept and its URL logged.
package postgrestest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/kontorhq/kontor/internal/kit/pgserver"
)

// The environment variables that this package reads.
const (
	URLEnv    = "KONTOR_TEST_DATABASE_URL"      // a superuser's URL of a database of the cluster to use
	KeepEnv   = "KONTOR_KEEP_DB"                // 1 keeps the databases of failed tests
	BinDirEnv = "KONTOR_TEST_POSTGRES_BINARIES" // the server to test with, when not the newest installed
)

// Address is where the server listens: host:port, or the path of its Unix socket.
func (d *Database) Address() (string, error) {
	cfg, err := pgx.ParseConfig(d.Direct)
	if err != nil {
		return "", err
	}
	_, address := pgconn.NetworkAddress(cfg.Host, cfg.Port)
	return address, nil
}

// Through is the database's URL when it is reached at another address, such as a proxy's.
func (d *Database) Through(address string) (string, error) {
	cfg, err := pgx.ParseConfig(d.Direct)
	if err != nil {
		return "", err
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Host: address, Path: "/" + d.Name,
		RawQuery: "sslmode=disable",
	}
	return u.String(), nil
}

// callTimeout bounds what this package does for one test: a database that hangs fails the test that waits for it.
const callTimeout = time.Minute

// Database is a database of one test's own.
type Database struct {
	Name   string
	URL    string // as superuser; through the pooler when tests run behind one
	Direct string // the same, and never through a pooler
}

// DB clones a database for this test; it is dropped when the test ends. Close your connections before, with t.Cleanup
// after this call: what is still open is cut.
func DB(t testing.TB) *Database {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	c, err := sharedCluster()
	if err != nil {
		t.Fatalf("the test cluster: %v", err)
	}
	keep := os.Getenv(KeepEnv) == "1"
	db := &Database{Name: databaseName(t.Name(), keep)}
	db.Direct = c.url(db.Name)
	db.URL = db.Direct
	if os.Getenv(PoolerEnv) == "pgbouncer" {
		if db.URL, err = c.throughPooler(db.Name); err != nil {
			t.Fatalf("the pooler: %v", err)
		}
	}
	// Copying the files costs two checkpoints, which are cheap in memory, and a third less than copying through the log.
	statement := "create database " + pgx.Identifier{db.Name}.Sanitize() +
		" template " + pgx.Identifier{c.template}.Sanitize() + " strategy file_copy"
	if _, err := c.admin.Exec(ctx, statement); err != nil {
		t.Fatalf("clone a database: %v", err)
	}
	t.Cleanup(func() {
		if keep && t.Failed() {
			t.Logf("kept the database: psql '%s'%s", db.Direct, c.afterwards())
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		if err := c.drop(ctx, db.Name); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Pool is a pool on a database of this test's own, with up to 16 connections; it is closed when the test ends.
func Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(DB(t).Direct)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Server is a running server of this test's own, empty, for tests that crash it or need settings of their own; it costs
// half a second and more.
func Server(t testing.TB, settings map[string]string) *pgserver.Server {
	t.Helper()
	parent, err := os.MkdirTemp(pgserver.ScratchDir(), "kontor-test-server-")
	if err == nil {
		err = os.Chmod(parent, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(parent); err != nil {
			t.Error(err)
		}
	})
	s, err := pgserver.Start(t.Context(), pgserver.Config{
		Dir: filepath.Join(parent, "postgres"), BinDir: os.Getenv(BinDirEnv), Settings: settings, Ephemeral: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// databaseName says in psql's list whose it is. Leftovers are swept by their prefix; kept ones have another.
func databaseName(test string, keep bool) string {
	const testMax = 40 // PostgreSQL cuts names at 63 bytes
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return '_'
		}
	}, test)
	prefix := testPrefix
	if keep {
		prefix = keptPrefix
	}
	return prefix + clean[:min(len(clean), testMax)] + "_" + strings.ToLower(rand.Text()[:8])
}

// withDatabase is the URL of another database of the same cluster.
func withDatabase(base, name string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", fmt.Errorf("%s is not a URL", URLEnv) // without the URL: it may hold a password
	}
	u.Path = "/" + name
	return u.String(), nil
}
