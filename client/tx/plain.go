package tx

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// connection is what a pgx.Tx and a *pgx.Conn have in common.
type connection interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// plain sends arguments in types whose names every connection knows. Kontor's own connections learn how to write arrays of
// ids, and ask the server what a parameter is; a connection of somebody else's may be one that tells the server by the type of the
// argument (pgx.QueryExecModeExec), or writes it into the statement (pgx.QueryExecModeSimpleProtocol).
type plain struct{ connection }

func (p plain) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return p.connection.Exec(ctx, sql, plainly(args)...)
}

func (p plain) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return p.connection.Query(ctx, sql, plainly(args)...)
}

func (p plain) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return p.connection.QueryRow(ctx, sql, plainly(args)...)
}

func (p plain) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	for _, q := range b.QueuedQueries {
		q.Arguments = plainly(q.Arguments)
	}
	return p.connection.SendBatch(ctx, b)
}

// plainly makes ids pgx's own, and JSON text.
func plainly(args []any) []any {
	out := make([]any, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case ids.ID:
			out[i] = pgtype.UUID{Bytes: arg, Valid: true}
		case *ids.ID:
			out[i] = optional(arg)
		case []ids.ID:
			out[i] = each(arg, func(id ids.ID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} })
		case []*ids.ID:
			out[i] = each(arg, optional)
		case [][]byte:
			out[i] = each(arg, text)
		default:
			out[i] = arg
		}
	}
	return out
}

// each keeps a list that is not there what it is: NULL.
func each[From, To any](list []From, to func(From) To) []To {
	if list == nil {
		return nil
	}
	out := make([]To, len(list))
	for i := range list {
		out[i] = to(list[i])
	}
	return out
}

func optional(id *ids.ID) pgtype.UUID {
	if id == nil {
		return pgtype.UUID{}
	}
	return pgtype.UUID{Bytes: *id, Valid: true}
}

func text(document []byte) *string {
	if document == nil {
		return nil
	}
	s := string(document)
	return &s
}
