package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SendNow is SendLater for a batch that is large: it is sent at once, and PostgreSQL works on it while the caller prepares what
// follows. What was sent so is waited for before the transaction's next statement, or COMMIT, which costs a round trip:
// small batches are better sent later.
func SendNow(ctx context.Context, tx Tx, b *pgx.Batch, explain func(error) error) error {
	own, ok := tx.(*transaction)
	if !ok || !own.streams || len(own.ahead) > 0 { // what goes ahead keeps its place
		return SendLater(ctx, tx, b, explain)
	}
	return own.stream(ctx, b, explain)
}

// stream is what has been sent and not been waited for.
type stream struct {
	pipeline *pgconn.Pipeline
	explain  []func(error) error // one for each statement
	build    pgx.ExtendedQueryBuilder
}

func (t *transaction) stream(ctx context.Context, b *pgx.Batch, explain func(error) error) error {
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
		if err := t.sent.pipeline.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// prepare gives a statement that is prepared on the connection. One that is not yet has to wait for what was sent.
func (t *transaction) prepare(ctx context.Context, sql string) (*pgconn.StatementDescription, error) {
	statement, err := t.conn.Prepare(ctx, sql, sql)
	if err == nil || t.sent == nil {
		return statement, err
	}
	if err := t.settle(); err != nil {
		return nil, err
	}
	return t.conn.Prepare(ctx, sql, sql)
}

// settle waits for what was sent.
func (t *transaction) settle() error {
	if t.sent == nil {
		return nil
	}
	sent := t.sent
	t.sent = nil
	err := sent.pipeline.Sync()
	for _, explain := range sent.explain {
		if err != nil {
			break
		}
		if err = sent.result(); err != nil {
			err = explain(err)
		}
	}
	if ended := sent.pipeline.Close(); err == nil {
		err = ended
	}
	return err
}

var errNoResult = errors.New("postgres: a statement that was sent has no result")

// result waits for the end of the next statement.
func (s *stream) result() error {
	got, err := s.pipeline.GetResults()
	if err != nil {
		return err
	}
	reader, ok := got.(*pgconn.ResultReader)
	if !ok {
		return errNoResult
	}
	_, err = reader.Close()
	return err
}
