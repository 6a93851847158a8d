package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

// scribes are two connections: ours, with its own way of writing arrays, and pgx as it is.
type scribes struct {
	*testing.T
	ours  *postgres.DB
	plain *pgx.Conn
}

func newScribes(t *testing.T) *scribes {
	t.Helper()
	t.Parallel()
	url := postgrestest.DB(t).URL
	db, err := postgres.Open(t.Context(), url, postgres.Options{ConnectionsMax: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	plain, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plain.Close(context.WithoutCancel(t.Context())) })
	if _, err := plain.Exec(t.Context(), "set timezone = 'UTC'"); err != nil {
		t.Fatal(err)
	}
	return &scribes{T: t, ours: db, plain: plain}
}

// read tells what arrives of an argument, as the server shows it, on either connection. ERROR stands for any error.
func (s *scribes) read(sqlType string, value any) (ours, plain string) {
	s.Helper()
	sql := "select coalesce($1::" + sqlType + "::text, 'NULL') || ' of ' || coalesce(cardinality($1::" + sqlType + ")::text, '-')"
	if err := s.ours.Pool().QueryRow(s.Context(), sql, value).Scan(&ours); err != nil {
		ours = "ERROR"
	}
	if err := s.plain.QueryRow(s.Context(), sql, value).Scan(&plain); err != nil {
		plain = "ERROR"
	}
	return ours, plain
}

// lists draws lists of values, optional the same with some of them missing.
func lists[T any](values *rapid.Generator[T]) *rapid.Generator[[]T] {
	return rapid.Custom(func(r *rapid.T) []T {
		if !rapid.Bool().Draw(r, "there") {
			return nil
		}
		return rapid.SliceOfN(values, 0, 20).Draw(r, "list")
	})
}

func optional[T any](values *rapid.Generator[T]) *rapid.Generator[*T] { return rapid.Ptr(values, true) }

func TestArraysArriveAsPgxWritesThem(t *testing.T) {
	s := newScribes(t)
	uuids := rapid.Custom(func(r *rapid.T) ids.ID { return ids.ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(r, "bytes")) })
	texts := rapid.Custom(func(r *rapid.T) string { return strings.ReplaceAll(rapid.String().Draw(r, "text"), "\x00", "") })
	bytes := rapid.Custom(func(r *rapid.T) []byte {
		if !rapid.Bool().Draw(r, "there") {
			return nil
		}
		return rapid.SliceOf(rapid.Byte()).Draw(r, "bytes")
	})
	documents := rapid.Custom(func(r *rapid.T) []byte {
		return rapid.SampledFrom([][]byte{nil, []byte(`{}`), []byte(`{"a": "ü\"☃", "b": [1, null]}`), []byte(`null`), []byte(` "x" `)}).Draw(r, "document")
	})
	times := rapid.Custom(func(r *rapid.T) time.Time {
		seconds, zone := rapid.Int64Range(-60_000_000_000, 250_000_000_000).Draw(r, "seconds"), time.FixedZone("", 3600*rapid.IntRange(-12, 12).Draw(r, "zone"))
		return time.Unix(seconds, rapid.Int64Range(0, 999_999_999).Draw(r, "nanoseconds")).In(zone)
	})
	for sqlType, draw := range map[string][]func(r *rapid.T) any{
		"uuid[]":        {drawn(lists(uuids)), drawn(lists(optional(uuids)))},
		"int8[]":        {drawn(lists(rapid.Int64())), drawn(lists(optional(rapid.Int64())))},
		"text[]":        {drawn(lists(texts)), drawn(lists(optional(texts)))},
		"bytea[]":       {drawn(lists(bytes))},
		"json[]":        {drawn(lists(documents))},
		"jsonb[]":       {drawn(lists(documents))},
		"timestamptz[]": {drawn(lists(times)), drawn(lists(optional(times)))},
	} {
		rapid.Check(t, func(r *rapid.T) {
			value := draw[rapid.IntRange(0, len(draw)-1).Draw(r, "kind")](r)
			if ours, plain := s.read(sqlType, value); ours != plain || ours == "ERROR" {
				r.Fatalf("%T %v arrives as %s, want %s", value, value, ours, plain)
			}
		})
	}
}

func drawn[T any](values *rapid.Generator[T]) func(r *rapid.T) any {
	return func(r *rapid.T) any { return values.Draw(r, "value") }
}

// What an array is not usually made of is left to pgx, and refused by it where it does not fit.
func TestOddArraysAreLeftToPgx(t *testing.T) {
	s := newScribes(t)
	now, id, text := time.Now(), ids.ID{1}, "x"
	for name, value := range map[string]any{
		"ids": []ids.ID{{1}}, "optional ids": []*ids.ID{&id}, "uuids": [][16]byte{{2}}, "strings": []string{"018f0000-0000-7000-8000-000000000001"},
		"numbers as text": []string{"42"}, "dates as text": []string{"2026-01-01T00:00:00Z"}, "optional strings": []*string{&text},
		"int64s": []int64{3}, "int32s": []int32{4}, "ints": []int{5}, "bytes": [][]byte{[]byte("{}")}, "times": []time.Time{now}, "optional times": []*time.Time{&now},
	} {
		for _, sqlType := range []string{"uuid[]", "int8[]", "int4[]", "text[]", "varchar[]", "bytea[]", "json[]", "jsonb[]", "timestamptz[]", "timestamp[]"} {
			if ours, plain := s.read(sqlType, value); ours != plain {
				t.Errorf("%s as %s arrive as %s, want %s", name, sqlType, ours, plain)
			}
		}
	}
}

func TestArraysAreRead(t *testing.T) {
	s := newScribes(t)
	want := []ids.ID{{1}, {15: 2}}
	var got []ids.ID
	var numbers []int64
	var texts []*string
	var documents [][]byte
	err := s.ours.Pool().QueryRow(t.Context(), `select $1::uuid[], array[1, 2]::int8[], array['a', null], array['{}', null]::json[]`, want).Scan(&got, &numbers, &texts, &documents)
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] || len(numbers) != 2 || numbers[1] != 2 ||
		len(texts) != 2 || *texts[0] != "a" || texts[1] != nil || len(documents) != 2 || string(documents[0]) != "{}" || documents[1] != nil {
		t.Errorf("%v %v %v %v, %v", got, numbers, texts, documents, err)
	}
}
