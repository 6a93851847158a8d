package tidy

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

// prepare lets PostgreSQL read the statements against the migrated schema, and says what it does not understand.
func prepare(ctx context.Context, conn *pgx.Conn, all []statement) ([]finding, error) {
	var found []finding
	for _, s := range all {
		_, err := conn.PgConn().Prepare(ctx, "", s.sql, nil)
		refused, isRefusal := errors.AsType[*pgconn.PgError](err)
		switch {
		case isRefusal:
			s.at.text = s.name + " cannot be prepared: " + refused.Error()
			found = append(found, s.at)
		case err != nil:
			return nil, err
		}
	}
	return found, nil
}

func allStatements(t *testing.T) []statement {
	t.Helper()
	var all []statement
	for _, p := range theHouse(t).packages {
		if under(p.path, "internal") {
			all = append(all, statementsOf(p)...)
		}
	}
	return all
}

func connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), postgrestest.DB(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func TestEveryStatementCanBePrepared(t *testing.T) {
	t.Parallel()
	all := allStatements(t)
	found, err := prepare(t.Context(), connect(t), all)
	if err != nil {
		t.Fatal(err)
	}
	hold(t, found, exceptions{})
	if len(all) < 60 {
		t.Errorf("only %d statements were found", len(all))
	}
}

func TestStatementsThatCannotBePreparedAreSeen(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	mustReject(t, "prepare", func(p *pkg) []finding {
		found, err := prepare(t.Context(), conn, statementsOf(p))
		if err != nil {
			t.Error(err)
		}
		return found
	})
}
