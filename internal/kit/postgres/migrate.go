package postgres

import (
	"context"
	"database/sql"
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
	err := withProvider(url, func(p *goose.Provider) error {
		_, err := p.Up(ctx)
		return err
	})
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("reach the database: %w", withoutURL(err))
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return EnsurePartitions(ctx, conn)
}

// MigrateDown takes back the last step.
func MigrateDown(ctx context.Context, url string) error {
	return withProvider(url, func(p *goose.Provider) error {
		_, err := p.Down(ctx)
		return err
	})
}

// MigrationStatuses lists all steps, oldest first.
func MigrationStatuses(ctx context.Context, url string) ([]MigrationStatus, error) {
	var out []MigrationStatus
	err := withProvider(url, func(p *goose.Provider) error {
		all, err := p.Status(ctx)
		for _, s := range all {
			out = append(out, MigrationStatus{Version: s.Source.Version, Name: s.Source.Path, AppliedAt: s.AppliedAt})
		}
		return err
	})
	return out, err
}

func withProvider(url string, use func(*goose.Provider) error) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("read the database URL: %w", withoutURL(err))
	}
	cfg.ConnectTimeout = 5 * time.Second
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
	if err := use(provider); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}
