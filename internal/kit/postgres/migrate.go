package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/kontorhq/kontor/migrations"
)

// MigrationStatus is one step of the schema's timeline.
type MigrationStatus struct {
	Version   int64
	Name      string
	AppliedAt time.Time // zero: not yet
}

// Migrate brings the schema up to date and makes the partitions of the coming months. Several nodes may call it at
// once: they take turns.
func Migrate(ctx context.Context, url string) error {
	return withProvider(url, func(cfg *pgx.ConnConfig, p *goose.Provider) error {
		if err := refuseToMigrate(ctx, cfg); err != nil {
			return err
		}
		if _, err := p.Up(ctx); err != nil {
			return err
		}
		conn, err := connectPlainly(ctx, cfg)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		return EnsurePartitions(ctx, conn)
	})
}

// refuseToMigrate keeps migrations away from a pooler: the lock that they take turns by belongs to a session, which a
// pooler would hand on with the lock.
func refuseToMigrate(ctx context.Context, cfg *pgx.ConnConfig) error {
	conn, err := connectPlainly(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	pids, err := sessionsOf(ctx, conn)
	if err != nil || pids[0] == conn.PgConn().PID() {
		return err
	}
	err = probePooler(ctx, cfg)
	if errors.Is(err, errPooled) {
		return fmt.Errorf("%w, and migrations hold a lock of their session's: give them the URL of PostgreSQL itself", err)
	}
	return err
}

// MigrateDown takes back the last step.
func MigrateDown(ctx context.Context, url string) error {
	return withProvider(url, func(cfg *pgx.ConnConfig, p *goose.Provider) error {
		if err := refuseToMigrate(ctx, cfg); err != nil {
			return err
		}
		_, err := p.Down(ctx)
		return err
	})
}

// MigrationStatuses lists all steps, oldest first.
func MigrationStatuses(ctx context.Context, url string) ([]MigrationStatus, error) {
	var out []MigrationStatus
	err := withProvider(url, func(_ *pgx.ConnConfig, p *goose.Provider) error {
		all, err := p.Status(ctx)
		for _, s := range all {
			out = append(out, MigrationStatus{Version: s.Source.Version, Name: s.Source.Path, AppliedAt: s.AppliedAt})
		}
		return err
	})
	return out, err
}

// withProvider keeps no statements prepared, so that the steps can be listed behind any pooler.
func withProvider(url string, use func(*pgx.ConnConfig, *goose.Provider) error) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("read the database URL: %w", withoutURL(err))
	}
	if _, err := takePooler(cfg, PoolerNone); err != nil {
		return fmt.Errorf("read the database URL: %w", err)
	}
	cfg.ConnectTimeout, cfg.DefaultQueryExecMode = 5*time.Second, pgx.QueryExecModeExec
	var db *sql.DB = stdlib.OpenDB(*cfg)
	defer func() { _ = db.Close() }()
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return fmt.Errorf("make the migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS, goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	if err := use(cfg, provider); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}
