package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SendNow is SendLater for a batch that is large: it is sent at once, and PostgreSQL works on it while the caller prepares what
// follows. What is sent later goes with the next that is sent now, and COMMIT with the last: still in one round trip.
func SendNow(ctx context.Context, tx Tx, b *pgx.Batch, explain func(error) error) error {
	own, ok := tx.(*transaction)
	if !ok || !own.streams || !unread(b) {
		return SendLater(ctx, tx, b, explain)
	}
	for _, p := range own.ahead {
		if !unread(p.batch) { // it keeps its place
			return SendLater(ctx, tx, b, explain)
		}
	}
	ahead := own.ahead
	own.ahead = nil
	for _, p := range append(ahead, part{b, explain}) {
		if err := own.stream(ctx, p.batch, p.explain); err != nil {
			return err
		}
	}
	if own.sent == nil { // nothing was in it
		return nil
	}
	return own.sent.pipeline.Flush()
}

// unread tells whether a batch is of statements whose results nobody reads.
func unread(b *pgx.Batch) bool {
	return !slices.ContainsFunc(b.QueuedQueries, func(q *pgx.QueuedQuery) bool { return q.Fn != nil })
}

// stream is what has been sent, or written to be sent, and not been waited for.
type stream struct {
	pipeline *pgconn.Pipeline
	explain  []func(error) error // one for each statement
	build    pgx.ExtendedQueryBuilder
}

func (t *transaction) stream(ctx context.Context, b *pgx.Batch, explain func(error) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, query := range b.QueuedQueries {
		statement, err := t.prepare(ctx, query.SQL)
		if err != nil {
			return err
		}
		if t.sent == nil {
			t.sent = &stream{pipeline: t.conn.PgConn().StartPipeline(ctx)}
		}
		build := &t.sent.build
		if err := build.Build(t.conn.TypeMap(), statement, query.Arguments); err != nil {
			return err
		}
		t.sent.pipeline.SendQueryStatement(statement, build.ParamValues, build.ParamFormats, slices.Clone(build.ResultFormats))
		t.sent.explain = append(t.sent.explain, explain)
	}
	return nil
}

// prepare gives a statement that is prepared on the connection. One that is not yet has to wait for what was sent.
func (t *transaction) prepare(ctx context.Context, sql string) (*pgconn.StatementDescription, error) {
	statement, err := t.conn.Prepare(ctx, sql, sql)
	if err == nil || t.sent == nil {
		return statement, err
	}
	if _, err := t.settle(); err != nil {
		return nil, err
	}
	return t.conn.Prepare(ctx, sql, sql)
}

// settle waits for what was sent, and gives what the last statement of it says it did.
func (t *transaction) settle() (last pgconn.CommandTag, err error) {
	if t.sent == nil {
		return last, nil
	}
	sent := t.sent
	t.sent = nil
	err = sent.pipeline.Sync()
	for _, explain := range sent.explain {
		if err != nil {
			break
		}
		if last, err = sent.result(); err != nil {
			err = explain(err)
		}
	}
	if ended := sent.pipeline.Close(); err == nil {
		err = ended
	}
	return last, err
}

var errNoResult = errors.New("postgres: a statement that was sent has no result")

// result waits for the end of the next statement.
func (s *stream) result() (pgconn.CommandTag, error) {
	got, err := s.pipeline.GetResults()
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	reader, ok := got.(*pgconn.ResultReader)
	if !ok {
		return pgconn.CommandTag{}, errNoResult
	}
	return reader.Close()
}
