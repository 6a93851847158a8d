package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// monthsAhead is how many months of partitions exist in advance: a node may be without maintenance for that long.
const monthsAhead = 3

const partitionedSQL = `
	select c.relname, t.typname
	from pg_partitioned_table p
	join pg_class c on c.oid = p.partrelid
	join pg_attribute a on a.attrelid = c.oid and a.attnum = p.partattrs[0]
	join pg_type t on t.oid = a.atttypid
	where c.relnamespace = current_schema()::regnamespace and p.partstrat = 'r'
	order by c.relname`

// Runner runs statements, each in a transaction of its own: a pool, or one connection.
type Runner interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// EnsurePartitions makes the monthly partitions of every partitioned table, from last month to three months ahead.
// A table is partitioned by the time within its UUIDv7, or by a date. Safe to call at any time, by several nodes.
func EnsurePartitions(ctx context.Context, db Runner) error {
	rows, err := db.Query(ctx, partitionedSQL)
	if err != nil {
		return fmt.Errorf("list the partitioned tables: %w", err)
	}
	type table struct{ Name, Type string }
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[table])
	if err != nil {
		return fmt.Errorf("list the partitioned tables: %w", err)
	}
	var now time.Time
	if err := db.QueryRow(ctx, `select now()`).Scan(&now); err != nil {
		return fmt.Errorf("ask the database for the time: %w", err)
	}
	first := time.Date(now.UTC().Year(), now.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	for _, t := range tables {
		for ahead := -1; ahead <= monthsAhead; ahead++ {
			from, to := first.AddDate(0, ahead, 0), first.AddDate(0, ahead+1, 0)
			// Names come from the catalogue and from a date, so nothing of a caller's is written into the statement.
			statement := fmt.Sprintf(`create table if not exists %s partition of %s for values from ('%s') to ('%s')`,
				pgx.Identifier{t.Name + from.Format("_2006_01")}.Sanitize(), pgx.Identifier{t.Name}.Sanitize(),
				partitionBound(t.Type, from), partitionBound(t.Type, to))
			if _, err := db.Exec(ctx, statement); err != nil && !madeByAnother(err) {
				return fmt.Errorf("make a partition of %s: %w", t.Name, err)
			}
		}
	}
	return nil
}

// madeByAnother knows what IF NOT EXISTS does not cover: another node made the table after this one had looked.
func madeByAnother(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == "42P07" || pg.Code == "23505") // duplicate table; unique violation in the catalogue
}

// partitionBound writes the beginning of a month as a value of the partition key's type.
func partitionBound(typeName string, at time.Time) string {
	if typeName == "uuid" {
		ms := fmt.Sprintf("%012x", at.UnixMilli())
		return ms[:8] + "-" + ms[8:] + "-0000-0000-000000000000"
	}
	return at.Format(time.DateOnly)
}

const retireSQL = `
	select c.relname
	from pg_inherits i
	join pg_class c on c.oid = i.inhrelid
	where i.inhparent = $1::text::regclass and c.relname < $2
	order by c.relname`

// RetirePartitions drops the months of a table that ended before the given time, and returns their names.
func RetirePartitions(ctx context.Context, db Runner, table string, before time.Time) ([]string, error) {
	rows, err := db.Query(ctx, retireSQL, table, table+before.UTC().Format("_2006_01"))
	if err != nil {
		return nil, fmt.Errorf("list the partitions of %s: %w", table, err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list the partitions of %s: %w", table, err)
	}
	for _, name := range names {
		if _, err := db.Exec(ctx, "drop table if exists "+pgx.Identifier{name}.Sanitize()); err != nil {
			return nil, fmt.Errorf("drop %s: %w", name, err)
		}
	}
	return names, nil
}
