package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

// months is a database whose partitions these tests make and drop.
type months struct {
	*testing.T
	url  string
	conn *pgx.Conn
}

func newMonths(t *testing.T) *months {
	t.Helper()
	t.Parallel()
	m := &months{T: t, url: postgrestest.DB(t).URL}
	m.conn = m.connect()
	return m
}

func (m *months) connect() *pgx.Conn {
	m.Helper()
	conn, err := pgx.Connect(m.Context(), m.url)
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { _ = conn.Close(context.WithoutCancel(m.Context())) })
	return conn
}

func (m *months) list(sql string, args ...any) []string {
	m.Helper()
	rows, err := m.conn.Query(m.Context(), sql, args...)
	if err != nil {
		m.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		m.Fatal(err)
	}
	return list
}

func (m *months) partitioned() []string {
	m.Helper()
	return m.list(`select relname from pg_class where relkind = 'p' and relnamespace = 'public'::regnamespace order by relname`)
}

func (m *months) partitions(table string) []string {
	m.Helper()
	return m.list(`select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = $1::text::regclass order by c.relname`, table)
}

// expected are the names of a table's months from last month on.
func expected(table string, from, to int) []string {
	now := time.Now().UTC()
	var list []string
	for ahead := from; ahead <= to; ahead++ {
		list = append(list, table+time.Date(now.Year(), now.Month()+time.Month(ahead), 1, 0, 0, 0, 0, time.UTC).Format("_2006_01"))
	}
	return list
}

func (m *months) ensure() {
	m.Helper()
	if err := postgres.EnsurePartitions(m.Context(), m.conn); err != nil {
		m.Fatal(err)
	}
}

func (m *months) exec(sql string, args ...any) error {
	_, err := m.conn.Exec(m.Context(), sql, args...)
	return err
}

func TestMonthsAreMadeInAdvance(t *testing.T) {
	m := newMonths(t)
	tables := m.partitioned()
	if len(tables) < 2 {
		t.Fatalf("only %v are partitioned", tables)
	}
	for range 2 { // the migration has made them already
		for _, table := range tables {
			if got, want := m.partitions(table), expected(table, -1, 3); !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
		m.ensure()
	}
}

// Each moment from the first of last month to the end of the third month from now has its place, and none has two.
func TestMonthsHaveNoGaps(t *testing.T) {
	m := newMonths(t)
	first := time.Now().UTC().AddDate(0, 0, 1-time.Now().UTC().Day()).Truncate(24*time.Hour).AddDate(0, -1, 0)
	org := ids.NewSource(time.Now).New()
	record := func(n int, day time.Time) error {
		return m.exec(`insert into idempotency_record (org_id, key, period, fingerprint, status, answer) values ($1, $2, $3, '', 200, '')`, org, fmt.Sprint(n), day)
	}
	event := func(at time.Time) error {
		return m.exec(`insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at) values ($1, $2, 'test', $1, 'test', '{}', now())`, org, ids.NewSource(func() time.Time { return at }).New())
	}
	for n := range 5 {
		begin, end := first.AddDate(0, n, 0), first.AddDate(0, n+1, 0)
		last := end.Add(-time.Millisecond)
		if err := errors.Join(record(n, begin), record(n+10, last), event(begin), event(last)); err != nil {
			t.Errorf("%s: %v", begin.Format("January 2006"), err)
		}
	}
	end := first.AddDate(0, 5, 0)
	for what, err := range map[string]error{"record": record(99, end), "event": event(end), "old record": record(98, first.Add(-time.Hour)), "old event": event(first.Add(-time.Millisecond))} {
		if err == nil || !strings.Contains(err.Error(), "no partition") {
			t.Errorf("%s: %v, want no partition", what, err)
		}
	}
}

// Nodes start at the same time, and all of them make what is missing.
func TestManyMakeTheSameMonths(t *testing.T) {
	m := newMonths(t)
	for _, table := range m.partitioned() {
		for _, partition := range m.partitions(table) {
			if err := m.exec("drop table " + pgx.Identifier{partition}.Sanitize()); err != nil {
				t.Fatal(err)
			}
		}
	}
	const nodes = 6
	errs := make(chan error, nodes)
	for range nodes {
		conn := m.connect()
		go func() { errs <- postgres.EnsurePartitions(t.Context(), conn) }()
	}
	for range nodes {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for _, table := range m.partitioned() {
		if got, want := m.partitions(table), expected(table, -1, 3); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func TestOldMonthsAreRetired(t *testing.T) {
	m := newMonths(t)
	now := time.Now().UTC()
	if err := m.exec(`insert into idempotency_record (org_id, key, period, fingerprint, status, answer) values (gen_random_uuid(), 'k', $1, '', 200, '')`, now); err != nil {
		t.Fatal(err)
	}
	retire := func(before time.Time, want []string) {
		t.Helper()
		got, err := postgres.RetirePartitions(t.Context(), m.conn, "idempotency_record", before)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("before %s: %v, %v; want %v", before, got, err, want)
		}
	}
	thisMonth := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	retire(thisMonth.Add(-time.Microsecond), nil) // last month has not ended before this
	retire(thisMonth, expected("idempotency_record", -1, -1))
	retire(thisMonth, nil)
	retire(now, nil)
	if got, want := m.partitions("idempotency_record"), expected("idempotency_record", 0, 3); !slices.Equal(got, want) {
		t.Errorf("%v are left, want %v", got, want)
	}
	if got, want := m.partitions("event"), expected("event", -1, 3); !slices.Equal(got, want) {
		t.Errorf("of another table %v are left, want %v", got, want)
	}
	if kept := m.list(`select key from idempotency_record`); len(kept) != 1 {
		t.Errorf("%v is left of what was not to go", kept)
	}
	if _, err := postgres.RetirePartitions(t.Context(), m.conn, "no such table", now); err == nil {
		t.Error("no error for a table that there is not")
	}
}
