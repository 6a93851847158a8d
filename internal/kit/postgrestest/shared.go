package postgrestest

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	testPrefix     = "test_"
	keptPrefix     = "kept_"
	templatePrefix = "template_"
)

// sharedCluster is the one variable of this package: a process needs one cluster, whichever of its tests asks first, and
// tests have no common owner to hold it but the process.
var sharedCluster = sync.OnceValues(openShared)

// shared is this process's view of the cluster.
type shared struct {
	base     string // the URL of the database postgres
	slot     string // the cluster's directory when it is our own
	template string
	admin    *pgxpool.Pool
	pooler   func() (dir string, err error) // starts a PgBouncer the first time
}

// openShared never closes what it opens: the process's end does.
func openShared() (*shared, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*callTimeout)
	defer cancel()
	c := &shared{base: os.Getenv(URLEnv)}
	c.pooler = sync.OnceValues(c.openPooler)
	if c.base == "" {
		own, err := StartCluster(ctx, "", nil)
		if err != nil {
			return nil, err
		}
		c.base, c.slot = own.URL("postgres"), own.Dir
	}
	if _, err := withDatabase(c.base, "x"); err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(c.base)
	if err != nil {
		return nil, fmt.Errorf("%s: not a PostgreSQL URL", URLEnv)
	}
	cfg.MaxConns = 4 // cloning is work for the server's processors, of which there are few
	if c.admin, err = pgxpool.NewWithConfig(context.Background(), cfg); err != nil {
		return nil, fmt.Errorf("connect to the test cluster: %w", err)
	}
	if c.template, err = c.ensureTemplate(ctx); err != nil {
		return nil, fmt.Errorf("make the template database: %w", err)
	}
	return c, nil
}

// url panics on nothing: openShared has parsed the base.
func (c *shared) url(database string) string {
	u, _ := withDatabase(c.base, database)
	return u
}

// drop cuts open connections.
func (c *shared) drop(ctx context.Context, database string) error {
	return drop(ctx, c.admin, database)
}

func drop(ctx context.Context, admin *pgxpool.Pool, database string) error {
	if _, err := admin.Exec(ctx, "drop database if exists "+pgx.Identifier{database}.Sanitize()+" with (force)"); err != nil {
		return fmt.Errorf("drop database %s: %w", database, err)
	}
	return nil
}

// afterwards says how to reach a kept database when the cluster ends with this process.
func (c *shared) afterwards() string {
	if c.slot == "" {
		return ""
	}
	return fmt.Sprintf("\nonce this process has ended: go run ./internal/kit/postgrestest/cluster -dir %s (it prints the URL)", c.slot)
}
