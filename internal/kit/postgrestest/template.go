package postgrestest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/migrations"
)

// buildingKey is the advisory lock that one builder of a template holds, across processes.
const buildingKey = 0x6b6f6e746f72

// ensureTemplate returns the name of the template database for the present migrations, and builds it when it is missing.
// It is built under another name and allows no connections, so that a clone never finds it half-made or in use.
func (c *shared) ensureTemplate(ctx context.Context) (string, error) {
	sum, err := schemaHash()
	if err != nil {
		return "", err
	}
	name := templatePrefix + sum
	if there, err := exists(ctx, c.admin, name); there || err != nil {
		return name, err
	}
	lock, err := pgx.Connect(ctx, c.base)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = lock.Close(context.WithoutCancel(ctx)) }() // and with it goes the lock
	if _, err := lock.Exec(ctx, "select pg_advisory_lock($1)", buildingKey); err != nil {
		return "", fmt.Errorf("wait for another builder: %w", err)
	}
	if there, err := exists(ctx, c.admin, name); there || err != nil {
		return name, err
	}
	return name, c.buildTemplate(ctx, name)
}

func (c *shared) buildTemplate(ctx context.Context, name string) error {
	building := "building_" + name
	if err := c.drop(ctx, building); err != nil { // a builder's that died
		return err
	}
	quoted := pgx.Identifier{building}.Sanitize()
	if _, err := c.admin.Exec(ctx, "create database "+quoted+" template template0"); err != nil {
		return fmt.Errorf("create a database: %w", err)
	}
	if err := postgres.Migrate(ctx, c.url(building)); err != nil {
		return err
	}
	// A connection that was closed lives on in the server for an instant, and the rename would refuse.
	for _, step := range []string{
		"alter database " + quoted + " allow_connections false",
		"select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '" + building + "'",
		"alter database " + quoted + " rename to " + pgx.Identifier{name}.Sanitize(),
	} {
		if _, err := c.admin.Exec(ctx, step); err != nil {
			return fmt.Errorf("close the template: %w", err)
		}
	}
	return nil
}

// schemaHash changes with the migrations, and with the month: migrating also makes the partitions of the coming months.
func schemaHash() (string, error) {
	h := sha256.New()
	h.Write([]byte(time.Now().UTC().Format("2006-01"))) //nolint:forbidigo // the database's own clock decides, not a test's
	if err := hashFiles(h, migrations.FS); err != nil {
		return "", fmt.Errorf("read the migrations: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

func hashFiles(h hash.Hash, files fs.FS) error {
	return fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(h, "\n%s %d\n%s", path, len(content), content)
		return err
	})
}

func exists(ctx context.Context, admin *pgxpool.Pool, database string) (there bool, err error) {
	err = admin.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", database).Scan(&there)
	if err != nil {
		return false, fmt.Errorf("look for database %s: %w", database, err)
	}
	return there, nil
}
